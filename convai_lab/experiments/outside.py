"""Outside: how does a real model speak in a world where time is virtual?

Under a loop whose time jumps, a vendor's answer would be late before it began. So it is heard to its end in real time,
while the world stands still, and is then told again in the world, every piece after as long as it took.
"""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Callable
from contextvars import ContextVar
from typing import NamedTuple

from convai_lab.clock import VirtualClock
from convai_lab.providers.base import LLMEvent

WORLD_CLOCK: ContextVar[VirtualClock | None] = ContextVar("WORLD_CLOCK", default=None)
"""The clock of the trial that is being held here, if time is virtual in it."""


class Heard(NamedTuple):
    """An answer as it was heard: each event with its second, and the error that ended it."""

    events: list[tuple[float, LLMEvent]]
    secs: float
    error: Exception | None


async def from_outside(world: VirtualClock, stream: Callable[[], AsyncIterator[LLMEvent]]) -> AsyncIterator[LLMEvent]:
    """Yield the events of `stream()`, which runs in real time, at their times in this world."""
    heard = await world.outside(lambda: _heard(stream), took=0.0)
    now = 0.0
    for at, event in heard.events:
        await world.sleep(at - now)
        now = at
        yield event
    await world.sleep(max(0.0, heard.secs - now))
    if heard.error is not None:
        raise heard.error


async def _heard(stream: Callable[[], AsyncIterator[LLMEvent]]) -> Heard:
    WORLD_CLOCK.set(None)
    events: list[tuple[float, LLMEvent]] = []
    started, error = time.perf_counter(), None
    try:
        async for event in stream():
            events.append((time.perf_counter() - started, event))
    except Exception as failed:  # told again in the world, after what came before it
        error = failed
    return Heard(events, time.perf_counter() - started, error)
