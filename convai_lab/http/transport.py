"""Transport: how does an httpx request travel over aiohttp, and how do failures come back as httpx exceptions?

httpx's own connection pool collapses under concurrency; aiohttp's does not (`tests/benchmarks/http_pool.py`). This
transport sends exactly the request that httpx built (no cookies, headers or URL normalisation of aiohttp's own),
keeps httpx's four time-outs apart, and lets nothing of aiohttp's leak out.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import os
import ssl
import threading
import weakref
from collections.abc import AsyncIterator, Iterator
from types import SimpleNamespace
from typing import Any

import aiohttp
import aiohttp.abc
import httpx
import yarl
from aiohttp.http_exceptions import HttpProcessingError

from convai_lab.http.failures import as_httpx_error, timed_out
from convai_lab.http.proxies import Proxies

KEEPALIVE_SECS = 60.0
DNS_CACHE_SECS = 10
CHUNK_BYTES = 16 * 1024
MAX_HEADER_BYTES = 64 * 1024
AUTOMATIC_HEADERS = ("Accept", "Accept-Encoding", "Content-Type", "User-Agent")


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
        target = _target(request.url)
        session = self._session()
        times = _TimeLimits(request.extensions.get("timeout", {}))
        with _mapped(request, session), timed_out(request, times):
            async with times:
                answer = await session.request(
                    request.method,
                    target,
                    headers=_headers(request),
                    data=_body(request),
                    allow_redirects=False,
                    timeout=aiohttp.ClientTimeout(sock_read=times.read),
                    ssl=_tls() if request.url.scheme == "https" else True,
                    server_hostname=request.extensions.get("sni_hostname"),
                    proxy=self._proxies.for_url(request.url),
                    trace_request_ctx=times,
                )
        return httpx.Response(
            answer.status,
            headers=answer.raw_headers,
            stream=_Body(answer, request),
            request=request,
            extensions={
                "http_version": b"HTTP/1.1",
                "reason_phrase": (answer.reason or "").encode("latin-1", "replace"),
            },
        )

    async def aclose(self) -> None:
        """Close the connections of every event loop that has used this transport."""
        with self._lock:
            sessions, self._sessions = dict(self._sessions), weakref.WeakKeyDictionary()
        here = asyncio.get_running_loop()
        for loop, session in sessions.items():
            if loop is here or loop.is_closed():
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
        connector = aiohttp.TCPConnector(
            limit=self._max_connections,
            keepalive_timeout=KEEPALIVE_SECS,
            resolver=self._resolver,
            use_dns_cache=self._resolver is None,
            ttl_dns_cache=DNS_CACHE_SECS,
        )
        return aiohttp.ClientSession(
            connector=connector,
            cookie_jar=aiohttp.DummyCookieJar(),
            skip_auto_headers=AUTOMATIC_HEADERS,
            auto_decompress=False,
            max_line_size=MAX_HEADER_BYTES,
            max_field_size=MAX_HEADER_BYTES,
            trace_configs=[_phases()],
        )


_Sessions = weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, aiohttp.ClientSession]


class _TimeLimits:
    """The time limits of one request, each in force only in its own phase.

    aiohttp counts waiting for the pool and connecting as one, leaves name lookups out, and has no limit for
    sending: a server that never reads would hold us for ever. Reading is left to aiohttp.
    """

    def __init__(self, timeouts: dict[str, float | None]) -> None:
        self.pool, self.connect = timeouts.get("pool"), timeouts.get("connect")
        self.read, self.write = timeouts.get("read"), timeouts.get("write")
        self.phase = "pool"
        self._limit = asyncio.timeout(None)

    def start(self, phase: str, secs: float | None) -> None:
        self.phase = phase
        self._limit.reschedule(None if secs is None else asyncio.get_running_loop().time() + secs)

    async def __aenter__(self) -> None:
        await self._limit.__aenter__()

    async def __aexit__(self, *failure: Any) -> None:
        await self._limit.__aexit__(*failure)


def _phases() -> aiohttp.TraceConfig:
    """Move a request's time limit on when aiohttp says that it has reached the next phase."""

    async def queued(_: Any, context: SimpleNamespace, __: Any) -> None:
        times = context.trace_request_ctx
        times.start("pool", times.pool)

    async def connecting(_: Any, context: SimpleNamespace, __: Any) -> None:
        times = context.trace_request_ctx
        times.start("connect", times.connect)

    async def sending(_: Any, context: SimpleNamespace, __: Any) -> None:
        times = context.trace_request_ctx
        # aiohttp's own limit for reading starts when all is sent; until then the write limit follows every piece
        unlimited = times.write is None or times.read is None
        times.start("write", None if unlimited else times.write + times.read)

    config = aiohttp.TraceConfig()
    config.on_connection_queued_start.append(queued)
    config.on_connection_create_start.append(connecting)
    config.on_connection_create_end.append(sending)
    config.on_connection_reuseconn.append(sending)
    config.on_request_chunk_sent.append(sending)
    return config


class _Body(httpx.AsyncByteStream):
    """The body of a response, read as it arrives.

    When a chunk is malformed, aiohttp closes the connection without telling whoever waits for the body, who would
    then wait for ever, past every time-out. So this watches the connection and passes the error on.
    """

    def __init__(self, answer: aiohttp.ClientResponse, request: httpx.Request) -> None:
        self._answer, self._request = answer, request
        self._protocol = None if answer.connection is None else answer.connection.protocol
        self._connection_closed = None if self._protocol is None else self._protocol.closed
        if self._connection_closed is not None:
            self._connection_closed.add_done_callback(self._pass_on_error)
        else:
            self._pass_on_error()

    async def __aiter__(self) -> AsyncIterator[bytes]:
        with _mapped(self._request):
            try:
                async for chunk in self._answer.content.iter_chunked(CHUNK_BYTES):
                    yield chunk
            except RuntimeError as error:  # what aiohttp says when the client is closed meanwhile
                raise httpx.ReadError(str(error), request=self._request) from error

    async def aclose(self) -> None:
        if self._connection_closed is not None:
            self._connection_closed.remove_done_callback(self._pass_on_error)
        if self._answer.content.is_eof():
            self._answer.release()
        else:
            self._answer.close()  # what is left unread would be taken for the answer to the next request

    def _pass_on_error(self, closed: asyncio.Future[None] | None = None) -> None:
        if closed is not None and not closed.cancelled():
            closed.exception()  # seen: whoever reads gets the error below
        error = None if self._protocol is None else self._protocol.exception()
        content = self._answer.content
        if isinstance(error, HttpProcessingError) and not content.is_eof() and content.exception() is None:
            content.set_exception(error)


@contextlib.contextmanager
def _mapped(request: httpx.Request, session: aiohttp.ClientSession | None = None) -> Iterator[None]:
    try:
        yield
    except asyncio.CancelledError:
        task = asyncio.current_task()
        if session is not None and session.closed and task is not None and not task.cancelling():
            # aiohttp cancels whoever waits for a connection when the client is closed
            raise httpx.PoolTimeout("the client was closed", request=request) from None
        raise
    except (aiohttp.ClientError, HttpProcessingError, OSError, ValueError) as error:
        raise as_httpx_error(error, request) from error


def _target(url: httpx.URL) -> yarl.URL:
    """Return the same URL for aiohttp, byte for byte, without user name and password (httpx made a header of them)."""
    if url.scheme not in ("http", "https") or not url.host:
        raise httpx.UnsupportedProtocol(
            f"cannot send a request to {str(url)[:200]!r}: it must start with http:// or https://"
        )
    host = url.raw_host.decode("ascii")
    netloc = f"[{host}]" if ":" in host else host
    port = "" if url.port is None else f":{url.port}"
    target = yarl.URL(f"{url.scheme}://{netloc}{port}{url.raw_path.decode('ascii')}", encoded=True)
    if target.raw_host != host or target.user is not None:
        raise httpx.UnsupportedProtocol(f"the host of {str(url)[:200]!r} can be read in two ways")
    return target


def _headers(request: httpx.Request) -> list[tuple[str, str]]:
    """Return the request's headers; aiohttp frames the body itself."""
    return [
        (name.decode("latin-1"), value.decode("utf-8", "replace"))
        for name, value in request.headers.raw
        if name.lower() != b"transfer-encoding"
    ]


def _body(request: httpx.Request) -> bytes | httpx.AsyncByteStream | None:
    try:
        return request.content or None
    except httpx.RequestNotRead:
        if isinstance(request.stream, httpx.AsyncByteStream):
            return request.stream
        raise


@functools.cache
def _tls() -> ssl.SSLContext:
    """Return the one TLS context (reading the certificates takes about 20 ms)."""
    return httpx.create_ssl_context()


def _drop(session: aiohttp.ClientSession) -> None:
    """Close what is left of a session whose loop can no longer do it."""
    connector = session.connector
    session.detach()
    if connector is not None:
        connector._close(abort_ssl=True)


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
