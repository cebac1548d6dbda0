"""Trial clock: what time is it in a trial that may have to wait for our own limits?

Waiting for our turn at a vendor is our doing and not the model's: meanwhile this clock stands still, so that no latency
shows it and no time-out counts it. Every event of every stream sets a time-out, so they are not timers of the event
loop, which cost a tenth of a trial, but are looked at together, a few times a second.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Iterator
from contextvars import ContextVar
from typing import Any
from weakref import WeakKeyDictionary

from convai_lab.clock import SystemClock

TICK_SECS = 0.1
SHORT_SECS = 2.0
"""Time-outs shorter than this have a timer of their own."""


class TrialClock(SystemClock):
    """A clock that stands still while a trial waits for our own limits."""

    __slots__ = ("_waited", "_watch", "is_waiting")

    def __init__(self) -> None:
        self._waited = 0.0
        self.is_waiting = False
        self._watch = _watch()

    def now(self) -> float:
        """Return seconds on a monotonic scale, without what was waited."""
        return time.perf_counter() - self._waited

    def timeout(self, secs: float | None) -> contextlib.AbstractAsyncContextManager[Any]:
        """Raise TimeoutError in the body if it takes longer than `secs` seconds, waits not counted."""
        return _TimeLimit(self, self._watch, secs)

    @contextlib.contextmanager
    def waiting(self, *, since: float | None = None) -> Iterator[None]:
        """Stand still in the body; `since` is an instant of this clock from which on it should have stood still."""
        began = time.perf_counter()
        early = 0.0 if since is None else max(0.0, self.now() - since)
        before, self.is_waiting = self.is_waiting, True
        try:
            yield
        finally:
            self._waited += early + time.perf_counter() - began
            self.is_waiting = before


TRIAL_CLOCK: ContextVar[TrialClock | None] = ContextVar("TRIAL_CLOCK", default=None)
"""The clock of the trial that is being held here, if time is real in it."""


class RequestClock(SystemClock):
    """A clock for requests that belong to no conversation, as a judge's: the time-out of each is on its own clock.

    Several may be made at the same time, and what one of them waits for our own limits is no time of another.
    """

    def timeout(self, secs: float | None) -> contextlib.AbstractAsyncContextManager[Any]:
        """Raise TimeoutError in the body if it takes longer than `secs` seconds, waits not counted."""
        return _on_its_own_clock(secs)


@contextlib.asynccontextmanager
async def _on_its_own_clock(secs: float | None) -> AsyncIterator[None]:
    clock = TrialClock()
    before = TRIAL_CLOCK.set(clock)
    try:
        async with clock.timeout(secs):
            yield
    finally:
        TRIAL_CLOCK.reset(before)


class _TimeLimit:
    """A time-out on a clock that may stand still; otherwise as `asyncio.timeout`."""

    __slots__ = ("_cancelling", "_clock", "_deadline", "_fired", "_is_short", "_task", "_timer", "_watch")

    def __init__(self, clock: TrialClock, watch: _Watch, secs: float | None) -> None:
        self._clock, self._watch = clock, watch
        self._deadline = float("inf") if secs is None else clock.now() + secs
        self._is_short = secs is not None and secs < SHORT_SECS
        self._fired = False
        self._timer: asyncio.TimerHandle | None = None

    async def __aenter__(self) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._task, self._cancelling = task, task.cancelling()
        if self._is_short:
            self._timed()
        else:
            self._watch.add(self)

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, _: object) -> None:
        if self._timer is not None:
            self._timer.cancel()
        else:
            self._watch.limits.discard(self)
        if self._fired and self._task.uncancel() <= self._cancelling and kind is asyncio.CancelledError:
            raise TimeoutError from error

    def look(self) -> None:
        """Cancel the body when its time is over."""
        if not self._fired and not self._clock.is_waiting and self._clock.now() >= self._deadline:
            self._fired = True
            self._task.cancel()

    def _timed(self) -> None:
        """Look now, and again when the time should be over."""
        self.look()
        if not self._fired:
            left = max(0.001, self._deadline - self._clock.now())
            self._timer = asyncio.get_running_loop().call_later(left, self._timed)


class _Watch:
    """Looks at all time-outs of one event loop, as long as there are any."""

    def __init__(self) -> None:
        self.limits: set[_TimeLimit] = set()
        self._is_looking = False

    def add(self, limit: _TimeLimit) -> None:
        self.limits.add(limit)
        if not self._is_looking:
            self._is_looking = True
            asyncio.get_running_loop().call_later(TICK_SECS, self._look)

    def _look(self) -> None:
        for limit in list(self.limits):
            limit.look()
        self._is_looking = bool(self.limits)
        if self._is_looking:
            asyncio.get_running_loop().call_later(TICK_SECS, self._look)


_watches: WeakKeyDictionary[asyncio.AbstractEventLoop, _Watch] = WeakKeyDictionary()


def _watch() -> _Watch:
    loop = asyncio.get_running_loop()
    if (found := _watches.get(loop)) is None:
        found = _watches[loop] = _Watch()
    return found
