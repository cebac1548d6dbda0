"""What was said: turns, conversations, and where they are kept."""
