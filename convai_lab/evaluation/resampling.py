"""Resampling: what would other scenarios, or other signs of the differences, have shown?

Nothing here depends on the order of the values, and turning every sign turns the answer exactly.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import fsum, nan, sqrt
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from convai_lab.evaluation.distributions import t_quantile
from convai_lab.evaluation.results import counted, require_count, require_finite, require_share

RESAMPLES = 10_000
EXACT_UP_TO = 16
"""Differences that are not zero: up to here all their signs are tried, which is 2^16 at most."""
BOOTSTRAP_FROM = 20
"""Scenarios: below this the percentile bootstrap is too narrow, so Student's t is used."""
_BLOCK = 2_000_000
_ROUNDING = 1e-9
"""Sums that differ by less than this share count as ties."""

Numbers = NDArray[np.float64]


class MeanInterval(NamedTuple):
    """An interval of a mean, and how it was made."""

    low: float
    high: float
    method: str


class SignFlip(NamedTuple):
    """The p value of a sign-flip permutation test, and how it was made."""

    p_value: float
    method: str


def mean_interval(
    values: Sequence[float],
    *,
    bounds: tuple[float, float] | None,
    alpha: float = 0.05,
    seed: int = 0,
    resamples: int = RESAMPLES,
) -> MeanInterval:
    """Return the interval of the mean of values, one per scenario.

    From 20 scenarios on a percentile bootstrap, below that Student's t, cut at the bounds. Values that are all the
    same show no spread, and neither of the two could say more than "no error": then an exact bound on the share of
    scenarios that would differ is used, which needs `bounds`. Fewer than two scenarios have no interval.
    """
    require_share(alpha, "alpha", open_ends=True)
    require_count(resamples, "resamples", least=1)
    numbers = _sorted(values)
    if len(numbers) < 2:
        return MeanInterval(nan, nan, "none")
    scale = bounds[1] - bounds[0] if bounds else max(abs(numbers[0]), abs(numbers[-1]))
    if numbers[-1] - numbers[0] <= _ROUNDING * scale:
        return _all_equal_interval(float(numbers[0]), len(numbers), bounds, alpha)
    if len(numbers) < BOOTSTRAP_FROM:
        return _t_interval(numbers, bounds, alpha)
    low, high = bootstrap_interval(numbers, alpha=alpha, seed=seed, resamples=resamples)
    return MeanInterval(low, high, f"bootstrap over {counted(len(numbers), 'scenario')}, {resamples:,} resamples")


def _sorted(values: Sequence[float] | Numbers) -> Numbers:
    return np.sort(np.array([require_finite(value, f"values[{i}]") for i, value in enumerate(values)], dtype=float))


def _t_interval(numbers: Numbers, bounds: tuple[float, float] | None, alpha: float) -> MeanInterval:
    n = len(numbers)
    mean = fsum(numbers) / n
    half = t_quantile(1 - alpha / 2, n - 1) * sqrt(fsum((x - mean) ** 2 for x in numbers) / (n - 1) / n)
    lowest, highest = bounds or (-float("inf"), float("inf"))
    method = f"t over {counted(n, 'scenario')} (fewer than {BOOTSTRAP_FROM})"
    return MeanInterval(max(lowest, mean - half), min(highest, mean + half), method)


def _all_equal_interval(value: float, n: int, bounds: tuple[float, float] | None, alpha: float) -> MeanInterval:
    """Bound the mean by the largest share of differing scenarios of which n draws might have shown none."""
    if bounds is None:
        return MeanInterval(nan, nan, "none: all values are equal")
    share = unseen_share(n, alpha)
    low, high = value - share * (value - bounds[0]), value + share * (bounds[1] - value)
    return MeanInterval(low, high, f"exact bound: all {counted(n, 'scenario')} equal")


def unseen_share(n: int, alpha: float = 0.05) -> float:
    """Return the largest share of a population of which n draws may well have shown nothing.

    Source: the exact limit for no event in n, C. J. Clopper and E. S. Pearson, Biometrika 26 (1934), 404-413.
    """
    return 1.0 if n < 1 else float(-np.expm1(np.log(alpha / 2) / n))


def bootstrap_interval(
    values: Sequence[float] | Numbers, *, alpha: float = 0.05, seed: int = 0, resamples: int = RESAMPLES
) -> tuple[float, float]:
    """Return the percentile interval of the mean of resampled values; the seed fixes every draw.

    Source: B. Efron and R. J. Tibshirani, An Introduction to the Bootstrap (1993), chapter 13.
    """
    numbers = _sorted(values)
    mirrored = tuple(-numbers[::-1]) > tuple(numbers)
    if mirrored:
        numbers = -numbers[::-1]
    random = np.random.default_rng(seed)
    rows = max(1, _BLOCK // len(numbers))
    means = np.empty(resamples)
    for start in range(0, resamples, rows):
        stop = min(resamples, start + rows)
        drawn = random.integers(0, len(numbers), size=(stop - start, len(numbers)))
        means[start:stop] = numbers[drawn].mean(axis=1)
    low, high = (float(end) for end in np.quantile(means, [alpha / 2, 1 - alpha / 2]))
    return (-high + 0.0, -low + 0.0) if mirrored else (low, high)  # 0.0, and never -0.0


def sign_flip_p(differences: Sequence[float], *, seed: int = 0, flips: int = RESAMPLES) -> SignFlip:
    """Return the two-sided p value of differences, one per scenario, whose signs would be chance if nothing differed.

    All signs are tried up to 16 differences that are not zero (zeros have no sign to flip), then `flips` seeded ones.
    Sums as large as the one seen count as ties, against the difference. No difference at all gives 1.
    Source: R. A. Fisher, The Design of Experiments (1935), section 21; the 1 that is added to drawn flips:
    B. Phipson and G. K. Smyth, Statistical Applications in Genetics and Molecular Biology 9 (2010), article 39.

    Example:
        >>> sign_flip_p([1.0] * 8)
        SignFlip(p_value=0.0078125, method='sign flips, all 2^8')
    """
    numbers = np.sort(np.abs(_sorted(differences)))
    total = abs(fsum(differences))
    moving = numbers[numbers > 0]
    if len(numbers) == 0:
        return SignFlip(nan, "none")
    if len(moving) == 0:
        return SignFlip(1.0, "sign flips: nothing differs")
    threshold = total - _ROUNDING * float(moving.sum())
    if len(moving) <= EXACT_UP_TO:
        share = float(np.mean(np.abs(_all_signed_sums(moving)) >= threshold))
        return SignFlip(share, f"sign flips, all 2^{len(moving)}")
    require_count(flips, "flips", least=1)
    hits = _flips_as_large(moving, threshold, seed, flips)
    return SignFlip((1 + hits) / (1 + flips), f"sign flips, {flips:,} drawn")


def _all_signed_sums(numbers: Numbers) -> Numbers:
    """Return the sum under every choice of signs; the first stays positive, as turning all changes no size."""
    sums = numbers[:1]
    for number in numbers[1:]:
        sums = np.concatenate([sums + number, sums - number])
    return sums


def _flips_as_large(numbers: Numbers, threshold: float, seed: int, flips: int) -> int:
    random = np.random.default_rng(seed)
    rows, hits = max(1, _BLOCK // len(numbers)), 0
    for start in range(0, flips, rows):
        shape = (min(flips, start + rows) - start, len(numbers))
        signs = 2.0 * random.integers(0, 2, size=shape, dtype=np.int8) - 1.0
        hits += int(np.count_nonzero(np.abs(signs @ numbers) >= threshold))
    return hits
