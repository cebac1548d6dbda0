"""Events: what happens during a conversation, as whoever watches it hears it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Started:
    """The conversation has begun under this id; `note` says what the reader must know about how."""

    conversation_id: str
    note: str | None = None


@dataclass(frozen=True)
class UserTurn:
    """What the user said: the message has been sent, or the speech was recognised."""

    text: str


@dataclass(frozen=True)
class AgentText:
    """A piece of what the agent is saying, as it is generated."""

    text: str


@dataclass(frozen=True)
class AgentTurn:
    """All that the agent said, complete."""

    text: str


@dataclass(frozen=True)
class AgentCutShort:
    """The user interrupted the agent: of what it said last, only `heard` counts."""

    heard: str


@dataclass(frozen=True)
class ToolCalled:
    """The agent called a tool; the arguments of a tool that runs elsewhere are not told."""

    name: str
    arguments: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class ToolAnswered:
    """A tool answered; `value` is the text the model sees (empty for a tool that runs elsewhere)."""

    name: str
    value: str
    is_error: bool = False


@dataclass(frozen=True)
class Ended:
    """The conversation is over: ``user`` when this side ended it, else what the platform said."""

    reason: str


SessionEvent = Started | UserTurn | AgentText | AgentTurn | AgentCutShort | ToolCalled | ToolAnswered | Ended
