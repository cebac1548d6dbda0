"""Outcomes: how often did each variant succeed in each scenario, and which trials count?"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING
from weakref import WeakKeyDictionary

from convai_lab.evaluation.statistics import Tally
from convai_lab.experiments.trial import TrialResult

if TYPE_CHECKING:
    from convai_lab.experiments.comparison import Comparison

Outcomes = dict[str, list[tuple[int, float | None]]]
"""Per scenario: the number of each trial and whether it succeeded (1 or 0), None where that cannot be said."""

_trials: WeakKeyDictionary[Comparison, dict[str, list[TrialResult]]] = WeakKeyDictionary()
_outcomes: WeakKeyDictionary[Comparison, dict[str, Outcomes]] = WeakKeyDictionary()


def trials_of(comparison: Comparison, variant: str) -> Sequence[TrialResult]:
    """Return the trials of one variant, in order."""
    if comparison not in _trials:
        found: dict[str, list[TrialResult]] = defaultdict(list)
        for trial in comparison.trials:
            found[trial.variant].append(trial)
        _trials[comparison] = dict(found)
    return _trials[comparison].get(variant, [])


def outcomes_of(comparison: Comparison, variant: str) -> Outcomes:
    """Return what came of one variant, by scenario.

    Trials are known by their number, which has the same seed for every variant: that is what makes pairs.
    """
    by_variant = _outcomes.setdefault(comparison, {})
    if variant not in by_variant:
        found: Outcomes = {}
        for trial in trials_of(comparison, variant):
            value = None if trial.success is None else float(trial.success)
            found.setdefault(trial.scenario_id, []).append((trial.trial, value))
        by_variant[variant] = found
    return by_variant[variant]


def tallies(outcomes: Mapping[str, Sequence[tuple[int, float | None]]]) -> list[Tally]:
    """Return successes and valid trials of each scenario."""
    found = ([value for _, value in trials if value is not None] for trials in outcomes.values())
    return [Tally(int(sum(values)), len(values)) for values in found]


def valid_of(comparison: Comparison, variant: str) -> list[TrialResult]:
    """Return the trials of one variant that count: something said whether the agent succeeded."""
    return [trial for trial in trials_of(comparison, variant) if trial.is_graded]
