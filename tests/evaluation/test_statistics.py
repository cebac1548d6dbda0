"""One number and its error: the check values, and agreement with scipy and statsmodels."""

from __future__ import annotations

from math import comb, isnan, nan

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import special, stats
from statsmodels.api import OLS
from statsmodels.stats.multitest import multipletests
from statsmodels.stats.proportion import proportion_confint

from convai_lab.errors import InvalidValueError
from convai_lab.evaluation.distributions import LARGE_DF, beta_cdf, binomial_tail, t_quantile, t_tail
from convai_lab.evaluation.statistics import (
    binomial_p,
    clustered_standard_error,
    holm,
    shares_interval,
    success_rate,
    wilson,
)

CLOSE = 1e-9


def test_wilson_gives_the_published_intervals() -> None:
    assert [round(end, 4) for end in wilson(17, 20)] == [0.6396, 0.9476]
    assert [round(end, 4) for end in wilson(5, 5)] == [0.5655, 1.0]


@given(st.integers(1, 5000).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))), st.floats(0.001, 0.5))
def test_wilson_agrees_with_statsmodels(tally: tuple[int, int], alpha: float) -> None:
    assert wilson(*tally, alpha=alpha) == pytest.approx(
        proportion_confint(*tally, alpha=alpha, method="wilson"), abs=CLOSE
    )


def test_no_trial_has_no_interval_and_more_successes_than_trials_are_refused() -> None:
    assert all(isnan(end) for end in wilson(0, 0))
    with pytest.raises(InvalidValueError, match="4 successes of 3 trials"):
        wilson(4, 3)
    with pytest.raises(InvalidValueError, match="alpha: must be strictly between 0 and 1"):
        wilson(1, 3, alpha=1.0)


def test_the_clustered_error_has_the_published_value() -> None:
    assert clustered_standard_error(range(20), [i % 4 for i in range(20)]) == pytest.approx(0.6454972, abs=1e-6)
    assert clustered_standard_error([1.0, 2.0, 5.0], ["a", "a", "a"]) == 0
    assert isnan(clustered_standard_error([], []))


@given(st.lists(st.tuples(st.floats(-5, 5), st.integers(0, 6)), min_size=3, max_size=60))
def test_the_clustered_error_agrees_with_statsmodels(rows: list[tuple[float, int]]) -> None:
    values, groups = zip(*rows, strict=True)
    if len(set(groups)) < 2:
        return
    fit = OLS(np.array(values), np.ones(len(values))).fit(
        cov_type="cluster", cov_kwds={"groups": np.array(groups), "use_correction": True}
    )
    assert clustered_standard_error(values, groups) == pytest.approx(float(fit.bse[0]), abs=CLOSE)


def test_values_without_their_cluster_and_nan_are_refused_by_name() -> None:
    with pytest.raises(InvalidValueError, match="clusters: names 1 clusters for 2 values"):
        clustered_standard_error([1.0, 2.0], ["a"])
    with pytest.raises(InvalidValueError, match=r"values\[1\]: must be a finite number"):
        clustered_standard_error([1.0, nan], ["a", "b"])


def test_eight_of_eight_by_chance_has_its_exact_value() -> None:
    assert binomial_p(8, 8) == 0.00390625
    assert binomial_p(0, 8) == 1.0
    assert isnan(binomial_p(0, 0))


@pytest.mark.parametrize("alternative", ["greater", "less"])
@given(st.integers(1, 3000).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))), st.floats(0.01, 0.99))
def test_the_binomial_tail_agrees_with_scipy(alternative: str, tally: tuple[int, int], chance: float) -> None:
    expected = stats.binomtest(*tally, chance, alternative=alternative).pvalue
    assert binomial_p(*tally, chance=chance, alternative=alternative) == pytest.approx(expected, abs=CLOSE)


@given(st.integers(1, 2000).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
def test_the_two_sided_binomial_agrees_with_scipy_for_a_fair_coin(tally: tuple[int, int]) -> None:
    assert binomial_p(*tally, alternative="two-sided") == pytest.approx(stats.binomtest(*tally).pvalue, abs=CLOSE)


def test_an_unknown_alternative_is_refused() -> None:
    with pytest.raises(InvalidValueError, match="alternative: must be one of greater, less, two-sided"):
        binomial_p(1, 2, alternative="bigger")  # type: ignore[arg-type]


@given(st.floats(0, 0.999999), st.floats(0.5, 2000), st.floats(0.5, 2000))
def test_the_beta_law_agrees_with_scipy(x: float, a: float, b: float) -> None:
    assert beta_cdf(x, a, b) == pytest.approx(special.betainc(a, b, x), abs=CLOSE)


@given(st.floats(-40, 40), st.integers(1, 2 * LARGE_DF))
def test_students_tail_agrees_with_scipy(value: float, df: int) -> None:
    assert t_tail(value, df) == pytest.approx(stats.t.sf(value, df), abs=1e-6 if df >= LARGE_DF else CLOSE)


@given(st.floats(0.001, 0.999), st.integers(1, 500))
def test_students_quantile_agrees_with_scipy(share: float, df: int) -> None:
    assert t_quantile(share, df) == pytest.approx(stats.t.ppf(share, df), rel=CLOSE, abs=CLOSE)


def test_a_tail_beyond_the_trials_is_empty() -> None:
    assert binomial_tail(4, 3, 0.3) == 0.0


@given(st.lists(st.floats(0, 1), min_size=1, max_size=12))
@settings(max_examples=8, deadline=None)
def test_holm_agrees_with_statsmodels(p_values: list[float]) -> None:
    assert holm(p_values) == pytest.approx(multipletests(p_values, method="holm")[1].tolist(), abs=CLOSE)


def test_holm_leaves_the_unknown_unknown_and_refuses_what_is_no_chance() -> None:
    adjusted = holm([0.02, nan, 0.04])
    assert adjusted[0] == 0.04
    assert isnan(adjusted[1])
    assert adjusted[2] == 0.04
    assert holm([]) == []
    with pytest.raises(InvalidValueError, match=r"p_values\[0\]: must be between 0 and 1"):
        holm([1.2])


def test_a_success_rate_of_single_trials_is_wilsons() -> None:
    rate = success_rate([(1, 1)] * 17 + [(0, 1)] * 3)
    assert (rate.method, rate.low, rate.high) == ("Wilson", *wilson(17, 20))
    assert str(rate) == "85% [64, 95]"


def test_repeating_every_trial_does_not_narrow_the_interval_of_a_success_rate() -> None:
    once = success_rate([(2, 2), (0, 2)] * 15)
    often = success_rate([(20, 20), (0, 20)] * 15)
    assert (once.low, once.high) == (often.low, often.high)
    assert once.high - once.low > 0.3


def test_a_success_rate_weighs_scenarios_alike_and_counts_the_ones_without_a_trial() -> None:
    rate = success_rate([(10, 10), (0, 1), (0, 0)])
    assert (rate.estimate, rate.n_scenarios, rate.n_trials) == (0.5, 2, 11)
    assert rate.reason == "1 scenario without a valid trial left out"


@pytest.mark.parametrize("n", [10, 20])
@pytest.mark.parametrize("hard", [0.05, 0.1, 0.3, 0.6])
def test_the_interval_of_a_rate_holds_the_true_one_nineteen_times_in_twenty_also_near_its_ends(
    n: int, hard: float
) -> None:
    chances = [hard * 0.25, hard * 0.5, 1 - hard * 0.75]  # a hard scenario succeeds every other time, tried twice
    true, held = 1 - hard / 2, 0.0
    for never, once in ((a, b) for a in range(n + 1) for b in range(n + 1 - a)):
        always = n - never - once
        low, high, _ = shares_interval([0.0] * never + [0.5] * once + [1.0] * always)
        ways = comb(n, never) * comb(n - never, once)
        if low <= true <= high:
            held += ways * chances[0] ** never * chances[1] ** once * chances[2] ** always
    assert held > 0.93


def test_a_perfect_score_is_not_certain() -> None:
    rate = success_rate([(5, 5)] * 10)
    assert rate.high == 1.0
    assert rate.low == pytest.approx(0.025**0.1)
    assert rate.method == "exact bound: all 10 scenarios equal"


def test_nothing_tried_is_not_known_and_one_scenario_has_no_interval() -> None:
    assert str(success_rate([])) == "not known: no scenario was tried"
    assert success_rate([]).to_dict()["estimate"] is None
    assert str(success_rate([(3, 4)])) == "75% [interval not known]"
