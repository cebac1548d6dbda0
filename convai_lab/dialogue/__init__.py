"""One reply, and the loop of a conversation around it."""
