"""Leaderboard: how good, how reliable, how fast and how dear is each variant, and what does not count?"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from math import fsum, nan
from typing import TYPE_CHECKING, Any, NamedTuple

from convai_lab.evaluation.reliability import pass_at_k, pass_hat_k
from convai_lab.evaluation.results import Estimate
from convai_lab.evaluation.statistics import success_rate
from convai_lab.experiments.differences import contests
from convai_lab.experiments.outcomes import outcomes_of, tallies, trials_of, valid_of
from convai_lab.experiments.trial import TrialResult

if TYPE_CHECKING:
    import pandas as pd

    from convai_lab.experiments.comparison import Comparison

ESTIMATOR = "unbiased"
PARTIES = ("provider", "simulator", "judge", "tool")
TIMES = ("ttft_ms", "reply_ms", "voice_to_voice_ms")
COLUMNS = (
    *("variant", "model", "is_baseline", "is_offline", "success", "success_low", "success_high", "success_method"),
    *("difference", "difference_low", "difference_high", "p_adjusted", "outcome"),
    *("k", "pass_hat_k", "pass_hat_k_low", "pass_hat_k_high", "pass_at_k", "pass_at_k_low", "pass_at_k_high"),
    *("estimator", *(f"{time[:-3]}_{part}" for time in TIMES for part in ("p50_ms", "p95_ms", "n"))),
    *("cost_per_conversation_usd", "cost_per_success_usd", "trials", "valid", "planned", "ungraded"),
    *(f"{party}_failures" for party in PARTIES),
)


class Latency(NamedTuple):
    """The median and the 95th percentile of so many replies, in milliseconds; NaN where none was measured."""

    p50: float
    p95: float
    n: int


class Costs(NamedTuple):
    """What a variant costs in USD; None where that is not known, NaN for each success where there was none."""

    per_conversation: float | None
    per_success: float | None


def leaderboard_df(comparison: Comparison) -> pd.DataFrame:
    """Return one row for each variant, in the order in which they were given.

    Columns: ``variant``, ``model`` (asked for), ``is_baseline``, ``is_offline``; ``success`` (the mean over scenarios,
    each of the same weight) with ``success_low``, ``success_high`` (95 %, clustered by scenario) and
    ``success_method``; ``difference`` to the baseline with its interval, ``p_adjusted`` and ``outcome``; for several
    trials ``pass_hat_k`` ("every one of ``k``") and ``pass_at_k`` ("at least one of ``k``") with their intervals and
    ``estimator``, where ``k`` is the number of trials, or what every scenario has of valid ones; ``ttft_p50_ms``,
    ``ttft_p95_ms``, ``ttft_n`` and so on for ``reply`` and ``voice_to_voice`` (over replies; missing where not
    measured); ``cost_per_conversation_usd`` and ``cost_per_success_usd`` (of the agent alone; missing where not
    known); ``trials`` done, of which ``valid`` count, of ``planned``; ``ungraded`` (nothing to grade by) and trials
    that failed through the provider, the simulator, the judge or a tool.
    """
    import pandas as pd

    k = common_k(comparison)
    rows = [_row(comparison, name, k) for name in comparison.variant_names]
    return pd.DataFrame(rows, columns=list(COLUMNS)).astype({"k": "Int64"})


def success_of(comparison: Comparison, variant: str) -> Estimate:
    """Return the success rate of a variant over scenarios."""
    return success_rate(tallies(outcomes_of(comparison, variant)))


def common_k(comparison: Comparison) -> int | None:
    """Return the k of pass^k: the trials of a scenario, or the fewest valid ones that any scenario has.

    None where scenarios were tried once, or some have fewer than two valid trials.
    """
    if comparison.facts.trials < 2:
        return None
    made = [tally.trials for name in comparison.variant_names for tally in tallies(outcomes_of(comparison, name))]
    k = min([comparison.facts.trials, *made]) if made else 0
    return k if k >= 2 else None


def latency_of(trials: Sequence[TrialResult], time: str) -> Latency:
    """Return p50 and p95 over the replies of these trials."""
    measured = [value for trial in trials for value in getattr(trial, time)]
    if not measured:
        return Latency(nan, nan, 0)
    import numpy as np

    p50, p95 = (float(value) for value in np.percentile(measured, [50, 95]))
    return Latency(p50, p95, len(measured))


def costs_of(trials: Sequence[TrialResult]) -> Costs:
    """Return what a conversation and a success of the agent cost; a cost that is partly known is not known."""
    costs = [trial.cost_usd for trial in trials if trial.cost_usd is not None]
    if not trials or len(costs) < len(trials):
        return Costs(None, None)
    total, successes = fsum(costs), sum(trial.success is True for trial in trials)
    return Costs(total / len(trials), total / successes if successes else nan)


def _row(comparison: Comparison, name: str, k: int | None) -> dict[str, Any]:
    variant = next(variant for variant in comparison.variants if variant.name == name)
    done, valid = trials_of(comparison, name), valid_of(comparison, name)
    rate, costs = success_of(comparison, name), costs_of(valid)
    parties = Counter(trial.failed_party for trial in done if trial.failed_party is not None)
    return {
        "variant": name,
        "model": variant.model,
        "is_baseline": name == comparison.baseline,
        "is_offline": name in comparison.facts.offline,
        "success": rate.estimate,
        "success_low": rate.low,
        "success_high": rate.high,
        "success_method": rate.method,
        **_difference(comparison, name),
        **_reliability(comparison, name, k),
        **_times(valid),
        "cost_per_conversation_usd": nan if costs.per_conversation is None else costs.per_conversation,
        "cost_per_success_usd": nan if costs.per_success is None else costs.per_success,
        "trials": len(done),
        "valid": len(valid),
        "planned": len(comparison.scenarios) * comparison.facts.trials,
        "ungraded": sum(trial.success is None and trial.failed_party is None for trial in done),
        **{f"{party}_failures": parties[party] for party in PARTIES},  # type: ignore[index]
    }


def _difference(comparison: Comparison, name: str) -> dict[str, Any]:
    contest = next((contest for contest in contests(comparison) if contest.challenger == name), None)
    if contest is None:
        return {}
    difference = contest.difference
    return {
        "difference": difference.estimate,
        "difference_low": difference.low,
        "difference_high": difference.high,
        "p_adjusted": contest.p_adjusted,
        "outcome": contest.verdict.outcome,
    }


def _reliability(comparison: Comparison, name: str, k: int | None) -> dict[str, Any]:
    if k is None:
        return {"k": None}
    made = tallies(outcomes_of(comparison, name))
    every, once = pass_hat_k(made, k), pass_at_k(made, k)
    return {
        "k": k,
        "pass_hat_k": every.estimate,
        "pass_hat_k_low": every.low,
        "pass_hat_k_high": every.high,
        "pass_at_k": once.estimate,
        "pass_at_k_low": once.low,
        "pass_at_k_high": once.high,
        "estimator": every.estimator,
    }


def _times(trials: Sequence[TrialResult]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for time in TIMES:
        p50, p95, n = latency_of(trials, time)
        found |= {f"{time[:-3]}_p50_ms": p50, f"{time[:-3]}_p95_ms": p95, f"{time[:-3]}_n": n}
    return found
