"""Events: what does a voice session tell while it runs?"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from convai_lab.conversations.turn import ToolCall, ToolResult

SessionState = Literal["connecting", "listening", "thinking", "speaking", "ended"]
SESSION_STATES: tuple[SessionState, ...] = ("connecting", "listening", "thinking", "speaking", "ended")


@dataclass(frozen=True, slots=True)
class UserPartial:
    """What the user seems to be saying; later ones replace it."""

    text: str


@dataclass(frozen=True, slots=True)
class UserFinal:
    """What the user said; `confidence` is from 0 to 1, or None when the recogniser has none."""

    text: str
    confidence: float | None = None


@dataclass(frozen=True, slots=True)
class AgentText:
    """A piece of the agent's reply as it is being written; all pieces of a turn together are its text."""

    text: str
    turn_id: int


@dataclass(frozen=True, slots=True)
class AgentTurn:
    """The whole text of an agent's turn."""

    text: str
    turn_id: int


@dataclass(frozen=True, slots=True)
class ToolStarted:
    """The agent called a tool."""

    call: ToolCall


@dataclass(frozen=True, slots=True)
class ToolFinished:
    """A tool answered, or failed."""

    result: ToolResult


@dataclass(frozen=True, slots=True)
class Interrupted:
    """The user cut the agent's turn short."""

    turn_id: int


@dataclass(frozen=True, slots=True)
class AgentCorrected:
    """Only `heard` of the agent's `original` text reached the user."""

    original: str
    heard: str
    turn_id: int


@dataclass(frozen=True, slots=True)
class VadScore:
    """How likely the newest audio of the user is speech, from 0 to 1."""

    score: float


@dataclass(frozen=True, slots=True)
class StateChanged:
    """The session is doing something else now."""

    state: SessionState


@dataclass(frozen=True, slots=True)
class SessionEnded:
    """The session is over: why, and who ended it."""

    reason: str
    by: str


VoiceEvent = (
    UserPartial
    | UserFinal
    | AgentText
    | AgentTurn
    | ToolStarted
    | ToolFinished
    | Interrupted
    | AgentCorrected
    | VadScore
    | StateChanged
    | SessionEnded
)
"""Everything a session tells."""
