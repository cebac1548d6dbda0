"""A conversation on a thread of its own ends with whoever wanted it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from concurrent.futures import Future, ThreadPoolExecutor

import pytest

from convai_lab.agents.agent import Agent
from convai_lab.clock import VirtualClock
from convai_lab.experiments.holding import Holder
from convai_lab.experiments.plan import PlannedTrial
from convai_lab.experiments.simulating import asimulation
from convai_lab.experiments.variant import Variant
from convai_lab.experiments.world import in_own_world
from convai_lab.providers.base import ChatRequest, Done, LLMEvent, Usage
from convai_lab.simulation.scenario import Scenario
from convai_lab.simulation.simulated_user import find_user

SCENARIO = Scenario(id="s0", opening="Where is my order?", max_turns=20)


class Silent:
    """A vendor that does not answer; it tells when it is asked, and when nobody waits any longer."""

    provider, model, is_offline = "silent", "silent", False

    def __init__(self) -> None:
        self.asked, self.left = 0, 0
        self.is_asked = asyncio.Event()
        self.may_end: Future[None] = Future()
        self._loop = asyncio.get_running_loop()

    async def stream(self, request: ChatRequest) -> AsyncIterator[LLMEvent]:
        self.asked += 1
        self._loop.call_soon_threadsafe(self.is_asked.set)
        try:
            await asyncio.shield(asyncio.wrap_future(self.may_end))
        finally:
            self.left += 1
        yield Done("stop", "silent", Usage())


def in_a_trial(llm: Silent, threads: ThreadPoolExecutor) -> Awaitable[object]:
    holder = Holder(llms={"Pat": llm}, user=find_user("scripted"), mode="voice", world_threads=threads)
    return holder.hold(PlannedTrial(Variant("Pat", Agent(name="Pat", llm="silent")), SCENARIO, 0, 0, "key"))


def in_a_simulation(llm: Silent, _: ThreadPoolExecutor) -> Awaitable[object]:
    return asimulation(Agent(name="Pat"), SCENARIO, llm=llm, mode="voice", user="scripted")


@pytest.mark.parametrize("held", [in_a_trial, in_a_simulation])
async def test_an_interrupted_call_asks_its_vendor_nothing_more(
    held: Callable[[Silent, ThreadPoolExecutor], Awaitable[object]],
) -> None:
    llm = Silent()
    with ThreadPoolExecutor(1) as threads:
        task = asyncio.ensure_future(held(llm, threads))
        await llm.is_asked.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        seen = llm.asked, llm.left
        llm.may_end.set_result(None)
    assert seen == (1, 1)


async def test_what_waits_for_a_thread_never_begins_once_it_is_cancelled() -> None:
    begun: list[str] = []
    mine, is_first, may_end = asyncio.get_running_loop(), asyncio.Event(), asyncio.Event()
    clock = VirtualClock()

    async def first() -> None:
        async def waited() -> None:
            mine.call_soon_threadsafe(is_first.set)
            await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(may_end.wait(), mine))

        await clock.outside(waited)

    async def second() -> None:
        begun.append("second")

    with ThreadPoolExecutor(1) as threads:
        one = asyncio.ensure_future(in_own_world(clock, first, threads))
        await is_first.wait()
        other = asyncio.ensure_future(in_own_world(VirtualClock(), second, threads))
        await asyncio.sleep(0)
        other.cancel()
        with pytest.raises(asyncio.CancelledError):
            await other
        may_end.set()
        await one
    assert begun == []


async def test_what_comes_of_it_and_what_it_raises_come_through() -> None:
    async def told() -> str:
        return "done"

    async def failing() -> None:
        raise ValueError("no")

    assert await in_own_world(VirtualClock(), told) == "done"
    with pytest.raises(ValueError, match="no"):
        await in_own_world(VirtualClock(), failing)
