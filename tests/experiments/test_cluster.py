"""Comparisons on a cluster: the same results, also when a worker dies, and no key where it could be seen."""

from __future__ import annotations

import asyncio
import os
import pickle
import signal
import threading
from collections import Counter
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from convai_lab.agents.agent import Agent
from convai_lab.agents.tools import ClientTool, tool
from convai_lab.errors import InvalidValueError, MissingPackageError
from convai_lab.experiments import cluster, executors
from convai_lab.experiments.cluster import NeedsSetup, Sealed, Setup, hold_orders, pack
from convai_lab.experiments.comparison import Comparison, compare
from convai_lab.experiments.holding import Holder
from convai_lab.experiments.lineup import make_lineup
from convai_lab.experiments.roles import JudgeSpec, UserSpec
from convai_lab.experiments.variant import Variant
from convai_lab.providers.base import ChatRequest, Done, LLMEvent, TextDelta, Usage
from convai_lab.simulation.scenario import Scenario
from convai_lab.simulation.simulated_user import ScriptedUser
from convai_lab.testing.fake_llm import Reply
from convai_lab.testing.fake_vendors import FakeVendor

from .conftest import SHIPPED, scenarios

distributed = pytest.importorskip("distributed")

KEY = "sk-a-key-that-nobody-may-see-4711"


@tool
def order_status(order_id: str) -> dict[str, str]:
    """Look up an order by its number."""
    return {"order_id": order_id, "status": "shipped"}


class KillsAWorker:
    """Progress that kills a worker once some trials are done, and looks at what the scheduler knows by then."""

    def __init__(self, client: Any, pid: int, after: int) -> None:
        self._client, self._pid, self._after = client, pid, after
        self.count, self.seen, self.killed = 0, b"", threading.Event()

    def start(self, total: int, *, done: int, max_cost: float | None) -> None:
        self.count = done

    def advance(self, count: int, *, cost_usd: float) -> None:
        self.count += count
        if self.count >= self._after and not self.killed.is_set():
            self.killed.set()
            threading.Thread(target=self._strike).start()

    def close(self, text: str) -> None:
        pass

    def _strike(self) -> None:
        self.seen = self._client.run_on_scheduler(tasks_of)
        os.kill(self._pid, signal.SIGKILL)


def tasks_of(dask_scheduler: Any) -> bytes:
    """Return all that the scheduler knows of its tasks and events."""
    told = [repr(dask_scheduler.tasks), repr(dict(dask_scheduler.get_events()))]
    return b"".join([pickle.dumps([task.run_spec for task in dask_scheduler.tasks.values()]), str(told).encode()])


def test_a_cluster_finds_the_same_although_a_worker_dies(
    vendor: FakeVendor, agent: Agent, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    vendor.answer(lambda _: Reply(SHIPPED, delay_secs=0.02))
    cases, both = scenarios(60), {"a": agent, "b": agent.with_changes(prompt="Be brief.")}
    options: dict[str, Any] = {"simulated_user": "scripted", "concurrency": 8}
    with (
        distributed.LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None, silence_logs=50) as cluster,
        distributed.Client(cluster) as client,
    ):
        pid = next(iter(client.run(os.getpid).values()))
        killer = KillsAWorker(client, pid, after=20)
        result = compare(both, cases, executor=client, progress=killer, journal="cluster", **options)
        logs = str([client.get_scheduler_logs(), client.get_worker_logs()])
    assert isinstance(result, Comparison)
    assert killer.killed.is_set()
    assert [trial.success for trial in result] == [True] * 120
    assert result.facts.fresh == 120
    assert KEY not in logs
    assert KEY.encode() not in killer.seen
    assert b"Where is my order" in killer.seen, "the scheduler was looked at while it had tasks"
    asked = Counter(r.headers.get("authorization") for r in vendor.requests if r.method == "POST")
    assert set(asked) == {f"Bearer {KEY}"}
    requests = len(vendor.requests)
    here = compare(both, cases, progress=False, journal="cluster", **options)
    assert isinstance(here, Comparison)
    assert here.df.to_csv() == result.df.to_csv()
    assert len(vendor.requests) == requests, "what the cluster did is in the journal"


def test_what_workers_are_told_shows_itself_as_stars() -> None:
    sealed = Sealed(KEY.encode())
    setup = Setup((), UserSpec(), JudgeSpec(), "text", 0, None, {"OPENAI_API_KEY": KEY})
    assert KEY not in f"{sealed!r}{sealed}{setup!r}{setup}"


def test_a_function_travels_and_one_that_cannot_is_refused_in_words(agent: Agent) -> None:
    lock = threading.Lock()

    @tool
    def locked(order_id: str) -> str:
        """Look up an order, one at a time."""
        with lock:
            return order_id

    def packed(*tools: ClientTool) -> Sealed:
        variant = Variant("a", agent.with_changes(llm="offline", tools=tools))
        holder = Holder(llms={}, user=ScriptedUser())
        return pack(make_lineup([variant], "scripted", None), holder, seed=0)

    assert b"order_status" in packed(order_status).data
    with pytest.raises(InvalidValueError, match="the tool locked cannot be sent to the workers"):
        packed(locked)


def test_a_worker_that_knows_nothing_of_a_run_asks(monkeypatch: pytest.MonkeyPatch) -> None:
    class Worker:
        address = "tcp://127.0.0.1:1"

    monkeypatch.setattr(distributed, "get_worker", Worker)
    assert hold_orders("a run that nobody told of", []) == NeedsSetup("tcp://127.0.0.1:1")


class Together:
    """A model that costs something, and answers once as many ask as are wanted at the same time."""

    provider, model, is_offline = "openai", "gpt-4o", False

    def __init__(self, count: int) -> None:
        self._barrier = asyncio.Barrier(count)

    async def stream(self, request: ChatRequest) -> AsyncIterator[LLMEvent]:
        await self._barrier.wait()
        yield TextDelta(SHIPPED)
        yield Done("stop", "gpt-4o", Usage(100_000, 1_000))


def test_tasks_of_one_worker_tell_together_what_was_spent_once(monkeypatch: pytest.MonkeyPatch) -> None:
    holder = Holder(llms={"Pat": Together(4)}, user=ScriptedUser())
    holder.variants = {"Pat": Variant("Pat", Agent(name="Pat", llm="gpt-4o"))}
    monkeypatch.setitem(cluster._known, "run", holder)
    scenario = Scenario(id="s0", opening="Where is my order?", max_turns=2)
    orders = [[("Pat", scenario, trial, trial, f"key{trial}")] for trial in range(4)]
    with ThreadPoolExecutor(4) as threads:
        held = list(threads.map(lambda order: hold_orders("run", order), orders))
    assert sum(task.bill.calls for task in held) == 4
    assert sum(task.bill.usd for task in held) == pytest.approx(holder.spending.usd)
    assert holder.spending.usd > 0


def test_without_dask_one_sentence_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
    with pytest.raises(MissingPackageError, match=r"pip install 'convai-lab\[scale\]'"):
        executors.check_executor("dask")
