"""The gate of a vendor: how many get in at once, and who waits for how long."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Coroutine, Iterator
from concurrent.futures import Future
from typing import Any

import pytest

from convai_lab.clock import VirtualClock
from convai_lab.errors import ProviderError, ProviderRateLimitError
from convai_lab.experiments.pool import Gate, PooledLLM, is_passing
from convai_lab.experiments.spending import CapReachedError, Spending
from convai_lab.experiments.trial_clock import TrialClock
from convai_lab.providers.base import ChatMessage, ChatRequest, LLMEvent, Usage
from convai_lab.testing.fake_llm import FakeLLM, Reply

ASK = ChatRequest(messages=(ChatMessage(role="user", content="Hi"),))


def busy(retry_after: float | None = None) -> ProviderRateLimitError:
    return ProviderRateLimitError("limits requests (429)", provider="fake", retry_after=retry_after)


async def heard(llm: PooledLLM) -> list[LLMEvent]:
    return [event async for event in llm.stream(ASK)]


def test_no_more_than_the_limit_are_under_way() -> None:
    clock, most = VirtualClock(), 0
    gate = Gate(most=3, start=3, clock=clock)

    async def one() -> None:
        nonlocal most
        await gate.enter()
        most = max(most, gate.in_flight)
        await clock.sleep(1)
        gate.leave()

    async def all_of_them() -> None:
        await asyncio.gather(*(one() for _ in range(10)))

    clock.run(all_of_them())
    assert most == 3
    assert clock.now() == pytest.approx(4, abs=0.01)


def test_a_refusal_closes_to_the_half_once_and_waits_as_long_as_asked() -> None:
    clock = VirtualClock()
    gate = Gate(most=16, start=16, clock=clock)

    async def storm() -> None:
        for _ in range(8):
            await gate.enter()
        for _ in range(8):
            gate.was_refused(started_at=0.0, retry_after=5.0)
        for _ in range(8):
            gate.leave()
        await gate.enter()

    clock.run(storm())
    assert gate.limit == 4
    assert clock.now() == pytest.approx(5, abs=0.01)


def test_a_gate_opens_again_while_all_goes_well() -> None:
    gate = Gate(most=8, start=2, clock=VirtualClock())
    for _ in range(100):
        gate.went_well(50)
    assert gate.limit == 8


def test_a_budget_that_is_used_up_is_waited_for() -> None:
    clock = VirtualClock()
    gate = Gate(most=8, start=8, clock=clock)
    gate.went_well(1000)

    async def asked() -> float:
        gate.heard(gate.tokens, left=0, secs=30)
        await gate.enter()
        return clock.now()

    assert clock.run(asked()) == pytest.approx(30, abs=0.01)


def test_a_waiter_that_is_cancelled_leaves_its_place() -> None:
    clock = VirtualClock()
    gate = Gate(most=1, start=1, clock=clock)

    async def scene() -> int:
        await gate.enter()
        gone, stays = asyncio.create_task(gate.enter()), asyncio.create_task(gate.enter())
        await clock.sleep(1)
        gone.cancel()
        gate.leave()
        await stays
        return gate.in_flight

    assert clock.run(scene()) == 1


class Loop:
    """Another event loop, on a thread of its own."""

    def __init__(self) -> None:
        self.loop = asyncio.new_event_loop()
        threading.Thread(target=self.loop.run_forever, daemon=True).start()

    def start(self, work: Coroutine[Any, Any, Any]) -> Future[Any]:
        return asyncio.run_coroutine_threadsafe(work, self.loop)


@pytest.fixture
def elsewhere() -> Iterator[Loop]:
    other = Loop()
    yield other
    other.loop.call_soon_threadsafe(other.loop.stop)


async def waiting(gate: Gate, count: int) -> list[asyncio.Task[None]]:
    tasks = [asyncio.ensure_future(gate.enter()) for _ in range(count)]
    await asyncio.sleep(0)
    return tasks


async def test_who_waits_on_another_event_loop_is_woken(elsewhere: Loop) -> None:
    gate = Gate(most=1, start=1)
    await gate.enter()
    entered = elsewhere.start(asyncio.wait(elsewhere.start(waiting(gate, 1)).result(5)))
    elsewhere.start(asyncio.sleep(0)).result(5)
    gate.leave()
    entered.result(5)
    assert gate.in_flight == 1


async def test_a_turn_that_comes_too_late_on_another_event_loop_goes_to_the_next(elsewhere: Loop) -> None:
    gate = Gate(most=1, start=1)
    await gate.enter()
    gone, stays = elsewhere.start(waiting(gate, 2)).result(5)
    is_busy, has_left = threading.Event(), threading.Event()

    async def cancelled_meanwhile() -> None:
        is_busy.set()
        has_left.wait(5)
        gone.cancel()
        await asyncio.wait_for(stays, 5)

    cancelling = elsewhere.start(cancelled_meanwhile())
    assert is_busy.wait(5)
    gate.leave()
    has_left.set()
    cancelling.result(5)
    assert (gone.cancelled(), gate.in_flight) == (True, 1)


async def test_two_event_loops_keep_to_one_limit(elsewhere: Loop) -> None:
    gate, most = Gate(most=3, start=3), 0

    async def one() -> None:
        nonlocal most
        await gate.enter()
        most = max(most, gate.in_flight)
        await asyncio.sleep(0)
        gate.leave()

    async def many() -> None:
        await asyncio.gather(*(one() for _ in range(200)))

    await asyncio.wait_for(asyncio.gather(many(), asyncio.wrap_future(elsewhere.start(many()))), 20)
    assert (most, gate.in_flight) == (3, 0)


async def test_what_is_cut_off_is_paid_for_by_a_guess() -> None:
    spending = Spending()
    llm = FakeLLM(
        [Reply("some words", error=ProviderError("cut", provider="openai"))], provider="openai", model="gpt-4o"
    )
    with pytest.raises(ProviderError, match="cut"):
        await heard(PooledLLM(llm, Gate(), spending))
    assert spending.usd > 0


async def test_nothing_is_asked_once_all_is_spent() -> None:
    spending = Spending(max_cost=0.001)
    spending.add("openai", "gpt-4o", Usage(1_000_000, 10))
    llm = FakeLLM(["never"])
    with pytest.raises(CapReachedError, match="max_cost"):
        await heard(PooledLLM(llm, Gate(), spending))
    assert llm.requests == []


async def test_an_answer_that_began_is_not_asked_for_again() -> None:
    llm = FakeLLM([Reply("some words", error=busy()), "never"])
    with pytest.raises(ProviderRateLimitError):
        await heard(PooledLLM(llm, Gate(), Spending()))
    assert len(llm.requests) == 1


def test_what_passes_is_told_from_what_does_not() -> None:
    assert is_passing(busy())
    assert is_passing(ProviderError("x", provider="p", status=503))
    assert not is_passing(ProviderRateLimitError("the quota is used up", provider="p"))
    assert not is_passing(ProviderError("x", provider="p", status=400))


async def test_a_clock_that_waits_stands_still_and_so_do_its_limits() -> None:
    clock = TrialClock()
    began, before = time.perf_counter(), clock.now()
    async with clock.timeout(0.02):
        with clock.waiting():
            await asyncio.sleep(0.06)
    assert clock.now() - before < time.perf_counter() - began - 0.059, "what was waited is no time on it"


@pytest.mark.parametrize("secs", [0, -1, 0.001])
async def test_a_limit_that_is_over_ends_the_body(secs: float) -> None:
    clock = TrialClock()
    with pytest.raises(TimeoutError):
        async with clock.timeout(secs):
            await asyncio.Event().wait()
    task = asyncio.current_task()
    assert task is not None
    assert task.cancelling() == 0
