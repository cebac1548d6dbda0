"""Paired comparison: how much better is one variant than another on the same scenarios and seeds?

Two outcomes make a pair when scenario and trial seed are the same. Pairs are averaged within their scenario, and only
scenarios count as independent: from there come the interval and the p value. A pair with a side missing is named,
never filled in.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from math import fsum, isnan, nan, sqrt
from typing import Literal, NamedTuple

from convai_lab.errors import InvalidValueError
from convai_lab.evaluation.distributions import binomial_tail
from convai_lab.evaluation.resampling import RESAMPLES, mean_interval, sign_flip_p
from convai_lab.evaluation.results import (
    NOT_KNOWN,
    Result,
    as_number,
    bracketed,
    counted,
    p_text,
    require_count,
    require_finite,
    require_share,
)  # fmt: skip
from convai_lab.evaluation.statistics import RATE

Outcomes = Mapping[str, Sequence[tuple[int, float | None]]]
"""Per scenario: the seed and the outcome of every trial; ``None`` for a trial without a valid outcome."""
LARGEST = 1e100
ROUNDING = 1e-12


class MissingPair(NamedTuple):
    """A trial that could not be paired, and which side had no valid outcome."""

    scenario_id: str
    seed: int
    side: Literal["baseline", "other", "both"]


class Pair(NamedTuple):
    """The outcomes of both variants in one scenario under one seed."""

    scenario_id: str
    seed: int
    baseline: float
    other: float


class ScenarioDifference(NamedTuple):
    """The mean difference, other minus baseline, within one scenario."""

    scenario_id: str
    difference: float
    n_pairs: int


class Pairing(NamedTuple):
    """What could be paired, and what could not."""

    pairs: tuple[Pair, ...]
    missing: tuple[MissingPair, ...]


@dataclass(frozen=True, kw_only=True)
class PairedDifference(Result):
    """The difference other minus baseline: how large, how sure, and from what.

    `method` says how the interval was made and `test` how the p value was; `spread` is the standard deviation of the
    scenarios' differences. `bounds` are the limits of one outcome (``None``: no limits, for example seconds).
    """

    estimate: float
    low: float = nan
    high: float = nan
    p_value: float = nan
    method: str = "none"
    test: str = "none"
    baseline_mean: float = nan
    other_mean: float = nan
    spread: float = nan
    n_scenarios: int = 0
    n_pairs: int = 0
    n_missing: int = 0
    seed: int = 0
    alpha: float = 0.05
    bounds: tuple[float, float] | None = RATE
    missing: tuple[MissingPair, ...] = ()
    by_scenario: tuple[ScenarioDifference, ...] = ()

    @property
    def is_rate(self) -> bool:
        """Tell whether outcomes are rates, whose differences are said in points."""
        return self.bounds == RATE

    def __str__(self) -> str:
        if isnan(self.estimate):
            return f"{NOT_KNOWN}: {self.reason}"
        unit = " points" if self.is_rate else ""
        interval = bracketed(self.low, self.high, is_rate=self.is_rate)
        size = as_number(self.estimate, is_rate=self.is_rate, signed=True)
        return f"{size}{unit} {interval}, {p_text(self.p_value)}"


def compare_paired(
    baseline: Outcomes,
    other: Outcomes,
    *,
    seed: int = 0,
    alpha: float = 0.05,
    bounds: tuple[float, float] | None = RATE,
    resamples: int = RESAMPLES,
) -> PairedDifference:
    """Return how much better `other` does than `baseline`, with an interval and a p value clustered by scenario.

    Args:
        bounds: The limits of one outcome; a value outside is an error. ``None`` for what has no limits.

    Raises:
        InvalidValueError: An outcome is NaN or out of bounds, or a seed comes twice in one scenario.

    Example:
        >>> print(compare_paired({"a": [(1, 0)], "b": [(1, 0)]}, {"a": [(1, 1)], "b": [(1, 0)]}))
        +50 points [-100, 100], p = 1.000
    """
    require_share(alpha, "alpha", open_ends=True)
    seed = require_count(seed, "seed")
    require_count(resamples, "resamples", least=1)
    limits = _require_bounds(bounds)
    pairing = pair_outcomes(baseline, other, bounds=limits)
    scenarios = _by_scenario(pairing.pairs)
    differences = [scenario.difference for scenario in scenarios]
    missing = pairing.missing
    if not differences:
        reason = f"no pair is complete ({counted(len(missing), 'trial')} without a partner)"
        return PairedDifference(
            estimate=nan, reason=reason, seed=seed, alpha=alpha, bounds=limits, n_missing=len(missing), missing=missing
        )
    span = None if limits is None else (limits[0] - limits[1], limits[1] - limits[0])
    low, high, method = mean_interval(differences, bounds=span, alpha=alpha, seed=seed, resamples=resamples)
    p_value, test = sign_flip_p(differences, seed=seed, flips=resamples)
    return PairedDifference(
        estimate=fsum(differences) / len(differences), low=low, high=high, method=method, p_value=p_value, test=test,
        baseline_mean=_scenario_mean(pairing.pairs, "baseline"), other_mean=_scenario_mean(pairing.pairs, "other"),
        spread=_spread(differences), n_scenarios=len(scenarios), n_pairs=len(pairing.pairs), n_missing=len(missing),
        seed=seed, alpha=alpha, bounds=limits, missing=missing, by_scenario=scenarios,
        reason=_why_no_interval(differences, low),
    )  # fmt: skip


def pair_outcomes(baseline: Outcomes, other: Outcomes, *, bounds: tuple[float, float] | None = RATE) -> Pairing:
    """Pair outcomes by scenario and seed, in sorted order; what has no partner is named."""
    left, right = _outcomes(baseline, "baseline", bounds), _outcomes(other, "other", bounds)
    pairs: list[Pair] = []
    missing: list[MissingPair] = []
    for key in sorted({*left, *right}):
        before, after = left.get(key), right.get(key)
        if before is not None and after is not None:
            pairs.append(Pair(*key, before, after))
        elif before is None and after is None:
            missing.append(MissingPair(*key, "both"))
        else:
            missing.append(MissingPair(*key, "baseline" if before is None else "other"))
    return Pairing(tuple(pairs), tuple(missing))


def _outcomes(raw: Outcomes, side: str, bounds: tuple[float, float] | None) -> dict[tuple[str, int], float | None]:
    found: dict[tuple[str, int], float | None] = {}
    low, high = bounds or (-LARGEST, LARGEST)
    if not isinstance(raw, Mapping):
        raise InvalidValueError("must map each scenario's id to its (seed, outcome) pairs", field=side)
    for scenario_id, trials in raw.items():
        where = f"{side}[{str(scenario_id)[:80]!r}]"
        if not isinstance(scenario_id, str) or not isinstance(trials, Sequence):
            raise InvalidValueError("must map a scenario's id, a text, to a list of (seed, outcome)", field=where)
        for trial in trials:
            seed, value = _seed_and_value(trial, where)
            if (scenario_id, seed) in found:
                raise InvalidValueError(f"seed {seed} comes twice: a pair needs one outcome each", field=where)
            number = None if value is None else require_finite(value, f"{where} seed {seed}")
            if number is not None and not low <= number <= high:
                raise InvalidValueError(
                    f"must be between {low:g} and {high:g}, got {number:g}", field=f"{where} seed {seed}"
                )
            found[scenario_id, seed] = number
    return found


def _seed_and_value(trial: tuple[int, float | None], where: str) -> tuple[int, float | None]:
    try:
        seed, value = trial
    except (TypeError, ValueError):
        raise InvalidValueError(f"must hold (seed, outcome), got {str(trial)[:80]}", field=where) from None
    number = require_finite(seed, f"{where} seed")
    if number != seed or not isinstance(seed, int):
        raise InvalidValueError(f"must be a whole number, got {str(seed)[:80]!r}", field=f"{where} seed")
    return seed, value


def _require_bounds(bounds: tuple[float, float] | None) -> tuple[float, float] | None:
    if bounds is None:
        return None
    if not isinstance(bounds, tuple) or len(bounds) != 2:
        raise InvalidValueError(f"must be (lowest, highest) or None, got {str(bounds)[:80]}", field="bounds")
    low, high = (require_finite(bound, "bounds") for bound in bounds)
    if low >= high:
        raise InvalidValueError(f"must rise, got {low:g} to {high:g}", field="bounds")
    return low, high


def _by_scenario(pairs: Iterable[Pair]) -> tuple[ScenarioDifference, ...]:
    grouped: dict[str, list[Pair]] = {}
    for pair in pairs:
        grouped.setdefault(pair.scenario_id, []).append(pair)
    return tuple(ScenarioDifference(name, _mean_difference(found), len(found)) for name, found in grouped.items())


def _mean_difference(pairs: Sequence[Pair]) -> float:
    """Return the mean of other minus baseline; what only rounding leaves is zero, or it would count as evidence."""
    mean = fsum(pair.other - pair.baseline for pair in pairs) / len(pairs)
    scale = max(max(abs(pair.baseline), abs(pair.other)) for pair in pairs)
    return 0.0 if abs(mean) <= ROUNDING * scale else mean


def _scenario_mean(pairs: Iterable[Pair], side: Literal["baseline", "other"]) -> float:
    grouped: dict[str, list[float]] = {}
    for pair in pairs:
        grouped.setdefault(pair.scenario_id, []).append(pair.baseline if side == "baseline" else pair.other)
    return fsum(fsum(found) / len(found) for found in grouped.values()) / len(grouped)


def _spread(differences: Sequence[float]) -> float:
    n = len(differences)
    if n < 2:
        return nan
    mean = fsum(differences) / n
    return sqrt(fsum((difference - mean) ** 2 for difference in differences) / (n - 1))


def _why_no_interval(differences: Sequence[float], low: float) -> str:
    if len(differences) < 2:
        return "a single scenario shows no spread between scenarios"
    return "all differences are equal, and outcomes have no limits to bound what was not seen" if isnan(low) else ""


@dataclass(frozen=True, kw_only=True)
class FlipTest(Result):
    """McNemar's exact test on flips: `gained` succeeded only with the other variant, `lost` only with the baseline."""

    p_value: float
    gained: int = 0
    lost: int = 0
    n_pairs: int = 0
    method: str = "McNemar, exact"

    def __str__(self) -> str:
        if isnan(self.p_value):
            return f"{NOT_KNOWN}: {self.reason}"
        return f"{self.gained:,} gained, {self.lost:,} lost of {counted(self.n_pairs, 'pair')}, {p_text(self.p_value)}"


def mcnemar_exact(gained: int, lost: int) -> float:
    """Return the exact two-sided p value of flips in both directions; no flip at all gives 1.

    Source: Q. McNemar, Psychometrika 12 (1947), 153-157, with the binomial law in place of its chi-squared limit.

    Example:
        >>> mcnemar_exact(8, 0)
        0.0078125
    """
    gained, lost = require_count(gained, "gained"), require_count(lost, "lost")
    return min(1.0, 2 * binomial_tail(max(gained, lost), gained + lost, 0.5))


def flip_test(baseline: Outcomes, other: Outcomes) -> FlipTest:
    """Count flips of a yes/no outcome, and test them where every scenario has one pair.

    Several trials of one scenario are not independent, so the p value is NaN then: `compare_paired` is the test.
    """
    pairs, _ = pair_outcomes(baseline, other)
    if not pairs:
        return FlipTest(p_value=nan, reason="no pair is complete")
    if any(value not in (0.0, 1.0) for pair in pairs for value in (pair.baseline, pair.other)):
        return FlipTest(p_value=nan, n_pairs=len(pairs), reason="outcomes are not yes or no")
    gained = sum(pair.other > pair.baseline for pair in pairs)
    lost = sum(pair.other < pair.baseline for pair in pairs)
    if len({pair.scenario_id for pair in pairs}) < len(pairs):
        reason = "several trials of one scenario are not independent, as McNemar's test needs; see compare_paired"
        return FlipTest(p_value=nan, gained=gained, lost=lost, n_pairs=len(pairs), reason=reason)
    return FlipTest(p_value=mcnemar_exact(gained, lost), gained=gained, lost=lost, n_pairs=len(pairs))
