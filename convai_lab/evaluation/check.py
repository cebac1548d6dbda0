"""Check: what does one check look at, and what does it answer?"""

from __future__ import annotations

import functools
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

from convai_lab.conversations.conversation import Conversation
from convai_lab.conversations.turn import ToolCall, Turn

TYPOGRAPHIC = str.maketrans("‘’‚‛“”„«»‐‑‒–—\u2212\u00a0\u202f", '\'\'\'\'"""""------  ')
"""Quotes, dashes and spaces that a model may write in several ways and a listener hears as one."""

HISTORY = "history"
"""Marks a turn that was given at the start and not spoken in this conversation; it answers for nothing."""


@dataclass(frozen=True)
class CheckResult:
    """How one check came out; `passed` of None means that it cannot be known, which is never a success."""

    passed: bool | None
    name: str
    why: str
    kind: str = ""


class Found(NamedTuple):
    """What a check found: whether it holds, or None when that cannot be known, and why."""

    passed: bool | None
    why: str


class Check(Protocol):
    """Something that must hold at the end of a conversation, found out without a model."""

    @property
    def kind(self) -> str:
        """The key of the check in a scenario file."""

    @property
    def name(self) -> str:
        """What must hold, in a few words."""

    def run(self, scene: Scene) -> Found:
        """Find out whether it holds."""


class Scene:
    """A finished conversation as checks look at it; texts are prepared once for all of them."""

    def __init__(
        self, conversation: Conversation, tool_state: Mapping[str, Any] | None = None, *, has_real_times: bool = True
    ) -> None:
        self.conversation, self.tool_state, self.has_real_times = conversation, tool_state, has_real_times

    @functools.cached_property
    def agent_turns(self) -> tuple[Turn, ...]:
        """The turns of the agent that belong to this conversation."""
        return tuple(t for t in self.conversation.turns if t.role == "agent" and HISTORY not in t.marks)

    @functools.cached_property
    def heard(self) -> tuple[str, ...]:
        """What the agent said and the user can have heard, turn by turn, with plain quotes, dashes and spaces."""
        return tuple(plain(t.text if t.text_heard is None else t.text_heard) for t in self.agent_turns if _is_known(t))

    @functools.cached_property
    def perhaps_heard(self) -> tuple[str, ...]:
        """What the agent was saying when it was interrupted, where nobody knows how far it came."""
        return tuple(plain(turn.text) for turn in self.agent_turns if not _is_known(turn))

    @functools.cached_property
    def calls(self) -> tuple[ToolCall, ...]:
        """The tool calls in order."""
        return tuple(self._calls())

    def _calls(self) -> Iterator[ToolCall]:
        for turn in self.agent_turns:
            yield from turn.tool_calls


def plain(text: str) -> str:
    """Return a text as it is compared: typographic signs made plain, white space as single spaces."""
    return " ".join((text if text.isascii() else text.translate(TYPOGRAPHIC)).split())


def _is_known(turn: Turn) -> bool:
    return turn.text_heard is not None or not turn.interrupted
