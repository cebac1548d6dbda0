"""HTTP speech: what do all speech engines over HTTP share? Ask, check, read, retry, close."""

from __future__ import annotations

import contextlib
import random
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping
from typing import Any, NamedTuple, TypeVar

import httpx

from convai_lab.clock import Clock
from convai_lab.errors import ProviderRequestError, ProviderStreamError
from convai_lab.http import HttpxAnswer, retry_after_secs
from convai_lab.providers.http_llm import ERROR_BODY_SECS, LONGEST_ERROR_BODY_BYTES, endpoint, sendable_key
from convai_lab.providers.refusal import Asker, Refused, refusal
from convai_lab.providers.retry import RetryPolicy, with_retries
from convai_lab.providers.streaming import Reading, parse_object, read_chunks, read_text, read_whole, vendor_errors
from convai_lab.settings import Secret, scrub

T = TypeVar("T")

FIRST_ANSWER_SECS = 20.0
"""How long a vendor may take to begin its answer: somebody is waiting on the line."""
IDLE_SECS = 10.0
"""How long a vendor may be silent in the middle of its answer."""
SPEECH_RETRIES = RetryPolicy(attempts=3, first_wait_secs=0.25, longest_wait_secs=2.0, total_secs=8.0)

ReadRefusal = Callable[[Asker, int, str, float | None], Refused]


class Call(NamedTuple):
    """One request to a speech vendor; `model` is for its errors."""

    path: str
    model: str
    json: Mapping[str, Any] | None = None
    data: Mapping[str, Any] | None = None
    files: Mapping[str, tuple[str, bytes, str]] | None = None


class SpeechVendor:
    """The way to one vendor: its address, its key, its connections, and how it refuses.

    Args:
        name: Who is named in errors.
        key_headers: Makes the headers that carry the key.
        read_refusal: Reads the vendor's dialect of errors.
    """

    def __init__(
        self,
        name: str,
        *,
        base_url: str,
        http: httpx.AsyncClient,
        clock: Clock,
        api_key: Secret | None = None,
        key_headers: Callable[[str], dict[str, str]] = lambda key: {"authorization": f"Bearer {key}"},
        read_refusal: ReadRefusal | None = None,
        retry: RetryPolicy = SPEECH_RETRIES,
        rng: random.Random | None = None,
    ) -> None:
        self.name, self.base_url, self.clock = name, base_url, clock
        self._http, self._key, self._key_headers = http, api_key, key_headers
        self._read_refusal = read_refusal or _plain_refusal
        self._retry = retry
        self._rng = rng or random.Random()  # noqa: S311 - jitter, not a secret

    def __repr__(self) -> str:
        return f"SpeechVendor({self.name!r})"

    def url(self, path: str) -> str:
        """Return the address of a path below the base URL."""
        return endpoint(self.base_url, path)

    def headers(self, model: str) -> dict[str, str]:
        """Return the headers that identify us; none without a key.

        Raises:
            ProviderAuthError: What is set cannot be a key.
        """
        key = sendable_key(self._key, provider=self.name, model=model)
        return self._key_headers(key) if key else {}

    def refused(self, model: str, status: int, body: str, retry_after: float | None = None) -> Refused:
        """Return the error that an answer of this status stands for."""
        return self._read_refusal(Asker(self.name, model, self._key), status, body, retry_after)

    async def ask(self, read: Callable[[], AsyncGenerator[T, None]]) -> AsyncGenerator[T, None]:
        """Yield what `read()` yields; ask again after a failure that may pass, but never once something came.

        Raises:
            ProviderError: The last failure.
        """
        answer = with_retries(read, policy=self._retry, clock=self.clock, rng=self._rng)
        async with contextlib.aclosing(answer) as events:
            async for event in events:
                yield event

    async def ask_once(self, call: Call) -> dict[str, Any]:
        """Return the JSON object that answers a request, asking again after a failure that may pass.

        Raises:
            ProviderError: The last failure.
        """

        async def read() -> AsyncGenerator[dict[str, Any], None]:
            async with self.open(call) as response:
                whole = await read_whole(HttpxAnswer(response), self.reading(call.model))
                yield parse_object(whole, provider=self.name, model=call.model)

        async with contextlib.aclosing(self.ask(read)) as answers:
            return await anext(answers)

    @contextlib.asynccontextmanager
    async def open(self, call: Call) -> AsyncIterator[httpx.Response]:
        """Send a request; the answer has begun and is a good one. It is closed at the end.

        Raises:
            Refused: The vendor says no; `ask` turns it into a ProviderError.
            ProviderError: It cannot be reached, or does not begin to answer in time.
        """
        request = self._request(call)
        with vendor_errors(self.name, call.model):
            async with self.clock.timeout(FIRST_ANSWER_SECS):
                response = await self._http.send(request, stream=True)
        try:
            if response.status_code != httpx.codes.OK:
                raise await self._refusal(call, response)
            yield response
        finally:
            await response.aclose()

    def reading(self, model: str) -> Reading:
        """Return how an answer is read: whose it is, by which clock, and how long to wait for more."""
        return Reading(self.name, model, self.clock, lambda: IDLE_SECS)

    def _request(self, call: Call) -> httpx.Request:
        headers = self.headers(call.model)
        with vendor_errors(self.name, call.model):
            try:
                return self._http.build_request(
                    "POST", self.url(call.path), headers=headers, json=call.json, data=call.data, files=call.files
                )
            except (TypeError, ValueError) as error:
                raise ProviderRequestError(
                    f"the request cannot be written ({type(error).__name__}); look at the text and the settings",
                    provider=self.name,
                    model=call.model,
                ) from None

    async def _refusal(self, call: Call, response: httpx.Response) -> Refused:
        body = await read_text(response, limit=LONGEST_ERROR_BODY_BYTES, clock=self.clock, idle_secs=ERROR_BODY_SECS)
        return self.refused(call.model, response.status_code, body, retry_after_secs(response, self.clock.wall()))


async def read_lines(response: httpx.Response, reading: Reading, *, longest: int) -> AsyncGenerator[bytes, None]:
    """Yield the lines of an answer that are not blank, without their ends, the last one too.

    Raises:
        ProviderStreamError: The answer was cut off, or a line is longer than `longest` bytes.
        ProviderTimeoutError: Nothing came for `reading.idle_secs()` seconds.
    """
    rest = bytearray()
    async with contextlib.aclosing(read_chunks(response, reading)) as chunks:
        async for chunk in chunks:
            searched = len(rest)
            rest += chunk
            while (end := rest.find(b"\n", searched)) >= 0:
                line, rest, searched = bytes(rest[:end]), rest[end + 1 :], 0
                if line.strip():
                    yield line.strip()
            if len(rest) > longest:
                raise ProviderStreamError(
                    f"sent a line over {longest >> 20} MiB, more than we take",
                    provider=reading.provider,
                    model=reading.model,
                )
    if rest.strip():
        yield bytes(rest).strip()


def refuse_wrong_type(response: httpx.Response, reading: Reading, *, expected: str) -> None:
    """Refuse an answer that by its own word is a page or a document instead of `expected`.

    Raises:
        ProviderStreamError: It names what came instead.
    """
    kind = response.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind.startswith("text/html") or (kind.startswith(("text/", "application/json")) and expected == "audio"):
        raise ProviderStreamError(
            f"sent {scrub(kind)[:80]} instead of {expected}; is the base URL right?",
            provider=reading.provider,
            model=reading.model,
        )


def _plain_refusal(asker: Asker, status: int, body: str, retry_after: float | None) -> Refused:
    return refusal(asker, status, body, retry_after=retry_after)
