"""Where many conversations wait for one vendor, those that began first are finished first."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

from convai_lab.agents.agent import Agent
from convai_lab.experiments.holding import Holder
from convai_lab.experiments.plan import PlannedTrial
from convai_lab.experiments.pool import Gate, Pool
from convai_lab.experiments.precedence import BEGUN, Line
from convai_lab.experiments.variant import Variant
from convai_lab.providers.base import ChatRequest, Done, LLMEvent, TextDelta, Usage
from convai_lab.simulation.scenario import Scenario
from convai_lab.simulation.simulated_user import ScriptedUser

TRIALS, TURNS, AT_ONCE = 16, 4, 2


class Counting:
    """A model that answers a moment later, and counts how often it was asked."""

    provider, model, is_offline = "openai", "gpt-4o-mini", False

    def __init__(self) -> None:
        self.asked = 0

    async def stream(self, request: ChatRequest) -> AsyncIterator[LLMEvent]:
        self.asked += 1
        await asyncio.sleep(0)
        yield TextDelta("Your order has shipped.")
        yield Done("stop", self.model, Usage(10, 5))


async def asked_by_the_end_of_each(llm: Counting) -> list[int]:
    """Hold all trials at the same time; return how often the model had been asked when each was finished."""
    pool = Pool(gates={"openai": Gate(most=AT_ONCE, start=AT_ONCE)})
    holder = Holder(llms={"Pat": llm}, user=ScriptedUser(), pool=pool)
    scenario = Scenario(id="s0", lines=("Where is it?",) * TURNS, max_turns=2 * TURNS)
    variant, ends = Variant("Pat", Agent(name="Pat", llm="gpt-4o-mini")), []

    async def one(number: int) -> None:
        await holder.hold(PlannedTrial(variant, scenario, number, number, f"key{number}"))
        ends.append(llm.asked)

    await asyncio.gather(*map(one, range(TRIALS)))
    return ends


async def test_whoever_interrupts_a_run_early_has_finished_trials() -> None:
    llm = Counting()
    ends = await asked_by_the_end_of_each(llm)
    assert llm.asked == TRIALS * TURNS
    assert ends[0] <= llm.asked / 4
    assert ends[TRIALS // 4] <= llm.asked * 3 / 4


def test_the_trial_that_began_first_and_who_waited_longest_take_turns() -> None:
    loop, line = asyncio.new_event_loop(), Line()
    turns = {}
    for begun in (7, 5, 9, 1):
        BEGUN.set(begun)
        turn = loop.create_future()
        line.join(turn)
        turns[turn] = begun
    BEGUN.set(0)
    loop.close()
    assert [turns[line.call()] for _ in range(4)] == [1, 7, 5, 9]
    assert not line


def test_who_was_called_cannot_leave_the_line_any_more() -> None:
    loop, line = asyncio.new_event_loop(), Line()
    first, second = loop.create_future(), loop.create_future()
    loop.close()
    line.join(first)
    line.join(second)
    assert line.call() is first
    assert (line.quit(first), line.quit(second), bool(line)) == (False, True, False)
