"""Judge request: how is a judge asked until its answer can be used, and what did that cost?

A failure here is the judge's own: it becomes a fault, never a verdict. Every request counts, also those whose answer
could not be used.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Coroutine, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple, Protocol, TypeVar, cast

from convai_lab.clock import Clock, SystemClock
from convai_lab.errors import ConvaiLabError, ProviderStreamError, ProviderTimeoutError
from convai_lab.providers.base import LLM, ChatMessage, ChatRequest, Done, LLMEvent, TextDelta, Usage

N = TypeVar("N", int, float)
T = TypeVar("T")

DEFAULT_TIMEOUT_SECS = 120.0
MAX_REPAIRS = 2
MAX_ANSWER_CHARS = 100_000
SHOWN_ANSWER_CHARS = 4_000
NOTHING = Usage(0, 0, 0, 0, 0)

FaultReason = Literal["provider_error", "timeout", "unusable_answer"]


@dataclass(frozen=True)
class JudgeFault:
    """The judge failed: nothing is known of the conversation by it, and the agent is not to blame."""

    reason: FaultReason
    detail: str
    judge: str = ""
    party: Literal["judge"] = "judge"


@dataclass(frozen=True)
class Spent:
    """What requests to judges used; a cost or a count of None means that one of them is not known."""

    requests: int = 0
    usage: Usage = NOTHING
    cost_usd: float | None = 0.0
    models_served: tuple[str, ...] = ()

    def plus(self, other: Spent) -> Spent:
        """Return both together."""
        return Spent(
            self.requests + other.requests,
            Usage(*(_added(one, two) for one, two in zip(self.usage, other.usage, strict=True))),
            _added(self.cost_usd, other.cost_usd),
            tuple(dict.fromkeys((*self.models_served, *other.models_served))),
        )


def total_spent(parts: Iterable[Spent]) -> Spent:
    """Return what several judges or interviews used together."""
    total = Spent()
    for part in parts:
        total = total.plus(part)
    return total


async def side_by_side(asked: Iterable[Coroutine[Any, Any, T]]) -> list[T]:
    """Ask at the same time and return the answers in order; the first error ends all, and comes as it is."""
    try:
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(one) for one in asked]
    except BaseExceptionGroup as errors:
        raise errors.exceptions[0] from None
    return [task.result() for task in tasks]


class Sheet(Protocol):
    """What is being asked; it knows when it has been answered."""

    def read(self, text: str) -> str:
        """Take in an answer; return the request to answer better, or an empty text when all is answered."""


class Interview(NamedTuple):
    """How asking went: what it used, and why it failed when it did."""

    spent: Spent
    fault: JudgeFault | None


class _Answer(NamedTuple):
    text: str
    spent: Spent
    fault: JudgeFault | None


@dataclass(frozen=True, kw_only=True)
class JudgeLine:
    """A model that is asked for judgements, and how long it may take."""

    llm: LLM
    clock: Clock = field(default_factory=SystemClock)
    timeout_secs: float = DEFAULT_TIMEOUT_SECS
    seed: int | None = None

    @property
    def name(self) -> str:
        """The judge's name: its provider and model."""
        return f"{self.llm.provider}/{self.llm.model}"

    async def interview(self, messages: Sequence[ChatMessage], sheet: Sheet) -> Interview:
        """Ask until the sheet is filled in, at most twice more than once."""
        chat, spent, complaint = list(messages), Spent(), ""
        for _ in range(1 + MAX_REPAIRS):
            text, used, fault = await self._answer(chat)
            spent = spent.plus(used)
            if fault is not None:
                return Interview(spent, fault)
            complaint = sheet.read(text)
            if not complaint:
                return Interview(spent, None)
            shown = text[:SHOWN_ANSWER_CHARS] or "(no words)"
            chat += [ChatMessage(role="assistant", content=shown), ChatMessage(role="user", content=complaint)]
        detail = f"no usable answer in {1 + MAX_REPAIRS} attempts: {complaint.partition('. Answer again')[0]}"
        return Interview(spent, JudgeFault("unusable_answer", detail, self.name))

    async def _answer(self, chat: Sequence[ChatMessage]) -> _Answer:
        text: list[str] = []
        try:
            async with self.clock.timeout(self.timeout_secs):
                done = await self._read(ChatRequest(messages=tuple(chat), temperature=0.0, seed=self.seed), text)
        except TimeoutError:
            fault = JudgeFault("timeout", f"no answer within {self.timeout_secs:g} s", self.name)
            return _Answer("", self._spent(None), fault)
        except ConvaiLabError as error:
            reason: FaultReason = "timeout" if isinstance(error, ProviderTimeoutError) else "provider_error"
            begun = bool(text) or isinstance(error, (ProviderTimeoutError, ProviderStreamError))
            spent = self._spent(None) if begun else Spent(1)
            return _Answer("", spent, JudgeFault(reason, str(error), self.name))
        return _Answer("".join(text), self._spent(done), None)

    async def _read(self, request: ChatRequest, text: list[str]) -> Done | None:
        """Collect the answer; None when it is so long that reading was given up."""
        size, done = 0, None
        stream = cast(AsyncGenerator[LLMEvent, None], self.llm.stream(request))
        async with contextlib.aclosing(stream) as events:
            async for event in events:
                if isinstance(event, Done):
                    done = event  # and read on: a stream that ends by itself leaves its connection whole
                elif isinstance(event, TextDelta):
                    text.append(event.text)
                    size += len(event.text)
                if size > MAX_ANSWER_CHARS:
                    return None
        return done

    def _spent(self, done: Done | None) -> Spent:
        """Return what one request used: a request that broke off may have cost something, nobody says what."""
        from convai_lab.providers.prices import cost_usd

        usage, served = (done.usage, done.model_served) if done else (Usage(), "")
        cost = cost_usd(self.llm.provider, served or self.llm.model, usage, at=self.clock.wall())
        return Spent(1, usage, None if cost is None else cost.usd, (served,) if served else ())


def _added(one: N | None, two: N | None) -> N | None:
    return None if one is None or two is None else one + two
