"""Trials table: how do trials become a DataFrame?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any

from convai_lab.experiments.trial import TrialResult, median

if TYPE_CHECKING:
    import pandas as pd

    from convai_lab.experiments.comparison import Comparison

MOST_LISTED = 10

_COLUMNS: Mapping[str, Any] = {
    "variant": "object",
    "scenario": "object",
    "trial": "int64",
    "seed": "int64",
    "success": "boolean",
    "failed_party": "object",
    "reason": "object",
    "checks_passed": "int64",
    "checks": "int64",
    "criteria_met": "int64",
    "criteria": "int64",
    "turns": "int64",
    "ended_by": "object",
    "ttft_ms": "float64",
    "reply_ms": "float64",
    "voice_to_voice_ms": "float64",
    "input_tokens": "Int64",
    "output_tokens": "Int64",
    "cost_usd": "float64",
    "simulator_cost_usd": "float64",
    "judge_cost_usd": "float64",
    "model_served": "object",
    "conversation_id": "object",
}


def _row(trial: TrialResult) -> tuple[Any, ...]:
    return (
        trial.variant,
        trial.scenario_id,
        trial.trial,
        trial.seed,
        trial.success,
        trial.failed_party,
        trial.reason,
        sum(check.passed is True for check in trial.checks),
        len(trial.checks),
        sum(result.value == "success" for result in trial.criteria.values()),
        len(trial.criteria),
        trial.turns,
        trial.ended_by,
        median(trial.ttft_ms),
        median(trial.reply_ms),
        median(trial.voice_to_voice_ms),
        trial.input_tokens,
        trial.output_tokens,
        trial.cost_usd,
        trial.simulator_cost_usd,
        trial.judge_cost_usd,
        trial.model_served,
        trial.conversation_id,
    )


def trials_df(trials: Sequence[TrialResult]) -> pd.DataFrame:
    """Return one row for each trial; `Comparison.df` lists the columns."""
    import pandas as pd

    return pd.DataFrame([_row(trial) for trial in trials], columns=list(_COLUMNS)).astype(_COLUMNS)


def ordered(
    trials: Sequence[TrialResult], scenarios: Sequence[str], variants: Sequence[str]
) -> tuple[TrialResult, ...]:
    """Return trials by scenario, trial and variant, whatever the order in which they ended."""
    places = {name: at for at, name in enumerate(scenarios)}, {name: at for at, name in enumerate(variants)}
    return tuple(sorted(trials, key=lambda t: (places[0][t.scenario_id], t.trial, places[1][t.variant])))


def why_no_trial(comparison: Comparison, variant: Any, scenario: Any, trial: Any) -> str:
    """Say what a comparison has in place of a trial that was asked for."""
    told = f"there is no trial {trial} of {variant!r} in {scenario!r}: "
    ids = [one.id for one in comparison.scenarios]
    if variant not in comparison.variant_names:
        return f"{told}variants are {', '.join(comparison.variant_names)}"
    if scenario not in ids:
        close = get_close_matches(str(scenario), ids, n=1)
        listed = ", ".join(ids[:MOST_LISTED]) + ", …" * (len(ids) > MOST_LISTED)
        return told + (f"did you mean {close[0]}?" if close else f"scenarios are {listed}")
    if trial in range(comparison.facts.trials):
        return f"{told}it was not done before the run ended; the same call goes on from there"
    return f"{told}trials count from 0 to {comparison.facts.trials - 1}"
