"""HTTP LLM: what do all adapters over HTTP share? One answer: ask, check, read, retry, close."""

from __future__ import annotations

import contextlib
import functools
import itertools
import json
import random
import re
from abc import ABC, abstractmethod
from collections.abc import AsyncGenerator, AsyncIterator, Iterable, Iterator, Mapping, Sequence
from typing import Any, ClassVar, Protocol
from urllib.parse import urlsplit, urlunsplit

import httpx

from convai_lab.clock import Clock
from convai_lab.errors import (
    ModelNotFoundError,
    ProviderAuthError,
    ProviderError,
    ProviderRequestError,
    ProviderStreamError,
    ProviderTimeoutError,
)
from convai_lab.http import Answer, post_stream, retry_after_secs
from convai_lab.providers.base import ChatRequest, LLMEvent
from convai_lab.providers.batches import Batches, flat
from convai_lab.providers.models import model_names
from convai_lab.providers.refusal import Asker, Refused, refusal, stream_refusal
from convai_lab.providers.retry import RetryPolicy, with_retries
from convai_lab.providers.streaming import (
    Events,
    Reading,
    decode_whole,
    drain,
    parse_object,
    parse_together,
    read_text,
    read_whole,
    vendor_errors,
)
from convai_lab.providers.tool_names import whole_text
from convai_lab.settings import Secret, scrub

END_MARK = "[DONE]"
FIRST_ANSWER_SECS = 60.0
"""How long a vendor may take to begin its answer."""
IDLE_SECS = 60.0
"""How long a vendor may be silent in the middle of its answer."""
TAIL_SECS = 2.0
"""How long we wait for what may follow a complete answer: the usage, the end mark."""
ERROR_BODY_SECS = 5.0
LONGEST_ERROR_BODY_BYTES = 1 << 16

_compact = json.JSONEncoder(ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode
_REFUSED_WORDS = re.compile(
    r"unsupported|not supported|does not support|deprecated|unrecognized|unknown|unexpected|not permitted|not allowed"
    r"|extra inputs|invalid (?:parameter|argument|field)",
    re.IGNORECASE,
)


class AnswerReader(Protocol):
    """Understands one answer of one vendor, event by event."""

    is_complete: bool
    """The vendor has said why the answer ended; only the usage and the like may follow."""
    is_done: bool
    """Nothing more will follow."""

    def read(self, event: Mapping[str, Any]) -> Iterable[LLMEvent]:
        """Take one parsed event; yield what it says."""

    def finish(self) -> Iterable[LLMEvent]:
        """Yield what is left, then `Done`.

        Raises:
            ProviderStreamError: The answer ended before it was complete.
        """


class HttpLLM(ABC):
    """The base of the adapters: subclasses say what to send and how to read the answer.

    `base_url` defaults to the client's own and then to the vendor's.
    """

    provider: str = ""
    default_base_url: ClassVar[str] = ""
    droppable: ClassVar[tuple[str, ...]] = ()
    """Parameters of the body that some models refuse, and that are then left out."""
    is_offline = False

    def __init__(
        self,
        model: str,
        *,
        api_key: Secret | None,
        http: httpx.AsyncClient,
        clock: Clock,
        provider: str | None = None,
        base_url: str | None = None,
        headers: Mapping[str, str] | None = None,
        retry: RetryPolicy | None = None,
        rng: random.Random | None = None,
    ) -> None:
        self.model = model
        self.provider = provider or self.provider
        self._key, self._http, self._clock = api_key, http, clock
        self._base_url, self._extra_headers = base_url, dict(headers or {})
        self._retry = retry or RetryPolicy()
        self._rng = rng or random.Random()  # noqa: S311 - jitter, not a secret
        self._refused: set[str] = set()

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.model!r})"

    def stream(self, request: ChatRequest) -> AsyncIterator[LLMEvent]:
        """Stream the answer: text and tool calls, then one `Done`.

        Raises:
            ProviderError: One of its subclasses, for everything that can go wrong with a vendor.
        """
        return flat(self.stream_batches(request))

    def stream_batches(self, request: ChatRequest) -> Batches:
        """Stream the answer as `stream` does, what arrives together at once."""
        return with_retries(
            lambda: self._ask(request),
            policy=self._retry,
            clock=self._clock,
            rng=self._rng,
            adapt=lambda refused: self._adapt(refused, request),
        )

    @abstractmethod
    def path(self) -> str:
        """Return the path of the request below the base URL (it may have a query)."""

    @abstractmethod
    def headers(self) -> dict[str, str]:
        """Return the headers that identify us to the vendor."""

    @abstractmethod
    def body(self, request: ChatRequest) -> dict[str, Any]:
        """Return the JSON body of the request."""

    @abstractmethod
    def reader(self, request: ChatRequest) -> AnswerReader:
        """Return a reader for the answer to `request`."""

    def secret(self) -> str | None:
        """Return the key as it is sent, None without one.

        Raises:
            ProviderAuthError: It cannot be a key, so that sending it would only fail less clearly.
        """
        return sendable_key(self._key, provider=self.provider, model=self.model)

    async def _ask(self, request: ChatRequest) -> Batches:
        """Ask once; yield what arrives, what arrives together at once."""
        answer = await self._open(request)
        try:
            if answer.status_code != httpx.codes.OK:
                raise await self._refusal(answer.as_response())
            reader = self.reader(request)
            async with contextlib.aclosing(self._documents(answer, reader)) as documents:
                async for some in documents:
                    said: list[LLMEvent] = []
                    try:
                        self._take(some, reader, said)
                    except (Refused, ProviderError):
                        if said:
                            yield said
                        raise
                    if said:
                        yield said
            yield list(reader.finish())
        finally:
            await answer.aclose()

    def _take(self, documents: Sequence[str], reader: AnswerReader, said: list[LLMEvent]) -> None:
        """Read documents and add to `said` what they say; once the answer is complete, a bad one does not matter."""
        for data, known in zip(documents, parse_together(documents) or itertools.repeat(None), strict=False):
            if reader.is_done:
                return
            try:
                said.extend(reader.read(self._parsed(data, known)))
            except ProviderStreamError:
                if not reader.is_complete:
                    raise

    async def _open(self, request: ChatRequest) -> Answer:
        headers = {
            "accept": "text/event-stream",
            "content-type": "application/json",
            **{name.lower(): value for name, value in (self._extra_headers | self.headers()).items()},
        }
        content = self._encoded(request)
        with vendor_errors(self.provider, self.model):
            async with self._clock.timeout(FIRST_ANSWER_SECS):
                return await post_stream(self._http, self._url(), content=content, headers=headers)

    async def _documents(self, answer: Answer, reader: AnswerReader) -> AsyncGenerator[list[str], None]:
        """Yield the JSON documents of an answer: one an event, or one in all from a server that does not stream."""
        reading = Reading(
            self.provider, self.model, self._clock, lambda: TAIL_SECS if reader.is_complete else IDLE_SECS
        )
        if "json" in answer.content_type:
            whole = decode_whole(await read_whole(answer, reading))
            yield [data for data in whole if data.strip() not in ("", END_MARK)]
            return
        is_empty, events = True, Events(answer, reading)
        with self._lenient_end(reader):
            while together := await events.next():
                is_empty, found = False, [event.data.strip() for event in together]
                ends = END_MARK in found
                yield [data for data in (found[: found.index(END_MARK)] if ends else found) if data]
                reader.is_complete = reader.is_complete or ends
                if ends or reader.is_done:
                    await drain(answer, events, self._clock)
                    break
        if is_empty:
            kind = scrub(answer.content_type or "without a content type")[:80]
            raise ProviderStreamError(f"sent an empty answer ({kind})", provider=self.provider, model=self.model)

    @contextlib.contextmanager
    def _lenient_end(self, reader: AnswerReader) -> Iterator[None]:
        """Once the answer is complete, how the connection ends does not matter."""
        try:
            yield
        except (ProviderStreamError, ProviderTimeoutError):
            if not reader.is_complete:
                raise

    def _parsed(self, data: str, known: dict[str, Any] | None) -> dict[str, Any]:
        document = parse_object(data, provider=self.provider, model=self.model) if known is None else known
        if document.get("error"):
            raise stream_refusal(self._asker(), document["error"])
        if document.get("object") == "error":
            raise stream_refusal(self._asker(), document)
        return document

    async def _refusal(self, response: httpx.Response) -> Refused:
        body = await read_text(response, limit=LONGEST_ERROR_BODY_BYTES, clock=self._clock, idle_secs=ERROR_BODY_SECS)
        retry_after = retry_after_secs(response, self._clock.wall())
        refused = refusal(self._asker(), response.status_code, body, retry_after=retry_after)
        if isinstance(refused.error, ModelNotFoundError) and (names := await self.offered_models()):
            asker = self._asker()._replace(models=names)
            return refusal(asker, response.status_code, body, retry_after=retry_after)
        return refused

    async def offered_models(self) -> Sequence[str]:
        """Return the names of models to suggest when the one asked for does not exist."""
        return model_names(self.provider)

    def _asker(self) -> Asker:
        return Asker(self.provider, self.model, self._key, model_names(self.provider))

    def _body(self, request: ChatRequest) -> dict[str, Any]:
        """Return the body without what this model has refused before; `extra_body` has the last word."""
        body = {name: value for name, value in self.body(request).items() if name not in self._refused}
        return body | dict(request.extra_body)

    def _encoded(self, request: ChatRequest) -> bytes:
        try:
            text = _compact(self._body(request))
        except (TypeError, ValueError, RecursionError) as error:
            raise ProviderRequestError(
                f"the request cannot be written as JSON ({error}); look at the tools' parameters and extra_body",
                provider=self.provider,
                model=self.model,
            ) from None
        return whole_text(text).encode()

    def _adapt(self, refused: Refused, request: ChatRequest) -> bool:
        """Leave out the parameter that the vendor says this model does not take; false when it is something else."""
        words = refused.said.message
        if not isinstance(refused.error, ProviderRequestError) or not _REFUSED_WORDS.search(words):
            return False
        sent = [name for name in self.droppable if name in self._body(request) and name not in request.extra_body]
        named = [(at.start(), name) for name in sent if (at := re.search(rf"\b{name}\b", words))]
        if not named:
            return False
        self._refused.add(min(named)[1])
        return True

    def _url(self) -> str:
        return endpoint(self._base_url or str(self._http.base_url) or self.default_base_url, self.path())


def sendable_key(key: Secret | None, *, provider: str, model: str) -> str | None:
    """Return a key as it is sent, None without one.

    Raises:
        ProviderAuthError: It cannot be a key, so that sending it would only fail less clearly.
    """
    if not key:
        return None
    text = key.reveal()
    if not (text.isascii() and text.isprintable()) or " " in text:
        raise ProviderAuthError("the key has characters that no key has; copy it again", provider=provider, model=model)
    return text


@functools.lru_cache(maxsize=256)
def endpoint(base_url: str, path: str) -> str:
    """Join a base URL and a path; a query of the base is kept, and what both have (``/v1``) is not doubled."""
    base, tail = urlsplit(base_url), urlsplit(path)
    folders, steps = base.path.rstrip("/"), tail.path.strip("/").split("/")
    for n in range(len(steps), 0, -1):
        if folders.endswith("/" + "/".join(steps[:n])):
            steps = steps[n:]
            break
    whole = "/".join([folders, *steps])
    query = "&".join(part for part in (base.query, tail.query) if part)
    return urlunsplit((base.scheme, base.netloc, whole, query, ""))
