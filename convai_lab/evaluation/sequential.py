"""Sequential testing: may a comparison stop now, although it was looked at after every scenario?

An ordinary p value must not be peeked at: looking again and again finds a "difference" in the end. Here the evidence
is the capital of a bettor who stakes, before each scenario is seen, a fixed share on "the other variant is better" (and
a second one on "worse"), averaged over many shares. If nothing differs, no bet is favourable, and by Ville's inequality
the capital ever reaches 2 / alpha with a chance of at most alpha / 2, however often one looks. All means against which
the capital stays below that are the confidence sequence. (Source: betting martingales for bounded means, with a
uniform mixture of stakes, after I. Waudby-Smith and A. Ramdas, Journal of the Royal Statistical Society B 86 (2024).)

It needs differences within [-1, 1], one per scenario, and scenarios in an order that does not depend on their results.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from math import fsum, log, nan

import numpy as np
from numpy.typing import NDArray

from convai_lab.errors import InvalidValueError
from convai_lab.evaluation.paired import PairedDifference
from convai_lab.evaluation.results import Result, bracketed, counted, p_text, require_finite, require_share

METHOD = "betting confidence sequence"
STAKES = (np.arange(32) + 0.5) / 32
BISECTIONS = 30
_ROUNDING = 1e-9

Numbers = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class Peek(Result):
    """What may be said after so many scenarios, valid at every look.

    `decided_at` is the number of scenarios at which zero was first excluded, ``None`` as long as it was not. The
    interval is within the one of that moment, and the p value not above it.
    """

    decided: bool
    estimate: float
    low: float
    high: float
    p_value: float
    n_scenarios: int
    decided_at: int | None = None
    alpha: float = 0.05
    method: str = METHOD

    def __str__(self) -> str:
        state = f"decided after {counted(self.decided_at, 'scenario')}" if self.decided_at else "not decided"
        return f"{state}: {bracketed(self.low, self.high, is_rate=True)} points, {p_text(self.p_value)} (always valid)"


def peek(differences: Sequence[float], *, alpha: float = 0.05) -> Peek:
    """Return whether the differences so far, one per scenario in the order they came, decide the comparison.

    Several comparisons at once: divide `alpha` by their number.

    Example:
        >>> peek([1.0] * 4).decided, peek([1.0] * 12).decided
        (False, True)
    """
    require_share(alpha, "alpha", open_ends=True)
    numbers = _checked(differences)
    n = len(numbers)
    if n == 0:
        return Peek(
            decided=False, estimate=nan, low=-1.0, high=1.0, p_value=1.0, n_scenarios=0, alpha=alpha,
            reason="no scenario is finished",
        )  # fmt: skip
    evidence = np.maximum(_capital_path(numbers), _capital_path(-numbers))
    crossed = np.nonzero(evidence >= log(2 / alpha))[0]
    decided_at = int(crossed[0]) + 1 if len(crossed) else None
    low, high = confidence_sequence(numbers, alpha)
    reason = ""
    if decided_at is not None and decided_at < n:
        first_low, first_high = confidence_sequence(numbers[:decided_at], alpha)
        low, high = max(low, first_low), min(high, first_high)
        if low > high:
            low, high, reason = first_low, first_high, "later scenarios contradict the ones that decided"
    return Peek(
        decided=decided_at is not None, estimate=fsum(numbers) / n, low=low, high=high, n_scenarios=n,
        p_value=float(min(1.0, 2 * np.exp(-evidence.max()))), decided_at=decided_at, alpha=alpha,
        reason=reason,
    )  # fmt: skip


class RunningEvidence:
    """Says what `peek` says of `decided`, one difference after the other; no look costs more than the first."""

    def __init__(self, *, alpha: float = 0.05) -> None:
        require_share(alpha, "alpha", open_ends=True)
        self.decided = False
        self._bar = log(2 / alpha)
        self._capitals = np.zeros((2, len(STAKES)))

    def add(self, difference: float) -> None:
        """Take in the difference of one more scenario."""
        (number,) = _checked([difference])
        self._capitals += np.log1p(np.outer((number, -number), STAKES))
        self.decided = self.decided or bool(_log_mean(self._capitals).max() >= self._bar)


def _checked(differences: Sequence[float]) -> Numbers:
    numbers = np.array([require_finite(value, f"differences[{i}]") for i, value in enumerate(differences)], dtype=float)
    outside = np.nonzero(np.abs(numbers) > 1 + _ROUNDING)[0]
    if len(outside):
        index = int(outside[0])
        raise InvalidValueError(f"must be between -1 and 1, got {numbers[index]:g}", field=f"differences[{index}]")
    clipped: Numbers = np.clip(numbers, -1.0, 1.0)
    return clipped


def _capital_path(numbers: Numbers) -> Numbers:
    """Return the logarithm of the capital after each scenario, betting that the mean is above zero."""
    return _log_mean(np.cumsum(np.log1p(np.outer(numbers, STAKES)), axis=0))


def _log_mean(logs: Numbers) -> Numbers:
    top: Numbers = logs.max(axis=-1, keepdims=True)
    found: Numbers = np.log(np.exp(logs - top).mean(axis=-1, keepdims=True)) + top
    only: Numbers = found[..., 0]
    return only


def confidence_sequence(numbers: Numbers, alpha: float) -> tuple[float, float]:
    """Return the means between -1 and 1 against which neither bettor has grown rich."""
    high = -_lowest_not_refuted(-numbers, alpha)
    return _lowest_not_refuted(numbers, alpha), high


def _lowest_not_refuted(numbers: Numbers, alpha: float) -> float:
    """Bisect: the capital of the bettor on "above" only falls as the mean that is bet against rises."""
    bar = log(2 / alpha)
    kinds, counts = np.unique(numbers, return_counts=True)

    def refuted(mean: float) -> bool:
        gains = np.log1p(np.outer(kinds - mean, STAKES / (1 + mean)))
        return bool(_log_mean((gains * counts[:, None]).sum(axis=0)) >= bar)

    return _last_true(refuted, -1.0, 1.0)


def _last_true(holds: Callable[[float], bool], low: float, high: float) -> float:
    for _ in range(BISECTIONS):
        middle = (low + high) / 2
        low, high = (middle, high) if holds(middle) else (low, middle)
    return low


def always_valid(difference: PairedDifference, looked: Peek) -> PairedDifference:
    """Return the difference with the interval and p value of a comparison that was peeked at while it ran."""
    return replace(
        difference, low=looked.low, high=looked.high, p_value=looked.p_value, method=METHOD,
        test=f"{METHOD}, valid at every look", alpha=looked.alpha,
    )  # fmt: skip
