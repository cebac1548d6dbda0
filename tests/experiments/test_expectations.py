"""Who names a judge gets a grade, also for scenarios that say nothing but what the caller wants."""

from __future__ import annotations

from typing import Any

import pytest

from convai_lab.agents.agent import Agent, EvaluationCriterion
from convai_lab.experiments.comparison import compare
from convai_lab.experiments.estimate import Estimate
from convai_lab.experiments.expectations import with_expectations
from convai_lab.experiments.lineup import make_lineup
from convai_lab.experiments.variant import Variant
from convai_lab.simulation.scenario import load_scenarios

PLAIN = Agent(name="Pat", llm="gpt-4o")
CASES: list[dict[str, Any]] = [
    {"id": "wish", "opening": "Hi", "goal": "Learn when you open."},
    {"id": "asks", "opening": "Where is my order?"},
    {"id": "checked", "opening": "Hi", "goal": "x", "checks": [{"said": "nine"}]},
    {"id": "expects", "opening": "Hi", "goal": "x", "expected_outcome": "A booking."},
]


def test_a_judge_decides_by_the_callers_wish_where_nothing_else_is_written() -> None:
    filled, notes = with_expectations(load_scenarios(CASES), make_lineup([Variant("a", PLAIN)], None, "gpt-4o"))
    assert str(filled["wish"].expected_outcome).endswith("Learn when you open.")
    assert str(filled["asks"].expected_outcome).endswith("Where is my order?")
    assert (filled["checked"].expected_outcome, filled["expects"].expected_outcome) == (None, "A booking.")
    assert notes[0].startswith("2 scenarios say nothing to grade by: the judge decided")


@pytest.mark.parametrize("judge", [None, "offline"])
def test_rules_and_nobody_decide_nothing_of_that_kind(judge: str | None) -> None:
    scenarios = load_scenarios(CASES)
    assert with_expectations(scenarios, make_lineup([Variant("a", PLAIN)], None, judge)) == (scenarios, [])


def test_the_agents_own_criteria_say_it_better() -> None:
    strict = PLAIN.with_changes(criteria=(EvaluationCriterion(id="polite", goal="The agent was polite."),))
    scenarios = load_scenarios(CASES)
    assert with_expectations(scenarios, make_lineup([Variant("a", strict)], None, "gpt-4o")) == (scenarios, [])


def test_what_the_judge_will_be_asked_is_in_the_estimate() -> None:
    found = compare(PLAIN, ["Where is my order?"], judge="gpt-4o-mini", dry_run=True, progress=False)
    assert isinstance(found, Estimate)
    assert [(one.role, one.trials) for one in found.models if one.variant is None] == [("judge", 1)]
