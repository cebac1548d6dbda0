"""System prompt: what does the model read before the conversation itself?"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from convai_lab.agents.agent import Agent
from convai_lab.agents.prompt import SECRET_PREFIX, SYSTEM_PREFIX, fill, system_variables, variables_in
from convai_lab.conversations.conversation import Conversation
from convai_lab.dialogue.author_settings import setting_in
from convai_lab.dialogue.knowledge import knowledge_section

HISTORY_VARIABLE = "system__conversation_history"
DEFAULT_PERSONALITY = (
    "You are a friendly and patient assistant in a conversation. "
    "Answer briefly and in plain sentences, without lists or markup, and ask back when something is unclear."
)
"""What comes before the prompt of an agent that does not ignore the default personality."""

QUERY_TURNS = 2
"""How many of the user's last turns say which knowledge is looked up."""


def secret_variables(variables: Mapping[str, Any]) -> dict[str, Any]:
    """Return the variables that are for tool headers alone: they are neither recorded nor shown to a model."""
    return {name: value for name, value in variables.items() if name.startswith(SECRET_PREFIX)}


def names_system_variables(agent: Agent) -> bool:
    """Say whether anything of an agent can name variables of the platform's own; making them all takes a while."""
    farewell = setting_in(agent.extra, "max_conversation_duration_message")
    texts = (agent.prompt, agent.first_message, farewell if isinstance(farewell, str) else "")
    return bool(agent.tools or agent.timezone) or any(SYSTEM_PREFIX in text for text in texts)


def variables_of(agent: Agent, conversation: Conversation, *, now: float) -> dict[str, Any]:
    """Return all variables: the agent's placeholders, the conversation's values, and the platform's own.

    The conversation's values win over placeholders, and the platform's own over both, except those that only a
    driver can know (a caller's number), which it puts into the conversation.
    """
    own = system_variables(
        agent_id=conversation.agent_id,
        conversation_id=conversation.id,
        now=now,
        started_at=now if conversation.started_at is None else conversation.started_at,
        timezone=agent.timezone,
        current_agent_id=agent.id,
        agent_turns=sum(turn.role == "agent" for turn in conversation.turns),
        text_only=conversation.channel == "text",
        history=_history(conversation) if HISTORY_VARIABLE in variables_in(agent.prompt) else (),
    )
    known = {name: value for name, value in own.items() if value}
    return {**own, **agent.variables, **conversation.variables, **known}


def system_prompt(agent: Agent, conversation: Conversation, variables: Mapping[str, Any]) -> str:
    """Return the filled prompt, the language to speak once it was switched, and the knowledge for this turn.

    Raises:
        MissingVariableError: The prompt names variables that have no value.
    """
    parts = [fill(agent.prompt, variables)]
    if setting_in(agent.extra, "ignore_default_personality") is False:
        parts.insert(0, DEFAULT_PERSONALITY)
    if conversation.language and conversation.language != agent.language:
        parts.append(f"# Language\nSpeak the language {conversation.language!r} from now on.")
    if agent.knowledge:
        parts.append(knowledge_section(agent.knowledge, _query(conversation)))
    return "\n\n".join(part for part in parts if part.strip())


def farewell_of(agent: Agent, variables: Mapping[str, Any]) -> str:
    """Return what the agent says when the conversation has lasted as long as it may; empty when it says nothing.

    Raises:
        MissingVariableError: It names a variable that has no value.
    """
    text = setting_in(agent.extra, "max_conversation_duration_message")
    return fill(text, variables, where="the message at the longest duration").strip() if isinstance(text, str) else ""


def _query(conversation: Conversation) -> str:
    said = [turn.text for turn in conversation.turns if turn.role == "user"]
    return " ".join(said[-QUERY_TURNS:])


def _history(conversation: Conversation) -> list[tuple[str, str]]:
    return [(turn.role, turn.text if turn.text_heard is None else turn.text_heard) for turn in conversation.turns]
