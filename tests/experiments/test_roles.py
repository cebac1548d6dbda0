"""Who judges: what it costs is counted, and what it waits for us is not its time."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

from convai_lab.agents.agent import EvaluationCriterion
from convai_lab.clock import VirtualClock
from convai_lab.conversations.conversation import Conversation
from convai_lab.conversations.turn import Turn
from convai_lab.evaluation.judge import Grade, Judge, Questions
from convai_lab.evaluation.judge_request import Spent
from convai_lab.experiments.comparison import Comparison
from convai_lab.experiments.pool import Gate, PooledLLM
from convai_lab.experiments.roles import JudgeSpec
from convai_lab.experiments.spending import Spending
from convai_lab.providers.base import LLM, ChatRequest, LLMEvent
from convai_lab.testing.fake_llm import FakeLLM
from convai_lab.testing.fake_vendors import FakeVendor

from .conftest import scenarios

SAID = Conversation(id="c", agent_id="a", turns=(Turn(role="user", text="Hi"), Turn(role="agent", text="Hello")))
POLITE = Questions((EvaluationCriterion(id="polite", goal="Was it polite?"),))
YES = '{"criteria": [{"id": "polite", "reason": "It was.", "result": "success"}]}'


@pytest.mark.parametrize("given", [lambda llm: llm, Judge])
def test_what_a_judge_waits_for_our_own_limit_is_not_its_time(given: Callable[[LLM], Any]) -> None:
    clock, llm = VirtualClock(), FakeLLM([YES])
    gate = Gate(most=1, start=1)

    async def judged() -> Grade:
        await gate.enter()
        asyncio.get_running_loop().call_later(1000, gate.leave)
        judge = JudgeSpec(given(llm)).make(lambda llm: PooledLLM(llm, gate, Spending()))
        assert judge is not None
        return await judge.answer(SAID, POLITE)

    grade = clock.run(judged())
    assert clock.now() >= 1000
    assert (grade.faults, grade.success) == ((), "success")


class Silent(FakeLLM):
    """A model that never answers."""

    async def stream(self, request: ChatRequest) -> AsyncIterator[LLMEvent]:
        """Wait for ever."""
        await asyncio.Event().wait()
        yield NotImplemented


async def test_a_judge_that_takes_too_long_by_itself_has_failed() -> None:
    judge = JudgeSpec(Judge(Silent(), timeout_secs=0.001)).make(lambda llm: llm)
    assert judge is not None
    assert [fault.reason for fault in (await judge.answer(SAID, POLITE)).faults] == ["timeout"]


class Expensive:
    """A judge of somebody's own, who says what an answer costs."""

    name, is_offline = "expensive", False

    async def answer(self, conversation: Conversation, questions: Questions) -> Grade:
        """Answer for half a dollar."""
        return Grade(judge=self.name, spent=Spent(1, cost_usd=0.5))


@pytest.mark.parametrize("judge", [Expensive(), [Expensive(), Expensive()]])
def test_what_a_judge_of_ones_own_says_that_it_costs_is_counted(
    vendor: FakeVendor, agent: Any, run: Callable[..., Comparison], judge: Any
) -> None:
    polite = agent.with_changes(criteria=())
    result = run(polite, scenarios(6, expected_outcome="It is told."), judge=judge, concurrency=1, max_cost=1.2)
    assert result.facts.stopped == "max_cost"
    assert 1 <= len(result) <= 3
    assert result.facts.cost_usd >= 1
