"""The `convai` command."""
