"""Vendors: language models, speech in and speech out, each in one file behind `base`."""
