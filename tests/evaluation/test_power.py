"""Power: the exact law of the t test, both ways round."""

from __future__ import annotations

from math import comb, isnan, nan, sqrt

import pytest
from statsmodels.stats.power import TTestPower, ttest_power

from convai_lab.errors import InvalidValueError
from convai_lab.evaluation.paired import mcnemar_exact
from convai_lab.evaluation.power import fewest_scenarios, minimum_detectable_difference, power_of, scenarios_needed
from convai_lab.evaluation.resampling import sign_flip_p


@pytest.mark.parametrize("n", [2, 3, 8, 20, 50, 400, 5000])
@pytest.mark.parametrize("difference", [0.01, 0.1, 0.3])
@pytest.mark.parametrize("alpha", [0.01, 0.05])
def test_power_agrees_with_statsmodels(n: int, difference: float, alpha: float) -> None:
    expected = float(ttest_power(difference / 0.5, n, alpha))
    expected = 1.0 if isnan(expected) else expected  # statsmodels has no value where all but nothing is missed
    assert power_of(difference, spread=0.5, n_scenarios=n, alpha=alpha) == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize("n", [6, 12, 40, 500])
def test_the_minimum_detectable_difference_is_found_with_just_that_power(n: int) -> None:
    found = minimum_detectable_difference(0.4, n)
    assert power_of(found, spread=0.4, n_scenarios=n) == pytest.approx(0.8, abs=1e-9)
    assert found > 2.8 * 0.4 / n**0.5 * 0.999


def chance_to_be_found(difference: float, n: int, *, flips: float) -> float:
    """The exact power of the sign-flip test where that share of scenarios, tried once, comes out differently."""
    up, down = (flips + difference) / 2, (flips - difference) / 2
    return sum(
        comb(n, gained) * comb(n - gained, lost) * up**gained * down**lost * (1 - flips) ** (n - gained - lost)
        for gained in range(n + 1)
        for lost in range(n + 1 - gained)
        if mcnemar_exact(gained, lost) <= 0.05
    )


@pytest.mark.parametrize("n", [20, 40, 100])
def test_of_single_trials_a_difference_of_that_size_is_found_about_as_often_as_said(n: int) -> None:
    flips, said, bare = 0.4, 0.3, 0.3
    for _ in range(5):
        said = min(flips, minimum_detectable_difference(sqrt(flips - said**2), n, step=1))
        bare = min(flips, minimum_detectable_difference(sqrt(flips - bare**2), n))
    assert 0.78 < chance_to_be_found(said, n, flips=flips) < 0.82
    assert chance_to_be_found(bare, n, flips=flips) < 0.76
    needed = scenarios_needed(said, sqrt(flips - said**2), step=1)
    assert needed == pytest.approx(n, abs=1)


@pytest.mark.parametrize("difference", [0.05, 0.1, -0.3])
def test_the_scenarios_needed_are_those_of_statsmodels(difference: float) -> None:
    expected = TTestPower().solve_power(abs(difference) / 0.4, power=0.8, alpha=0.05)
    assert scenarios_needed(difference, 0.4) == int(expected) + 1


def test_more_scenarios_see_smaller_differences() -> None:
    seen = [minimum_detectable_difference(0.4, n) for n in (6, 10, 40, 160)]
    assert seen == sorted(seen, reverse=True)
    assert seen[2] == pytest.approx(2 * seen[3], rel=0.05)


def test_too_few_scenarios_can_see_nothing() -> None:
    assert fewest_scenarios(0.05) == 6
    assert sign_flip_p([1.0] * 5).p_value > 0.05 > sign_flip_p([1.0] * 6).p_value
    assert isnan(minimum_detectable_difference(0.4, 5))
    assert isnan(power_of(0.4, spread=0.4, n_scenarios=1))
    assert scenarios_needed(0.9, 0.01) == 6


def test_no_number_of_scenarios_sees_no_difference() -> None:
    assert scenarios_needed(0, 0.4) is None
    assert scenarios_needed(1e-9, 0.4) is None


def test_a_spread_of_nothing_is_refused_for_it_would_flatter() -> None:
    with pytest.raises(InvalidValueError, match="spread: must be above 0"):
        minimum_detectable_difference(0.0, 40)
    with pytest.raises(InvalidValueError, match="spread: must be a finite number"):
        scenarios_needed(0.1, nan)
    with pytest.raises(InvalidValueError, match="power: must be strictly between"):
        scenarios_needed(0.1, 0.4, power=1.0)
