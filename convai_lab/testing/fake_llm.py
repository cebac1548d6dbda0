"""Fake LLM: a language model that says what a script tells it to."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from convai_lab.clock import Clock, SystemClock
from convai_lab.conversations.turn import ToolCall
from convai_lab.providers.base import ChatRequest, Done, FinishReason, LLMEvent, TextDelta, Usage

DEFAULT_USAGE = Usage(input=12, output=7, cached_input=4, reasoning=0)


@dataclass(frozen=True)
class Reply:
    """One scripted answer: text (as one string, or as the pieces it arrives in), tool calls, and how it ends.

    `delay_secs` passes before the first piece and `piece_secs` before every later one, on the clock of the fake.
    `error` is raised after the pieces instead of the end; the fake servers send it in the vendor's own words.
    """

    text: str | Sequence[str] = ""
    tool_calls: Sequence[ToolCall] = ()
    usage: Usage | None = field(default=DEFAULT_USAGE, kw_only=True)
    finish_reason: FinishReason | None = field(default=None, kw_only=True)
    model_served: str | None = field(default=None, kw_only=True)
    delay_secs: float = field(default=0.0, kw_only=True)
    piece_secs: float = field(default=0.0, kw_only=True)
    error: BaseException | None = field(default=None, kw_only=True)

    @property
    def pieces(self) -> list[str]:
        """Return the text in the pieces it is streamed in; joined they are the text."""
        if not isinstance(self.text, str):
            return list(self.text)
        words = self.text.split(" ")
        return [word if i == 0 else f" {word}" for i, word in enumerate(words)] if self.text else []

    @property
    def ends_with(self) -> FinishReason:
        """Return the finish reason: the scripted one, or what follows from the tool calls."""
        return self.finish_reason or ("tool_calls" if self.tool_calls else "stop")


def call(name: str, arguments: Mapping[str, Any] | None = None, /, *, id: str = "", **more: Any) -> ToolCall:
    """Return a tool call for a script: ``call("order_status", order_id="1234")``."""
    return ToolCall(id=id or f"call_{name}", name=name, arguments={**(arguments or {}), **more})


Scripted = str | Reply | ToolCall | Sequence[ToolCall] | BaseException
"""What a script may hold: a text, a `Reply`, one or more tool calls, or an error to raise."""


def as_reply(scripted: Scripted) -> Reply:
    """Return the scripted thing as a `Reply`.

    Raises:
        TypeError: It is none of the things a script may hold.
    """
    match scripted:
        case Reply():
            return scripted
        case str():
            return Reply(scripted)
        case ToolCall():
            return Reply(tool_calls=(scripted,))
        case BaseException():
            return Reply(error=scripted)
        case list() | tuple() if all(isinstance(item, ToolCall) for item in scripted):
            return Reply(tool_calls=tuple(scripted))
    raise TypeError(f"a script holds texts, replies, tool calls and errors, not {type(scripted).__name__}")


class FakeLLM:
    """A language model that answers from a script, and keeps what it was asked.

    `replies` is a list of what to answer in turn, or a function from the request to the answer. `requests` holds
    every request so far, `cancelled` counts the answers that nobody read to their end.

    Example:
        >>> llm = FakeLLM([call("order_status", order_id="1234"), "It ships tomorrow."])
    """

    def __init__(
        self,
        replies: Sequence[Scripted] | Callable[[ChatRequest], Scripted] = (),
        *,
        clock: Clock | None = None,
        provider: str = "fake",
        model: str = "fake-model",
        is_offline: bool = False,
    ) -> None:
        self.provider, self.model, self.is_offline = provider, model, is_offline
        self.requests: list[ChatRequest] = []
        self.cancelled = 0
        self._clock: Clock = clock or SystemClock()
        self._replies = replies if callable(replies) else list(replies)

    async def stream(self, request: ChatRequest) -> AsyncIterator[LLMEvent]:
        """Stream the next scripted answer.

        Raises:
            AssertionError: The script is used up.
        """
        self.requests.append(request)
        reply = as_reply(self._next(request))
        complete = False
        try:
            async with contextlib.aclosing(self._events(reply)) as events:
                async for event in events:
                    complete = complete or isinstance(event, Done)
                    yield event
        finally:
            if not complete and reply.error is None:
                self.cancelled += 1

    def _next(self, request: ChatRequest) -> Scripted:
        if callable(self._replies):
            return self._replies(request)
        if not self._replies:
            raise AssertionError(f"the script is used up: request {len(self.requests)} has no reply left")
        return self._replies.pop(0)

    async def _events(self, reply: Reply) -> AsyncGenerator[LLMEvent, None]:
        await self._wait(reply.delay_secs)
        for i, piece in enumerate(reply.pieces):
            await self._wait(reply.piece_secs if i else 0)
            yield TextDelta(piece)
        if reply.error is not None:
            raise reply.error
        for tool_call in reply.tool_calls:
            yield tool_call
        yield Done(reply.ends_with, reply.model_served or self.model, reply.usage or Usage())

    async def _wait(self, secs: float) -> None:
        if secs > 0:
            await self._clock.sleep(secs)
