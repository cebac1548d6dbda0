"""Reliability: how often does an agent succeed at least once, or every time, in k trials?

pass@k is "at least once", pass^k is "every time"; code says `pass_at_k` and `pass_hat_k`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from math import comb, fsum, isnan, nan
from typing import Literal

from convai_lab.errors import InvalidValueError
from convai_lab.evaluation.results import (
    NOT_KNOWN,
    Result,
    as_number,
    bracketed,
    counted,
    require_count,
    require_share,
)  # fmt: skip
from convai_lab.evaluation.statistics import Tally, require_tally, shares_interval

Estimator = Literal["unbiased", "plug-in"]
_MOST_STEPS = 200_000
_EXACT = Decimal("1e-9")


@dataclass(frozen=True, kw_only=True)
class Reliability(Result):
    """pass@k or pass^k over scenarios, with the estimator it was made by; NaN carries its reason."""

    measure: Literal["pass@k", "pass^k"]
    k: int
    estimate: float
    estimator: Estimator
    low: float = nan
    high: float = nan
    method: str = "none"
    n_scenarios: int = 0

    def __str__(self) -> str:
        name = self.measure.replace("k", str(self.k))
        if isnan(self.estimate):
            return f"{name} {NOT_KNOWN}: {self.reason}"
        interval = bracketed(self.low, self.high, is_rate=True)
        return f"{name} = {as_number(self.estimate, is_rate=True)}% {interval} ({self.estimator})"


def pass_hat_k(tallies: Iterable[tuple[int, int]], k: int, *, estimator: Estimator = "unbiased") -> Reliability:
    """Estimate the chance that k fresh trials of a scenario all succeed, from (successes, trials) per scenario.

    Source: S. Yao and others, tau-bench, arXiv 2406.12045 (2024).

    Example:
        >>> pass_hat_k([(3, 4), (4, 4)], 2).estimate
        0.75
    """
    unbiased = estimator == "unbiased"
    return _reliability("pass^k", tallies, k, estimator, _every_unbiased if unbiased else _every_plug_in)


def pass_at_k(tallies: Iterable[tuple[int, int]], k: int, *, estimator: Estimator = "unbiased") -> Reliability:
    """Estimate the chance that at least one of k fresh trials succeeds, from (successes, trials) per scenario.

    Source: M. Chen and others, Evaluating Large Language Models Trained on Code, arXiv 2107.03374 (2021).

    Example:
        >>> pass_at_k([(1, 4), (0, 4)], 2).estimate
        0.25
    """
    unbiased = estimator == "unbiased"
    return _reliability("pass@k", tallies, k, estimator, _once_unbiased if unbiased else _once_plug_in)


def _every_unbiased(tally: Tally, k: int) -> float:
    return comb(tally.successes, k) / comb(tally.trials, k)


def _every_plug_in(tally: Tally, k: int) -> float:
    return (tally.successes / tally.trials) ** k


def _once_unbiased(tally: Tally, k: int) -> float:
    return 1 - comb(tally.trials - tally.successes, k) / comb(tally.trials, k)


def _once_plug_in(tally: Tally, k: int) -> float:
    return 1 - (1 - tally.successes / tally.trials) ** k


def _reliability(
    measure: Literal["pass@k", "pass^k"], tallies: Iterable[tuple[int, int]], k: int, estimator: Estimator,
    chance: Callable[[Tally, int], float],
) -> Reliability:  # fmt: skip
    if estimator not in ("unbiased", "plug-in"):
        raise InvalidValueError(f"must be 'unbiased' or 'plug-in', got {estimator!r}", field="estimator")
    k = require_count(k, "k", least=1)
    checked = [require_tally(tally, f"tallies[{i}]") for i, tally in enumerate(tallies)]
    short = [tally for tally in checked if tally.trials < k]
    if short or not checked:
        reason = _too_few(len(short), len(checked), min((tally.trials for tally in short), default=0), k)
        return Reliability(
            measure=measure, k=k, estimate=nan, estimator=estimator, n_scenarios=len(checked), reason=reason
        )
    values = [chance(tally, k) for tally in checked]
    low, high, method = shares_interval(values)
    return Reliability(
        measure=measure, k=k, estimate=fsum(values) / len(values), estimator=estimator, low=low, high=high,
        method=method, n_scenarios=len(values),
        reason="a single scenario shows no spread between scenarios" if isnan(low) else "",
    )  # fmt: skip


def _too_few(short: int, n: int, least: int, k: int) -> str:
    if n == 0:
        return "no scenario was tried"
    return f"{short:,} of {counted(n, 'scenario')} have fewer than k = {k} valid trials (as few as {least})"


@dataclass(frozen=True, kw_only=True)
class ScoreAudit(Result):
    """Whether published pass^1..n values can come from that many scenarios with n trials each.

    `histogram[c]` is the number of scenarios with c successes; empty where none fits or several do. `possible` is
    ``None`` where the search was given up.
    """

    possible: bool | None
    histogram: tuple[int, ...] = ()
    n_scenarios: int = 0
    n_trials: int = 0
    n_histograms: int = 0

    def __str__(self) -> str:
        return self.reason


def score_audit(values: Sequence[float | str | Decimal], n_scenarios: int, *, digits: int | None = None) -> ScoreAudit:
    """Tell whether a published row pass^1, ..., pass^n can be true, and from which histogram of successes.

    The values are shares as printed ("0.820" keeps its zero); each may be off by half a unit of its last digit.

    Args:
        digits: Decimals that were printed, where the values are numbers that lost their zeros.

    Example:
        >>> score_audit(["0.8158", "0.7178", "0.6469", "0.5877"], 114).histogram
        (5, 7, 8, 27, 67)
        >>> score_audit(["0.50", "0.60"], 10).possible
        False
    """
    n = require_count(n_scenarios, "n_scenarios", least=1)
    printed = [_printed(value, f"values[{i}]") for i, value in enumerate(values)]
    if not printed:
        raise InvalidValueError("must hold pass^1 to pass^n", field="values")
    places = require_count(digits, "digits") if digits is not None else max(_places(value) for value in printed)
    slack = max(Decimal(10) ** -places / 2, _EXACT)
    search = _Histograms(n, printed, slack)
    search.fill(len(printed), (), n)
    return _audit(search, n, len(printed))


def _audit(search: _Histograms, n: int, trials: int) -> ScoreAudit:
    found, gave_up = search.found, search.steps > _MOST_STEPS
    shape = f"{counted(n, 'scenario')} with {counted(trials, 'trial')} each"
    possible: bool | None = True
    if not found:
        possible = None if gave_up else False
        reason = "not decided: too many histograms to try" if gave_up else f"these values cannot come from {shape}"
    elif len(found) == 1 and not gave_up:
        reason = f"these values come from exactly one histogram of {shape}"
    else:
        least = "at least " if gave_up else ""
        reason = f"{least}{len(found):,} histograms of {shape} fit these values: more digits would tell which"
    only = found[0] if len(found) == 1 and not gave_up else ()
    return ScoreAudit(
        possible=possible, histogram=only, n_scenarios=n, n_trials=trials, n_histograms=len(found), reason=reason
    )


def _printed(value: float | str | Decimal, field: str) -> Decimal:
    try:
        number = Decimal(str(value).strip())
    except InvalidOperation:
        raise InvalidValueError(f"must be a share such as 0.82, got {str(value)[:80]!r}", field=field) from None
    if not number.is_finite():
        raise InvalidValueError(f"must be a share such as 0.82, got {str(value)[:80]!r}", field=field)
    require_share(float(number), field)
    return number


def _places(value: Decimal) -> int:
    exponent = value.as_tuple().exponent
    return max(0, -exponent) if isinstance(exponent, int) else 0


class _Histograms:
    """Finds every histogram of successes whose exact pass^k values lie within the printed ones' rounding."""

    def __init__(self, n: int, printed: Sequence[Decimal], slack: Decimal) -> None:
        self._n, self._printed, self._slack = n, printed, slack
        self.found: list[tuple[int, ...]] = []
        self.steps = 0

    def fill(self, k: int, above: tuple[int, ...], left: int) -> None:
        """Choose how many scenarios had k successes, given how many had more, from the top down."""
        self.steps += 1
        if self.steps > _MOST_STEPS:
            return
        if k == 0:
            self.found.append((left, *above))
            return
        ways = self._n * comb(len(self._printed), k)
        taken = sum(count * comb(k + 1 + i, k) for i, count in enumerate(above))
        lowest = ways * (self._printed[k - 1] - self._slack) - taken
        highest = ways * (self._printed[k - 1] + self._slack) - taken
        for count in range(max(0, _ceil(lowest)), min(left, _floor(highest)) + 1):
            self.fill(k - 1, (count, *above), left - count)
            if self.steps > _MOST_STEPS:
                return


def _ceil(value: Decimal) -> int:
    return int(value.to_integral_value(rounding="ROUND_CEILING"))


def _floor(value: Decimal) -> int:
    return int(value.to_integral_value(rounding="ROUND_FLOOR"))
