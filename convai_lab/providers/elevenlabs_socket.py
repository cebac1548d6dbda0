"""ElevenLabs socket: how do audio and transcripts travel over the vendor's websocket, and how does it fail?"""

from __future__ import annotations

import base64
import contextlib
import json
import logging
from collections.abc import AsyncGenerator, Mapping
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from convai_lab.errors import ProviderConnectionError, ProviderError
from convai_lab.http.proxies import is_this_machine
from convai_lab.providers.http_speech import SpeechVendor
from convai_lab.providers.streaming import parse_object
from convai_lab.settings import scrub

if TYPE_CHECKING:
    from websockets.asyncio.client import ClientConnection

OPEN_SECS = 10.0
CLOSE_SECS = 1.0
MAX_FRAME_BYTES = 4 << 20

_STATUS_OF_ERROR = {
    "auth_error": 401,
    "quota_exceeded": 429,
    "unaccepted_terms": 400,
    "unaccepted_terms_error": 400,
    "input_error": 400,
    "invalid_request": 400,
    "chunk_size_exceeded": 413,
    "commit_throttled": 429,
    "rate_limited": 429,
    "queue_overflow": 429,
    "resource_exhausted": 429,
    "session_time_limit_exceeded": 408,
    "transcriber_error": 500,
    "error": 500,
}
"""What an error on the socket would have been as an HTTP status."""
_HOPELESS = frozenset({"auth_error", "quota_exceeded", "unaccepted_terms", "unaccepted_terms_error"})
"""What would refuse the whole utterance too."""

_log = logging.getLogger("convai_lab.providers.elevenlabs.socket")
_log.setLevel(logging.WARNING)  # below that, the library writes the headers, and so the key, into the log


class ScribeSocket:
    """One open socket to the recogniser; audio goes out, JSON objects come in."""

    def __init__(self, connection: ClientConnection, *, vendor: SpeechVendor, model: str) -> None:
        self._connection, self._vendor, self._model = connection, vendor, model

    async def send(self, pcm: bytes, *, rate_hz: int, commit: bool = False) -> None:
        """Send some audio, and commit all that was sent when asked to; nothing once the socket is closed."""
        from websockets.exceptions import ConnectionClosed

        message = {
            "message_type": "input_audio_chunk",
            "audio_base_64": base64.b64encode(pcm).decode(),
            "commit": commit,
            "sample_rate": rate_hz,
        }
        with contextlib.suppress(ConnectionClosed):  # whoever reads the messages is told why
            await self._connection.send(json.dumps(message))

    async def messages(self) -> AsyncGenerator[dict[str, Any], None]:
        """Yield the objects that come, until the socket is closed.

        Raises:
            ProviderStreamError: The vendor sent something else.
        """
        from websockets.exceptions import ConnectionClosed

        with contextlib.suppress(ConnectionClosed):
            async for message in self._connection:
                data = message if isinstance(message, str) else message.decode("utf-8", "replace")
                yield parse_object(data, provider=self._vendor.name, model=self._model)

    async def close(self) -> None:
        """Say goodbye, and do not wait long for the answer."""
        with contextlib.suppress(OSError):
            await self._connection.close()

    @property
    def closing_words(self) -> str:
        """Return the code and the words with which the vendor closed."""
        reason = scrub(" ".join((self._connection.close_reason or "").split())[:100])
        return " ".join(part for part in (str(self._connection.close_code), reason) if part)


async def open_scribe(vendor: SpeechVendor, url: str, *, model: str) -> ScribeSocket:
    """Open a socket.

    Raises:
        ProviderError: The vendor refused, or cannot be reached.
    """
    import websockets.exceptions as failures
    from websockets.asyncio.client import connect

    class NoRedirects(connect):
        """A redirect would carry the key to another address."""

        def process_redirect(self, exc: Exception) -> Exception | str:
            return exc

    try:
        async with vendor.clock.timeout(OPEN_SECS):
            connection = await NoRedirects(
                url,
                additional_headers=vendor.headers(model),
                max_size=MAX_FRAME_BYTES,
                open_timeout=None,
                compression=None,  # sound does not get smaller, only later
                close_timeout=CLOSE_SECS,
                proxy=None if is_this_machine(urlsplit(url).hostname or "") else True,
                logger=_log,
            )
    except failures.InvalidStatus as error:
        body = bytes(error.response.body or b"").decode("utf-8", "replace")
        raise vendor.refused(model, error.response.status_code, body).error from None
    except TimeoutError:
        raise _unreachable(vendor, model, f"no answer in {OPEN_SECS:.0f} s") from None
    except (failures.WebSocketException, OSError, ValueError, EOFError) as error:
        why = scrub(" ".join(str(error).split())[:200]) or type(error).__name__
        raise _unreachable(vendor, model, why) from None
    return ScribeSocket(connection, vendor=vendor, model=model)


def error_in(message: Mapping[str, Any], vendor: SpeechVendor, *, model: str) -> ProviderError | None:
    """Return the error that a message stands for, None when it is not one."""
    kind = str(message.get("message_type"))
    if kind not in _STATUS_OF_ERROR and not message.get("error"):
        return None
    said = message.get("error") or message.get("message") or kind
    words = said if isinstance(said, str) else json.dumps(said)
    code = "insufficient_quota" if kind == "quota_exceeded" else kind
    body = json.dumps({"error": {"message": words, "code": code}})
    return vendor.refused(model, _STATUS_OF_ERROR.get(kind, 500), body).error


def is_hopeless(message: Mapping[str, Any]) -> bool:
    """Say whether an error would also refuse the utterance when it is sent whole."""
    return message.get("message_type") in _HOPELESS


def _unreachable(vendor: SpeechVendor, model: str, why: str) -> ProviderConnectionError:
    return ProviderConnectionError(
        f"could not be reached for realtime recognition ({why})", provider=vendor.name, model=model
    )
