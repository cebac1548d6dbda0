"""Differences: how much better is each challenger than the baseline, how sure is that, and what could have been seen?

Pairs are one scenario and one trial under both variants, and only scenarios count as independent. Several challengers
are corrected by Holm's rule. A comparison that was looked at while it ran (``stop="decided"``) gets the interval and
the p value that hold at every look, from the scenarios that were complete, in the order that the seed drew; those are
corrected by Bonferroni's rule, as the stopping was.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from math import isnan, nan
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

from convai_lab.evaluation.paired import PairedDifference, compare_paired
from convai_lab.evaluation.power import POWER
from convai_lab.evaluation.sequential import always_valid, peek
from convai_lab.evaluation.statistics import holm
from convai_lab.evaluation.verdict import Verdict, verdict
from convai_lab.experiments.outcomes import Outcomes, outcomes_of
from convai_lab.experiments.plan import drawn_order

if TYPE_CHECKING:
    import pandas as pd

    from convai_lab.experiments.comparison import Comparison

ALPHA = 0.05
DRAWS = 20_000_000
"""Resampled values for one interval: from some thousand scenarios on, fewer resamples are as good."""
FEWEST_RESAMPLES, MOST_RESAMPLES = 2_000, 10_000


@dataclass(frozen=True, kw_only=True)
class Contest:
    """One challenger against the baseline: the difference, its corrected p value, and what follows from it."""

    challenger: str
    baseline: str
    difference: PairedDifference
    p_adjusted: float
    verdict: Verdict
    is_sequential: bool = False
    decided_at: int | None = None


_contests: WeakKeyDictionary[Comparison, tuple[Contest, ...]] = WeakKeyDictionary()


def contests(comparison: Comparison) -> tuple[Contest, ...]:
    """Return every challenger's contest with the baseline, in the order of the variants."""
    if comparison not in _contests:
        sequential = comparison.facts.stop == "decided"
        _contests[comparison] = tuple(_looked_at(comparison) if sequential else _at_the_end(comparison))
    return _contests[comparison]


def resamples_for(n_scenarios: int) -> int:
    """Return how many resamples an interval over so many scenarios is made from."""
    return max(FEWEST_RESAMPLES, min(MOST_RESAMPLES, DRAWS // max(1, n_scenarios)))


def correction_of(comparison: Comparison) -> str:
    """Say how p values were corrected for several challengers; empty for one."""
    several = len(comparison.challengers) > 1
    if not several:
        return ""
    rule = "Bonferroni" if comparison.facts.stop == "decided" else "Holm"
    return f"{rule} over {len(comparison.challengers)} comparisons"


def _at_the_end(comparison: Comparison) -> list[Contest]:
    found = [_difference(comparison, name) for name in comparison.challengers]
    adjusted = holm([difference.p_value for difference in found])
    return [
        _contest(comparison, name, difference, p)
        for name, difference, p in zip(comparison.challengers, found, adjusted, strict=True)
    ]


def _looked_at(comparison: Comparison) -> list[Contest]:
    names = comparison.challengers
    complete = _complete_scenarios(comparison)
    made = []
    for name in names:
        difference = _difference(comparison, name, only=complete)
        means = {scenario.scenario_id: scenario.difference for scenario in difference.by_scenario}
        looked = peek([means[scenario] for scenario in complete if scenario in means], alpha=ALPHA / len(names))
        p_value = min(1.0, len(names) * looked.p_value)
        valid = replace(always_valid(difference, looked), alpha=ALPHA, p_value=looked.p_value)
        made.append(
            replace(
                _contest(comparison, name, valid, p_value),
                is_sequential=True,
                decided_at=looked.decided_at,
            )
        )
    return made


def _complete_scenarios(comparison: Comparison) -> list[str]:
    """Return the scenarios up to the first of which a trial is missing: what is quickly done must not count first."""
    by_variant = [outcomes_of(comparison, name) for name in comparison.variant_names]
    complete = []
    for scenario in drawn_order(comparison.scenarios, comparison.facts.seed):
        if any(len(found.get(scenario.id, ())) < comparison.facts.trials for found in by_variant):
            break
        complete.append(scenario.id)
    return complete


def _difference(comparison: Comparison, name: str, only: Sequence[str] | None = None) -> PairedDifference:
    sides = outcomes_of(comparison, comparison.baseline), outcomes_of(comparison, name)
    baseline, other = sides if only is None else (_those(side, only) for side in sides)
    resamples = resamples_for(len(baseline))
    return compare_paired(baseline, other, seed=abs(comparison.facts.seed), alpha=ALPHA, resamples=resamples)


def _those(outcomes: Mapping[str, Any], names: Sequence[str]) -> Outcomes:
    return {name: outcomes[name] for name in names if name in outcomes}


def _contest(comparison: Comparison, name: str, difference: PairedDifference, p_adjusted: float) -> Contest:
    return Contest(
        challenger=name,
        baseline=comparison.baseline,
        difference=difference,
        p_adjusted=p_adjusted,
        verdict=verdict(
            difference, baseline=comparison.baseline, other=name, p_value=None if isnan(p_adjusted) else p_adjusted
        ),
    )


def differences_df(comparison: Comparison) -> pd.DataFrame:
    """Return one row for each challenger.

    Columns: ``variant``, ``baseline``, ``outcome`` (better, worse, tied, unknown), ``difference``, ``low``, ``high``
    (shares, not percent; 95 %), ``p_value`` (of this comparison alone), ``p_adjusted``, ``correction``,
    ``variant_rate``, ``baseline_rate`` (over complete pairs), ``n_scenarios``, ``n_pairs``, ``n_missing`` (pairs that
    lack a side), ``interval_method``, ``test``, ``reason`` (why something is missing).
    """
    import pandas as pd

    correction = correction_of(comparison) or "none"
    rows = [
        {
            "variant": contest.challenger,
            "baseline": contest.baseline,
            "outcome": contest.verdict.outcome,
            "difference": contest.difference.estimate,
            "low": contest.difference.low,
            "high": contest.difference.high,
            "p_value": contest.difference.p_value,
            "p_adjusted": contest.p_adjusted,
            "correction": correction,
            "variant_rate": contest.difference.other_mean,
            "baseline_rate": contest.difference.baseline_mean,
            "n_scenarios": contest.difference.n_scenarios,
            "n_pairs": contest.difference.n_pairs,
            "n_missing": contest.difference.n_missing,
            "interval_method": contest.difference.method,
            "test": contest.difference.test,
            "reason": contest.difference.reason or contest.verdict.reason,
        }
        for contest in contests(comparison)
    ]
    return pd.DataFrame(rows, columns=_DIFFERENCE_COLUMNS)


def power_df(comparison: Comparison) -> pd.DataFrame:
    """Return one row for each challenger: what these scenarios could have seen.

    Columns: ``variant``, ``baseline``, ``n_scenarios``, ``trials_per_scenario``, ``spread`` (standard deviation of the
    scenarios' differences), ``minimum_detectable`` (the smallest true difference found with ``power`` at ``alpha``),
    ``difference`` (the one seen), ``more_scenarios`` (how many more it takes to find that one), ``reason`` (why a value
    is missing, or that so few scenarios find ``minimum_detectable`` less often than ``power`` says). After a
    run that was looked at, they are those of an ordinary test of the same size, which sees a little more.
    """
    import pandas as pd

    rows = [
        {
            "variant": contest.challenger,
            "baseline": contest.baseline,
            "n_scenarios": contest.difference.n_scenarios,
            "trials_per_scenario": _trials_each(contest.difference),
            "spread": contest.difference.spread,
            "minimum_detectable": contest.verdict.minimum_detectable,
            "power": POWER,
            "alpha": ALPHA,
            "difference": contest.difference.estimate,
            "more_scenarios": contest.verdict.more_scenarios,
            "reason": contest.verdict.reason or contest.verdict.caution,
        }
        for contest in contests(comparison)
    ]
    return pd.DataFrame(rows, columns=_POWER_COLUMNS).astype({"more_scenarios": "Int64"})


def _trials_each(difference: PairedDifference) -> float:
    return difference.n_pairs / difference.n_scenarios if difference.n_scenarios else nan


_DIFFERENCE_COLUMNS = (
    *("variant", "baseline", "outcome", "difference", "low", "high", "p_value", "p_adjusted", "correction"),
    *("variant_rate", "baseline_rate", "n_scenarios", "n_pairs", "n_missing", "interval_method", "test", "reason"),
)
_POWER_COLUMNS = (
    *("variant", "baseline", "n_scenarios", "trials_per_scenario", "spread", "minimum_detectable", "power", "alpha"),
    *("difference", "more_scenarios", "reason"),
)
