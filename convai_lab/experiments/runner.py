"""Running: who holds which trial when, and when is it enough?

So many trials at once for each vendor; every finished one goes to the journal before it counts. What is done stays
done however the run ends: by itself, at the limit of cost, once it is decided, or by an interrupt.
"""

from __future__ import annotations

import asyncio
import os
from collections import defaultdict, deque
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from convai_lab.experiments.journal import Journal
from convai_lab.experiments.plan import PlannedTrial
from convai_lab.experiments.progress import Progress
from convai_lab.experiments.spending import CapReachedError, Spending
from convai_lab.experiments.trial import TrialResult

DEFAULT_IN_FLIGHT = 64
"""Conversations under way for each vendor; how many requests it gets at once is for its gate to decide."""
SMALL_SERVERS = frozenset({"ollama", "lmstudio", "llamacpp"})
SMALL_IN_FLIGHT = 4
"""Model servers on this machine mostly answer one after the other, and platforms sell conversations at once dearly."""
MOST_UNWRITTEN = 4
"""So many finished trials of one worker may be on their way to the disk while it holds the next."""
PLATFORM = "platform "
"""How the lane of another platform begins."""

Hold = Callable[[PlannedTrial], Awaitable[TrialResult]]
Stopped = Literal["max_cost", "decided"]


@dataclass
class Ledger:
    """What is known of a run at any moment: which trials are done, and what they cost."""

    planned: Sequence[PlannedTrial]
    spending: Spending
    done: dict[str, TrialResult] = field(default_factory=dict)
    fresh: int = 0
    stopped: Stopped | None = None
    _under_way: int = 0
    _expected: dict[str, float] = field(default_factory=dict)
    _counted: dict[str, int] = field(default_factory=lambda: defaultdict(int))
    _reserved: float = 0.0

    def expect(self, usd: Mapping[str, float]) -> None:
        """Take an estimate of what a trial of each variant costs; it is corrected as trials end."""
        self._expected = dict(usd)

    @property
    def cached(self) -> int:
        """How many trials were found in the journal."""
        return sum(result.is_cached for result in self.done.values())

    def may_start(self, trial: PlannedTrial) -> bool | None:
        """Say whether a trial fits into what may be spent; None: perhaps, once those under way have ended."""
        expected = self._expected.get(trial.variant.name, 0.0)
        if not expected and self.spending.left > 0:
            return True
        if self.spending.left - self._reserved >= expected:
            return True
        return None if self._under_way else False

    def started(self, trial: PlannedTrial) -> float:
        """Set aside what a trial is expected to cost; give it back to `ended`."""
        reserved = self._expected.get(trial.variant.name, 0.0)
        self._under_way, self._reserved = self._under_way + 1, self._reserved + reserved
        return reserved

    def ended(self, reserved: float) -> None:
        """Count a trial as not under way any more."""
        self._under_way, self._reserved = self._under_way - 1, self._reserved - reserved

    def learn(self, result: TrialResult) -> None:
        """Correct what is expected of a variant by what one of its trials has cost."""
        cost, name = result.total_cost_usd, result.variant
        if cost is not None and name in self._expected:
            self._counted[name] += 1
            weight = 1 / min(20, self._counted[name])
            self._expected[name] += (cost - self._expected[name]) * weight

    @property
    def is_affordable(self) -> bool:
        """Say whether any trial that is not done fits into what may be spent; if none does, nobody is asked at all."""
        return any(self.may_start(trial) for trial in self.planned if trial.key not in self.done)

    @property
    def expected_left(self) -> float:
        """What the trials that are not done are expected to cost, in USD."""
        waiting = (t.variant.name for t in self.planned if t.key not in self.done)
        return sum(self._expected.get(name, 0.0) for name in waiting)


@dataclass
class Runner:
    """Holds the trials that are not done yet.

    `lane` says which vendor a trial needs; each has its own workers, so that a slow one holds up no other. `is_over`
    is asked after every trial whether the run is decided.
    """

    hold: Hold
    journal: Journal
    ledger: Ledger
    progress: Progress
    lane: Callable[[PlannedTrial], str]
    concurrency: int | None = None
    is_over: Callable[[Mapping[str, TrialResult]], bool] | None = None
    _changed: asyncio.Event = field(default_factory=asyncio.Event)

    async def run(self) -> None:
        """Hold all trials that are not in the journal; returns early when the ledger says why.

        Raises:
            CancelledError: It was interrupted; what is done is in the journal.
        """
        lanes: dict[str, list[PlannedTrial]] = defaultdict(list)
        for trial in self.ledger.planned:
            if trial.key not in self.ledger.done:
                lanes[self.lane(trial)].append(trial)
        try:
            async with asyncio.TaskGroup() as group:
                for name, trials in lanes.items():
                    queue = iter(trials)
                    for _ in range(min(len(trials), workers_of(name, self.concurrency))):
                        group.create_task(self._work(queue))
        except ExceptionGroup as errors:
            raise _first(errors) from None

    async def _work(self, queue: Iterator[PlannedTrial]) -> None:
        """Hold one trial after the other until none is left, or the run is to stop.

        The next ones begin while some are being written, unless what came of the last may end the run.
        """
        writing: deque[asyncio.Future[TrialResult]] = deque()
        behind = 0 if self.is_over is not None else MOST_UNWRITTEN
        try:
            for trial in queue:
                if self.ledger.stopped is not None or not await self._affordable(trial):
                    return
                result = await self._held(trial)
                if result is None:
                    return
                writing.append(self.journal.begin_adding(result, self._count))
                while len(writing) > behind:
                    await asyncio.shield(writing.popleft())
        finally:
            await asyncio.shield(asyncio.gather(*writing))

    async def _held(self, trial: PlannedTrial) -> TrialResult | None:
        """Hold a trial; None when nothing more may be spent."""
        reserved = self.ledger.started(trial)
        try:
            return await self.hold(trial)
        except CapReachedError:
            self.ledger.stopped = self.ledger.stopped or "max_cost"
            return None
        finally:
            self.ledger.ended(reserved)
            self._changed.set()

    async def _affordable(self, trial: PlannedTrial) -> bool:
        while (answer := self.ledger.may_start(trial)) is None:
            self._changed.clear()
            await self._changed.wait()
            if self.ledger.stopped is not None:
                return False
        if not answer:
            self.ledger.stopped = "max_cost"
        return answer

    def _count(self, kept: TrialResult) -> None:
        """Count a trial, now that it is on disk."""
        ledger = self.ledger
        ledger.done[kept.key] = kept
        ledger.fresh += 1
        ledger.learn(kept)
        self.progress.advance(1, cost_usd=ledger.spending.usd)
        if self.is_over is not None and ledger.stopped is None and self.is_over(ledger.done):
            ledger.stopped = "decided"


def workers_of(lane: str, concurrency: int | None) -> int:
    """Return how many conversations may be under way in a lane."""
    if concurrency is not None:
        return concurrency
    if lane == "offline":
        return 2 * (os.cpu_count() or 1)
    return SMALL_IN_FLIGHT if lane in SMALL_SERVERS or lane.startswith(PLATFORM) else DEFAULT_IN_FLIGHT


def _first(errors: BaseExceptionGroup[BaseException]) -> BaseException:
    first = errors.exceptions[0]
    return _first(first) if isinstance(first, BaseExceptionGroup) else first
