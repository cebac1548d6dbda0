"""Answers: how does a small request with a streamed answer skip what httpx does for every call?

httpx makes about thirty objects for a call and its answer, which costs more than sending it. Language models are asked
thousands of times at the same address, so what can be known once is kept, and the answer is read as aiohttp gives it.
"""

from __future__ import annotations

import functools
from collections.abc import AsyncIterator, Callable, Mapping
from typing import TYPE_CHECKING, Any, Protocol

import httpx

if TYPE_CHECKING:
    from convai_lab.http.transport import AiohttpTransport, Route

SMALL_BYTES = 64 * 1024
"""Larger bodies need a time limit for sending, and take the long way."""
MAX_ROUTES = 64


class Answer(Protocol):
    """The answer to a request, its body still to be read; `aclose` must follow."""

    status_code: int

    @property
    def content_type(self) -> str:
        """What the body is, "" when it does not say."""

    @property
    def is_over(self) -> bool:
        """Say whether the whole body was read already."""

    def ready(self) -> bytes:
        """Return what has come of the body, without waiting; b"" when there is nothing."""

    async def read(self) -> bytes:
        """Wait for more of the body, and return it; b"" at its end."""

    def as_response(self) -> httpx.Response:
        """Return it as httpx would have."""

    async def aclose(self) -> None:
        """Give the connection back when all was read; close it otherwise."""


Hear = Callable[[Mapping[str, str]], None]
"""Is told the headers of an answer; names may be asked for in any case."""


class PostingClient(httpx.AsyncClient):
    """An httpx client on our transport, which `post_stream` can use without httpx.

    Those in `listeners` hear the headers of every answer.
    """

    def __init__(self, transport: AiohttpTransport, **options: Any) -> None:
        super().__init__(transport=transport, **options)
        self._direct = transport
        self._routes: dict[str, Route] = {}
        self.listeners: list[Hear] = []

    async def send(self, request: httpx.Request, **options: Any) -> httpx.Response:
        """Send a request as httpx does."""
        response = await super().send(request, **options)
        for hear in self.listeners:
            hear(response.headers)
        return response

    def route(self, url: str) -> Route | None:
        """Return the way to a URL; None when only httpx can take it."""
        if self.is_closed or self.auth is not None or self.params or any(self.event_hooks.values()):
            return None
        if (found := self._routes.get(url)) is None:
            parsed = httpx.URL(url)
            if parsed.is_relative_url or parsed.userinfo:
                return None
            if len(self._routes) >= MAX_ROUTES:
                self._routes.clear()
            found = self._routes[url] = self._direct.route(parsed)
        return found

    async def post_direct(self, route: Route, content: bytes, headers: Mapping[str, str]) -> Answer:
        """Post without httpx; cookies are neither sent nor kept."""
        body = await self._direct.post(route, content, {**_decoded(tuple(self.headers.raw)), **headers}, self.timeout)
        for hear in self.listeners:
            hear(body.headers)
        return body if body.is_plain else HttpxAnswer(body.as_response())


async def post_stream(client: httpx.AsyncClient, url: str, *, content: bytes, headers: Mapping[str, str]) -> Answer:
    """Post and return the answer, its body still to be read; failures are httpx exceptions, whatever the way.

    Args:
        client: One of `new_client` goes the short way; any other, the way of httpx.
        url: The whole URL.
        content: The body.
        headers: Names in lower case.
    """
    if isinstance(client, PostingClient) and len(content) < SMALL_BYTES and (route := client.route(url)) is not None:
        return await client.post_direct(route, content, headers)
    request = client.build_request("POST", url, content=content, headers=dict(headers))
    return HttpxAnswer(await client.send(request, stream=True))


@functools.lru_cache(maxsize=MAX_ROUTES)
def _decoded(raw: tuple[tuple[bytes, bytes], ...]) -> Mapping[str, str]:
    """Return a client's own headers by their names in lower case."""
    return dict(httpx.Headers(list(raw)).items())


class HttpxAnswer:
    """An answer as httpx gives it, to be read like any other."""

    __slots__ = ("_pieces", "_response", "is_over", "status_code")

    def __init__(self, response: httpx.Response) -> None:
        self._response, self.status_code = response, response.status_code
        self._pieces: AsyncIterator[bytes] | None = None
        self.is_over = False

    @property
    def content_type(self) -> str:
        """What the body is, "" when it does not say."""
        return str(self._response.headers.get("content-type", ""))

    def ready(self) -> bytes:
        """Return nothing: httpx can only wait."""
        return b""

    async def read(self) -> bytes:
        """Wait for more, and return it; b"" at the end."""
        if self._pieces is None:
            self._pieces = aiter(self._response.aiter_bytes())
        piece = await anext(self._pieces, b"")
        self.is_over = not piece
        return piece

    def as_response(self) -> httpx.Response:
        """Return the response."""
        return self._response

    async def aclose(self) -> None:
        """Give the connection back when all was read; close it otherwise."""
        await self._response.aclose()
