"""Power: how small a difference could so many scenarios have seen, and how many would see it?

For a two-sided t test of the scenarios' differences, with the exact (noncentral) law, not its normal approximation.
Source: J. Cohen, Statistical Power Analysis for the Behavioral Sciences (2nd edition, 1988), chapter 2.

Yes or no, tried t times, moves a scenario's difference in steps of 1 / t, and sums of few such steps cannot come close
to a p value of .05: on average a sign-flip test stops one step short of it, so that a difference must be larger by
`step` / n to be found as often. (Without it, what is said to be found in 80 % is found in 65, 72 and 75 % of runs with
one trial of 20, 40 and 100 scenarios.)
"""

from __future__ import annotations

from functools import lru_cache
from math import ceil, isinf, isnan, lgamma, log, nan, sqrt

import numpy as np
from numpy.typing import NDArray

from convai_lab.errors import InvalidValueError
from convai_lab.evaluation.distributions import NORMAL, normal_quantile, t_quantile
from convai_lab.evaluation.results import require_count, require_finite, require_share

POWER = 0.8
FEW_SCENARIOS = {True: 14, False: 10}
"""Fewer find what is said to be found in 80 % of runs in 20 to 75 % (simulated); true: where each is a yes or a no."""
MOST_SCENARIOS = 10_000_000
_NODES = 200


def fewest_scenarios(alpha: float = 0.05) -> int:
    """Return how many scenarios it takes for a sign-flip test to reach that p value at all.

    Of the 2^n choices of signs two are as extreme as the largest difference there can be: 2 / 2^n <= alpha.

    Example:
        >>> fewest_scenarios(0.05)
        6
    """
    require_share(alpha, "alpha", open_ends=True)
    return ceil(1 - log(alpha) / log(2) - 1e-12)


def is_power_overstated(n_scenarios: int, *, step: float = 0.0) -> bool:
    """Say whether so few scenarios find a minimum detectable difference clearly less often than its power says.

    Their signs have too few arrangements for p values to follow the t test's.

    Example:
        >>> [is_power_overstated(n, step=1.0) for n in (8, 14)]
        [True, False]
    """
    return n_scenarios < FEW_SCENARIOS[step >= 1]


def power_of(difference: float, *, spread: float, n_scenarios: int, alpha: float = 0.05, step: float = 0.0) -> float:
    """Return the chance that a true difference is found, given the spread of the scenarios' differences."""
    size = abs(require_finite(difference, "difference"))
    n = require_count(n_scenarios, "n_scenarios")
    _require_spread(spread)
    require_share(alpha, "alpha", open_ends=True)
    return nan if n < 2 else _power(sqrt(n) * max(0.0, size - step / n) / spread, n - 1, alpha)


def _require_spread(spread: float) -> None:
    if require_finite(spread, "spread") <= 0:
        raise InvalidValueError(
            f"must be above 0, got {spread!r}: without spread there is no power to tell", field="spread"
        )


def _power(shift: float, df: int, alpha: float) -> float:
    """Average the normal power over the law of the estimated spread (chi with `df` degrees of freedom)."""
    bar = t_quantile(1 - alpha / 2, df)
    scale, weights = _chi_law(df)
    upper = np.array([NORMAL.cdf(shift - bar * float(s)) for s in scale])
    lower = np.array([NORMAL.cdf(-shift - bar * float(s)) for s in scale])
    return min(1.0, float(weights @ (upper + lower)))


@lru_cache(maxsize=512)
def _chi_law(df: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return points and weights of the estimated spread over the true one, by Gauss and Legendre."""
    half = 12 / sqrt(2 * df)
    start, stop = max(0.0, 1 - half), 1 + half
    points, weights = _nodes()
    scale = (stop - start) / 2 * points + (stop + start) / 2
    constant = log(2) + df / 2 * log(df / 2) - lgamma(df / 2)
    density = np.exp(constant + (df - 1) * np.log(scale) - df * scale**2 / 2)
    mass = weights * density
    return scale, mass / mass.sum()


@lru_cache(maxsize=1)
def _nodes() -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    points, weights = np.polynomial.legendre.leggauss(_NODES)
    return points, weights


def minimum_detectable_difference(
    spread: float, n_scenarios: int, *, power: float = POWER, alpha: float = 0.05, step: float = 0.0
) -> float:
    """Return the smallest true difference that so many scenarios find with that power.

    `step` is by how much the difference of one scenario moves at least, 0 for what is no count of successes. NaN where
    no difference can be found: too few scenarios for the p value ever to fall below alpha.
    """
    require_share(power, "power", open_ends=True)
    require_share(alpha, "alpha", open_ends=True)
    n = require_count(n_scenarios, "n_scenarios")
    _require_spread(spread)
    if n < fewest_scenarios(alpha) or power <= alpha:
        return nan
    low, high = 0.0, 1.0
    while _power(high, n - 1, alpha) < power:
        high *= 2
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if _power(middle, n - 1, alpha) < power else (low, middle)
    return high * spread / sqrt(n) + step / n


def scenarios_needed(
    difference: float, spread: float, *, power: float = POWER, alpha: float = 0.05, step: float = 0.0
) -> int | None:
    """Return how many scenarios find a true difference of that size with that power; ``None`` above ten million."""
    size = abs(require_finite(difference, "difference"))
    require_share(power, "power", open_ends=True)
    require_share(alpha, "alpha", open_ends=True)
    _require_spread(spread)
    if size == 0:
        return None
    guess = ((normal_quantile(1 - alpha / 2) + normal_quantile(power)) * spread / size) ** 2 + step / size
    if isnan(guess) or isinf(guess) or guess > MOST_SCENARIOS:
        return None
    n = max(fewest_scenarios(alpha), int(guess))

    def finds(n: int) -> bool:
        return power_of(size, spread=spread, n_scenarios=n, alpha=alpha, step=step) >= power

    while n > fewest_scenarios(alpha) and finds(n - 1):
        n -= 1
    while not finds(n):
        n += 1
    return n
