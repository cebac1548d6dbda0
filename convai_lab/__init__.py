"""convai_lab: the lab bench for voice agents, in a notebook."""
