"""Fake vendors: small servers that speak OpenAI's, Anthropic's and Gemini's dialect, from a script, with faults.

They listen on a free loopback port in a thread of their own, and need no network and no key:

    with fake_openai(["Hello!"]) as server:
        ...  # OPENAI_BASE_URL = server.base_url
        assert server.requests[0].body["messages"][-1]["content"] == "Hi"
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from typing import Any

from convai_lab.testing.fake_llm import Reply, as_reply, call
from convai_lab.testing.gemini_dialect import GeminiDialect
from convai_lab.testing.loopback_http import head, read_request, send, send_json
from convai_lab.testing.vendor_dialects import AnthropicDialect, Asked, Dialect, OpenAIDialect, WireEvent
from convai_lab.testing.vendor_script import (
    BadKey,
    Hang,
    HangUp,
    NoSuchModel,
    Raw,
    Received,
    Sent,
    ServerScripted,
    Status,
)

__all__ = [
    "BadKey",
    "FakeVendor",
    "Hang",
    "HangUp",
    "NoSuchModel",
    "Raw",
    "Received",
    "Reply",
    "Sent",
    "Status",
    "call",
    "fake_anthropic",
    "fake_gemini",
    "fake_openai",
]

LONGEST_HEAD_BYTES = 1 << 20


class _Cut(Exception):
    """The script wants the connection to be reset here."""


class FakeVendor:
    """A vendor's server on loopback; use it in a ``with`` block.

    `requests` holds every request so far (also those for the list of models), `base_url` is what the vendor's base
    URL setting must be, `key` any key will do. `left_early` counts clients that closed before the answer's end.
    """

    def __init__(
        self,
        dialect: Dialect,
        replies: Sequence[ServerScripted] | Callable[[Received], ServerScripted] = (),
        *,
        models: Sequence[str] = ("fake-model",),
        port: int = 0,
    ) -> None:
        self.dialect, self.models, self.key = dialect, tuple(models), "fake-key-for-tests"
        self.requests: list[Received] = []
        self.connections = 0
        self.left_early = 0
        self.base_url = ""
        self._port = port
        self._replies = replies if callable(replies) else list(replies)
        self._asked = 0
        self._left = threading.Condition()

    def say(self, *replies: ServerScripted) -> None:
        """Add replies to the end of the script."""
        if callable(self._replies):
            raise TypeError("this server answers from a function; it has no script to add to")
        self._replies.extend(replies)

    @property
    def settings(self) -> dict[str, str]:
        """Return the environment variables (key and base URL) that point the vendor's adapter here."""
        key, url = self.dialect.variables
        return {key: self.key, url: self.base_url}

    def wait_until_left(self, clients: int = 1, *, timeout_secs: float = 5) -> bool:
        """Wait until that many clients have closed before the end of their answer; false when they did not."""
        with self._left:
            return self._left.wait_for(lambda: self.left_early >= clients, timeout_secs)

    def __enter__(self) -> FakeVendor:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name=f"fake-{self.dialect.name}", daemon=True)
        self._thread.start()
        self._tasks: set[asyncio.Task[None]] = set()
        self._server = asyncio.run_coroutine_threadsafe(self._listen(), self._loop).result(10)
        self._port = self._server.sockets[0].getsockname()[1]
        self.base_url = f"http://127.0.0.1:{self._port}{self.dialect.prefix}"
        return self

    def __exit__(self, *_: object) -> None:
        asyncio.run_coroutine_threadsafe(self._close(), self._loop).result(10)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
        self._loop.close()

    async def _listen(self) -> asyncio.Server:
        return await asyncio.start_server(self._accept, "127.0.0.1", self._port, limit=LONGEST_HEAD_BYTES)

    async def _close(self) -> None:
        self._server.close()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        self.connections += 1
        try:
            while (received := await read_request(reader)) is not None:
                if not await self._answer(received, reader, writer):
                    break
        except (_Cut, ConnectionError):
            writer.transport.abort()
        except asyncio.CancelledError:
            pass
        finally:
            self._tasks.discard(task)
            writer.close()

    async def _answer(self, received: Received, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        self.requests.append(received)
        if received.method == "GET" and received.path.rstrip("/").endswith("/models"):
            return await send_json(writer, 200, self.dialect.models(self.models))
        body = received.body if isinstance(received.body, dict) else {}
        asked = self.dialect.asked(received.path, body) if received.method == "POST" else None
        if asked is None:
            return await send_json(writer, 404, {"detail": f"no route {received.method} {received.path}"})
        scripted = self._next(received)
        match scripted:
            case Hang():
                await self._hang(reader)
                return False
            case HangUp():
                raise _Cut
            case Raw():
                return await send(writer, 200, scripted.body, content_type=scripted.content_type)
            case Status(body=bytes() as raw):
                return await send(writer, scripted.code, raw, headers=scripted.headers)
            case Status() | BadKey() | NoSuchModel():
                return await self._refuse(scripted, asked, writer)
            case Sent():
                return await self._stream(scripted, asked, reader, writer)
        return await self._stream(Sent(scripted), asked, reader, writer)

    def _next(self, received: Received) -> ServerScripted:
        self._asked += 1
        if callable(self._replies):
            return self._replies(received)
        if self._replies:
            return self._replies.pop(0)
        return Status(code=400, message=f"The script is used up: request {self._asked} has no reply left.")

    async def _refuse(
        self, scripted: Status | BadKey | NoSuchModel, asked: Asked, writer: asyncio.StreamWriter
    ) -> bool:
        match scripted:
            case Status(code=code, message=message, headers=headers):
                refusal = self.dialect.refusal(str(code), model=asked.model, message=message)
                return await send_json(writer, code, refusal.body, headers=headers)
            case BadKey(message):
                refusal = self.dialect.refusal("key", model=asked.model, message=message)
            case NoSuchModel():
                refusal = self.dialect.refusal("model", model=asked.model)
        return await send_json(writer, refusal.status, refusal.body)

    async def _stream(
        self, sent: Sent, asked: Asked, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> bool:
        reply = as_reply(sent.reply)
        if not asked.streamed:
            return await send_json(writer, 200, self.dialect.whole(reply, asked))
        writer.write(head(200, {"content-type": "text/event-stream", "transfer-encoding": "chunked"}))
        try:
            async for piece in self._pieces(sent, reply, asked, reader):
                writer.write(b"%x\r\n%b\r\n" % (len(piece), piece))
                await writer.drain()
                if reader.at_eof():
                    raise ConnectionResetError
        except ConnectionError:
            self._count_left()
            raise
        if sent.open_after_end:
            await self._hang(reader)
            return False
        writer.write(b"0\r\n\r\n")
        await writer.drain()
        return True

    async def _pieces(
        self, sent: Sent, reply: Reply, asked: Asked, reader: asyncio.StreamReader
    ) -> AsyncIterator[bytes]:
        events = list(self.dialect.events(reply, asked))
        if sent.bom:
            yield b"\xef\xbb\xbf"
        for i in range(len(events) + 1):
            if i == sent.cut_after:
                raise _Cut
            if i == sent.hang_after:
                await self._hang(reader)
                raise _Cut
            if i == sent.garbage_after:
                yield b'data: {"this is": not json\n\n'
            if i in (sent.stop_after, len(events)):
                return
            await asyncio.sleep(sent.pause_secs or (reply.piece_secs if i else reply.delay_secs))
            last = sent.no_final_newline and i == len(events) - 1
            for piece in _split(_encode(events[i], sent, last=last), sent.piece_bytes):
                yield piece

    async def _hang(self, reader: asyncio.StreamReader) -> None:
        """Wait until the client goes away."""
        while await reader.read(1 << 16):
            pass
        self._count_left()

    def _count_left(self) -> None:
        with self._left:
            self.left_early += 1
            self._left.notify_all()


def fake_openai(
    replies: Sequence[ServerScripted] | Callable[[Received], ServerScripted] = (), **options: Any
) -> FakeVendor:
    """Return a server that speaks OpenAI's chat completions (also those of Ollama, vLLM, LM Studio, llama.cpp)."""
    return FakeVendor(OpenAIDialect(), replies, **options)


def fake_anthropic(
    replies: Sequence[ServerScripted] | Callable[[Received], ServerScripted] = (), **options: Any
) -> FakeVendor:
    """Return a server that speaks Anthropic's messages."""
    return FakeVendor(AnthropicDialect(), replies, **options)


def fake_gemini(
    replies: Sequence[ServerScripted] | Callable[[Received], ServerScripted] = (), **options: Any
) -> FakeVendor:
    """Return a server that speaks Gemini's generateContent."""
    return FakeVendor(GeminiDialect(), replies, **options)


def _encode(event: WireEvent, sent: Sent, *, last: bool) -> bytes:
    lines = [f"event: {event.name}"] if event.name else []
    lines.append(f"data: {event.data}")
    comment = f": keep-alive{sent.newline}{sent.newline}" if sent.comments else ""
    ending = "" if last else sent.newline * 2
    return (comment + sent.newline.join(lines) + ending).encode()


def _split(data: bytes, piece_bytes: int | None) -> Iterator[bytes]:
    step = piece_bytes or len(data)
    for start in range(0, len(data), step):
        yield data[start : start + step]
