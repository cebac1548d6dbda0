"""Precedence: which request is next, when many conversations wait for one vendor?

In turns one of the conversation that began first, and the one that has waited longest. If all conversations went on in
step, all would be finished together at the end, and whoever interrupts a run in its first minute would keep nothing of
what was paid for. If only the first went on, the last would be left alone at the end, and the vendor idle.
"""

from __future__ import annotations

import asyncio
from contextvars import ContextVar

BEGUN: ContextVar[int] = ContextVar("BEGUN", default=0)
"""How many trials had begun when this one did, itself included; 0 outside of trials."""


class Line:
    """Requests that wait, each with the number of the trial that it belongs to, in the order in which they came."""

    def __init__(self) -> None:
        self._turns: dict[asyncio.Future[None], int] = {}
        self._is_for_the_longest = False

    def __bool__(self) -> bool:
        return bool(self._turns)

    def join(self, turn: asyncio.Future[None]) -> None:
        """Wait, as a request of the trial that is being held here."""
        self._turns[turn] = BEGUN.get()

    def call(self) -> asyncio.Future[None]:
        """Return who is next, and waits no more."""
        turns = self._turns
        chosen = next(iter(turns)) if self._is_for_the_longest else min(turns, key=turns.__getitem__)
        self._is_for_the_longest = not self._is_for_the_longest
        del turns[chosen]
        return chosen

    def quit(self, turn: asyncio.Future[None]) -> bool:
        """Wait no more; false when it was called already."""
        return self._turns.pop(turn, None) is not None
