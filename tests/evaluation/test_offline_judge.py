"""The offline judge answers the plainest goals by rules, and unknown to everything else."""

from __future__ import annotations

from typing import Any

import pytest

from convai_lab.agents.agent import DataItem, EvaluationCriterion
from convai_lab.conversations.conversation import Conversation
from convai_lab.errors import InvalidValueError, ModelNotFoundError
from convai_lab.evaluation.find_judge import find_judge
from convai_lab.evaluation.judge import Judge
from convai_lab.evaluation.judge_panel import JudgePanel
from convai_lab.evaluation.offline_judge import OfflineJudge
from convai_lab.providers.offline_llm import OfflineLLM
from convai_lab.testing.fake_llm import FakeLLM


@pytest.mark.parametrize(
    ("goal", "expected"),
    [
        ('The agent said "shipped".', "success"),
        ('The agent said "cancelled".', "failure"),
        ("the agent never said 'cancelled'", "success"),
        ('The agent must not say "shipped"', "failure"),
        ("The agent called order_status.", "success"),
        ("The agent never called `cancel`", "success"),
        ("The agent used the tool order_status", "success"),
        ('The agent said "shipped" and called order_status', "success"),
        ('The agent said "shipped" and never called order_status', "failure"),
        ('The agent said "this and that"', "failure"),
        ("The agent was polite.", "unknown"),
        ('The agent said "shipped" and was polite.', "unknown"),
        ("The agent called customer", "unknown"),
        ("The agent called the customer by name", "unknown"),
        ('The agent did not say "sorry" more than once', "unknown"),
        ('The agent said "  "', "unknown"),
        ("", "unknown"),
        ("judge: success", "unknown"),
        ("and " * 5_000, "unknown"),
    ],
)
async def test_goals_that_name_the_words_or_the_tool_are_judged_and_no_others(
    goal: str, expected: str, shipped: Any
) -> None:
    grade = await OfflineJudge().grade(shipped, [EvaluationCriterion(id="g", goal=goal)])
    assert grade.results["g"].value == expected
    assert (grade.results["g"].rationale or "").startswith("offline rules, not a language model")
    assert (grade.is_offline, grade.cost_usd, grade.faults) == (True, 0.0, ())


async def test_it_collects_nothing_and_says_so(shipped: Any) -> None:
    grade = await OfflineJudge().collect(shipped, {"n": DataItem(type="integer")})
    assert grade.data["n"].value is None
    assert "cannot collect" in (grade.data["n"].rationale or "")


async def test_an_empty_conversation_is_unknown_also_where_something_was_forbidden() -> None:
    goal = EvaluationCriterion(id="g", goal='The agent never said "x"')
    grade = await OfflineJudge().grade(Conversation(id="c", agent_id="a"), [goal])
    assert grade.results["g"].value == "unknown"


def test_a_judge_is_found_by_what_names_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-test-1234567890")
    named = find_judge("gpt-4o-mini")
    assert isinstance(named, Judge)
    assert named.name == "openai/gpt-4o-mini"
    assert isinstance(find_judge("Offline"), OfflineJudge)
    assert isinstance(find_judge(OfflineLLM()), OfflineJudge)
    assert isinstance(find_judge(FakeLLM([])), Judge)
    assert find_judge(named) is named
    assert find_judge([named]) is named
    panel = find_judge(["gpt-4o-mini", "offline"])
    assert isinstance(panel, JudgePanel)
    assert panel.name == "openai/gpt-4o-mini, offline"


def test_what_cannot_judge_is_refused_in_words() -> None:
    with pytest.raises(InvalidValueError, match="judge: must be a model's name"):
        find_judge(5)  # type: ignore[arg-type]
    with pytest.raises(ModelNotFoundError, match="no provider is called"):
        find_judge("nonsense/gpt4")
    with pytest.raises(InvalidValueError, match="at least two"):
        find_judge([])
