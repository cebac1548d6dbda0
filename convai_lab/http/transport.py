"""Transport: how does an httpx request travel over aiohttp, and how does the answer come back?

httpx's own connection pool collapses under concurrency; aiohttp's does not (`tests/benchmarks/http_pool.py`). This
transport sends exactly the request that httpx built (no cookies, headers or URL normalisation of aiohttp's own),
keeps httpx's four time-outs apart, and lets no exception of aiohttp's out.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import os
import ssl
import threading
import weakref
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import NamedTuple

import aiohttp
import aiohttp.abc
import httpx
import yarl

from convai_lab.http.bodies import ResponseBody
from convai_lab.http.connections import Connections, TimeLimits, current_limits
from convai_lab.http.failures import AIOHTTP_ERRORS, as_httpx_error
from convai_lab.http.proxies import Proxies
from convai_lab.http.targets import target_url

UNLIMITED_BYTES = 64 * 1024
MAX_HEADER_BYTES = 64 * 1024
AUTOMATIC_HEADERS = ("Accept", "Accept-Encoding", "Content-Type", "User-Agent")


class Route(NamedTuple):
    """The way to a URL: as aiohttp takes it, through which proxy, and with which certificates."""

    target: yarl.URL
    proxy: str | None
    tls: ssl.SSLContext | bool


class _Sent(NamedTuple):
    """What is sent but for the body; `request` where httpx made it."""

    method: str
    route: Route
    headers: Mapping[str, str] | Sequence[tuple[str, str]]
    request: httpx.Request | None = None


_Sessions = weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, aiohttp.ClientSession]


class AiohttpTransport(httpx.AsyncBaseTransport):
    """Sends httpx requests through aiohttp, with one pool of connections for each event loop that uses it."""

    def __init__(
        self,
        *,
        max_connections: int,
        proxies: Proxies | None = None,
        resolver: aiohttp.abc.AbstractResolver | None = None,
    ) -> None:
        self._max_connections = max_connections
        self._proxies = Proxies.from_environment() if proxies is None else proxies
        self._resolver = resolver
        self._sessions: _Sessions = weakref.WeakKeyDictionary()
        self._lock = threading.Lock()
        weakref.finalize(self, _abandon, self._sessions, os.getpid())

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Send one request and return the response with its body still to be read."""
        sent = _Sent(request.method, self.route(request.url), _headers(request), request)
        limits = TimeLimits(**request.extensions.get("timeout", {}))
        async with _upload(request, limits) as body:
            return (await self._send(sent, body, limits)).as_response()

    def route(self, url: httpx.URL) -> Route:
        """Return the way to a URL.

        Raises:
            httpx.UnsupportedProtocol: There is none.
        """
        return Route(target_url(url), self._proxies.for_url(url), _tls() if url.scheme == "https" else True)

    async def post(self, route: Route, body: bytes, headers: Mapping[str, str], timeout: httpx.Timeout) -> ResponseBody:
        """Post a small body without httpx, and return the answer with its body still to be read."""
        limits = TimeLimits(timeout.pool, timeout.connect, timeout.read, timeout.write)
        return await self._send(_Sent("POST", route, headers), body, limits)

    async def _send(self, sent: _Sent, body: bytes | AsyncIterator[bytes] | None, limits: TimeLimits) -> ResponseBody:
        route, request = sent.route, sent.request
        restore = current_limits.set(limits)
        try:
            answer = await self._session().request(
                sent.method,
                route.target,
                headers=sent.headers,
                data=body,
                allow_redirects=False,
                timeout=aiohttp.ClientTimeout(sock_read=limits.read),
                ssl=route.tls,
                server_hostname=None if request is None else request.extensions.get("sni_hostname"),
                proxy=route.proxy,
            )
        except AIOHTTP_ERRORS as error:
            raise as_httpx_error(error, request) from error
        finally:
            current_limits.reset(restore)
        return ResponseBody(answer, request)

    async def aclose(self) -> None:
        """Close the connections of every event loop that has used this transport."""
        with self._lock:
            sessions = dict(self._sessions)
            self._sessions.clear()
        here = asyncio.get_running_loop()
        for loop, session in sessions.items():
            if loop is here:
                await session.close()
            elif loop.is_running():
                await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(session.close(), loop))
            else:
                _drop(session)

    def _session(self) -> aiohttp.ClientSession:
        loop = asyncio.get_running_loop()
        with self._lock:
            if (session := self._sessions.get(loop)) is None or session.closed:
                for other in [other for other in self._sessions if other.is_closed()]:
                    _drop(self._sessions.pop(other))
                session = self._sessions[loop] = self._new_session()
            return session

    def _new_session(self) -> aiohttp.ClientSession:
        return aiohttp.ClientSession(
            connector=Connections(max_connections=self._max_connections, resolver=self._resolver),
            cookie_jar=aiohttp.DummyCookieJar(),
            skip_auto_headers=AUTOMATIC_HEADERS,
            auto_decompress=False,
            max_line_size=MAX_HEADER_BYTES,
            max_field_size=MAX_HEADER_BYTES,
        )


@contextlib.asynccontextmanager
async def _upload(request: httpx.Request, limits: TimeLimits) -> AsyncIterator[bytes | AsyncIterator[bytes] | None]:
    """Yield the body to send, under a time limit if it is large: a server that never reads would hold us for ever.

    aiohttp has no limit for sending, and its limit for reading starts when everything is sent.
    """
    body = _body(request)
    if body is None or (isinstance(body, bytes) and len(body) < UNLIMITED_BYTES):
        yield body  # the socket's buffer takes it
        return
    try:
        async with asyncio.timeout(limits.total()) as limit:
            yield body if isinstance(body, bytes) else _watched(body, limit, limits.total())
    except TimeoutError as error:
        if not limit.expired():
            raise
        raise httpx.WriteTimeout("the server does not take the request", request=request) from error


async def _watched(body: httpx.AsyncByteStream, limit: asyncio.Timeout, secs: float | None) -> AsyncIterator[bytes]:
    """Yield the pieces of a body, each with its own time to be sent; making them takes our own time."""
    now = asyncio.get_running_loop().time
    async for piece in body:
        if secs is not None:
            limit.reschedule(now() + secs)
        yield piece
        limit.reschedule(None)
    if secs is not None:
        limit.reschedule(now() + secs)


def _body(request: httpx.Request) -> bytes | httpx.AsyncByteStream | None:
    try:
        return request.content or None
    except httpx.RequestNotRead:
        if isinstance(request.stream, httpx.AsyncByteStream):
            return request.stream
        raise


def _headers(request: httpx.Request) -> list[tuple[str, str]]:
    """Return the request's headers; aiohttp frames the body itself."""
    return [
        (name.decode("latin-1"), value.decode("utf-8", "replace"))
        for name, value in request.headers.raw
        if name.lower() != b"transfer-encoding"
    ]


@functools.cache
def _tls() -> ssl.SSLContext:
    """Return the one TLS context (reading the certificates takes about 20 ms)."""
    return httpx.create_ssl_context()


def _drop(session: aiohttp.ClientSession) -> None:
    """Close what is left of a session whose loop can no longer do it."""
    connector = session.connector
    session.detach()
    if isinstance(connector, Connections):
        connector.drop()


def _abandon(sessions: _Sessions, owner_pid: int) -> None:
    """Close connections quietly when nobody closed the client: at the end of the process, or when it is collected."""
    if os.getpid() != owner_pid:
        return  # after a fork they belong to the parent
    for loop, session in list(sessions.items()):
        if loop.is_running():
            with contextlib.suppress(RuntimeError):  # it may have stopped since
                loop.call_soon_threadsafe(_drop, session)
        else:
            _drop(session)
