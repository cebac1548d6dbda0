"""Transport: how does a request reach the platform, when is it repeated, and when is it given up?

A request is repeated at most twice. 429 is repeated for every method, because the platform did nothing; a refused
connection too. Server errors and cut connections are repeated only where doing it twice equals doing it once
(GET, PUT, PATCH, DELETE): a POST that creates something is never sent again when it may have arrived.
"""

from __future__ import annotations

import os
import random
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from convai_lab.clock import Clock, SystemClock
from convai_lab.errors import NotFoundError, PlatformError
from convai_lab.settings import Secret, scrub
from convai_lab.workspace.answers import MAX_BODY_BYTES, MAX_ERROR_BYTES, Answer, document, payload, refusal

if TYPE_CHECKING:
    import httpx

KEY_HEADER = "xi-api-key"
MAX_TRIES = 3
MAX_WAIT_SECS = 30.0
"""A platform that asks for a longer pause than this gets no second request; the error says how long."""
FIRST_PAUSE_SECS = 0.5
REQUEST_TIMEOUT_SECS = 60.0
REPEATABLE = frozenset({"GET", "PUT", "PATCH", "DELETE"})
BUSY = frozenset({408, 500, 502, 503, 504})


class Place(NamedTuple):
    """Where a platform answers; `settings` are provider settings that it has not been told yet."""

    url: str
    key: Secret | None = None
    settings: Mapping[str, str] | None = None


class Platform(Protocol):
    """Something that knows where a platform is: a fixed address, or a process that is started when needed."""

    @property
    def name(self) -> str:
        """Return ``local``, ``elevenlabs``, or the URL."""

    async def locate(self) -> Place:
        """Return where the platform answers now; start it if that is needed."""

    async def lost(self, place: Place) -> bool:
        """Hear that `place` cannot be reached; true when asking again may find it elsewhere."""

    def told(self, settings: Mapping[str, str]) -> None:
        """Hear that the platform has received `settings`."""


@dataclass(frozen=True)
class FixedPlatform:
    """A platform at an address that does not change."""

    name: str
    place: Place

    async def locate(self) -> Place:
        """Return the address."""
        return self.place

    async def lost(self, place: Place) -> bool:  # noqa: ARG002
        """Say that there is nowhere else to look."""
        return False

    def told(self, settings: Mapping[str, str]) -> None:
        """Nothing is ever told to a fixed platform."""


class Request(NamedTuple):
    """One request, before it has an address."""

    method: str
    path: str
    params: Mapping[str, Any] | None = None
    json: Any = None

    @property
    def asked(self) -> str:
        """Return the request as an error message names it."""
        return f"{self.method} {self.path}"


class Transport:
    """Sends requests to one platform, on the background loop."""

    def __init__(
        self,
        platform: Platform,
        *,
        clock: Clock | None = None,
        open_client: Callable[[], httpx.AsyncClient] | None = None,
    ) -> None:
        self.platform = platform
        self._open_client = open_client or _new_client
        self.clock: Clock = clock or SystemClock()
        self._ours: bool | None = {"local": True, "elevenlabs": False}.get(platform.name)
        self._client: httpx.AsyncClient | None = None
        self._owner_pid = os.getpid()
        self._jitter = random.Random()  # noqa: S311 - spreads retries, guards nothing

    @property
    def who(self) -> str:
        """Return the platform's name for messages."""
        return {"local": "the local platform", "elevenlabs": "ElevenLabs"}.get(self.platform.name, self.platform.name)

    async def request(
        self, method: str, path: str, *, params: Mapping[str, Any] | None = None, json: Any = None
    ) -> Any:
        """Send a request and return the JSON of the answer (None when it is empty).

        Raises:
            PlatformError: One of its subclasses; the message names the request and what the platform said.
        """
        asked = Request(method, path, params, json)
        answer = await self._repeated(asked)
        return payload(answer, asked=asked.asked, who=self.who, retry_after=self._retry_after(answer))

    async def document(
        self, method: str, path: str, *, params: Mapping[str, Any] | None = None, json: Any = None
    ) -> dict[str, Any]:
        """Send a request whose answer must be a JSON object, and return it."""
        answer = await self.request(method, path, params=params, json=json)
        return document(answer, asked=f"{method} {path}", who=self.who)

    async def download(self, path: str) -> tuple[bytes, str]:
        """Return the bytes of a file on the platform, and their media type.

        Raises:
            PlatformError: One of its subclasses, as for `request`; also when the file is far too large.
        """
        asked = Request("GET", path)
        answer = await self._repeated(asked)
        if not (answer.is_success and answer.complete):
            payload(answer, asked=asked.asked, who=self.who, retry_after=self._retry_after(answer))
        return answer.body, answer.headers.get("content-type", "").partition(";")[0].strip().lower()

    async def lines(self, path: str, *, params: Mapping[str, Any] | None = None) -> AsyncIterator[bytes]:
        """Yield the lines of a streamed answer; one task must read it from start to end."""
        asked = Request("GET", path, params)
        place = await self.locate()
        try:
            async with self._http().stream("GET", _join(place.url, path), **_sent(asked, place)) as response:
                if response.is_error:
                    answer = await _read(response)
                    raise refusal(answer, asked=asked.asked, who=self.who, retry_after=self._retry_after(answer))
                async for line in _lines(response):
                    yield line
        except _http_errors() as error:
            raise self._unreachable(asked, error) from None

    async def locate(self) -> Place:
        """Return where the platform answers, after telling it provider settings that are new."""
        place = await self.platform.locate()
        if place.settings is not None:
            answer = await self._once(
                Request("PUT", "/v1/local/settings", None, {"settings": dict(place.settings)}), place
            )
            payload(answer, asked="PUT /v1/local/settings", who=self.who)
            self.platform.told(place.settings)
        return place

    async def is_ours(self) -> bool:
        """Say whether this is our own platform, with its private routes (asked once for a platform given by URL)."""
        if self._ours is None:
            try:
                status = await self.request("GET", "/v1/local/status")
                self._ours = isinstance(status, dict) and "pid" in status
            except NotFoundError:
                self._ours = False
            except PlatformError as error:
                if error.status is None or error.status in (401, 403):
                    raise
                self._ours = False
        return self._ours

    async def close(self) -> None:
        """Close the connections; the next request opens new ones."""
        client, self._client = self._client, None
        if client is not None:
            await client.aclose()

    async def _repeated(self, asked: Request) -> Answer:
        """Send a request, again where that is harmless, and return the answer that stands."""
        may_have_arrived = False
        for tried in range(1, MAX_TRIES + 1):
            place = None
            try:
                place = await self.locate()
                answer = await self._once(asked, place)
            except _http_errors() as error:
                may_have_arrived |= not _never_arrived(error)
                if not await self._may_repeat(asked, error, place, tried):
                    raise self._unreachable(asked, error) from None
                continue
            if answer.status == 404 and asked.method == "DELETE" and may_have_arrived:
                return Answer(204, {}, b"")
            wait = self._wait_for(asked, answer, tried)
            if wait is None:
                return answer
            may_have_arrived |= answer.status != 429
            await self.clock.sleep(wait)
        raise AssertionError("the last try returns or raises")

    async def _may_repeat(self, asked: Request, error: Exception, place: Place | None, tried: int) -> bool:
        """Say, after a pause where one is due, whether a request that failed on the way is sent again."""
        moved = place is not None and await self.platform.lost(place)
        if tried == MAX_TRIES or not (asked.method in REPEATABLE or _never_arrived(error)):
            return False
        if not moved:
            if _timed_out(error):
                return False
            await self.clock.sleep(self._pause(tried))
        return True

    def _wait_for(self, asked: Request, answer: Answer, tried: int) -> float | None:
        """Return how long to wait before asking again, or None when this answer stands."""
        worth_it = answer.status == 429 or (answer.status in BUSY and asked.method in REPEATABLE)
        if tried == MAX_TRIES or not worth_it:
            return None
        told = self._retry_after(answer)
        if told is not None and told > MAX_WAIT_SECS:
            return None
        return self._pause(tried) if told is None else max(0.0, told)

    def _pause(self, tries: int) -> float:
        return FIRST_PAUSE_SECS * 2.0 ** (tries - 1) * (0.75 + self._jitter.random() / 2)

    def _retry_after(self, answer: Answer) -> float | None:
        import httpx

        from convai_lab.http import retry_after_secs

        told = answer.headers.get("retry-after")
        if told is None:
            return None
        told_again = httpx.Response(answer.status, headers={"retry-after": told})
        return retry_after_secs(told_again, self.clock.wall())

    async def _once(self, asked: Request, place: Place) -> Answer:
        async with self._http().stream(asked.method, _join(place.url, asked.path), **_sent(asked, place)) as response:
            return await _read(response)

    def _http(self) -> httpx.AsyncClient:
        """Return the client of this process; after a fork, the parent's is put away unused."""
        if self._client is None or self._owner_pid != os.getpid():
            if self._client is not None:
                _of_the_parent.append(self._client)
            self._client, self._owner_pid = self._open_client(), os.getpid()
        return self._client

    def _unreachable(self, asked: Request, error: Exception) -> PlatformError:
        why = scrub(" ".join(str(error).split())[:200]) or type(error).__name__
        kind = "did not answer in time" if _timed_out(error) else "could not be reached or cut the connection"
        return PlatformError(f"{self.who} {kind} ({asked.asked}): {why}")


_of_the_parent: list[httpx.AsyncClient] = []
"""Clients that came through a fork: collecting them would touch the parent's connections."""


def _new_client() -> httpx.AsyncClient:
    from convai_lab.http import new_client

    return new_client(timeout=REQUEST_TIMEOUT_SECS)


def _sent(asked: Request, place: Place) -> dict[str, Any]:
    headers = {KEY_HEADER: place.key.reveal()} if place.key else {}
    params = {name: value for name, value in (asked.params or {}).items() if value is not None}
    sent: dict[str, Any] = {"headers": headers, "params": {k: _plain(v) for k, v in params.items()}}
    if asked.json is not None:
        sent["json"] = asked.json
    return sent


def _plain(value: Any) -> Any:
    return str(value).lower() if isinstance(value, bool) else value


def _join(base: str, path: str) -> str:
    return base.rstrip("/") + path


async def _read(response: httpx.Response) -> Answer:
    limit = MAX_ERROR_BYTES if response.is_error else MAX_BODY_BYTES
    parts: list[bytes] = []
    size = 0
    async for part in response.aiter_bytes():
        parts.append(part)
        size += len(part)
        if size > limit:
            break
    return Answer(response.status_code, response.headers, b"".join(parts)[:limit], size <= limit)


async def _lines(response: httpx.Response) -> AsyncIterator[bytes]:
    """Split at line feeds only: httpx's own lines also end at separators that JSON text may hold."""
    rest = bytearray()
    async for part in response.aiter_bytes():
        rest += part
        if len(rest) > MAX_BODY_BYTES:
            raise PlatformError(f"the platform sent a line of more than {MAX_BODY_BYTES // 2**20} MB")
        if b"\n" in part:
            *whole, tail = bytes(rest).split(b"\n")
            rest = bytearray(tail)
            for line in whole:
                if line.strip():
                    yield line
    if rest.strip():
        yield bytes(rest)


def _http_errors() -> tuple[type[Exception], ...]:
    import httpx

    return (httpx.HTTPError, httpx.InvalidURL)


def _never_arrived(error: Exception) -> bool:
    import httpx

    return isinstance(error, httpx.ConnectError | httpx.ConnectTimeout | httpx.PoolTimeout)


def _timed_out(error: Exception) -> bool:
    import httpx

    return isinstance(error, httpx.TimeoutException)
