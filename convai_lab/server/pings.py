"""Pings: is the client still there, and how long does a round trip take?"""

from __future__ import annotations

import asyncio
from types import TracebackType

from convai_lab.clock import Clock
from convai_lab.server import socket_events as events
from convai_lab.server.socket_wire import Outbox


class Pings:
    """Sends a ping now and then while it is entered; each one tells how long the last round trip took."""

    def __init__(self, outbox: Outbox, clock: Clock, *, every_secs: float) -> None:
        self._outbox, self._clock, self._every_secs = outbox, clock, every_secs
        self._number = 0
        self._sent_at: float | None = None
        self._round_trip_ms: int | None = None
        self._task: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Pings:
        self._task = asyncio.get_running_loop().create_task(self._send())
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    def answered(self, number: int) -> None:
        """Take a pong; one that is late, repeated or invented says nothing."""
        if number == self._number and self._sent_at is not None:
            self._round_trip_ms = max(1, round((self._clock.now() - self._sent_at) * 1000))
            self._sent_at = None

    async def _send(self) -> None:
        while True:
            self._number += 1
            self._sent_at = self._clock.now()
            await self._outbox.send(events.ping(self._number, self._round_trip_ms))
            await self._clock.sleep(self._every_secs)
