"""The runner goes on while what is finished is on its way to the disk, but never far ahead of it."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any

from convai_lab.experiments.journal import Then
from convai_lab.experiments.progress import NoProgress
from convai_lab.experiments.runner import MOST_UNWRITTEN, Ledger, Runner
from convai_lab.experiments.spending import Spending
from convai_lab.experiments.trial import TrialResult

PLANNED: list[Any] = [SimpleNamespace(key=f"k{n}", variant=SimpleNamespace(name="a")) for n in range(12)]


class SlowJournal:
    """Keeps what is added back until it is told to write."""

    def __init__(self) -> None:
        self.waiting: list[tuple[TrialResult, Then, asyncio.Future[TrialResult]]] = []
        self.is_open = False

    def begin_adding(self, result: TrialResult, then: Then) -> asyncio.Future[TrialResult]:
        written: asyncio.Future[TrialResult] = asyncio.get_running_loop().create_future()
        self.waiting.append((result, then, written))
        if self.is_open:
            self.write()
        return written

    def write(self) -> None:
        self.is_open = True
        for result, then, written in self.waiting:
            then(result)
            written.set_result(result)
        self.waiting.clear()


def make_runner(journal: SlowJournal, *, is_over: Any = None) -> Runner:
    async def hold(trial: Any) -> TrialResult:
        return TrialResult(variant="a", scenario_id="s", trial=0, seed=1, key=trial.key)

    ledger = Ledger(PLANNED, Spending())
    return Runner(hold, journal, ledger, NoProgress(), lambda _: "lane", 1, is_over)  # type: ignore[arg-type]


async def held_until_stuck(running: asyncio.Task[None], journal: SlowJournal) -> int:
    for _ in range(100):
        await asyncio.sleep(0)
    assert not running.done()
    return len(journal.waiting)


async def test_a_worker_goes_on_while_some_are_written_and_waits_when_they_are_many() -> None:
    journal = SlowJournal()
    runner = make_runner(journal)
    running = asyncio.create_task(runner.run())
    assert await held_until_stuck(running, journal) == MOST_UNWRITTEN + 1
    assert runner.ledger.done == {}
    journal.write()
    await running
    assert list(runner.ledger.done) == [trial.key for trial in PLANNED]


async def test_where_the_last_trial_may_end_the_run_it_is_waited_for() -> None:
    journal = SlowJournal()
    runner = make_runner(journal, is_over=lambda done: len(done) >= 2)
    running = asyncio.create_task(runner.run())
    assert await held_until_stuck(running, journal) == 1
    journal.write()
    await running
    assert (list(runner.ledger.done), runner.ledger.stopped) == (["k0", "k1"], "decided")


async def test_what_was_finished_before_an_interrupt_is_counted() -> None:
    journal = SlowJournal()
    runner = make_runner(journal)
    running = asyncio.create_task(runner.run())
    finished = await held_until_stuck(running, journal)
    running.cancel()
    await asyncio.sleep(0)
    journal.write()
    await asyncio.wait([running])
    assert running.cancelled()
    assert len(runner.ledger.done) == finished
