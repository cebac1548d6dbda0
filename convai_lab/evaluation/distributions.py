"""Distributions: how likely is a value this far out, under the normal, Student's t, beta and binomial laws?

Source: M. Abramowitz and I. A. Stegun, Handbook of Mathematical Functions (1964), 26.5 and 26.7.
"""

from __future__ import annotations

from functools import lru_cache
from math import comb, exp, isinf, lgamma, log, log1p, sqrt
from statistics import NormalDist

NORMAL = NormalDist()
LARGE_DF = 200_000
"""From here on Student's t is the normal law, to more digits than the fractions below keep."""
EXACT_TRIALS = 500
"""Up to here the tail of a fair coin is a ratio of whole numbers."""
_TINY = 1e-300
_PRECISION = 1e-16
_MAX_STEPS = 20_000


def beta_cdf(x: float, a: float, b: float) -> float:
    """Return the chance that a Beta(a, b) value is at most x (the regularised incomplete beta function)."""
    if x <= 0:
        return 0.0
    if x >= 1:
        return 1.0
    front = exp(lgamma(a + b) - lgamma(a) - lgamma(b) + a * log(x) + b * log1p(-x))
    if x < (a + 1) / (a + b + 2):
        return front * _continued_fraction(x, a, b) / a
    return 1 - front * _continued_fraction(1 - x, b, a) / b


def _continued_fraction(x: float, a: float, b: float) -> float:
    """Evaluate the fraction of the incomplete beta function by the method of Lentz."""
    upper = 1.0
    lower = 1 / _not_zero(1 - (a + b) * x / (a + 1))
    value = lower
    for step in range(1, _MAX_STEPS):
        even = step * (b - step) * x / ((a + 2 * step - 1) * (a + 2 * step))
        odd = -(a + step) * (a + b + step) * x / ((a + 2 * step) * (a + 2 * step + 1))
        for term in (even, odd):
            lower = 1 / _not_zero(1 + term * lower)
            upper = _not_zero(1 + term / upper)
            value *= lower * upper
        if abs(lower * upper - 1) < 4 * _PRECISION:
            break
    return value


def _not_zero(value: float) -> float:
    return value if abs(value) > _TINY else _TINY


def normal_quantile(share: float) -> float:
    """Return the value below which that share of the standard normal law lies."""
    return NORMAL.inv_cdf(share)


def t_tail(value: float, df: float) -> float:
    """Return the chance that Student's t with `df` degrees of freedom exceeds the value."""
    if isinf(value):
        return 0.0 if value > 0 else 1.0
    if df >= LARGE_DF:
        return NORMAL.cdf(-value)
    square = value * value
    if square < df:  # near zero the other form would lose half of its digits
        half = 0.5 - 0.5 * beta_cdf(square / (df + square), 0.5, df / 2)
    else:
        half = 0.5 * beta_cdf(df / (df + square), df / 2, 0.5)
    return half if value >= 0 else 1 - half


@lru_cache(maxsize=4096)
def t_quantile(share: float, df: float) -> float:
    """Return the value below which that share of Student's t with `df` degrees of freedom lies."""
    if df >= LARGE_DF:
        return normal_quantile(share)
    if share < 0.5:
        return -t_quantile(1 - share, df)
    low, high = 0.0, 1.0
    while t_tail(high, df) > 1 - share:
        high *= 2
    while True:
        middle = (low + high) / 2
        if middle in (low, high):
            return middle
        low, high = (middle, high) if t_tail(middle, df) > 1 - share else (low, middle)


def binomial_tail(successes: int, trials: int, chance: float) -> float:
    """Return the chance of at least that many successes."""
    if successes <= 0:
        return 1.0
    if successes > trials:
        return 0.0
    if chance == 0.5 and trials <= EXACT_TRIALS:
        ways: int = sum(comb(trials, count) for count in range(successes, trials + 1))
        return ways / (1 << trials)
    return beta_cdf(chance, successes, trials - successes + 1)


def root(value: float) -> float:
    """Return the square root, taking what rounding has pushed below zero as zero."""
    return sqrt(max(0.0, value))
