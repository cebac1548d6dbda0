"""Expectations: what does a judge decide where a scenario says nothing that could be graded?

Who names a judge wants a grade. A caller's goal, or else what they ask first, says well enough what should come of a
conversation, unless checks, an expected outcome or the agent's own criteria say it better.
"""

from __future__ import annotations

from dataclasses import replace

from convai_lab.evaluation.results import counted
from convai_lab.experiments.lineup import Lineup
from convai_lab.experiments.variant import Variant
from convai_lab.simulation.scenario import Scenario, ScenarioSet

GOT_IT = "The caller got what they wanted, or was rightly told why not. What they wanted: "
MOST_CHARS = 1_500


def with_expectations(scenarios: ScenarioSet, lineup: Lineup) -> tuple[ScenarioSet, list[str]]:
    """Return scenarios with something for the judges to decide, and notes of what was added."""
    if not lineup.judge.llms or any(map(_has_criteria, lineup.variants)):
        return scenarios, []
    filled = tuple(_expecting(scenario) for scenario in scenarios)
    added = sum(one is not other for one, other in zip(filled, scenarios, strict=True))
    if not added:
        return scenarios, []
    says = "says" if added == 1 else "say"
    note = (
        f"{counted(added, 'scenario')} {says} nothing to grade by: the judge decided whether the caller got their wish"
    )
    return replace(scenarios, scenarios=filled), [note]


def _has_criteria(variant: Variant) -> bool:
    return bool(variant.agent.criteria)


def _expecting(scenario: Scenario) -> Scenario:
    wish = scenario.goal or scenario.opening
    if scenario.checks or scenario.expected_outcome or not wish:
        return scenario
    return replace(scenario, expected_outcome=f"{GOT_IT}{wish[:MOST_CHARS]}")
