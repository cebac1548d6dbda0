"""Socket: one websocket to a platform that carries JSON objects and fails in our own words."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol
from urllib.parse import parse_qsl, quote, urlencode, urlsplit, urlunsplit

from convai_lab.errors import ConversationClosedError, PlatformError
from convai_lab.settings import scrub
from convai_lab.workspace.answers import Answer, refusal
from convai_lab.workspace.local_process import is_loopback

if TYPE_CHECKING:
    from websockets.asyncio.client import ClientConnection

MAX_FRAME_BYTES = 16 * 1024 * 1024
OPEN_TIMEOUT_SECS = 15.0
CLOSE_TIMEOUT_SECS = 2.0
NORMAL_CLOSE = 1000
LOST_CLOSE = 1006

_log = logging.getLogger("convai_lab.workspace.socket")
_log.setLevel(logging.WARNING)  # below that, the library writes the headers, and so the key, into the log


class Closed(NamedTuple):
    """How the other side closed: the code (1006 when the connection was just cut) and its words."""

    code: int
    reason: str


class SocketClosed(Exception):
    """The connection is closed; `how` says by which code."""

    def __init__(self, how: Closed) -> None:
        super().__init__(f"{how.code} {how.reason}")
        self.how = how


class Socket(Protocol):
    """A connection that carries JSON objects both ways."""

    async def send(self, frame: Mapping[str, Any]) -> None:
        """Send one object; raises SocketClosed."""

    async def receive(self) -> dict[str, Any]:
        """Return the next object; raises SocketClosed, or ConversationClosedError for what is no JSON object."""

    async def close(self) -> None:
        """Close normally; harmless when repeated."""


class WebSocket:
    """A `Socket` over the network."""

    def __init__(self, connection: ClientConnection) -> None:
        self._connection = connection

    async def send(self, frame: Mapping[str, Any]) -> None:
        """Send one JSON object."""
        from websockets.exceptions import ConnectionClosed

        try:
            await self._connection.send(json.dumps(frame))
        except ConnectionClosed as error:
            raise SocketClosed(_how(error)) from None

    async def receive(self) -> dict[str, Any]:
        """Return the next JSON object."""
        from websockets.exceptions import ConnectionClosed

        try:
            message = await self._connection.recv()
        except ConnectionClosed as error:
            raise SocketClosed(_how(error)) from None
        return read_frame(message)

    async def close(self) -> None:
        """Say goodbye, and do not wait long for the answer."""
        with contextlib.suppress(TimeoutError, OSError):
            async with asyncio.timeout(CLOSE_TIMEOUT_SECS):
                await self._connection.close(NORMAL_CLOSE, "User ended conversation")


def read_frame(message: str | bytes) -> dict[str, Any]:
    """Return the JSON object in a frame.

    Raises:
        ConversationClosedError: It is not one.
    """
    try:
        frame = json.loads(message)
    except (ValueError, RecursionError):
        frame = None
    if isinstance(frame, dict):
        return frame
    shown = message if isinstance(message, str) else f"{len(message)} bytes"
    raise ConversationClosedError(
        f"the platform sent a frame that is not a JSON object ({scrub(shown[:80])!r}); the conversation was closed"
    )


async def open_socket(url: str, *, headers: Mapping[str, str], who: str) -> WebSocket:
    """Open a websocket.

    Raises:
        PlatformError: One of its subclasses when the platform refused the connection or cannot be reached.
    """
    import websockets.exceptions as failures
    from websockets.asyncio.client import connect

    class NoRedirects(connect):
        """A redirect would carry the key to another address."""

        def process_redirect(self, exc: Exception) -> Exception | str:
            return exc

    try:
        connection = await NoRedirects(
            url,
            additional_headers=dict(headers),
            max_size=MAX_FRAME_BYTES,
            max_queue=None,  # a full queue would stop reading, and then the goodbye is never heard
            open_timeout=OPEN_TIMEOUT_SECS,
            close_timeout=CLOSE_TIMEOUT_SECS,
            proxy=None if is_loopback(url) else True,
            logger=_log,
        )
    except failures.InvalidStatus as error:
        response = error.response
        answer = Answer(response.status_code, dict(response.headers.raw_items()), bytes(response.body or b""))
        raise refusal(answer, asked="the conversation socket", who=who) from None
    except TimeoutError:
        raise PlatformError(f"{who} did not open the conversation in {OPEN_TIMEOUT_SECS:.0f} s; try again") from None
    except (failures.WebSocketException, OSError, ValueError, EOFError) as error:
        why = scrub(" ".join(str(error).split())[:200]) or type(error).__name__
        raise PlatformError(f"{who} could not be reached for a conversation: {why}") from None
    return WebSocket(connection)


def conversation_url(signed_url: object, *, base_url: str, extra: Mapping[str, str]) -> str:
    """Return the signed URL to connect to, with `extra` added to its query, if it may be trusted.

    Raises:
        PlatformError: The platform did not give a websocket URL, or an unencrypted one for an encrypted base.
    """
    try:
        parts = urlsplit(signed_url if isinstance(signed_url, str) else "")
        host = parts.hostname
    except ValueError:
        host = None
    if not host or parts.scheme not in ("ws", "wss"):
        raise PlatformError("the platform gave no websocket URL to hold the conversation on")
    if parts.scheme == "ws" and base_url.startswith("https:"):
        raise PlatformError("the platform gave an unencrypted conversation URL for an encrypted base URL")
    query = [*parse_qsl(parts.query, keep_blank_values=True), *extra.items()]
    return urlunsplit(parts._replace(query=urlencode(query, quote_via=quote)))


def same_host(url: str, base_url: str) -> bool:
    """Say whether a websocket URL leads to the very host and port of the base URL."""
    one, other = urlsplit(url), urlsplit(base_url)
    encrypted = {"ws": "http", "wss": "https"}
    return (encrypted.get(one.scheme), one.netloc) == (other.scheme, other.netloc)


def _how(error: Any) -> Closed:
    frame = error.rcvd
    if frame is None:
        return Closed(LOST_CLOSE, "the connection was lost")
    return Closed(frame.code, scrub(" ".join(frame.reason.split())))
