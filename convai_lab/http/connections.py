"""Connections: how long may a request wait for a connection, and how long may connecting take?

aiohttp counts both as one time, leaves looking the name up out of its connect time-out, and cancels whoever waits
when the pool is closed. Here they are httpx's two time-outs, and its exceptions.
"""

from __future__ import annotations

import asyncio
import functools
from contextvars import ContextVar
from typing import Any, NamedTuple

import aiohttp
import aiohttp.abc
import httpx
from aiohttp.client_proto import ResponseHandler

KEEPALIVE_SECS = 60.0
DNS_CACHE_SECS = 10


class TimeLimits(NamedTuple):
    """httpx's four time-outs of one request, in seconds; None means no limit."""

    pool: float | None = None
    connect: float | None = None
    read: float | None = None
    write: float | None = None

    def total(self) -> float | None:
        """Return the longest that a request sent in one piece may wait for its answer to begin."""
        limits = [limit for limit in self if limit is not None]
        return sum(limits) if len(limits) == len(self) else None


current_limits: ContextVar[TimeLimits] = ContextVar("current_limits", default=TimeLimits())  # noqa: B039 - a tuple
"""The limits of the request that this task is making."""


class Handler(ResponseHandler):
    """Handles one connection, and goes on reading only where it had stopped.

    aiohttp tells it to go on after every chunk that is read, and it would look for more in the parser each time: for a
    streamed answer that is as much work as reading it.
    """

    def resume_reading(self, *args: Any, **options: Any) -> None:
        """Go on reading after `pause_reading`."""
        if self._reading_paused:
            super().resume_reading(*args, **options)


class Connections(aiohttp.TCPConnector):
    """A pool of connections that tells waiting and connecting apart.

    It overrides two methods that aiohttp calls at the right moments; the tests of the two time-outs notice if a
    later aiohttp does not. What handles each connection is ours too.
    """

    def __init__(self, *, max_connections: int, resolver: aiohttp.abc.AbstractResolver | None) -> None:
        super().__init__(
            limit=max_connections,
            keepalive_timeout=KEEPALIVE_SECS,
            resolver=resolver,
            use_dns_cache=resolver is None,
            ttl_dns_cache=DNS_CACHE_SECS,
        )
        self._factory = functools.partial(Handler, loop=self._loop)  # type: ignore[assignment] # one is the other

    async def _wait_for_available_connection(self, *args: Any) -> None:
        try:
            async with asyncio.timeout(current_limits.get().pool):
                await super()._wait_for_available_connection(*args)
        except TimeoutError as error:
            raise httpx.PoolTimeout(f"all {self.limit} connections are in use") from error
        except asyncio.CancelledError:
            task = asyncio.current_task()
            if self.closed and task is not None and not task.cancelling():
                raise httpx.PoolTimeout("the client was closed") from None
            raise

    async def _create_connection(self, *args: Any) -> Any:
        limit = asyncio.timeout(current_limits.get().connect)
        try:
            async with limit:
                return await super()._create_connection(*args)
        except TimeoutError as error:
            raise httpx.ConnectTimeout("no connection in time") from error

    def drop(self) -> None:
        """Close everything at once, also when the event loop can no longer do it politely."""
        self._close(abort_ssl=True)
