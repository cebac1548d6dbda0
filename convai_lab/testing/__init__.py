"""Fakes for our tests and for yours: vendors, clocks and callers that do as they are told."""
