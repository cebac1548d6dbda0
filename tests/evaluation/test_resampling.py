"""Bootstrap and sign flips: exact where they can be, seeded, and blind to order."""

from __future__ import annotations

import itertools
import time
from math import fsum, isnan, nan

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from convai_lab.errors import InvalidValueError
from convai_lab.evaluation.resampling import bootstrap_interval, mean_interval, sign_flip_p, unseen_share

DIFFERENCES = st.lists(st.sampled_from([-1.0, -0.6, -0.2, 0.0, 0.2, 0.4, 1.0]), min_size=1, max_size=9)
SPAN = (-1.0, 1.0)


@given(DIFFERENCES)
@settings(max_examples=40)
def test_the_exact_p_value_is_the_share_of_all_signs(values: list[float]) -> None:
    seen = abs(fsum(values))
    signs = list(itertools.product((1, -1), repeat=len(values)))
    as_large = sum(abs(fsum(s * v for s, v in zip(row, values, strict=True))) >= seen - 1e-9 for row in signs)
    assert sign_flip_p(values).p_value == pytest.approx(as_large / len(signs), abs=1e-12)


@pytest.mark.parametrize("seed", range(5))
def test_the_exact_p_value_agrees_with_scipy(seed: int) -> None:
    values = np.random.default_rng(seed).normal(0.4, 1, size=11)
    expected = stats.permutation_test(
        (values,), lambda x, axis: x.mean(axis=axis), permutation_type="samples", n_resamples=np.inf, vectorized=True
    ).pvalue
    assert sign_flip_p(values.tolist()).p_value == pytest.approx(expected, abs=1e-9)


def test_drawn_flips_come_close_to_the_exact_value_and_are_never_zero() -> None:
    values = np.random.default_rng(3).normal(0.25, 1, size=60).tolist()
    p_value, method = sign_flip_p(values)
    assert p_value == pytest.approx(stats.ttest_1samp(values, 0).pvalue, abs=0.02)
    assert method == "sign flips, 10,000 drawn"
    assert sign_flip_p([1.0] * 40).p_value == pytest.approx(1 / 10_001)


def test_zeros_have_no_sign_so_many_scenarios_may_still_be_enumerated() -> None:
    assert sign_flip_p([0.0] * 500 + [1.0] * 6) == (2 / 2**6, "sign flips, all 2^6")
    assert sign_flip_p([0.0] * 5) == (1.0, "sign flips: nothing differs")
    assert isnan(sign_flip_p([]).p_value)


def test_sums_that_differ_by_rounding_only_are_ties() -> None:
    assert sign_flip_p([0.1, 0.2, -0.3]).p_value == 1.0
    assert sign_flip_p([0.1 + 0.2, 0.3]).p_value == sign_flip_p([0.3, 0.3]).p_value == 0.5


def test_all_signs_of_sixteen_scenarios_take_less_than_fifty_milliseconds() -> None:
    values = np.random.default_rng(0).normal(size=16).tolist()
    took = []
    for _ in range(5):
        started = time.perf_counter()
        assert sign_flip_p(values).method == "sign flips, all 2^16"
        took.append(time.perf_counter() - started)
    assert min(took) < 0.05


@given(st.lists(st.floats(-1, 1), min_size=2, max_size=40), st.randoms(use_true_random=False))
@settings(max_examples=40, deadline=None)
def test_order_changes_nothing_and_turning_every_sign_turns_the_interval(values: list[float], random: object) -> None:
    shuffled = list(values)
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    interval = mean_interval(values, bounds=SPAN, resamples=200)
    turned = mean_interval([-value for value in values], bounds=SPAN, resamples=200)
    assert mean_interval(shuffled, bounds=SPAN, resamples=200) == interval
    assert (turned.low, turned.high) == pytest.approx((-interval.high, -interval.low), abs=1e-12)
    assert sign_flip_p(shuffled, flips=200) == sign_flip_p(values, flips=200)
    assert sign_flip_p([-value for value in values], flips=200) == sign_flip_p(values, flips=200)
    assert -1 <= interval.low <= interval.high <= 1


@pytest.mark.parametrize("n", [2, 5, 19])
def test_below_twenty_scenarios_the_interval_is_students(n: int) -> None:
    values = np.random.default_rng(n).uniform(-0.3, 0.4, size=n)
    low, high, method = mean_interval(values.tolist(), bounds=None)
    expected = stats.ttest_1samp(values, 0).confidence_interval()
    assert (low, high) == pytest.approx((expected.low, expected.high), abs=1e-9)
    assert method == f"t over {n} scenarios (fewer than 20)"


def test_from_twenty_scenarios_the_interval_is_a_seeded_bootstrap() -> None:
    values = np.random.default_rng(1).uniform(-1, 1, size=50).tolist()
    first, again, other = (mean_interval(values, bounds=SPAN, seed=seed) for seed in (7, 7, 8))
    expected = stats.bootstrap((values,), np.mean, method="percentile", n_resamples=10_000, rng=1).confidence_interval
    assert first == again
    assert (first.low, first.high) != (other.low, other.high)
    assert (first.low, first.high) == pytest.approx((expected.low, expected.high), abs=0.01)
    assert first.method == "bootstrap over 50 scenarios, 10,000 resamples"


def test_many_scenarios_are_resampled_in_blocks() -> None:
    values = np.random.default_rng(2).uniform(-1, 1, size=20_000).tolist()
    low, high = bootstrap_interval(values, resamples=300)
    assert high - low == pytest.approx(2 * 1.96 * np.std(values) / 20_000**0.5, rel=0.2)


def test_no_spread_is_no_certainty() -> None:
    low, high, method = mean_interval([0.0] * 40, bounds=SPAN)
    assert (low, high) == pytest.approx((-unseen_share(40), unseen_share(40)))
    assert high > 0.08
    assert method == "exact bound: all 40 scenarios equal"
    assert isnan(mean_interval([2.0] * 40, bounds=None).low)


@pytest.mark.parametrize("n", range(2, 12))
def test_the_exact_bound_and_the_exact_test_never_contradict_each_other(n: int) -> None:
    assert (mean_interval([1.0] * n, bounds=SPAN).low > 0) == (sign_flip_p([1.0] * n).p_value < 0.05)


def test_one_scenario_has_no_interval_and_nan_is_refused_by_place() -> None:
    assert isnan(mean_interval([0.5], bounds=SPAN).low)
    with pytest.raises(InvalidValueError, match=r"values\[1\]: must be a finite number"):
        mean_interval([0.5, nan], bounds=SPAN)
    with pytest.raises(InvalidValueError, match="resamples"):
        mean_interval([0.5, 0.2], bounds=SPAN, resamples=0)
