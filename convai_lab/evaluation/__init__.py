"""Evaluation: was the conversation good, and how sure are we?"""
