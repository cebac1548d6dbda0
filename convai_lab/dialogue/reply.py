"""Reply: how does the history become an agent's turn, by way of the model and its tools?

A round is one request to the model and the tools that its answer calls. Rounds follow each other until the model
calls no more tools; the text of all of them is one turn.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Callable, Iterator, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field, replace
from typing import Any

from convai_lab.clock import Clock
from convai_lab.conversations.turn import ToolCall, ToolResult, Turn
from convai_lab.dialogue.history import ROUNDS
from convai_lab.dialogue.meter import ReplyMeter, RequestMeter
from convai_lab.dialogue.outside_text import well_formed
from convai_lab.dialogue.record import with_own
from convai_lab.dialogue.repeats import Repeats
from convai_lab.dialogue.system_tools import AgentTransfer, Effect, EndCall, SkipTurn, SwitchLanguage
from convai_lab.dialogue.tool_runner import ToolOutcome, ToolRunner, error_result
from convai_lab.errors import ProviderStreamError, ProviderTimeoutError
from convai_lab.providers.base import LLM, ChatRequest, Done, LLMEvent, TextDelta
from convai_lab.providers.batches import Batches, joined, stream_batches

DEFAULT_TOOL_ROUNDS = 10
DEFAULT_REQUEST_SECS = 120.0
MAX_REPLY_CHARS = 200_000
MAX_CALLS_A_ROUND = 32
TRANSFER = "transfer_to_agent"
"""The finish reason of a turn after which another agent goes on."""
MAX_DURATION = "max_duration"
"""The finish reason of a turn that was cut because the conversation has lasted as long as it may."""


@dataclass(frozen=True)
class ReplyText:
    """A piece of what the agent says; all pieces together are the turn's text."""

    text: str


@dataclass(frozen=True)
class ToolStarted:
    """The agent called a tool."""

    call: ToolCall


@dataclass(frozen=True)
class ToolFinished:
    """A tool answered, or failed."""

    result: ToolResult


@dataclass(frozen=True)
class ReplyDone:
    """The reply is complete, and its turn is recorded."""

    turn: Turn


ReplyEvent = ReplyText | ToolStarted | ToolFinished | ReplyDone
"""What a reply yields: text and tools as they happen, then `ReplyDone`."""


class OutOfTime(Exception):
    """The conversation reached its longest duration while the reply was under way."""


@dataclass
class Round:
    """One request: the text that came of it, the calls, and their results in the order of the calls."""

    pieces: list[str] = field(default_factory=list)
    calls: list[ToolCall] = field(default_factory=list)
    results: list[ToolResult] = field(default_factory=list)

    @property
    def text(self) -> str:
        """Return the text of this round."""
        return "".join(self.pieces)


@dataclass(frozen=True, kw_only=True)
class Limits:
    """How long a reply may take; `ends_at` is the instant at which the conversation is over."""

    first_token_secs: float = 20.0
    request_secs: float = DEFAULT_REQUEST_SECS
    tool_rounds: int = DEFAULT_TOOL_ROUNDS
    ends_at: float | None = None


@dataclass(frozen=True, kw_only=True)
class Surroundings:
    """What a reply needs from its conversation: the next request, the variables, and who hears of outcomes."""

    request: Callable[[Sequence[Round]], ChatRequest]
    variables: Callable[[], Mapping[str, Any]]
    learn: Callable[[ToolOutcome], None]


class Reply:
    """One reply under way; `turn()` gives what there is of it at any moment."""

    def __init__(
        self, *, llm: LLM, tools: ToolRunner, clock: Clock, surroundings: Surroundings, limits: Limits | None = None
    ) -> None:
        self.effect: Effect | None = None
        self.meter = ReplyMeter()
        self.text_at: float | None = None
        self._llm, self._tools, self._clock = llm, tools, clock
        self._around, self._limits = surroundings, limits or Limits()
        self._rounds: list[Round] = []
        self._repeats = Repeats()
        self._finish_reason: str | None = None
        self._error: str | None = None
        self._chars, self._ends_in_space = 0, False
        self._tools_done_at = 0.0

    async def events(self) -> AsyncGenerator[ReplyText | ToolStarted | ToolFinished, None]:
        """Yield the reply as it happens.

        Raises:
            ProviderError: The model failed, or was too slow.
            OutOfTime: The conversation's time was up.
        """
        while not self._is_over():
            self._rounds.append(Round())
            async with aclosing(self._ask()) as pieces:
                async for piece in pieces:
                    yield piece
            if not self._rounds[-1].calls:
                break
            async with aclosing(self._run_tools()) as events:
                async for event in events:
                    yield event
        if last_words := self._last_words():
            self._rounds.append(Round())
            yield self._say(last_words)

    def turn(self) -> Turn:
        """Return the agent's turn as far as it got; who spoke and when is for the conversation to add."""
        rounds = [[len(one.text), len(one.calls)] for one in self._rounds]
        return Turn(
            role="agent",
            text="".join(one.text for one in self._rounds),
            tool_calls=tuple(call for one in self._rounds for call in one.calls),
            tool_results=tuple(result for one in self._rounds for result in one.results),
            llm_served=self.meter.models_served,
            finish_reason=_REASONS.get(type(self.effect), self._finish_reason),
            error=self._error,
            marks=("offline",) if self._llm.is_offline else (),
            extra=with_own({}, ROUNDS, rounds if any(calls for _, calls in rounds) else ()),
        )

    async def _ask(self) -> AsyncGenerator[ReplyText, None]:
        """Send one request and take in its answer."""
        meter, self._finish_reason = self.meter.new_request(), None
        stream = stream_batches(self._llm, self._around.request(self._rounds[:-1]))
        done: Done | None = None
        try:
            while (events := await self._next(stream, meter)) is not None:
                for event in joined(events):
                    if isinstance(event, Done):
                        done = event
                    for piece in self._received(event):
                        yield piece
        finally:
            await stream.aclose()
        if done is None:
            raise ProviderStreamError(
                "the answer ended without its end mark", provider=self._llm.provider, model=self._llm.model
            )
        meter.finish(done, self._llm, at=self._clock.wall())
        self._finish_reason = done.finish_reason

    async def _next(self, stream: Batches, meter: RequestMeter) -> Sequence[LLMEvent] | None:
        """Wait for what the model says next; None is the end. Only this waiting counts as the model's time."""
        started, events = self._clock.now(), None
        try:
            async with self._clock.timeout(self._patience(meter)):
                events = await anext(stream, None)
        except TimeoutError:
            self._raise_too_late(meter, self._clock.now() - started)
        finally:
            meter.waited(self._clock.now() - started, for_token=any(map(_is_token, events or ())))
        return events

    def _patience(self, meter: RequestMeter) -> float:
        limits = self._limits
        allowed = limits.request_secs - meter.secs
        if meter.first_token_secs is None:
            allowed = min(allowed, limits.first_token_secs - meter.secs)
        return max(0.0, min(allowed, self._time_left()))

    def _time_left(self) -> float:
        return float("inf") if self._limits.ends_at is None else self._limits.ends_at - self._clock.now()

    def _raise_too_late(self, meter: RequestMeter, waited: float) -> None:
        if self._time_left() <= 0:
            raise OutOfTime
        said = "no answer began" if meter.first_token_secs is None else "the answer was not complete"
        raise ProviderTimeoutError(
            f"{said} within {meter.secs + waited:.0f} seconds", provider=self._llm.provider, model=self._llm.model
        ) from None

    def _say(self, text: str) -> ReplyText:
        """Add text to the turn; after a tool call it is set apart from what was said before."""
        text, this = well_formed(text), self._rounds[-1]
        if not this.pieces and self._chars and not self._ends_in_space and not text[0].isspace():
            text = f" {text}"
        if self.text_at is None:
            self.text_at = self._clock.now()
        this.pieces.append(text)
        self._chars, self._ends_in_space = self._chars + len(text), text[-1].isspace()
        return ReplyText(text)

    def _received(self, event: LLMEvent) -> Iterator[ReplyText]:
        """Take in one event of the model's answer; only text is told at once."""
        if isinstance(event, TextDelta):
            if self._chars + len(event.text) > MAX_REPLY_CHARS:
                raise ProviderStreamError(
                    f"the reply is longer than {MAX_REPLY_CHARS:,} characters",
                    provider=self._llm.provider,
                    model=self._llm.model,
                )
            if event.text:
                yield self._say(event.text)
        elif isinstance(event, ToolCall):
            self._rounds[-1].calls.append(self._named(event))

    def _named(self, call: ToolCall) -> ToolCall:
        """Return a call with its kind, and with an id that no other call of this reply has."""
        taken = {known.id for one in self._rounds for known in one.calls}
        if not call.id or call.id in taken:
            call = replace(call, id=self._clock.new_id("call_"))
        return self._tools.toolbox.recognised(call)

    async def _run_tools(self) -> AsyncGenerator[ToolStarted | ToolFinished, None]:
        """Run the calls of this round at the same time, and tell their results in the order of the calls."""
        this = self._rounds[-1]
        self._give_up_if_hopeless(this)
        for call in this.calls:
            yield ToolStarted(call)
        started, self._tools_done_at = self._clock.now(), self._clock.now()
        tasks = [asyncio.ensure_future(self._perform(number, call)) for number, call in enumerate(this.calls)]
        try:
            for task in tasks:
                yield ToolFinished(self._take(await self._in_time(task)))
        finally:
            await self._leave(tasks[len(this.results) :])
            self.meter.tools_took(self._tools_done_at - started)

    def _give_up_if_hopeless(self, this: Round) -> None:
        if len(self._rounds) > self._limits.tool_rounds:
            self._error = f"the reply was stopped after {self._limits.tool_rounds} rounds of tool calls"
            self._finish_reason = "tool_loop_limit"
        elif hopeless := next((call for call in this.calls if self._repeats.is_hopeless(call)), None):
            self._error = f"the reply was stopped: the same call of {hopeless.name} failed again and again"
            self._finish_reason = "repeated_tool_failure"

    async def _perform(self, number: int, call: ToolCall) -> ToolOutcome:
        if self._error is not None:
            return ToolOutcome(error_result(call, f"not run: {self._error}", "loop_limit"))
        if number >= MAX_CALLS_A_ROUND:
            told = f"not run: more than {MAX_CALLS_A_ROUND} calls at once"
            return ToolOutcome(error_result(call, told, "loop_limit"))
        if self._repeats.is_refused(call):
            told = "not run again: it failed before with the same arguments; tell the user instead"
            return ToolOutcome(error_result(call, told, "repeated_failure"))
        outcome = await self._tools.perform(call, variables=self._around.variables())
        self._tools_done_at = self._clock.now()
        return outcome

    async def _in_time(self, task: asyncio.Future[ToolOutcome]) -> ToolOutcome:
        left = self._time_left()
        try:
            async with self._clock.timeout(None if left == float("inf") else max(0.0, left)):
                return await task
        except TimeoutError:
            raise OutOfTime from None

    def _take(self, outcome: ToolOutcome) -> ToolResult:
        """Take in what a call came to."""
        this = self._rounds[-1]
        self._repeats.count(this.calls[len(this.results)], outcome.result)
        this.results.append(outcome.result)
        if outcome.effect is not None and not isinstance(outcome.effect, SwitchLanguage):
            self.effect = self.effect or outcome.effect
        self._around.learn(outcome)
        return outcome.result

    async def _leave(self, tasks: Sequence[asyncio.Future[ToolOutcome]]) -> None:
        """Cancel calls that nobody waits for any more, but keep what those that finished have answered."""
        for task in tasks:
            task.cancel()
        for task in tasks:
            with contextlib.suppress(asyncio.CancelledError):
                await task
        for task in tasks:
            if not task.cancelled():
                self._rounds[-1].results.append(task.result().result)
                self._around.learn(task.result())

    def _is_over(self) -> bool:
        """Say whether the reply is complete after a round of tools."""
        if not self._rounds:
            return False
        if self._error is not None or isinstance(self.effect, (SkipTurn, AgentTransfer)):
            return True
        return self.effect is not None and all(call.kind == "system" for call in self._rounds[-1].calls)

    def _last_words(self) -> str:
        """Return the message that goes with the end or the transfer, unless it was said already."""
        message = self.effect.message if isinstance(self.effect, (EndCall, AgentTransfer)) else ""
        said = "".join(one.text for one in self._rounds)
        return "" if message.strip() in said else message.strip()


def _is_token(event: LLMEvent) -> bool:
    return isinstance(event, ToolCall) or (isinstance(event, TextDelta) and bool(event.text))


_REASONS: Mapping[type[Any], str] = {
    EndCall: "end_call",
    SkipTurn: "skip_turn",
    AgentTransfer: TRANSFER,
}
