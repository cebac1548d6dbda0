"""Record: how does a conversation stay the same in memory and on disk, and what time is it in it?"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Mapping
from typing import Any, Protocol

from convai_lab.clock import Clock
from convai_lab.conversations.conversation import Conversation
from convai_lab.conversations.turn import Turn

OWN = "convai_lab"
"""The key in `extra` under which the platform's own additions stand."""

PASSES_TO_ASK = 3
"""So often the event loop runs until a request on a kept connection has left: the model thinks while we write."""


class Recorder(Protocol):
    """Where a conversation is kept; a `ConversationStore` is one."""

    def add_turn(self, conversation_id: str, turn: Turn, *, index: int) -> None:
        """Keep a new turn; it is safe when this returns."""

    def replace_turn(self, conversation_id: str, index: int, turn: Turn) -> None:
        """Keep a turn that changed after it was added: what was heard of it, what was measured later."""

    def update(self, conversation: Conversation) -> None:
        """Keep everything but the turns."""


class Record:
    """The conversation so far, written to the recorder before anybody sees a change of it."""

    def __init__(self, conversation: Conversation, clock: Clock, recorder: Recorder | None) -> None:
        if conversation.started_at is None:
            conversation = conversation.with_changes(started_at=clock.wall())
        self.conversation = conversation
        self._clock, self._recorder = clock, recorder
        self._unwritten: Turn | None = None
        self._opened = clock.now()
        self._zero = self._opened - _last_instant(conversation)

    def secs(self) -> float:
        """Return seconds since the conversation started; the pause before it was resumed does not count."""
        return round(self._clock.now() - self._zero, 6)

    def secs_open(self) -> float:
        """Return seconds since this session opened or resumed the conversation."""
        return self._clock.now() - self._opened

    def secs_at(self, instant: float) -> float:
        """Return an instant of the clock as seconds since the conversation started."""
        return round(instant - self._zero, 6)

    def instant_at(self, secs: float) -> float:
        """Return a moment of the conversation as an instant of the clock."""
        return self._zero + secs

    def wall_at(self, secs: float) -> float:
        """Return a moment of the conversation as seconds since 1970."""
        return self._clock.wall() - (self.secs() - secs)

    def add(self, turn: Turn) -> Turn:
        """Keep a new turn."""
        self.settle()
        if self._recorder is not None:
            self._recorder.add_turn(self.conversation.id, turn, index=len(self.conversation))
        self.conversation = self.conversation.with_changes(turns=(*self.conversation.turns, turn))
        return turn

    def add_soon(self, turn: Turn) -> Turn:
        """Keep a new turn that nobody was told of: it is written when the request that it leads to has left.

        `settle`, and every other change, writes it before. There must be a running event loop.
        """
        self.settle()
        self.conversation = self.conversation.with_changes(turns=(*self.conversation.turns, turn))
        self._unwritten = turn
        self._write_after(PASSES_TO_ASK)
        return turn

    def settle(self) -> None:
        """Write the newest turn if it is not written yet; when that fails, it is no part of the conversation."""
        try:
            self._write()
        except Exception:
            self._unwritten = None
            self.conversation = self.conversation.with_changes(turns=self.conversation.turns[:-1])
            raise

    def replace(self, index: int, turn: Turn) -> Turn:
        """Keep a turn that changed."""
        self.settle()
        if self._recorder is not None:
            self._recorder.replace_turn(self.conversation.id, index, turn)
        turns = self.conversation.turns
        self.conversation = self.conversation.with_changes(turns=(*turns[:index], turn, *turns[index + 1 :]))
        return turn

    def change(self, **header: Any) -> None:
        """Change the conversation itself; nothing is written when nothing differs."""
        changed = {name: value for name, value in header.items() if getattr(self.conversation, name) != value}
        if not changed:
            return
        self.settle()
        conversation = self.conversation.with_changes(**changed)
        if self._recorder is not None:
            self._recorder.update(conversation)
        self.conversation = conversation

    def _write(self) -> None:
        if self._unwritten is not None and self._recorder is not None:
            self._recorder.add_turn(self.conversation.id, self._unwritten, index=len(self.conversation) - 1)
        self._unwritten = None

    def _write_after(self, passes: int) -> None:
        if passes:
            asyncio.get_running_loop().call_soon(self._write_after, passes - 1)
            return
        with contextlib.suppress(Exception):  # `settle` tries again, and tells
            self._write()


def own(extra: Mapping[str, Any], key: str, default: Any) -> Any:
    """Return what the platform keeps under `key` in the `extra` of a turn or conversation."""
    kept = extra.get(OWN)
    return kept.get(key, default) if isinstance(kept, Mapping) else default


def with_own(extra: Mapping[str, Any], key: str, value: Any) -> dict[str, Any]:
    """Return `extra` with `value` kept under `key`; an empty value removes it."""
    kept = {name: known for name, known in (extra.get(OWN) or {}).items() if name != key}
    kept |= {key: list(value)} if value else {}
    rest = {name: known for name, known in extra.items() if name != OWN}
    return {**rest, OWN: kept} if kept else rest


def _last_instant(conversation: Conversation) -> float:
    ends = [turn.end_secs for turn in conversation.turns if turn.end_secs is not None]
    return max([0.0, *ends[-4:], conversation.duration_secs or 0.0])
