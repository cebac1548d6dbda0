"""Socket wire: one conversation socket as two mailboxes, what comes in and what goes out."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection
from typing import NamedTuple

from starlette.websockets import WebSocket, WebSocketDisconnect, WebSocketState

from convai_lab.clock import Clock
from convai_lab.server import socket_events as events
from convai_lab.server.client_frames import AudioChunk, read_frame
from convai_lab.server.limits import (
    AUDIO_FRAMES_AT_ONCE,
    AUDIO_FRAMES_PER_SEC,
    FRAMES_AT_ONCE,
    FRAMES_PER_SEC,
    Bucket,
)
from convai_lab.server.live_frames import UserSound
from convai_lab.server.socket_events import REFUSED, RESTARTING, Event, Problem

STOPPED = "the local platform was stopped"


class Gone(NamedTuple):
    """The client closed the connection, or lost it."""

    code: int

    @property
    def was_stopped(self) -> bool:
        """Say whether it was we who stopped."""
        return self.code == RESTARTING

    @property
    def reason(self) -> str:
        """Say why the connection ended, for the record of the conversation."""
        if self.was_stopped:
            return STOPPED
        return "client ended the conversation" if self.code == events.NORMAL else "client disconnected"


class Outbox:
    """Writes events to the client, those it wants; after the connection is gone it writes nothing."""

    def __init__(self, socket: WebSocket) -> None:
        self._socket, self._writing = socket, asyncio.Lock()
        self._client_events: Collection[str] = ()
        self._text_only = False

    def prefer(self, client_events: Collection[str], *, text_only: bool) -> None:
        """Say which events the client wants."""
        self._client_events, self._text_only = frozenset(client_events), text_only

    async def send(self, event: Event) -> None:
        """Send one event, unless the client does not want its type."""
        if self.wants(event["type"]):
            await self._send(events.as_text(event))

    def wants(self, event_type: str) -> bool:
        """Say whether the client gets events of this type."""
        return events.is_wanted(event_type, self._client_events, text_only=self._text_only)

    async def close(self, code: int, reason: str = "") -> None:
        """Close the connection; harmless when it is closed already."""
        async with self._writing:
            if self._is_open():
                try:
                    await self._socket.close(code, events.close_reason(reason))
                except (WebSocketDisconnect, RuntimeError):
                    return  # the client was faster

    async def fail(self, problem: Problem) -> None:
        """Tell the client what is wrong, then close."""
        await self.send(events.error(problem))
        await self.close(problem.code, problem.message)

    async def _send(self, text: str) -> None:
        async with self._writing:
            if self._is_open():
                try:
                    await self._socket.send_text(text)
                except (WebSocketDisconnect, RuntimeError):
                    return  # the inbox tells the session that the client is gone

    def _is_open(self) -> bool:
        return self._socket.client_state == self._socket.application_state == WebSocketState.CONNECTED


class Inbox:
    """Reads frames from the client until it is gone or misbehaves; `put` adds what the session tells itself."""

    def __init__(
        self, socket: WebSocket, clock: Clock, *, read: Callable[[str | None], object | None] = read_frame
    ) -> None:
        self._socket, self._read_frame = socket, read
        self._mail: asyncio.Queue[object] = asyncio.Queue()
        self._rate = Bucket(FRAMES_PER_SEC, FRAMES_AT_ONCE, clock)
        self._audio_rate = Bucket(AUDIO_FRAMES_PER_SEC, AUDIO_FRAMES_AT_ONCE, clock)
        self._task: asyncio.Task[None] | None = None

    def open(self) -> None:
        """Start to read; `close` ends it."""
        self._task = asyncio.get_running_loop().create_task(self._read())

    async def close(self) -> None:
        """Stop reading."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def get(self) -> object:
        """Return the next `Frame`, `Gone`, `Problem`, or what was `put`."""
        return await self._mail.get()

    def put(self, message: object) -> None:
        """Add a message of the session's own."""
        self._mail.put_nowait(message)

    async def _read(self) -> None:
        """Read on until there is nothing more to expect from this client."""
        while not isinstance(message := await self._next(), Gone | Problem):
            if message is not None:
                self.put(message)
        self.put(message)

    async def _next(self) -> object | None:
        try:
            message = await self._socket.receive()
        except (WebSocketDisconnect, RuntimeError):
            return Gone(1006)
        if message["type"] == "websocket.disconnect":
            return Gone(message.get("code") or 1005)
        try:
            frame = self._read_frame(message.get("text"))
        except Problem as problem:
            return problem
        is_audio = isinstance(frame, AudioChunk | UserSound)
        rate, what = (self._audio_rate, "audio frames") if is_audio else (self._rate, "frames")
        return frame if rate.take() else Problem(REFUSED, "rate_limit", f"too many {what}: send fewer, larger ones")
