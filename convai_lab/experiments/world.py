"""World: how does a conversation with a clock of its own go on beside everything else?

Its loop runs on another thread, and a thread cannot be cancelled: whoever is interrupted has to tell the conversation,
and waits until it has hung up. Otherwise it would go on asking, and paying, with nobody there to hear of it.
"""

from __future__ import annotations

import asyncio
import contextvars
import threading
from collections.abc import Callable, Coroutine
from concurrent.futures import Executor
from typing import Any, Generic, TypeVar

from convai_lab.clock import VirtualClock

T = TypeVar("T")


async def in_own_world(
    clock: VirtualClock, hold: Callable[[], Coroutine[Any, Any, T]], threads: Executor | None = None
) -> T:
    """Return what `hold()` comes to, which runs on a thread and on `clock`; cancelled, it has ended when this does."""
    world, here = _World(clock, hold), contextvars.copy_context()
    running = asyncio.get_running_loop().run_in_executor(threads, here.run, world.run)
    try:
        return await asyncio.shield(running)
    except asyncio.CancelledError:
        if world.cancel():
            await asyncio.gather(running, return_exceptions=True)
        else:
            running.cancel()
        raise


class _World(Generic[T]):
    """A conversation on a thread, which others may cancel."""

    def __init__(self, clock: VirtualClock, hold: Callable[[], Coroutine[Any, Any, T]]) -> None:
        self._clock, self._hold = clock, hold
        self._lock = threading.Lock()
        self._is_cancelled = False
        self._task: asyncio.Task[Any] | None = None

    def run(self) -> T:
        return self._clock.run(self._held())

    def cancel(self) -> bool:
        """Let it end where it is; false when it has not begun, and now never will, or is over."""
        with self._lock:
            self._is_cancelled = True
            if self._task is None:
                return False
            self._task.get_loop().call_soon_threadsafe(self._task.cancel)
            return True

    async def _held(self) -> T:
        with self._lock:
            if self._is_cancelled:
                raise asyncio.CancelledError
            self._task = asyncio.current_task()
        try:
            return await self._hold()
        finally:
            with self._lock:  # its loop is about to close
                self._task = None
