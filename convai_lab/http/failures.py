"""Failures: which httpx exception says what aiohttp's exception means?"""

from __future__ import annotations

import aiohttp
import httpx
from aiohttp import http_exceptions

CUT = "Response payload is not completed"
UNSENT = "Failed to send bytes into the underlying connection"
MAX_WORDS = 200


AIOHTTP_ERRORS = (aiohttp.ClientError, http_exceptions.HttpProcessingError, OSError, ValueError)
"""What aiohttp raises for the wire's faults; everything else is a fault of ours and stays what it is."""


def as_httpx_error(error: Exception, request: httpx.Request | None) -> httpx.TransportError:
    """Return the httpx exception for an error of aiohttp's."""
    return _kind(error)(_words(error), request=request)


def _kind(error: Exception) -> type[httpx.TransportError]:
    match error:
        case aiohttp.SocketTimeoutError():
            return httpx.ReadTimeout
        case aiohttp.ServerTimeoutError():
            return httpx.ConnectTimeout
        case aiohttp.ClientProxyConnectionError() | aiohttp.ClientHttpProxyError():
            return httpx.ProxyError
        case aiohttp.ClientConnectorError():
            return httpx.ConnectError
        case aiohttp.NonHttpUrlClientError():
            return httpx.UnsupportedProtocol
        case aiohttp.InvalidURL():
            return httpx.ConnectError
        case aiohttp.ClientPayloadError():
            return httpx.ReadError if _was_cut(error) else httpx.RemoteProtocolError
        case aiohttp.ClientResponseError() | http_exceptions.HttpProcessingError():
            return httpx.RemoteProtocolError
        case aiohttp.ClientConnectionError() | OSError():
            unsent = "write" in str(error).lower() or str(error).startswith(UNSENT)
            return httpx.WriteError if unsent else httpx.ReadError
        case ValueError():
            return httpx.LocalProtocolError
    return httpx.ReadError


def _was_cut(error: BaseException) -> bool:
    """Say whether a body ended too early, as opposed to being malformed."""
    too_short = (http_exceptions.ContentLengthError, http_exceptions.TransferEncodingError)
    return str(error).startswith(CUT) and isinstance(error.__cause__, too_short)


def _words(error: BaseException) -> str:
    """Return one short line; aiohttp's messages may quote a whole header or draw an arrow under the wrong byte."""
    match error:
        case aiohttp.ServerDisconnectedError():
            return "the server closed the connection before it had answered"
        case aiohttp.SocketTimeoutError():
            return "the server sent nothing for too long"
        case aiohttp.ClientPayloadError() if _was_cut(error):
            return "the server closed the connection in the middle of its answer"
        case aiohttp.ClientConnectionError() if str(error).startswith(UNSENT):
            error = RuntimeError(f"the body of the request could not be made: {error.__cause__!r}")
    text = " ".join(str(getattr(error, "message", None) or error).split()) or type(error).__name__
    return text if len(text) <= MAX_WORDS else text[: MAX_WORDS - 1] + "…"
