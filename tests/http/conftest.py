"""Raw socket servers that misbehave exactly as a test says."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field

import pytest

Step = bytes | str
"""Bytes are sent. ``flush`` lets the client see them, ``reset`` breaks the connection, ``hang`` waits for ever."""


@dataclass
class RawServer:
    """What a test server was asked, and where it listens."""

    port: int = 0
    requests: list[bytes] = field(default_factory=list)
    connections: int = 0
    closed_by_client: asyncio.Event = field(default_factory=asyncio.Event)
    reached: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"


Serve = Callable[..., Awaitable[RawServer]]


@pytest.fixture
async def serve() -> AsyncIterator[Serve]:
    """Start servers that play the given steps after each request; they end with the test."""
    async with contextlib.AsyncExitStack() as stack:

        async def start(*steps: Step, keep_open: bool = False, read: bool = True, host: str = "127.0.0.1") -> RawServer:
            state = RawServer()
            tasks: set[asyncio.Task[None]] = set()

            def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
                state.connections += 1
                task = asyncio.ensure_future(_play(state, steps, reader, writer, keep_open=keep_open, read=read))
                tasks.add(task)

            server = await asyncio.start_server(accept, host, 0)
            state.port = server.sockets[0].getsockname()[1]
            stack.push_async_callback(_stop, server, tasks)
            return state

        yield start


async def _play(
    state: RawServer,
    steps: tuple[Step, ...],
    reader: asyncio.StreamReader,
    writer: asyncio.StreamWriter,
    *,
    keep_open: bool,
    read: bool,
) -> None:
    with contextlib.suppress(OSError, asyncio.IncompleteReadError):
        try:
            while read:
                head = await reader.readuntil(b"\r\n\r\n")
                state.requests.append(head + await _body(reader, head))
                for step in steps:
                    await _do(state, step, reader, writer)
                if not keep_open:
                    break
            else:
                await asyncio.Event().wait()
        finally:
            writer.close()


async def _body(reader: asyncio.StreamReader, head: bytes) -> bytes:
    for line in head.lower().split(b"\r\n"):
        if line.startswith(b"content-length:"):
            return await reader.readexactly(int(line.partition(b":")[2]))
        if line == b"transfer-encoding: chunked":
            return await reader.readuntil(b"0\r\n\r\n")
    return b""


async def _do(state: RawServer, step: Step, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    if isinstance(step, bytes):
        writer.write(step)
        await writer.drain()
    elif step == "reset":
        raw = writer.get_extra_info("socket")
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        writer.transport.abort()
    elif step == "flush":
        for _ in range(20):  # client and server share one event loop
            await asyncio.sleep(0)
    elif step == "hang":
        state.reached.set()
        if not reader.at_eof() and not await reader.read():
            state.closed_by_client.set()


async def _stop(server: asyncio.Server, tasks: set[asyncio.Task[None]]) -> None:
    server.close()
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
