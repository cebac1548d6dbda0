"""Tables and plots of what was said."""
