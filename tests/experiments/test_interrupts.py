"""An interrupted run says in one line what is kept and how to go on, and shows nothing of our stack."""

from __future__ import annotations

import asyncio
import os
import signal
import traceback
from collections.abc import Callable
from typing import Any

import pytest

from convai_lab.agents.agent import Agent
from convai_lab.conversations.conversation import Conversation
from convai_lab.experiments.comparison import acompare, compare
from convai_lab.experiments.simulating import simulate
from convai_lab.simulation.scenario import Scenario
from convai_lab.simulation.simulated_user import Move

from .conftest import scenarios

PAT = Agent(name="Pat", prompt="Your order has shipped.", llm="offline")


class Stops:
    """A caller who asks, and interrupts whoever waits in the scenario named s2."""

    name = "stops"

    def __init__(self, stop: Callable[[], object] = lambda: os.kill(os.getpid(), signal.SIGINT)) -> None:
        self.stop = stop

    async def next_move(self, conversation: Conversation, scenario: Scenario) -> Move:
        if conversation.turns:
            return Move(stop="goal_reached")
        if scenario.id == "s2":
            self.stop()
            await asyncio.Event().wait()
        return Move(text=scenario.opening)


def ours(error: BaseException) -> list[str]:
    """Return the functions of this package that the stack shows below the one that was called."""
    frames = traceback.extract_tb(error.__traceback__)
    inside = [frame.name for frame in frames if f"{os.sep}convai_lab{os.sep}" in frame.filename]
    return inside[1:]


def shown(error: BaseException) -> Any:
    return error._render_traceback_()  # type: ignore[attr-defined]


@pytest.mark.parametrize("max_cost", [1.0, None])
def test_an_interrupted_comparison_ends_with_one_line_and_stays_an_interrupt(max_cost: float | None) -> None:
    with pytest.raises(KeyboardInterrupt) as stopped:
        compare(PAT, scenarios(4), simulated_user=Stops(), concurrency=1, progress=False, max_cost=max_cost)
    assert shown(stopped.value) == [
        "KeyboardInterrupt: stopped; 2 of 4 trials are kept, and the same call goes on from there"
    ]
    assert ours(stopped.value) == []
    assert stopped.value.__suppress_context__
    assert "the same call goes on from there" in stopped.value.__notes__[0]


async def test_an_awaited_comparison_that_is_cancelled_says_how_to_go_on() -> None:
    mine, is_there = asyncio.get_running_loop(), asyncio.Event()
    user = Stops(lambda: mine.call_soon_threadsafe(is_there.set))
    task = asyncio.ensure_future(acompare(PAT, scenarios(4), simulated_user=user, concurrency=1, progress=False))
    await is_there.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError) as stopped:
        await task
    assert shown(stopped.value) == [
        "CancelledError: stopped; what is done is kept, and the same call goes on from there"
    ]


def test_an_interrupted_simulation_ends_with_one_line() -> None:
    with pytest.raises(KeyboardInterrupt) as stopped:
        simulate(PAT, {"id": "s2", "opening": "Where is it?"}, user=Stops())
    assert shown(stopped.value) == [
        "KeyboardInterrupt: stopped; of this conversation nothing is stored, and the same call begins anew"
    ]


def test_where_nothing_had_ended_nothing_is_said_to_be_kept() -> None:
    with pytest.raises(KeyboardInterrupt) as stopped:
        compare(PAT, scenarios(4)[2:], simulated_user=Stops(), concurrency=1, progress=False)
    assert "none of 2 trials had ended, and the same call begins anew" in shown(stopped.value)[0]
