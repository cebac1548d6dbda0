"""A panel decides by more than half of all its judges, and says how far they agree."""

from __future__ import annotations

import json
from typing import Any

import pytest

from convai_lab.agents.agent import DataItem
from convai_lab.clock import VirtualClock
from convai_lab.errors import InvalidValueError, ProviderConnectionError
from convai_lab.evaluation.judge import Grade, Judge
from convai_lab.evaluation.judge_panel import JudgePanel
from convai_lab.evaluation.offline_judge import OfflineJudge
from convai_lab.providers.base import Usage
from convai_lab.testing.fake_llm import FakeLLM, Reply, Scripted


def judge(name: str, *replies: Scripted) -> Judge:
    return Judge(FakeLLM(replies, model=name))


def broken() -> Judge:
    return judge("broken", ProviderConnectionError("gone", provider="x"))


@pytest.fixture
def graded(shipped: Any, criteria: Any, verdicts: Any) -> Any:
    async def run(*votes: str | None) -> Grade:
        judges = [judge(f"m{i}", verdicts(found=v)) if v else broken() for i, v in enumerate(votes)]
        return await JudgePanel(judges).grade(shipped, criteria[:1])

    return run


@pytest.mark.parametrize(
    ("votes", "expected", "agreement"),
    [
        (("success", "success", "failure"), "success", 2 / 3),
        (("failure", "failure", "failure"), "failure", 1.0),
        (("success", "failure"), "unknown", 0.5),
        (("success", "failure", "unknown"), "unknown", 1 / 3),
        (("success", "success", "failure", "failure"), "unknown", 0.5),
        (("success", "success", None), "success", 2 / 3),
        (("success", None, None), "unknown", 1 / 3),
        (("success", "failure", None), "unknown", 1 / 3),
        (("unknown", "unknown", "success"), "unknown", 2 / 3),
        ((None, None), "unknown", 0.0),
    ],
)
async def test_more_than_half_of_the_whole_panel_decides(
    votes: Any, expected: str, agreement: float, graded: Any
) -> None:
    grade = await graded(*votes)
    assert grade.results["found"].value == expected
    assert grade.agreement["found"] == pytest.approx(agreement)
    assert len(grade.faults) + len(grade.overcome) == votes.count(None)


@pytest.mark.parametrize(
    ("votes", "lost"),
    [(("success", "failure", None), True), (("success", "success", None), False), (("success", "failure"), False)],
)
async def test_a_vote_is_lost_by_faults_only_when_they_could_have_decided_it(
    votes: Any, lost: bool, graded: Any
) -> None:
    grade = await graded(*votes)
    assert grade.unjudged == (("found",) if lost else ())
    assert [fault.judge for fault in grade.faults] == (["fake/broken"] if lost else [])
    assert len(grade.overcome) == (votes.count(None) if not lost else 0)


async def test_the_rationale_tells_every_vote(graded: Any) -> None:
    why = (await graded("success", "success", "failure")).results["found"].rationale
    assert why.splitlines() == [
        "2 of 3 judges agree",
        "fake/m0: success (because found)",
        "fake/m1: success (because found)",
        "fake/m2: failure (because found)",
    ]


async def test_the_cost_of_all_judges_is_added(shipped: Any, criteria: Any, verdicts: Any) -> None:
    def paid() -> Judge:
        answer = Reply([verdicts(found="success")], usage=Usage(1_000, 100, 0, 0, 0))
        return Judge(FakeLLM([answer], provider="openai", model="gpt-4o-mini"))

    alone = (await paid().grade(shipped, criteria[:1])).cost_usd
    assert alone
    panel = await JudgePanel([paid(), paid(), OfflineJudge()]).grade(shipped, criteria[:1])
    assert panel.cost_usd == pytest.approx(2 * alone)
    assert panel.spent.requests == 2
    assert not panel.is_offline


async def test_values_are_collected_when_more_than_half_agree(shipped: Any) -> None:
    def answer(value: Any) -> str:
        return json.dumps({"data": [{"id": "n", "reason": "r", "value": value}]})

    panel = JudgePanel([judge("a", answer(4)), judge("b", answer(4.0)), judge("c", answer(None))])
    grade = await panel.collect(shipped, {"n": DataItem(type="integer")})
    assert grade.data["n"].value == 4
    split = JudgePanel([judge("a", answer(4)), judge("b", answer(5))])
    assert (await split.collect(shipped, {"n": DataItem(type="integer")})).data["n"].value is None


def test_the_judges_of_a_panel_are_asked_at_the_same_time(shipped: Any, criteria: Any, verdicts: Any) -> None:
    clock = VirtualClock()
    slow = [FakeLLM([Reply([verdicts(found="success")], delay_secs=5)], clock=clock) for _ in range(3)]
    clock.run(JudgePanel([Judge(llm, clock=clock) for llm in slow]).grade(shipped, criteria[:1]))
    assert clock.now() == 5


def test_one_judge_is_no_panel() -> None:
    with pytest.raises(InvalidValueError, match="at least two judges, got 1"):
        JudgePanel([OfflineJudge()])
