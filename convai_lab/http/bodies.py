"""Bodies: how is a response read as it arrives, and what becomes of its connection?"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping

import aiohttp
import httpx
from aiohttp.http_exceptions import HttpProcessingError

from convai_lab.http.failures import AIOHTTP_ERRORS, as_httpx_error

PIECE_BYTES = 16 * 1024
FAILURES = (*AIOHTTP_ERRORS, RuntimeError)
"""What reading may raise; a RuntimeError is what aiohttp says when the client is closed meanwhile."""


class ResponseBody(httpx.AsyncByteStream):
    """The body of a response, read as it arrives; for `post_stream` the whole answer.

    When a chunk is malformed, aiohttp closes the connection without telling whoever waits for the body, who would
    then wait for ever, past every time-out. So this watches the connection and passes the error on.
    """

    def __init__(self, answer: aiohttp.ClientResponse, request: httpx.Request | None = None) -> None:
        self._answer, self._request = answer, request
        self.status_code = answer.status
        self._protocol = None if answer.connection is None else answer.connection.protocol
        self._connection_closed = None if self._protocol is None else self._protocol.closed
        if self._connection_closed is not None:
            self._connection_closed.add_done_callback(self._pass_on_error)
        else:
            self._pass_on_error()

    async def __aiter__(self) -> AsyncIterator[bytes]:
        """Yield pieces as they arrive."""
        pieces = self._answer.content.iter_chunked(PIECE_BYTES)
        while True:
            try:
                piece = await anext(pieces, b"")
            except FAILURES as error:
                raise as_httpx_error(error, self._request) from error
            if not piece:
                return
            yield piece

    @property
    def headers(self) -> Mapping[str, str]:
        """The headers of the answer; names may be asked for in any case."""
        return self._answer.headers

    @property
    def content_type(self) -> str:
        """What the body is, "" when it does not say."""
        return self.headers.get("content-type", "")

    @property
    def is_plain(self) -> bool:
        """Say whether the bytes are the text, not compressed."""
        return self.headers.get("content-encoding", "identity").strip().lower() in ("identity", "")

    @property
    def is_over(self) -> bool:
        """Say whether the whole body was read already."""
        content = self._answer.content
        return content.at_eof() and content.exception() is None

    def ready(self) -> bytes:
        """Return what has come, without waiting; b"" when there is nothing."""
        try:
            return self._answer.content.read_nowait()
        except FAILURES as error:
            raise as_httpx_error(error, self._request) from error

    async def read(self) -> bytes:
        """Wait for more, and return it; b"" at the end."""
        try:
            return await self._answer.content.readany()
        except FAILURES as error:
            raise as_httpx_error(error, self._request) from error

    def as_response(self) -> httpx.Response:
        """Return the answer as httpx's own."""
        reason = (self._answer.reason or "").encode("latin-1", "replace")
        return httpx.Response(
            self.status_code,
            headers=self._answer.raw_headers,
            stream=self,
            request=self._request,
            extensions={"http_version": b"HTTP/1.1", "reason_phrase": reason},
        )

    async def aclose(self) -> None:
        """Give the connection back when all was read; close it otherwise."""
        if self._connection_closed is not None:
            self._connection_closed.remove_done_callback(self._pass_on_error)
            self._connection_closed.remove_done_callback(_seen)  # at most one for each connection
            self._connection_closed.add_done_callback(_seen)
        if self._answer.content.is_eof():
            self._answer.release()
        else:
            self._answer.close()  # what is left unread would be taken for the answer to the next request

    def _pass_on_error(self, closed: asyncio.Future[None] | None = None) -> None:
        if closed is not None:
            _seen(closed)  # whoever reads gets the error below
        error = None if self._protocol is None else self._protocol.exception()
        content = self._answer.content
        if isinstance(error, HttpProcessingError) and not content.is_eof() and content.exception() is None:
            content.set_exception(error)


def _seen(closed: asyncio.Future[None]) -> None:
    """Take note that an idle connection broke, so that asyncio does not print it: the next request opens another."""
    if not closed.cancelled():
        closed.exception()
