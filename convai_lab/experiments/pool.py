"""Pool: how many requests may be under way at each vendor, and who waits when it says that is too many?

All trials share one `Gate` for each vendor. It opens further while all goes well and closes to the half when the
vendor refuses (429), for as long as the vendor asks. What the vendor tells of its budgets (requests and tokens left
in this minute) is kept to before it refuses. Trials that began first are served first (see `precedence`). The clock
of a trial stands still while it waits (see `trial_clock`).
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import random
import threading
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field

from convai_lab.clock import Clock, SystemClock
from convai_lab.errors import ProviderConnectionError, ProviderError, ProviderRateLimitError
from convai_lab.experiments.outside import WORLD_CLOCK, from_outside
from convai_lab.experiments.precedence import Line
from convai_lab.experiments.spending import Spending
from convai_lab.experiments.trial_clock import TRIAL_CLOCK as TRIAL_CLOCK
from convai_lab.experiments.trial_clock import TrialClock as TrialClock
from convai_lab.providers.base import LLM, ChatRequest, Done, LLMEvent, TextDelta, Usage
from convai_lab.providers.batches import Batches, flat, one_by_one, stream_batches
from convai_lab.providers.retry import RetryPolicy

START_IN_FLIGHT = 16
MOST_IN_FLIGHT = 128
PATIENCE = RetryPolicy(attempts=8, first_wait_secs=0.25, longest_wait_secs=20.0, total_secs=120.0)
"""A comparison has time: a busy vendor is waited for longer than in a live conversation."""
PASSING = frozenset({408, 409, 425, 429, 529})
CHARS_A_TOKEN = 4

_JITTER = random.Random()  # noqa: S311 - no secret


@dataclass
class Budget:
    """What a vendor said is left of its requests or tokens, until it fills up again."""

    left: float = float("inf")
    until: float = 0.0


class Gate:
    """Lets so many requests at once through to one vendor, from whichever event loop they come.

    In a comparison by voice agents ask from the loop where calls are real, and judges from the one in the background.
    """

    def __init__(self, *, most: int = MOST_IN_FLIGHT, start: int = START_IN_FLIGHT, clock: Clock | None = None) -> None:
        self.clock = clock or SystemClock()
        self.most, self.limit = float(most), float(min(start, most))
        self.in_flight = 0
        self.refused = 0
        self.requests, self.tokens = Budget(), Budget()
        self._closed_until = 0.0
        self._narrowed_at = float("-inf")
        self._tokens_each = 0.0
        self._lock = threading.RLock()
        self._waiting = Line()
        self._timer: tuple[asyncio.AbstractEventLoop, asyncio.TimerHandle] | None = None

    async def enter(self) -> None:
        """Wait until one more request may start; `leave` must follow."""
        was_called = False
        while (turn := self._entered(was_called)) is not None:
            try:
                await turn
            except asyncio.CancelledError:
                self._gave_up(turn)
                raise
            was_called = True

    def leave(self) -> None:
        """Say that a request has ended, however it did."""
        with self._lock:
            self.in_flight -= 1
            self._let_in()

    def _entered(self, was_called: bool) -> asyncio.Future[None] | None:
        """Let a request in, or return what it has to wait for."""
        with self._lock:
            if (was_called or not self._waiting) and self._is_open():
                self.in_flight += 1
                return None
            turn = asyncio.get_running_loop().create_future()
            self._waiting.join(turn)
            self._wake_later()
            return turn

    def _gave_up(self, turn: asyncio.Future[None]) -> None:
        """Forget one who waited; if it had been called already, call the next."""
        with self._lock:
            if not self._waiting.quit(turn):
                self._let_in()

    @property
    def is_free(self) -> bool:
        """Say whether a request could start at once."""
        return not self._waiting and self._is_open()

    def went_well(self, tokens: int = 0) -> None:
        """Open a little further; `tokens` is what the request used."""
        with self._lock:
            self.limit = min(self.most, self.limit + 1 / self.limit)
            self._tokens_each += (tokens - self._tokens_each) * 0.1

    def was_refused(self, *, started_at: float, retry_after: float | None) -> None:
        """Close to the half, once for all requests that were under way together, and wait as long as asked."""
        now = self.clock.now()
        with self._lock:
            self.refused += 1
            if started_at > self._narrowed_at:
                self.limit = max(1.0, min(self.limit, self.in_flight) / 2)
                self._narrowed_at = now
            if retry_after:
                self._closed_until = max(self._closed_until, now + retry_after)

    def heard(self, budget: Budget, *, left: float, secs: float) -> None:
        """Take in what the vendor says is left of a budget, and in how many seconds it is full again."""
        budget.left, budget.until = left, self.clock.now() + secs

    def _is_open(self) -> bool:
        now = self.clock.now()
        allowed = self._budgeted(now)
        return now >= self._closed_until and allowed > 0 and self.in_flight < max(1.0, min(self.limit, allowed))

    def _budgeted(self, now: float) -> float:
        """Return how many requests the budgets still allow at once; the vendor has counted those under way."""
        allowed = float("inf")
        if now < self.requests.until:
            allowed = self.requests.left
        if now < self.tokens.until and self._tokens_each > 0:
            allowed = min(allowed, self.tokens.left / self._tokens_each)
        return allowed + self.in_flight if allowed > 0 else 0.0

    def _let_in(self) -> None:
        """Call those whose turn it is; with the lock held."""
        free = max(1, int(self.limit) - self.in_flight)
        if not self._is_open():
            self._wake_later()
            return
        while self._waiting and free > 0:
            turn = self._waiting.call()
            free -= not turn.done() and _on(turn.get_loop(), _call, turn)

    def _look_again(self) -> None:
        with self._lock:
            self._let_in()

    def _wake_later(self) -> None:
        """Look again when the vendor's time is over, or at once if it is over already."""
        if self._timer is not None:
            loop, timer = self._timer
            _on(loop, timer.cancel)
            self._timer = None
        now = self.clock.now()
        waits = [t - now for t in (self._closed_until, self.requests.until, self.tokens.until) if t > now]
        if self._waiting and (waits or self._is_open()):
            loop = asyncio.get_running_loop()
            self._timer = loop, loop.call_later(min(waits, default=0.0) + 0.001, self._look_again)


def _on(loop: asyncio.AbstractEventLoop, function: Callable[..., object], *args: object) -> bool:
    """Run a function on an event loop, which may be another thread's; false when that is closed."""
    if loop is asyncio.get_running_loop():
        function(*args)
        return True
    try:
        loop.call_soon_threadsafe(function, *args)
    except RuntimeError:
        return False
    return True


def _call(turn: asyncio.Future[None]) -> None:
    if not turn.done():
        turn.set_result(None)


@dataclass
class Pool:
    """The gates of all vendors; `most` is the limit that the user set for each."""

    most: int | None = None
    gates: dict[str, Gate] = field(default_factory=dict)

    def gate(self, llm: LLM) -> Gate:
        """Return the gate of a model's vendor."""
        if llm.provider not in self.gates:
            most = self.most or MOST_IN_FLIGHT
            self.gates[llm.provider] = Gate(most=most, start=most if self.most else START_IN_FLIGHT)
        return self.gates[llm.provider]


class PooledLLM:
    """A model that waits for its turn, asks again when the vendor was busy, and counts what it spends."""

    def __init__(
        self,
        llm: LLM,
        gate: Gate,
        spending: Spending,
        *,
        patience: RetryPolicy = PATIENCE,
        rng: random.Random | None = None,
    ) -> None:
        self.provider, self.model, self.is_offline = llm.provider, llm.model, llm.is_offline
        self._llm, self._gate, self._spending = llm, gate, spending
        self._patience, self._rng = patience, rng or _JITTER

    def __repr__(self) -> str:
        return f"PooledLLM({self._llm!r})"

    def stream(self, request: ChatRequest) -> AsyncIterator[LLMEvent]:
        """Stream the answer, once it is this request's turn."""
        world = WORLD_CLOCK.get()
        if world is None:
            return flat(self._stream(request))
        return from_outside(world, lambda: flat(self._stream(request)))

    def stream_batches(self, request: ChatRequest) -> Batches:
        """Stream the answer as `stream` does, what arrives together at once."""
        return self._stream(request) if WORLD_CLOCK.get() is None else one_by_one(self.stream(request))

    async def _stream(self, request: ChatRequest) -> Batches:
        attempts, ends_at = itertools.count(1), self._gate.clock.now() + self._patience.total_secs
        while True:
            await self._enter()
            asking = _Asking(self._gate)
            try:
                async with contextlib.aclosing(stream_batches(self._llm, request)) as batches:
                    async for events in batches:
                        for event in events:
                            asking.heard(event)
                        yield events
                return
            except ProviderError as error:
                if asking.said or not is_passing(error):
                    raise
                wait = self._wait_secs(error, next(attempts), asking, ends_at)
                if wait is None:
                    raise
                since = asking.started_at if isinstance(error, ProviderRateLimitError) else None
            finally:
                self._gate.leave()
                self._count(request, asking)
            with _not_counted(since):
                await self._gate.clock.sleep(wait)

    def _wait_secs(self, error: ProviderError, attempt: int, asking: _Asking, ends_at: float) -> float | None:
        """Return how long to wait before the next attempt; None when there is to be none."""
        asked_for: float | None = getattr(error, "retry_after", None)
        if isinstance(error, ProviderRateLimitError):
            self._gate.was_refused(started_at=asking.asked_at, retry_after=asked_for)
        wait = self._patience.wait_secs(attempt, self._rng, asked_for=asked_for)
        return None if attempt >= self._patience.attempts or self._gate.clock.now() + wait > ends_at else wait

    async def _enter(self) -> None:
        self._spending.require_left()
        if self._gate.is_free:
            await self._gate.enter()
            return
        with _not_counted(None):
            await self._gate.enter()

    def _count(self, request: ChatRequest, asking: _Asking) -> None:
        """Count what a request used; of one that was cut off, what we can guess."""
        done = asking.done
        if done is not None:
            self._gate.went_well((done.usage.input or 0) + (done.usage.output or 0))
            self._spending.add(self.provider, done.model_served or self.model, done.usage)
        elif asking.said:
            sent = sum(len(message.content) for message in request.messages)
            usage = Usage(input=sent // CHARS_A_TOKEN, output=asking.said // CHARS_A_TOKEN)
            self._spending.add(self.provider, self.model, usage)


class _Asking:
    """One attempt: when it began, by the trial's clock and by ours, how much came, and how it ended."""

    __slots__ = ("asked_at", "done", "said", "started_at")

    def __init__(self, gate: Gate) -> None:
        self.asked_at = gate.clock.now()
        self.started_at = (TRIAL_CLOCK.get() or gate.clock).now()
        self.said = 0
        self.done: Done | None = None

    def heard(self, event: LLMEvent) -> None:
        if isinstance(event, TextDelta):
            self.said += len(event.text)
        elif isinstance(event, Done):
            self.done = event
        else:
            self.said += len(str(event.arguments)) + 1


def _not_counted(since: float | None) -> contextlib.AbstractContextManager[None]:
    clock = TRIAL_CLOCK.get()
    return contextlib.nullcontext() if clock is None else clock.waiting(since=since)


def is_passing(error: ProviderError) -> bool:
    """Say whether asking again may help: too many requests (not a quota that is used up), 5xx, a lost connection."""
    if isinstance(error, ProviderRateLimitError):
        return "quota is used up" not in str(error)
    status = error.status or 0
    return isinstance(error, ProviderConnectionError) or status in PASSING or 500 <= status < 600
