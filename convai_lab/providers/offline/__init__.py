"""Offline: how does an agent answer when there is no language model at all?

Rules and retrieval over the request alone: `brief` reads the system prompt, `memory` the conversation so far, `acts`
what the caller does, `tool_choice` and `slots` which tool fits with which arguments, `telling` says its result, and
`answering` decides.
"""
