"""What should be said: agents, their prompts, tools, voices and turn-taking."""
