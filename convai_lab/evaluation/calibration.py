"""Calibration: how far can a judge be trusted, measured against human labels, and what is the rate once corrected?"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import isnan, nan, sqrt
from typing import NamedTuple

from convai_lab.errors import InvalidValueError
from convai_lab.evaluation.distributions import normal_quantile
from convai_lab.evaluation.results import (
    NOT_KNOWN,
    Estimate,
    Result,
    as_number,
    counted,
    require_count,
    require_finite,
    require_share,
)  # fmt: skip
from convai_lab.evaluation.statistics import Interval, wilson

Label = bool | None
"""Success, failure, or ``None`` for unknown."""


class Confusion(NamedTuple):
    """How a judge's answers fall against the human's."""

    both_yes: int
    judge_only: int
    human_only: int
    both_no: int


NOTHING_LABELLED = Confusion(0, 0, 0, 0)


@dataclass(frozen=True, kw_only=True)
class Agreement(Result):
    """A judge against human labels: Cohen's kappa, and beside it the base rate without which kappa says little.

    `base_rate` is the human's success rate, `judge_rate` the judge's, both among the `n` items on which neither said
    "unknown"; `n_unknown` counts the others. `sensitivity` is the share of human successes the judge calls one,
    `specificity` the share of human failures it calls one.
    """

    kappa: float
    low: float = nan
    high: float = nan
    agreement: float = nan
    base_rate: float = nan
    judge_rate: float = nan
    sensitivity: float = nan
    specificity: float = nan
    confusion: Confusion = NOTHING_LABELLED
    n: int = 0
    n_unknown: int = 0

    def __str__(self) -> str:
        interval = "" if isnan(self.low) else f" [{self.low:.2f}, {self.high:.2f}]"
        kappa = f"kappa {NOT_KNOWN}" if isnan(self.kappa) else f"kappa {self.kappa:.2f}{interval}"
        rates = f"agreement {_percent(self.agreement)}, base rate {_percent(self.base_rate)}"
        unknown = f", {self.n_unknown:,} unknown left out" if self.n_unknown else ""
        reason = f"; {self.reason}" if self.reason else ""
        return f"{kappa}, {rates}, {counted(self.n, 'label')}{unknown}{reason}"

    def sensitivity_interval(self, *, alpha: float = 0.05) -> Interval:
        """Return Wilson's interval of the sensitivity."""
        table = self.confusion
        return wilson(table.both_yes, table.both_yes + table.human_only, alpha=alpha)

    def specificity_interval(self, *, alpha: float = 0.05) -> Interval:
        """Return Wilson's interval of the specificity."""
        table = self.confusion
        return wilson(table.both_no, table.both_no + table.judge_only, alpha=alpha)


def _percent(value: float) -> str:
    return f"{as_number(value, is_rate=True)}%"


def agreement(judge: Sequence[Label], human: Sequence[Label], *, alpha: float = 0.05) -> Agreement:
    """Compare a judge's labels with a human's, item by item; an item on which either is unknown is counted apart.

    Source: J. Cohen, Educational and Psychological Measurement 20 (1960), 37-46; the error of kappa: J. L. Fleiss,
    J. Cohen and B. S. Everitt, Psychological Bulletin 72 (1969), 323-327.

    Example:
        >>> print(agreement([True, True, False, False], [True, False, False, False]))
        kappa 0.50 [-0.23, 1.00], agreement 75%, base rate 25%, 4 labels
    """
    require_share(alpha, "alpha", open_ends=True)
    if len(judge) != len(human):
        raise InvalidValueError(f"has {len(human):,} labels for {len(judge):,} of the judge: one each", field="human")
    pairs = [(_label(a, f"judge[{i}]"), _label(b, f"human[{i}]")) for i, (a, b) in enumerate(zip(judge, human))]  # noqa: B905
    known = [pair for pair in pairs if None not in pair]
    table = Confusion(*(known.count(cell) for cell in ((True, True), (True, False), (False, True), (False, False))))
    return agreement_of(table, n_unknown=len(pairs) - len(known), alpha=alpha)


def _label(value: Label, field: str) -> Label:
    if value is None:
        return None
    if value not in (True, False):
        raise InvalidValueError(f"must be True, False or None for unknown, got {str(value)[:80]!r}", field=field)
    return bool(value)


def agreement_of(confusion: Confusion, *, n_unknown: int = 0, alpha: float = 0.05) -> Agreement:
    """Return the agreement that a table of counts holds."""
    require_share(alpha, "alpha", open_ends=True)
    table = Confusion(*(require_count(count, f"confusion.{name}") for name, count in confusion._asdict().items()))
    n = sum(table)
    if n == 0:
        return Agreement(kappa=nan, n_unknown=n_unknown, reason="no item has both labels")
    human_yes, judge_yes = table.both_yes + table.human_only, table.both_yes + table.judge_only
    kappa, error = _kappa(table)
    half = normal_quantile(1 - alpha / 2) * error
    return Agreement(
        kappa=kappa, low=max(-1.0, kappa - half) if error else nan, high=min(1.0, kappa + half) if error else nan,
        agreement=(table.both_yes + table.both_no) / n, base_rate=human_yes / n, judge_rate=judge_yes / n,
        sensitivity=table.both_yes / human_yes if human_yes else nan,
        specificity=table.both_no / (n - human_yes) if n > human_yes else nan,
        confusion=table, n=n, n_unknown=n_unknown, reason=_warning(table, kappa, error),
    )  # fmt: skip


def _kappa(table: Confusion) -> tuple[float, float]:
    """Return Cohen's kappa and its standard error (Fleiss, Cohen and Everitt); NaN where both sides never vary."""
    n = sum(table)
    yes, no = table.both_yes / n, table.both_no / n
    judge_yes, human_yes = yes + table.judge_only / n, yes + table.human_only / n
    by_chance = judge_yes * human_yes + (1 - judge_yes) * (1 - human_yes)
    if by_chance >= 1:
        return nan, nan
    kappa = (yes + no - by_chance) / (1 - by_chance)
    agreeing = yes * (1 - (judge_yes + human_yes) * (1 - kappa)) ** 2
    agreeing += no * (1 - (2 - judge_yes - human_yes) * (1 - kappa)) ** 2
    apart = (
        table.judge_only / n * (human_yes + 1 - judge_yes) ** 2
        + table.human_only / n * (judge_yes + 1 - human_yes) ** 2
    )
    excess = (kappa - by_chance * (1 - kappa)) ** 2
    variance = (agreeing + (1 - kappa) ** 2 * apart - excess) / (n * (1 - by_chance) ** 2)
    return kappa, sqrt(max(0.0, variance))


def _warning(table: Confusion, kappa: float, error: float) -> str:
    if isnan(kappa):
        return "judge and human gave one and the same label to every item: agreement by chance is certain"
    if table.both_yes + table.human_only == 0 or table.both_no + table.judge_only == 0:
        return "the human labels hold only one kind: label some of the other before correcting a rate"
    if not error:
        return "no spread in the labels' agreement, so no interval"
    return NO_BETTER_THAN_CHANCE if _informedness(table) <= 0 else ""


NO_BETTER_THAN_CHANCE = (
    "sensitivity + specificity is not above 1: this judge is no better than chance, and no rate can be corrected by it"
)


def _informedness(table: Confusion) -> float:
    yes, no = table.both_yes + table.human_only, table.both_no + table.judge_only
    return table.both_yes / yes + table.both_no / no - 1


def corrected_rate(
    rate: float, standard_error: float, judge: Agreement, *, alpha: float = 0.05, n_scenarios: int = 0
) -> Estimate:
    """Return a judge's success rate corrected for the judge's own errors (Rogan and Gladen), cut to [0, 1].

    The error of the rate (clustered, see `clustered_standard_error`) and those of sensitivity and specificity are
    carried into the interval; the latter two after the rule of succession, so that a judge who was right on all of
    five labels is not taken to be always right. NaN with a reason where the judge is no better than chance.
    Source: W. J. Rogan and B. Gladen, American Journal of Epidemiology 107 (1978), 71-76.

    Example:
        >>> human = [True] * 50 + [False] * 50
        >>> judge = [True] * 45 + [False] * 5 + [False] * 40 + [True] * 10
        >>> print(corrected_rate(0.69, 0.02, agreement(judge, human)))
        70% [58, 82]
    """
    require_share(rate, "rate")
    require_share(alpha, "alpha", open_ends=True)
    if require_finite(standard_error, "standard_error") < 0:
        raise InvalidValueError(f"must not be negative, got {standard_error!r}", field="standard_error")
    table, method = judge.confusion, "Rogan-Gladen"
    yes, no = table.both_yes + table.human_only, table.both_no + table.judge_only
    if not yes or not no:
        kind = "successes" if not yes else "failures"
        return Estimate(
            estimate=nan, method=method, reason=f"no human labels of {kind}, so the judge's errors are not known"
        )
    gain = _informedness(table)
    if gain <= 1e-12:
        return Estimate(estimate=nan, method=method, reason=NO_BETTER_THAN_CHANCE)
    raw = (rate + judge.specificity - 1) / gain
    corrected = min(1.0, max(0.0, raw))
    error = _carried_error(corrected, standard_error, table)
    if isnan(error):
        return Estimate(estimate=corrected, method=method, reason="too few human labels for an interval")
    half = normal_quantile(1 - alpha / 2) * error
    return Estimate(
        estimate=corrected, low=max(0.0, corrected - half), high=min(1.0, corrected + half), method=method,
        n_scenarios=n_scenarios, reason="" if raw == corrected else f"{raw:.3f} before it was cut to [0, 1]",
    )  # fmt: skip


def _carried_error(corrected: float, standard_error: float, table: Confusion) -> float:
    """Return the standard error of the corrected rate by the delta method; NaN where the labels allow none."""
    yes, no = table.both_yes + table.human_only + 2, table.both_no + table.judge_only + 2
    sensitivity, specificity = (table.both_yes + 1) / yes, (table.both_no + 1) / no
    gain = sensitivity + specificity - 1
    if gain <= 0:
        return nan
    variance = standard_error**2
    variance += corrected**2 * sensitivity * (1 - sensitivity) / yes
    variance += (1 - corrected) ** 2 * specificity * (1 - specificity) / no
    return sqrt(variance) / gain
