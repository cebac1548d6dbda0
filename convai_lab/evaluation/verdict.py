"""Verdict: is one variant better, worse, or is it a tie, and what could this many runs have seen?"""

from __future__ import annotations

from dataclasses import dataclass
from math import gcd, isnan, nan, sqrt
from typing import Literal

from convai_lab.evaluation.paired import PairedDifference
from convai_lab.evaluation.power import (
    POWER,
    fewest_scenarios,
    is_power_overstated,
    minimum_detectable_difference,
    scenarios_needed,
)
from convai_lab.evaluation.resampling import unseen_share
from convai_lab.evaluation.results import (
    Result,
    as_number,
    bracketed,
    counted,
    p_text,
    require_finite,
    require_share,
)  # fmt: skip

_ROUNDING = 1e-9
Outcome = Literal["better", "worse", "tied", "unknown"]


@dataclass(frozen=True, kw_only=True)
class Verdict(Result):
    """Whether the other variant is ``better`` or ``worse`` than the baseline, ``tied`` with it, or ``unknown``.

    `minimum_detectable` is the smallest true difference these scenarios would have found with the power named;
    `more_scenarios` is how many more it takes to find `target`. NaN and ``None`` where that cannot be known, and
    `reason` says why.
    """

    outcome: Outcome
    sentence: str
    p_value: float = nan
    minimum_detectable: float = nan
    target: float = nan
    more_scenarios: int | None = None
    alpha: float = 0.05
    power: float = POWER
    n_scenarios: int = 0
    n_pairs: int = 0
    caution: str = ""
    """Said where so few scenarios find the minimum detectable difference less often than `power` says."""

    def __str__(self) -> str:
        return self.sentence


def verdict(
    difference: PairedDifference,
    *,
    baseline: str = "the baseline",
    other: str = "the other",
    p_value: float | None = None,
    worth_seeing: float | None = None,
    power: float = POWER,
    higher_is_better: bool = True,
) -> Verdict:
    """Return a verdict on a paired difference: the p value and the interval must both exclude zero, or it is a tie.

    Args:
        p_value: The p value adjusted for several comparisons (`holm`), in place of the difference's own.
        worth_seeing: The smallest difference that matters; `more_scenarios` is for it. Otherwise for the one seen.

    Example:
        >>> from convai_lab.evaluation.paired import compare_paired
        >>> before = {f"s{i}": [(1, 0.0)] for i in range(8)}
        >>> after = {f"s{i}": [(1, 1.0)] for i in range(8)}
        >>> print(verdict(compare_paired(before, after), baseline="A", other="B"))
        B beats A by 100 points [26, 100], p = .008
    """
    p = difference.p_value if p_value is None or isnan(p_value) else require_share(p_value, "p_value")
    outcome = _outcome(difference, p, higher_is_better=higher_is_better)
    detectable, why = _detectable(difference, power)
    target = abs(difference.estimate) if worth_seeing is None else abs(require_finite(worth_seeing, "worth_seeing"))
    more = None if outcome == "unknown" else _more_scenarios(difference, target, power)
    caution = "" if isnan(detectable) else _caution(difference, power)
    return Verdict(
        outcome=outcome, p_value=p, minimum_detectable=detectable, target=target, more_scenarios=more,
        sentence=_sentence(outcome, difference, p, detectable, why or caution, more, target, baseline, other),
        alpha=difference.alpha, power=power, n_scenarios=difference.n_scenarios, n_pairs=difference.n_pairs,
        reason=why if outcome == "tied" else difference.reason, caution=caution,
    )  # fmt: skip


def _outcome(difference: PairedDifference, p: float, *, higher_is_better: bool) -> Outcome:
    if isnan(difference.estimate):
        return "unknown"
    if not p <= difference.alpha or not (difference.low > 0 or difference.high < 0):
        return "tied"
    return "better" if (difference.low > 0) == higher_is_better else "worse"


def _cautious_spread(difference: PairedDifference) -> float:
    """Return the spread; where all differences are equal, the largest that so many scenarios may have hidden."""
    if difference.bounds is None:
        return difference.spread or nan
    width = difference.bounds[1] - difference.bounds[0]
    if difference.spread > _ROUNDING * width or isnan(difference.spread):
        return difference.spread
    return width * sqrt(unseen_share(difference.n_scenarios, difference.alpha))


def _detectable(difference: PairedDifference, power: float) -> tuple[float, str]:
    """Return the minimum detectable difference, or NaN and why there is none."""
    n, fewest = difference.n_scenarios, fewest_scenarios(difference.alpha)
    if n < fewest:
        return (
            nan,
            f"{counted(n, 'scenario')} can decide nothing at p < {difference.alpha:g}: it takes at least {fewest}",
        )
    spread = _cautious_spread(difference)
    if isnan(spread):
        return nan, "all differences are equal, so their spread is not known"
    found = minimum_detectable_difference(spread, n, power=power, alpha=difference.alpha, step=_step(difference))
    if difference.bounds is not None and found > difference.bounds[1] - difference.bounds[0]:
        return nan, f"{counted(n, 'scenario')} of such spread would miss even the largest difference too often"
    return found, ""


def _caution(difference: PairedDifference, power: float) -> str:
    if not is_power_overstated(difference.n_scenarios, step=_step(difference)):
        return ""
    return f"so few see even that in less than {power:.0%} of runs"


def _more_scenarios(difference: PairedDifference, target: float, power: float) -> int | None:
    spread = _cautious_spread(difference)
    if isnan(spread) or target == 0:
        return None
    needed = scenarios_needed(target, spread, power=power, alpha=difference.alpha, step=_step(difference))
    return None if needed is None else max(0, needed - difference.n_scenarios)


def _step(difference: PairedDifference) -> float:
    """Return by how much a scenario's difference moves: 1 / pairs where outcomes are yes or no, else 0.

    More where all trials of a scenario always come out alike, as with offline rules.
    """
    flips = [scenario.difference * scenario.n_pairs for scenario in difference.by_scenario]
    counts = {scenario.n_pairs for scenario in difference.by_scenario}
    if not difference.is_rate or any(abs(count - round(count)) > _ROUNDING for count in flips):
        return 0.0
    together = gcd(*map(round, flips)) if len(counts) == 1 else 1
    return max(1, together) / max(counts, default=1)


def _sentence(
    outcome: Outcome, difference: PairedDifference, p: float, detectable: float, why: str, more: int | None,
    target: float, baseline: str, other: str,
) -> str:  # fmt: skip
    if outcome == "unknown":
        return f"Not known: {difference.reason}"
    if outcome == "tied":
        return _tie(difference, p, detectable, why, more, target)
    verb = "beats" if outcome == "better" else "loses to"
    size = _size(abs(difference.estimate), difference)
    low, high = sorted((abs(difference.low), abs(difference.high)))
    return f"{other} {verb} {baseline} by {size} {bracketed(low, high, is_rate=difference.is_rate)}, {p_text(p)}"


def _tie(difference: PairedDifference, p: float, detectable: float, why: str, more: int | None, target: float) -> str:
    if isnan(detectable):
        return f"Tied: {why}"
    tried = counted(difference.n_scenarios, "scenario")
    if difference.n_pairs == difference.n_scenarios * (difference.n_pairs // difference.n_scenarios):
        tried += f" × {difference.n_pairs // difference.n_scenarios:,}"
    sentence = f"Tied: {tried} could only have seen {_size(detectable, difference)} or more"
    sentence += f", and {why}" if why else ""
    if p <= difference.alpha:
        sentence += f" ({p_text(p)}, but the interval includes 0)"
    if more:
        sentence += f"; seeing {_size(target, difference)} takes about {counted(more, 'more scenario')}"
    return sentence


def _size(value: float, difference: PairedDifference) -> str:
    text = as_number(value, is_rate=difference.is_rate)
    return text if not difference.is_rate else f"{text} point" if text == "1" else f"{text} points"
