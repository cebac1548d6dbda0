"""Streaming: how do the bytes of a vendor's answer become events, and its failures our errors?"""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncGenerator, Callable, Iterator, Sequence
from typing import Any, NamedTuple

import httpx

from convai_lab.clock import Clock
from convai_lab.errors import ProviderConnectionError, ProviderError, ProviderStreamError, ProviderTimeoutError
from convai_lab.http import Answer, HttpxAnswer

LONGEST_EVENT_BYTES = 4 << 20
"""The largest server-sent event we take; a whole long answer is a tenth of it."""
LONGEST_ANSWER_BYTES = 64 << 20
DRAIN_SECS = 0.5
"""How long the end of the body may take after the last event; reading it lets the connection be used again."""

BYTE_ORDER_MARK = b"\xef\xbb\xbf"


class ServerEvent(NamedTuple):
    """One server-sent event: its name ("" for none) and its data, lines joined by newlines."""

    name: str
    data: str


class Reading(NamedTuple):
    """How to read one answer: whose it is, by which clock, and how long (at this point) to wait for more."""

    provider: str
    model: str
    clock: Clock
    idle_secs: Callable[[], float]


class EventTooLarge(ValueError):
    """A server-sent event is larger than allowed."""


class EventDecoder:
    """Turns bytes into server-sent events, however the bytes are cut.

    Lines may end in LF, CRLF or CR. Comments, ids and retry hints are skipped. The last event counts even when the
    blank line after it is missing, because some servers forget it.
    """

    def __init__(self, *, limit: int = LONGEST_EVENT_BYTES) -> None:
        self._limit = limit
        self._line = bytearray()
        self._name = ""
        self._data: list[bytes] = []
        self._size = 0
        self._start: bytes | None = b""
        self._skip_newline = False

    def feed(self, chunk: bytes) -> list[ServerEvent]:
        """Take some bytes; return the events that they complete.

        Raises:
            EventTooLarge: A line or an event is larger than the limit.
        """
        chunk = self._without_mark(chunk)
        whole = self._whole(chunk)
        return list(self._take(chunk)) if whole is None else whole

    def finish(self) -> list[ServerEvent]:
        """Return the event that the end of the stream completes, if any."""
        events = list(self._take(self._start or b""))
        self._start = None
        if self._line:
            self._end_line()
        if self._data:
            events.append(self._event())
        return events

    def _whole(self, chunk: bytes) -> list[ServerEvent] | None:
        """Return the events of a chunk that holds only whole events of one line of data each, as nearly all do."""
        if (
            self._line
            or self._data
            or self._name
            or self._skip_newline
            or not chunk.endswith(b"\n\n")
            or b"\r" in chunk
        ):
            return None
        lines = chunk.count(b"\n")
        if len(chunk) > self._limit or not chunk.startswith(b"data: ") or lines != 2 * chunk.count(b"\n\ndata: ") + 2:
            return None
        data = chunk[6:-2].decode("utf-8", "replace").split("\n\ndata: ")
        return [ServerEvent("", text) for text in data]

    def _without_mark(self, chunk: bytes) -> bytes:
        """Drop a byte order mark at the very start, which may itself arrive in pieces."""
        if self._start is None:
            return chunk
        start = self._start + chunk
        if len(start) < len(BYTE_ORDER_MARK) and BYTE_ORDER_MARK.startswith(start):
            self._start = start
            return b""
        self._start = None
        return start.removeprefix(BYTE_ORDER_MARK)

    def _take(self, chunk: bytes) -> Iterator[ServerEvent]:
        if self._skip_newline and chunk:
            self._skip_newline = False
            chunk = chunk.removeprefix(b"\n")
        lines = chunk.replace(b"\r\n", b"\n").replace(b"\r", b"\n").split(b"\n")
        self._skip_newline = self._skip_newline or chunk.endswith(b"\r")
        for i, piece in enumerate(lines):
            if i:
                if self._line:
                    self._end_line()
                elif self._data:
                    yield self._event()
                else:
                    self._name = ""
            self._line += piece
            if len(self._line) + self._size > self._limit:
                raise EventTooLarge

    def _end_line(self) -> None:
        field, _, value = bytes(self._line).partition(b":")
        self._line.clear()
        value = value.removeprefix(b" ")
        if field == b"data":
            self._data.append(value)
            self._size += len(value) + 1
        elif field == b"event":
            self._name = value.decode("utf-8", "replace")

    def _event(self) -> ServerEvent:
        event = ServerEvent(self._name, b"\n".join(self._data).decode("utf-8", "replace"))
        self._name, self._size = "", 0
        self._data.clear()
        return event


@contextlib.contextmanager
def vendor_errors(provider: str, model: str, *, answering: bool = False) -> Iterator[None]:
    """Turn what httpx raises into our errors; they never hold the URL, which may carry a key.

    `answering` says that the vendor had begun to answer: a lost connection is then a cut stream.
    """
    try:
        yield
    except httpx.ConnectTimeout:
        raise ProviderConnectionError(
            "no connection in time; check the address and the network", provider=provider, model=model
        ) from None
    except (httpx.TimeoutException, TimeoutError):
        said = "stopped in the middle of its answer" if answering else "did not answer in time"
        raise ProviderTimeoutError(f"{said}; try again, or another model", provider=provider, model=model) from None
    except httpx.ConnectError as error:
        raise ProviderConnectionError(
            f"could not connect ({_cause(error)}); check the address, the network and that the server runs",
            provider=provider,
            model=model,
        ) from None
    except (httpx.InvalidURL, httpx.UnsupportedProtocol):
        raise ProviderConnectionError(
            "the base URL is not a web address; it must start with http:// or https://", provider=provider, model=model
        ) from None
    except (httpx.DecodingError, httpx.TooManyRedirects) as error:
        raise ProviderStreamError(
            f"sent an answer that cannot be read ({_cause(error)})", provider=provider, model=model
        ) from None
    except httpx.TransportError as error:
        if answering:
            raise ProviderStreamError(
                f"the answer was cut off ({_cause(error)}); try again", provider=provider, model=model
            ) from None
        raise ProviderConnectionError(
            f"closed the connection before it answered ({_cause(error)}); try again", provider=provider, model=model
        ) from None


class Events:
    """The server-sent events of an answer as they arrive."""

    def __init__(self, answer: Answer, reading: Reading) -> None:
        self._pieces, self._decoder, self._reading = Pieces(answer, reading), EventDecoder(), reading

    async def next(self) -> list[ServerEvent]:
        """Return the next events, those that arrive together at once; none at the end.

        Raises:
            ProviderStreamError: The answer was cut off or is too large.
            ProviderTimeoutError: Nothing came for `reading.idle_secs()` seconds.
        """
        while piece := await self._pieces.next():
            try:
                events = self._decoder.feed(piece)
            except EventTooLarge:
                raise _too_large(self._reading) from None
            if events:
                return events
        return self._decoder.finish()


async def read_whole(answer: Answer, reading: Reading) -> str:
    """Return a whole body as text, for a server that does not stream.

    Raises:
        ProviderStreamError: The answer was cut off or is too large.
        ProviderTimeoutError: It stopped coming.
    """
    body, pieces = bytearray(), Pieces(answer, reading)
    while piece := await pieces.next():
        body += piece
    return body.decode("utf-8-sig", "replace")


def decode_whole(text: str) -> list[str]:
    """Return the documents in a whole body: itself, or the data of its events when it is a mislabelled stream."""
    if not text.lstrip().startswith(("data:", "event:", ":", "id:")):
        return [text]
    decoder = EventDecoder(limit=LONGEST_ANSWER_BYTES)
    return [event.data for event in decoder.feed(text.encode()) + decoder.finish()]


async def read_chunks(response: httpx.Response, reading: Reading) -> AsyncGenerator[bytes, None]:
    """Yield the bytes of a response as they arrive; as `Pieces`."""
    pieces = Pieces(HttpxAnswer(response), reading)
    while piece := await pieces.next():
        yield piece


class Pieces:
    """The bytes of an answer as they arrive."""

    __slots__ = ("_answer", "_reading", "_size")

    def __init__(self, answer: Answer, reading: Reading) -> None:
        self._answer, self._reading, self._size = answer, reading, 0

    async def next(self) -> bytes:
        """Return the next bytes; b"" at the end.

        Raises:
            ProviderStreamError: The answer was cut off or is too large.
            ProviderTimeoutError: Nothing came for `reading.idle_secs()` seconds.
        """
        if self._answer.is_over:
            return b""
        reading = self._reading
        with vendor_errors(reading.provider, reading.model, answering=True):
            if not (piece := self._answer.ready()):
                async with reading.clock.timeout(reading.idle_secs()):
                    piece = await self._answer.read()
        self._size += len(piece)
        if self._size > LONGEST_ANSWER_BYTES:
            raise _too_large(reading)
        return piece


def _too_large(reading: Reading) -> ProviderStreamError:
    return ProviderStreamError(
        f"sent more than we take (an event over {LONGEST_EVENT_BYTES >> 20} MiB, or an answer over "
        f"{LONGEST_ANSWER_BYTES >> 20} MiB)",
        provider=reading.provider,
        model=reading.model,
    )


async def drain(answer: Answer, events: Events, clock: Clock) -> None:
    """Read to the end of the body, so that the connection can be used again; give up soon and quietly."""
    if answer.is_over:
        return
    with contextlib.suppress(TimeoutError, ProviderError):
        async with clock.timeout(DRAIN_SECS):
            while await events.next():
                pass


async def read_text(response: httpx.Response, *, limit: int, clock: Clock, idle_secs: float) -> str:
    """Return the first `limit` bytes of an error's body as text; "" when they do not come."""
    body = bytearray()
    with contextlib.suppress(httpx.HTTPError, TimeoutError):
        async with clock.timeout(idle_secs):
            async for chunk in response.aiter_bytes():
                body += chunk
                if len(body) >= limit:
                    break
    return bytes(body[:limit]).decode("utf-8", "replace")


def parse_object(data: str, *, provider: str, model: str) -> dict[str, Any]:
    """Return the JSON object in `data`.

    Raises:
        ProviderStreamError: It is not JSON, or not an object.
    """
    try:
        value = json.loads(data)
    except (ValueError, RecursionError):
        raise ProviderStreamError("sent an event that is not JSON; try again", provider=provider, model=model) from None
    if not isinstance(value, dict):
        raise ProviderStreamError("sent an event that is not a JSON object", provider=provider, model=model)
    return value


def parse_together(texts: Sequence[str]) -> list[dict[str, Any]] | None:
    """Return what several texts of JSON hold, read in one go, which is quicker; None when that cannot be done."""
    try:
        values: list[Any] = json.loads(f"[{','.join(texts)}]")
    except (ValueError, RecursionError):
        return None
    return values if len(values) == len(texts) and all(isinstance(value, dict) for value in values) else None


def _cause(error: Exception) -> str:
    """Name what happened in the operating system's words when they are known, never in httpx's (URLs)."""
    seen: BaseException | None = error
    while seen is not None:
        if isinstance(seen, OSError) and seen.strerror:
            return seen.strerror
        if isinstance(seen, asyncio.IncompleteReadError | EOFError):
            return "end of data"
        seen = seen.__cause__ or seen.__context__
    return type(error).__name__
