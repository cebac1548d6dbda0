"""Invented callers: scenarios, personas, simulated users, and the conversations they hold with an agent."""
