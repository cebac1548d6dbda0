"""Cassette LLM: how is a model's answer written down, event by event, and spoken again?"""

from __future__ import annotations

import asyncio
import math
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping
from contextlib import aclosing
from dataclasses import asdict
from typing import TYPE_CHECKING, Any, NamedTuple, cast, get_args

from convai_lab.clock import VirtualClock, running_virtual_clock
from convai_lab.conversations.turn import ToolCall
from convai_lab.errors import ConvaiLabError, InvalidValueError
from convai_lab.providers.base import LLM, ChatMessage, ChatRequest, Done, FinishReason, LLMEvent, TextDelta, Usage
from convai_lab.providers.cassette_error import error_from_plain, error_to_plain
from convai_lab.providers.cassette_secrets import clean_text
from convai_lab.providers.usage import count

if TYPE_CHECKING:
    from convai_lab.providers.cassette import Cassette

OPTIONS = ("temperature", "max_tokens", "reasoning_effort", "thinking_budget", "seed", "extra_body")
CUT = "cut"
"""Marks an answer to which nobody listened until its end."""


class Timed(NamedTuple):
    """An event and the seconds since the request after which it came."""

    secs: float
    event: LLMEvent


class Answer(NamedTuple):
    """A recorded answer: its events, how it failed, and when it ended; `cut` when nobody listened any more."""

    events: list[Timed]
    error: ConvaiLabError | None
    ended_secs: float
    cut: bool


class CassetteLLM:
    """A model whose answers are recorded or replayed; `Cassette.llm` makes one."""

    is_offline = False

    def __init__(
        self,
        cassette: Cassette,
        provider: str,
        model: str,
        *,
        find: Callable[[], LLM] | None = None,
        at: str = "",
        now: Callable[[], float] | None = None,
        outside: bool = False,
    ) -> None:
        self.provider, self.model, self._at = provider, model, at
        self._cassette, self._find, self._now, self._outside = cassette, find, now, outside
        self._inner: LLM | None = None
        if cassette.mode in ("record", "refresh"):
            self._live()  # a missing key is said now, not in the middle of a conversation

    def __repr__(self) -> str:
        return f"<{self.provider}/{self.model}, {self._cassette.mode} {self._cassette.name}>"

    async def stream(self, request: ChatRequest) -> AsyncIterator[LLMEvent]:
        """Stream the answer: the recorded one, or a new one that is then kept.

        Raises:
            CassetteMissError: Nothing answers the request.
            ProviderError: The model failed, or did so when it was recorded.
        """
        from convai_lab.providers.cassette import plain

        asked = plain(request_to_plain(self.provider, self.model, request, at=self._at))
        recording = self._cassette.find("llm", asked)
        if recording is not None:
            answer = answer_from_plain(recording.answer, f"{self._cassette.name} line {recording.line}")
            spoken = self._spoken(answer)
        else:
            virtual = running_virtual_clock() if self._outside else None
            spoken = self._heard(request, asked) if virtual is None else self._heard_outside(request, asked, virtual)
        async with aclosing(spoken) as events:
            async for event in events:
                yield event

    def _live(self) -> LLM:
        if self._inner is None:
            if self._find is None:
                raise InvalidValueError(f"no model was given to ask for {self.model}", field="cassette")
            self._inner = self._find()
        return self._inner

    async def _spoken(self, answer: Answer) -> AsyncGenerator[LLMEvent, None]:
        """Yield a recorded answer, at its times where time is to pass."""
        began = asyncio.get_running_loop().time()
        await asyncio.sleep(0)
        for secs, event in answer.events:
            await self._cassette.wait_until(secs, since=began)
            yield event
        await self._cassette.wait_until(answer.ended_secs, since=began)
        if answer.error is not None:
            raise answer.error
        if answer.cut:
            raise self._cassette.broken_off(self.model)

    async def _heard(self, request: ChatRequest, asked: Mapping[str, Any]) -> AsyncGenerator[LLMEvent, None]:
        """Yield the model's own answer and keep it, however it ends."""
        notes = _Notes(self._now or asyncio.get_running_loop().time)
        try:
            async with aclosing(cast(AsyncGenerator[LLMEvent, None], self._live().stream(request))) as events:
                async for event in events:
                    notes.hear(event)
                    yield event
            notes.is_whole = True
        except ConvaiLabError as error:
            notes.error = error_to_plain(error)
            notes.is_whole = True
            raise
        finally:
            if notes.is_worth_keeping:
                self._cassette.keep("llm", asked, notes.answer())

    async def _heard_outside(
        self, request: ChatRequest, asked: Mapping[str, Any], clock: VirtualClock
    ) -> AsyncGenerator[LLMEvent, None]:
        """Ask in real time while the virtual clock stands still, then speak the answer at its times."""
        notes = _Notes(self._now)

        async def collect() -> ConvaiLabError | None:
            try:
                async for event in self._live().stream(request):
                    notes.hear(event)
            except ConvaiLabError as error:
                notes.error = error_to_plain(error)
                return error
            return None

        error = await clock.outside(collect, took=0.0)
        notes.is_whole = True
        answer = notes.answer()
        if notes.is_worth_keeping:
            self._cassette.keep("llm", asked, answer)
        async with aclosing(self._spoken(Answer(notes.events, error, answer["ended"], cut=False))) as events:
            async for event in events:
                yield event


class _Notes:
    """Takes down one answer while it is being heard."""

    def __init__(self, now: Callable[[], float] | None) -> None:
        import time

        self._now = now or time.perf_counter
        self._began = self._now()
        self.events: list[Timed] = []
        self.error: dict[str, Any] | None = None
        self.is_whole = False

    def hear(self, event: LLMEvent) -> None:
        """Write down one event and when it came."""
        self.events.append(Timed(self._secs(), event))

    @property
    def is_worth_keeping(self) -> bool:
        """Say whether there is an end to tell of: of an error of our own making there is none."""
        return not (self.is_whole and self.error is None and not self.events)

    def answer(self) -> dict[str, Any]:
        """Return what was heard as plain JSON."""
        answer: dict[str, Any] = {"events": events_to_plain(self.events), "ended": self._secs()}
        if self.error is not None:
            answer["error"] = self.error
        if not self.is_whole:
            answer[CUT] = True
        return answer

    def _secs(self) -> float:
        return round(max(0.0, self._now() - self._began), 6)


def request_to_plain(provider: str, model: str, request: ChatRequest, *, at: str = "") -> dict[str, Any]:
    """Return a request as JSON; what was left to the vendor is left out."""
    options = {name: value for name in OPTIONS if (value := getattr(request, name)) is not None and value != {}}
    asked: dict[str, Any] = {"provider": provider, "model": model, **({"at": at} if at else {})}
    asked["messages"] = [message_to_plain(message) for message in request.messages]
    if request.tools:
        asked["tools"] = [asdict(tool) for tool in request.tools]
    return {**asked, "options": options} if options else asked


def message_to_plain(message: ChatMessage) -> dict[str, Any]:
    """Return a message as JSON, without what is not there."""
    plain: dict[str, Any] = {"role": message.role, "content": message.content}
    if message.tool_calls:
        plain["tool_calls"] = [{"id": c.id, "name": c.name, "arguments": c.arguments} for c in message.tool_calls]
    for name in ("tool_call_id", "name"):
        if (value := getattr(message, name)) is not None:
            plain[name] = value
    return {**plain, "is_error": True} if message.is_error else plain


def events_to_plain(events: list[Timed]) -> list[list[Any]]:
    """Return events as JSON: ``[secs, "text", "..."]``, ``[secs, "call", {...}]``, ``[secs, "done", {...}]``.

    A secret that came in several pieces is removed too: the text is then one piece.
    """
    text = "".join(event.text for _, event in events if isinstance(event, TextDelta))
    written = [[secs, *_event_to_plain(event)] for secs, event in events]
    clean = clean_text(text)
    if clean == text:
        return written
    first = next(i for i, line in enumerate(written) if line[1] == "text")
    written[first][2] = clean
    return [line for i, line in enumerate(written) if line[1] != "text" or i == first]


def answer_from_plain(plain: Mapping[str, Any], where: str) -> Answer:
    """Read a recorded answer.

    Raises:
        InvalidValueError: It was edited into something else; names the place.
    """
    events = plain.get("events", [])
    if not isinstance(events, list):
        raise InvalidValueError("must be a list", field=f"{where}: events")
    timed = [_event_from_plain(event, f"{where}: events[{i}]") for i, event in enumerate(events)]
    ended = plain.get("ended", timed[-1].secs if timed else 0.0)
    if not _is_secs(ended):
        raise InvalidValueError("must be seconds", field=f"{where}: ended")
    error = error_from_plain(plain["error"], f"{where}: error") if "error" in plain else None
    is_cut = bool(plain.get(CUT))
    if error is None and not is_cut and not any(isinstance(event, Done) for _, event in timed):
        raise InvalidValueError('has no ["done"] event, no error, and is not cut', field=f"{where}: events")
    return Answer(timed, error, float(ended), is_cut)


def _event_to_plain(event: LLMEvent) -> list[Any]:
    if isinstance(event, TextDelta):
        return ["text", event.text]
    if isinstance(event, Done):
        usage = {name: value for name, value in event.usage._asdict().items() if value is not None}
        served = {"finish_reason": event.finish_reason, "model_served": event.model_served, "usage": usage}
        return ["done", served]
    call = {"id": event.id, "name": event.name, "arguments": dict(event.arguments), "kind": event.kind}
    return ["call", {**call, "extra": dict(event.extra)} if event.extra else call]


def _event_from_plain(plain: Any, where: str) -> Timed:
    match plain:
        case [secs, "text", str() as text] if _is_secs(secs):
            return Timed(float(secs), TextDelta(text))
        case [
            secs,
            "call",
            {"id": str() as own_id, "name": str() as name, "arguments": dict() as arguments, **rest},
        ] if _is_secs(secs):
            extra = rest.get("extra")
            kind = rest.get("kind") if rest.get("kind") in ("client", "webhook", "system", "mcp") else "client"
            call = ToolCall(id=own_id, name=name, arguments=arguments, kind=cast(Any, kind))
            return Timed(float(secs), call if not isinstance(extra, dict) else _with_extra(call, extra))
        case [secs, "done", {"finish_reason": str() as reason, "model_served": str() as served, **rest}] if _is_secs(
            secs
        ):
            if reason not in get_args(FinishReason):
                raise InvalidValueError(f"there is no finish reason {reason[:40]!r}", field=where)
            return Timed(float(secs), Done(cast(FinishReason, reason), served, _usage(rest.get("usage"))))
    raise InvalidValueError('must be [secs, "text" | "call" | "done", ...]', field=where)


def _with_extra(call: ToolCall, extra: Mapping[str, Any]) -> ToolCall:
    return ToolCall(id=call.id, name=call.name, arguments=call.arguments, kind=call.kind, extra=extra)


def _usage(plain: Any) -> Usage:
    found = plain if isinstance(plain, dict) else {}
    return Usage(*(count(found.get(name)) for name in Usage._fields))


def _is_secs(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value) and value >= 0
