"""Conversations that are there can be graded and preferred by one call, also where a loop is running."""

from __future__ import annotations

import json
from typing import Any

import pytest

from convai_lab.agents.agent import Agent, EvaluationCriterion
from convai_lab.errors import InvalidValueError, MissingKeyError, ModelNotFoundError
from convai_lab.evaluation.grading import agrade, aprefer, grade, prefer
from convai_lab.evaluation.judge import Judge
from convai_lab.testing.fake_llm import FakeLLM, Reply

AGENT = Agent(name="Support", criteria=(EvaluationCriterion(id="found", goal="The agent found the order."),))
YES = json.dumps(
    {"criteria": [{"id": "found", "reason": "it did", "result": "success"}], "data": [], "summary": "It shipped."}
)
FIRST = json.dumps({"reason": "it is shorter", "better": "first"})


def judge(*answers: str) -> Judge:
    return Judge(FakeLLM([Reply([answer]) for answer in answers]))


async def test_a_conversation_is_graded_by_one_call_in_a_running_loop_too(shipped: Any) -> None:
    found = grade(shipped, AGENT, judge(YES))
    assert found.success == "success"
    assert found.results["found"].rationale == "it did"
    assert (await agrade(shipped, AGENT, judge(YES))).results == found.results


async def test_who_prefers_the_first_place_prefers_neither(shipped: Any) -> None:
    found = prefer(shipped, shipped, judge(FIRST, FIRST))
    assert (found.winner, found.is_consistent) == ("tie", False)
    assert await aprefer(shipped, shipped, judge(FIRST, FIRST)) == found


def test_rules_grade_without_a_key_and_say_so(shipped: Any) -> None:
    assert grade(shipped, AGENT).is_offline


@pytest.mark.parametrize(
    ("agent", "by", "error", "said"),
    [
        (Agent(name="Bare"), "offline", InvalidValueError, "Bare has no criteria and collects no data"),
        ("Support", "offline", InvalidValueError, "agent: must be a Agent, got str"),
        (AGENT, "gpt-4o-mini", MissingKeyError, "OPENAI_API_KEY"),
        (AGENT, "nonsense/gpt4", ModelNotFoundError, "nonsense"),
        (AGENT, 5, InvalidValueError, "judge: must be a model's name"),
    ],
)
def test_what_cannot_be_graded_is_told_in_a_sentence(
    shipped: Any, monkeypatch: pytest.MonkeyPatch, agent: Any, by: Any, error: type[Exception], said: str
) -> None:
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    with pytest.raises(error, match=said):
        grade(shipped, agent, by)


def test_rules_have_no_preference(shipped: Any) -> None:
    with pytest.raises(InvalidValueError, match="judge: must be one model"):
        prefer(shipped, shipped, "offline")
    with pytest.raises(InvalidValueError, match="b: must be a Conversation, got str"):
        prefer(shipped, "conv_1", "offline")  # type: ignore[arg-type]
