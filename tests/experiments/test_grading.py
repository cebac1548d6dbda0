"""Grading: who is asked about a finished conversation, what it costs, and what cannot be known."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from convai_lab.agents.agent import Agent, DataItem
from convai_lab.conversations.conversation import Conversation
from convai_lab.errors import InvalidValueError, ModelNotFoundError
from convai_lab.evaluation.judge import Judge
from convai_lab.evaluation.judge_panel import JudgePanel
from convai_lab.experiments.comparison import Comparison
from convai_lab.providers.registry import find_llm
from convai_lab.simulation.llm_user import LLMUser
from convai_lab.simulation.scenario import Scenario
from convai_lab.simulation.simulated_user import Move
from convai_lab.testing.fake_vendors import FakeVendor
from convai_lab.testing.vendor_script import Received

from .conftest import MODEL, SHIPPED, scenarios

Run = Callable[..., Comparison]
ORDER = {"order": DataItem(type="string", description="The number of the order.")}
OUTCOME: dict[str, Any] = {"expected_outcome": "The caller learns where the order is."}


def is_to_judge(received: Received) -> bool:
    return "You judge finished conversations" in str(received.body)


@pytest.fixture
def judged(vendor: FakeVendor) -> Callable[[], int]:
    """Let the server judge too; returns a count of the requests to the judge."""
    verdict = {"criteria": [{"id": "expected_outcome", "reason": "It was told.", "result": "success"}]}
    data = {"data": [{"id": "order", "reason": "It was said.", "value": "1234"}]}

    def answer(received: Received) -> str:
        if not is_to_judge(received):
            return SHIPPED
        asked = str(received.body["messages"][-1]["content"])
        return json.dumps((verdict if "Criteria" in asked else {}) | (data if "Values to collect" in asked else {}))

    vendor.answer(answer)  # type: ignore[attr-defined]
    return lambda: sum(map(is_to_judge, vendor.requests))


def test_what_a_check_wants_collected_is_asked_of_the_judge(agent: Agent, run: Run, judged: Callable[[], int]) -> None:
    collecting = agent.with_changes(data_collection=ORDER)
    checks = [{"collected": {"item": "order", "equals": "1234"}}, {"collected": {"schema": {"required": ["order"]}}}]
    result = run(collecting, scenarios(1, checks=checks), judge=MODEL)
    assert [check.why for check in result.trials[0].checks] == ['order is "1234"', "what was collected is valid"]
    assert (result.trials[0].success, judged()) == (True, 1)
    assert result.conversation("Support", "s0").analysis.data["order"].value == "1234"


def test_verdicts_are_kept_with_the_conversation(agent: Agent, run: Run, judged: Callable[[], int]) -> None:
    result = run(agent.with_changes(data_collection=ORDER), scenarios(1, **OUTCOME), judge=MODEL)
    analysis = result.conversation("Support", "s0").analysis
    assert (analysis.success, analysis.criteria["expected_outcome"].rationale) == ("success", "It was told.")
    assert judged() == 1


def test_nobody_is_asked_when_there_is_nothing_to_ask(agent: Agent, run: Run, judged: Callable[[], int]) -> None:
    run(agent, scenarios(1), judge=MODEL)
    assert judged() == 0


def test_invented_times_hold_no_limit_and_break_none(agent: Agent, run: Run) -> None:
    offline = agent.with_changes(llm="offline", prompt="# Knowledge\n- Your order has shipped.")
    limit = [{"latency": {"stage": "total", "max_ms": 60_000}}]
    result = run(offline, scenarios(2, checks=limit))
    assert [(c.passed, c.why) for c in result.trials[0].checks] == [(None, "time was invented in this run")]
    assert any("largest total at most 60000 ms (time was invented in this run)" in note for note in result.facts.notes)


def test_real_times_are_held_to_a_limit(vendor: FakeVendor, agent: Agent, run: Run) -> None:
    result = run(agent, scenarios(1, checks=[{"latency": {"stage": "total", "max_ms": 60_000}}]))
    assert result.trials[0].checks[0].passed is True


def test_the_judges_of_a_panel_count_for_the_limit(agent: Agent, run: Run, judged: Callable[[], int]) -> None:
    panel = JudgePanel([Judge(find_llm(name)) for name in (MODEL, "gpt-4o", "gpt-4.1-mini")])
    cases = scenarios(1, **OUTCOME)
    alone = run(agent, cases, journal="alone")
    with_panel = run(agent, cases, journal="panel", judge=panel)
    trial = with_panel.trials[0]
    assert (trial.success, judged()) == (True, 3)
    assert trial.judge_cost_usd
    assert with_panel.facts.cost_usd > alone.facts.cost_usd + trial.judge_cost_usd


def test_another_panel_means_other_trials(agent: Agent, run: Run, judged: Callable[[], int]) -> None:
    for models in ((MODEL, "gpt-4o"), (MODEL, "gpt-4.1-mini")):
        panel = JudgePanel([Judge(find_llm(name)) for name in models])
        assert run(agent, scenarios(1, **OUTCOME), judge=panel).facts.fresh == 1


@pytest.mark.parametrize("given", [lambda: find_llm("gpt-4o"), lambda: LLMUser(find_llm("gpt-4o"))])
def test_a_callers_model_counts_for_the_limit_however_it_is_given(
    vendor: FakeVendor, agent: Agent, run: Run, given: Callable[[], Any]
) -> None:
    vendor.answer(lambda r: "Where is it? I asked twice." if r.body["model"] == "gpt-4o" else SHIPPED)  # type: ignore[attr-defined]
    result = run(agent, scenarios(1, max_turns=6), simulated_user=given())
    trial = result.trials[0]
    assert trial.faults == ()
    assert trial.simulator_cost_usd
    assert trial.cost_usd
    assert result.facts.cost_usd >= trial.simulator_cost_usd + trial.cost_usd
    assert result.facts.simulated_user == "openai/gpt-4o"


class Insistent:
    """A caller of somebody's own, who says what a move costs."""

    name = "insistent"

    async def next_move(self, conversation: Conversation, scenario: Scenario) -> Move:
        said = sum(turn.role == "user" for turn in conversation.turns)
        return Move(text="Where is it?", cost_usd=0.25) if said < 2 else Move(stop="gave_up", cost_usd=0.0)


def test_what_a_caller_of_ones_own_says_that_it_costs_is_counted(vendor: FakeVendor, agent: Agent, run: Run) -> None:
    result = run(agent, scenarios(6, max_turns=6), simulated_user=Insistent(), concurrency=1, max_cost=1.2)
    assert result.facts.stopped == "max_cost"
    assert 2 <= len(result) <= 3
    assert result.trials[0].simulator_cost_usd == 0.5


@pytest.mark.parametrize("role", ["judge", "simulated_user"])
def test_an_unknown_model_is_said_with_what_it_was_asked_for(agent: Agent, run: Run, role: str) -> None:
    with pytest.raises(ModelNotFoundError, match=rf"^{role}: no vendor is known for the model 'smart'"):
        run(agent.with_changes(llm="offline"), scenarios(1), **{role: "smart"})


def test_an_address_is_no_workspace(agent: Agent, run: Run) -> None:
    with pytest.raises(InvalidValueError, match=r"workspace: must be a Workspace, such as lab.connect"):
        run(agent, scenarios(1), workspace="http://127.0.0.1:8300")


def test_edited_checks_are_tried_on_what_was_said_before(
    agent: Agent, run: Run, judged: Callable[[], int], vendor: FakeVendor
) -> None:
    first = run(agent, scenarios(3, **OUTCOME), judge=MODEL, trials=2)
    asked = len(vendor.requests)
    cases = scenarios(3, **OUTCOME)
    cases[1]["checks"] = [{"said": "arrived"}]
    edited = run(agent, cases, judge=MODEL, trials=2)
    assert len(vendor.requests) == asked
    assert [trial.success for trial in edited] == [True, True, False, False, True, True]
    assert edited.trial("Support", "s1").reason == "the agent never said 'arrived'"
    assert edited.facts.cached == 6
    assert edited.conversation("Support", "s1").turns == first.conversation("Support", "s1").turns
    assert [trial.success for trial in run(agent, scenarios(3, **OUTCOME), judge=MODEL, trials=2)] == [True] * 6


def test_what_the_tools_left_is_known_to_checks_that_come_later(vendor: FakeVendor, agent: Agent, run: Run) -> None:
    world = {"state": {"order": {"status": "open"}}, "opening": "Cancel my order."}
    run(agent, scenarios(1, **world))
    open_still = [{"state": {"has": {"order": {"status": "open"}}}}, {"state": {"has": {"order": {"status": "gone"}}}}]
    result = run(agent, scenarios(1, **world, checks=open_still))
    assert [check.passed for check in result.trials[0].checks] == [True, False]
    assert result.facts.fresh == 0


def test_checks_added_later_grade_what_nothing_could_grade(vendor: FakeVendor, agent: Agent, run: Run) -> None:
    assert run(agent, scenarios(1, checks=[])).trials[0].success is None
    assert run(agent, scenarios(1)).trials[0].success is True


@pytest.mark.parametrize("change", [{"opening": "Hello?"}, {"expected_outcome": "All is well."}, {"max_turns": 4}])
def test_what_may_change_a_conversation_or_a_verdict_is_held_again(
    agent: Agent, run: Run, judged: Callable[[], int], change: dict[str, Any]
) -> None:
    run(agent, scenarios(1, **OUTCOME), judge=MODEL)
    assert run(agent, scenarios(1, **{**OUTCOME, **change}), judge=MODEL).facts.fresh == 1


def test_a_conversation_that_is_gone_is_held_again(vendor: FakeVendor, agent: Agent, run: Run) -> None:
    first = run(agent, scenarios(1))
    with sqlite3.connect(first.facts.journal) as connection:
        connection.execute("DELETE FROM conversations")
    connection.close()
    assert run(agent, scenarios(1, checks=[{"said": "order"}])).facts.fresh == 1


def test_a_journal_of_an_earlier_version_is_still_read(agent: Agent, run: Run, tmp_path: Path) -> None:
    path = tmp_path / "old.sqlite3"
    with sqlite3.connect(path) as connection:
        connection.execute("CREATE TABLE trials (key TEXT PRIMARY KEY, is_done INTEGER NOT NULL, result TEXT NOT NULL)")
        connection.execute("CREATE TABLE conversations (key TEXT PRIMARY KEY, body BLOB NOT NULL)")
        connection.execute("PRAGMA user_version = 1")
    connection.close()
    offline = agent.with_changes(llm="offline")
    assert run(offline, scenarios(1), journal=path).facts.fresh == 1
    assert run(offline, scenarios(1), journal=path).facts.cached == 1


def test_nothing_is_asked_when_nothing_may_be_spent(vendor: FakeVendor, agent: Agent, run: Run) -> None:
    result = run(agent, scenarios(2), max_cost=0)
    assert (len(result), result.facts.stopped, result.facts.cost_usd) == (0, "max_cost", 0.0)
    assert vendor.requests == []
    assert "call again with a higher one (dry_run=True says what it may cost)" in result.facts.notes[-1]


def test_a_caller_of_ones_own_is_the_same_after_a_restart(vendor: FakeVendor, agent: Agent, run: Run) -> None:
    class Patient(Insistent):
        def __init__(self, memory: Callable[[], int]) -> None:
            self.memory = memory

    def remembering() -> Callable[[], int]:
        return lambda: 1

    callers = [Patient(remembering()), Patient(remembering())]
    assert repr(vars(callers[0])) != repr(vars(callers[1]))
    fresh = [run(agent, scenarios(1, max_turns=6), simulated_user=caller).facts.fresh for caller in callers]
    assert fresh == [1, 0]


def test_what_rules_cannot_collect_is_unknown(agent: Agent, run: Run) -> None:
    offline = agent.with_changes(llm="offline", data_collection=ORDER)
    checks = [{"collected": {"item": "order", "equals": "1234"}}]
    result = run(offline, scenarios(1, checks=checks), judge="offline")
    assert [(c.passed, c.why) for c in result.trials[0].checks] == [
        (None, "order was not collected from this conversation")
    ]
    assert "could not be known in 1 trial, which is no success" in result.facts.notes[0]
