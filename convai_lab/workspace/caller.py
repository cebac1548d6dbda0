"""Caller: on which thread do the user's own functions run while a conversation goes on?

A blocking call runs them on the thread that waits; an awaited one runs event callbacks on its own loop and tools in
a worker thread. Between two blocking calls of a session nobody waits: tools then run in a worker thread, and events
are kept for the next call.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
from collections.abc import Callable
from typing import Protocol, TypeVar

from convai_lab.background import MainThreadCalls
from convai_lab.workspace.events import SessionEvent

T = TypeVar("T")

OnEvent = Callable[[SessionEvent], object]


class Caller(Protocol):
    """Where callbacks and tools run."""

    async def tell(self, event: SessionEvent) -> None:
        """Give an event to the user's callback, in order, and wait until it is done."""

    async def work(self, function: Callable[[], T]) -> T:
        """Run a tool's function and return its result."""


class BlockingCaller:
    """Runs everything on the thread that waits in a blocking call."""

    def __init__(self, on_event: OnEvent | None = None) -> None:
        self._on_event = on_event
        self._calls: MainThreadCalls | None = None
        self._kept: list[SessionEvent] = []

    def waiting(self) -> MainThreadCalls:
        """Start a blocking call: the thread will serve what this returns."""
        self._calls = MainThreadCalls()
        return self._calls

    def gone(self) -> None:
        """End the blocking call: nobody serves until the next one."""
        self._calls = None

    async def tell(self, event: SessionEvent) -> None:
        """Call the callback on the waiting thread, or keep the event until somebody waits."""
        if self._on_event is None:
            return
        self._kept.append(event)
        while self._kept and self._calls is not None:
            await self._calls.call(self._next(self._on_event, self._kept.pop(0)))

    async def work(self, function: Callable[[], T]) -> T:
        """Run on the waiting thread; in a worker thread when nobody waits."""
        if self._calls is None:
            return await asyncio.to_thread(function)
        return await self._calls.call(function)

    @staticmethod
    def _next(on_event: OnEvent, event: SessionEvent) -> Callable[[], object]:
        return lambda: on_event(event)


class AsyncCaller:
    """Runs callbacks on the loop of whoever awaits, and tools in worker threads."""

    def __init__(self, loop: asyncio.AbstractEventLoop, on_event: OnEvent | None = None) -> None:
        self._loop, self._on_event = loop, on_event

    async def tell(self, event: SessionEvent) -> None:
        """Call the callback on the caller's loop and wait for it."""
        on_event = self._on_event
        if on_event is None:
            return
        done: concurrent.futures.Future[None] = concurrent.futures.Future()

        def call() -> None:
            try:
                on_event(event)
            except Exception as error:
                done.set_exception(error)
            else:
                done.set_result(None)

        self._loop.call_soon_threadsafe(call)
        await asyncio.wrap_future(done)

    async def work(self, function: Callable[[], T]) -> T:
        """Run in a worker thread."""
        return await asyncio.to_thread(function)
