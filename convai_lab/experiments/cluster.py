"""Cluster: how are trials held by the workers of a `dask.distributed` client?

Tasks hold nothing but names, scenarios and seeds. What everybody needs once (the agents with their functions, who
plays the user, the providers' keys) goes to each worker in a message of its own, between client and worker, that is
never part of a task graph, is kept in memory only and shows itself as stars. A worker that has not got it yet (a new
one, or one that was restarted) answers so, gets it, and is asked again. Keys travel as the cluster's own messages do:
between machines that you do not trust, use a cluster with TLS.
"""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

from convai_lab import background, settings
from convai_lab.agents.agent import Agent
from convai_lab.errors import ConvaiLabError, InvalidValueError
from convai_lab.experiments.holding import Holder
from convai_lab.experiments.lineup import find_llms, pooling
from convai_lab.experiments.plan import PlannedTrial
from convai_lab.experiments.pool import Pool
from convai_lab.experiments.roles import JudgeSpec, UserSpec
from convai_lab.experiments.spending import Bill, Spending
from convai_lab.experiments.trial import TrialResult
from convai_lab.experiments.variant import Variant
from convai_lab.settings import STARS

MOST_IN_TASK = 16
"""Trials of one task, held at the same time by its worker: waiting for models needs no threads."""
MOST_TRIES = 5
TOOL_THREADS = 8


class Sealed:
    """Bytes that do not show themselves, wherever a message is printed."""

    def __init__(self, data: bytes) -> None:
        self.data = data

    def __repr__(self) -> str:
        return f"Sealed({STARS})"


@dataclass(frozen=True)
class Setup:
    """What a worker needs once for a run."""

    variants: tuple[Variant, ...]
    user: UserSpec
    judge: JudgeSpec
    mode: Literal["text", "voice"]
    seed: int
    concurrency: int | None
    keys: dict[str, str]

    def __repr__(self) -> str:
        return f"Setup({STARS})"


class NeedsSetup(NamedTuple):
    """A worker's answer when it does not know the run yet."""

    worker: str


class Held(NamedTuple):
    """What a task came to: its trials, and what its worker has spent that no other task has told of.

    Several tasks of a worker are under way at once, and share its models.
    """

    results: list[TrialResult]
    bill: Bill


class Cluster:
    """Holds trials on a cluster: collects those that are wanted at the same time into tasks."""

    def __init__(self, client: Any, packed: Sealed, spending: Spending) -> None:
        self._client, self._packed, self._spending = client, packed, spending
        self._run = uuid.uuid4().hex
        self._waiting: list[tuple[PlannedTrial, asyncio.Future[TrialResult]]] = []
        self._tasks: set[asyncio.Task[None]] = set()
        self._futures: set[Any] = set()
        self._soon: asyncio.TimerHandle | None = None
        self._threads = ThreadPoolExecutor(32, "convai-cluster")

    async def hold(self, planned: PlannedTrial) -> TrialResult:
        """Hold one trial on some worker."""
        if planned.variant.is_remote:
            raise InvalidValueError("agents of another platform cannot be compared on a cluster", field="executor")
        loop = asyncio.get_running_loop()
        result: asyncio.Future[TrialResult] = loop.create_future()
        self._waiting.append((planned, result))
        if self._soon is None:
            self._soon = loop.call_later(0.005, self._send)
        return await result

    async def close(self) -> None:
        """Give up what is under way."""
        for task in self._tasks:
            task.cancel()
        if self._futures:
            await asyncio.to_thread(self._client.cancel, list(self._futures))
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._threads.shutdown(wait=False)

    def _send(self) -> None:
        """Make tasks of what is waiting: small ones while there are few trials, so that every worker gets some."""
        self._soon = None
        waiting, self._waiting = self._waiting, []
        threads = sum(worker["nthreads"] for worker in self._client.scheduler_info()["workers"].values())
        size = max(1, min(MOST_IN_TASK, -(-len(waiting) // max(1, threads))))
        for start in range(0, len(waiting), size):
            task = asyncio.get_running_loop().create_task(self._held(waiting[start : start + size]))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _held(self, wanted: Sequence[tuple[PlannedTrial, asyncio.Future[TrialResult]]]) -> None:
        try:
            held = await self._tried([planned for planned, _ in wanted])
        except Exception as error:  # whoever waits for the trials gets it
            for _, result in wanted:
                if not result.done():
                    result.set_exception(error)
            return
        usd, calls, unpriced = held.bill
        self._spending.add_usd(usd, calls=calls, unpriced=unpriced)
        for (planned, result), found in zip(wanted, held.results, strict=True):
            if not result.done():
                result.set_result(found.with_changes(variant=planned.variant.name, talk=planned.talk))

    async def _tried(self, planned: Sequence[PlannedTrial]) -> Held:
        """Have the trials held; a worker that does not know the run is told and asked again."""
        orders = [(p.variant.name, p.scenario, p.trial, p.seed, p.key) for p in planned]
        for _ in range(MOST_TRIES):
            answer = await self._submitted(orders)
            if isinstance(answer, Held):
                return answer
            await self._in_thread(self._tell, answer.worker)
        raise ConvaiLabError("the workers of the cluster forget what they are told; are they restarted all the time?")

    async def _submitted(self, orders: Sequence[Any]) -> Held | NeedsSetup:
        key = f"convai-trials-{uuid.uuid4().hex}"
        future = await self._in_thread(lambda: self._client.submit(hold_orders, self._run, orders, key=key, pure=False))
        self._futures.add(future)
        try:
            answer: Held | NeedsSetup = await self._in_thread(future.result)
            return answer
        finally:
            self._futures.discard(future)

    def _tell(self, worker: str) -> None:
        """Send a worker what it needs; one that has gone meanwhile is no matter."""
        self._client.run(receive, self._run, self._packed, workers=[worker], on_error="ignore")

    async def _in_thread(self, function: Any, *args: Any) -> Any:
        return await asyncio.get_running_loop().run_in_executor(self._threads, function, *args)


def pack(lineup: Any, holder: Holder, *, seed: int) -> Sealed:
    """Return what workers need, in bytes.

    Raises:
        InvalidValueError: A tool, a user or a judge cannot travel; says which.
    """
    import cloudpickle

    for variant in lineup.variants:
        for name, tool in variant.functions.items():
            with _travelling(f"the tool {name}", "it must not hold open files, connections or locks"):
                cloudpickle.dumps(tool.function)
    with _travelling("the simulated user", "name a model instead"):
        cloudpickle.dumps(lineup.user)
    with _travelling("the judge", "name a model instead"):
        cloudpickle.dumps(lineup.judge)
    setup = Setup(
        variants=tuple(Variant(v.name, _plain(v.agent)) for v in lineup.variants),
        user=lineup.user,
        judge=lineup.judge,
        mode=holder.mode,
        seed=seed,
        concurrency=holder.pool.most,
        keys=settings.provider_settings(),
    )
    return Sealed(cloudpickle.dumps(setup))


@contextmanager
def _travelling(what: str, advice: str) -> Iterator[None]:
    try:
        yield
    except Exception as error:  # whatever an object of the user's raises when it is copied
        raise InvalidValueError(
            f"{what} cannot be sent to the workers of a cluster ({type(error).__name__}: {error}); {advice}",
            field="executor",
        ) from None


def _plain(agent: Agent) -> Agent:
    return agent.with_changes()


_known: dict[str, Holder] = {}
"""On a worker: the runs that it takes part in."""
MOST_KNOWN = 4


def receive(run: str, packed: Sealed) -> None:
    """Take part in a run; called on a worker."""
    import cloudpickle

    setup: Setup = cloudpickle.loads(packed.data)
    settings.use_provider_settings(setup.keys)
    pool, spending = Pool(setup.concurrency), Spending()
    pooled = pooling(pool, spending)
    while len(_known) >= MOST_KNOWN:
        _known.pop(next(iter(_known)))
    _known[run] = Holder(
        llms=find_llms(setup.variants),
        user=setup.user.make(setup.seed, pooled, spending),
        user_is_real=setup.user.is_real,
        judge=setup.judge.make(pooled, spending),
        mode=setup.mode,
        pool=pool,
        spending=spending,
        tool_threads=ThreadPoolExecutor(TOOL_THREADS, "convai-tool"),
        variants={variant.name: variant for variant in setup.variants},
    )


def hold_orders(run: str, orders: Sequence[Any]) -> Held | NeedsSetup:
    """Hold some trials at the same time; called on a worker."""
    holder = _known.get(run)
    if holder is None:
        from distributed import get_worker

        return NeedsSetup(get_worker().address)
    return Held(background.run(_all_held(holder, orders)), holder.spending.bill())


async def _all_held(holder: Holder, orders: Sequence[Any]) -> list[TrialResult]:
    planned = [
        PlannedTrial(holder.variants[name], scenario, trial, seed, key) for name, scenario, trial, seed, key in orders
    ]
    return list(await asyncio.gather(*map(holder.hold, planned)))
