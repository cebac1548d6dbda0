"""The plan: which trials there are, and when two are the same."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from convai_lab.agents.agent import Agent
from convai_lab.experiments.plan import PlannedTrial, agent_mark, plan_trials, trial_seed
from convai_lab.experiments.variant import Variant
from convai_lab.simulation.scenario import Scenario

SAM = Agent(name="Sam", prompt="You are Sam.", llm="gpt-4o-mini")
ALONE = (Variant("a", SAM),)
GREETING = "Hello"


def planned(*scenarios: Scenario, variants: Any = ALONE, **options: Any) -> list[PlannedTrial]:
    return plan_trials(variants, scenarios, **{"trials": 1, "seed": 0, "conditions": {}, **options})


def test_whenever_it_is_cut_short_it_is_balanced() -> None:
    both = (Variant("a", SAM), Variant("b", SAM.with_changes(temperature=1)))
    order = [
        (p.trial, p.scenario.id, p.variant.name)
        for p in planned(Scenario(id="x", opening="1"), Scenario(id="y", opening="2"), variants=both, trials=2)
    ]
    assert order == sorted(order)


def test_the_order_of_scenarios_changes_no_trial() -> None:
    one, two = Scenario(id="x", opening="1"), Scenario(id="y", opening="2")
    assert {p.key for p in planned(one, two)} == {p.key for p in planned(two, one)}


def test_a_run_that_may_end_early_meets_scenarios_in_an_order_that_no_file_decides() -> None:
    grouped = [Scenario(id=f"{kind}{at}", opening="1") for kind in ("easy", "hard") for at in range(20)]
    early = [p.scenario.id for p in planned(*grouped, scenario_first=True, trials=2)]
    assert early == [p.scenario.id for p in planned(*grouped[::-1], scenario_first=True, trials=2)]
    assert early[::2] == early[1::2]
    assert 3 < sum(name.startswith("easy") for name in early[:40:2]) < 17
    assert early != [p.scenario.id for p in planned(*grouped, scenario_first=True, trials=2, seed=1)]


@pytest.mark.parametrize(
    "change",
    [{"seed": 1}, {"conditions": {"judge": "x"}}, {"variants": (Variant("a", SAM.with_changes(prompt="Other")),)}],
)
def test_what_matters_makes_another_trial(change: Any) -> None:
    scenario = Scenario(id="x", opening="1")
    assert planned(scenario)[0].key != planned(scenario, **change)[0].key


def test_scenarios_may_name_their_seeds() -> None:
    trials = planned(Scenario(id="x", opening="1", seeds=(7, 8)), trials=3)
    assert [p.seed for p in trials[:2]] == [7, 8]
    assert len({p.key for p in trials}) == 3


@given(st.text(max_size=20), st.integers(0, 10**6), st.integers(-(10**12), 10**12))
def test_seeds_fit_into_what_vendors_take(opening: str, trial: int, seed: int) -> None:
    assert 0 <= trial_seed(Scenario(id="x", opening=opening or "x"), trial, seed) < 2**31


def test_a_tool_that_uses_another_value_is_another_tool(monkeypatch: pytest.MonkeyPatch) -> None:
    def greet(name: str) -> str:
        """Greet somebody."""
        return f"{GREETING} {name}"

    agent = SAM.with_changes(tools=(greet,))
    before = agent_mark(agent)
    monkeypatch.setitem(globals(), "GREETING", "Goodbye")
    assert agent_mark(agent) != before
