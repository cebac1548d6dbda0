"""pass@k and pass^k: at least once, every time, and what a published row gives away."""

from __future__ import annotations

import itertools
from decimal import Decimal
from math import comb, fsum, isnan, nan

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from convai_lab.errors import InvalidValueError
from convai_lab.evaluation.reliability import pass_at_k, pass_hat_k, score_audit

TALLIES = st.lists(st.integers(0, 6).map(lambda successes: (successes, 6)), min_size=1, max_size=12)
PUBLISHED = (5, 7, 8, 27, 67)
"""Scenarios with 0 to 4 successes, of 114."""


def row_of(histogram: tuple[int, ...]) -> list[float]:
    """Return pass^1..n of a histogram of successes."""
    trials = len(histogram) - 1
    tallies = [(successes, trials) for successes, count in enumerate(histogram) for _ in range(count)]
    return [pass_hat_k(tallies, k).estimate for k in range(1, trials + 1)]


@given(st.integers(0, 6), st.integers(1, 6))
def test_the_unbiased_estimators_are_the_shares_of_all_choices_of_k_trials(successes: int, k: int) -> None:
    chosen = list(itertools.combinations([True] * successes + [False] * (6 - successes), k))
    assert pass_hat_k([(successes, 6)], k).estimate == pytest.approx(sum(map(all, chosen)) / len(chosen))
    assert pass_at_k([(successes, 6)], k).estimate == pytest.approx(sum(map(any, chosen)) / len(chosen))


@given(TALLIES, st.integers(1, 6))
@settings(deadline=None)
def test_reliability_is_the_mean_over_scenarios_by_definition(tallies: list[tuple[int, int]], k: int) -> None:
    n = len(tallies)
    every, once = pass_hat_k(tallies, k), pass_at_k(tallies, k)
    assert every.estimate == pytest.approx(fsum(comb(c, k) / comb(6, k) for c, _ in tallies) / n)
    assert once.estimate == pytest.approx(fsum(1 - comb(6 - c, k) / comb(6, k) for c, _ in tallies) / n)
    plug_in = pass_hat_k(tallies, k, estimator="plug-in").estimate
    assert plug_in == pytest.approx(fsum((c / 6) ** k for c, _ in tallies) / n)
    assert 0 <= every.estimate <= plug_in + 1e-12 <= 1 + 1e-12
    assert every.estimate <= once.estimate + 1e-12


@given(TALLIES)
@settings(max_examples=40, deadline=None)
def test_every_time_is_harder_the_more_trials_and_once_is_easier(tallies: list[tuple[int, int]]) -> None:
    every = [pass_hat_k(tallies, k).estimate for k in range(1, 7)]
    once = [pass_at_k(tallies, k).estimate for k in range(1, 7)]
    assert every == sorted(every, reverse=True)
    assert once == sorted(once)
    assert every[0] == pytest.approx(once[0])


def test_the_estimator_is_named_and_plug_in_is_another_number() -> None:
    unbiased, plug_in = pass_hat_k([(2, 4)] * 6, 2), pass_hat_k([(2, 4)] * 6, 2, estimator="plug-in")
    assert (unbiased.estimate, plug_in.estimate) == (pytest.approx(1 / 6), 0.25)
    assert str(unbiased).startswith("pass^2 = 17% [")
    assert str(unbiased).endswith("(unbiased)")
    assert plug_in.to_dict()["estimator"] == "plug-in"
    assert pass_at_k([(2, 4)], 2, estimator="plug-in").estimate == 0.75


@pytest.mark.parametrize("estimator", ["unbiased", "plug-in"])
@pytest.mark.parametrize("measure", [pass_at_k, pass_hat_k])
def test_fewer_trials_than_k_are_not_known_and_the_reason_is_said(measure: object, estimator: str) -> None:
    found = measure([(3, 3), (5, 5)], 4, estimator=estimator)  # type: ignore[operator]
    assert isnan(found.estimate)
    assert found.reason == "1 of 2 scenarios have fewer than k = 4 valid trials (as few as 3)"
    assert found.to_dict()["estimate"] is None
    assert "not known" in str(found)


def test_no_scenario_is_not_known_and_one_has_no_interval() -> None:
    assert pass_hat_k([], 1).reason == "no scenario was tried"
    single = pass_hat_k([(4, 4)], 2)
    assert (single.estimate, single.reason) == (1.0, "a single scenario shows no spread between scenarios")
    assert isnan(single.low)


@pytest.mark.parametrize(
    ("tallies", "k", "message"),
    [
        ([(5, 4)], 2, r"tallies\[0\]: 5 successes of 4 trials cannot be"),
        ([(1, 4), (-1, 4)], 2, r"tallies\[1\]: must be a whole number of at least 0"),
        ([3, 4], 1, r"tallies\[0\]: must be \(successes, trials\), got 3"),
        ([(nan, 4)], 2, "must be a finite number"),
        ([(1, 4)], 0, "k: must be a whole number of at least 1"),
        ([(1, 4)], 1.5, "k: must be a whole number"),
    ],
)
def test_impossible_counts_are_refused_by_name(tallies: list[tuple[int, int]], k: int, message: str) -> None:
    with pytest.raises(InvalidValueError, match=message):
        pass_hat_k(tallies, k)


def test_an_unknown_estimator_is_refused() -> None:
    with pytest.raises(InvalidValueError, match="estimator: must be 'unbiased' or 'plug-in'"):
        pass_at_k([(1, 2)], 1, estimator="best")  # type: ignore[arg-type]


@pytest.mark.parametrize("digits", [3, 4, 6])
def test_the_published_row_gives_its_histogram_back(digits: int) -> None:
    row = [f"{value:.{digits}f}" for value in row_of(PUBLISHED)]
    found = score_audit(row, 114)
    assert (found.possible, found.histogram, found.n_histograms) == (True, PUBLISHED, 1)
    assert str(found) == "these values come from exactly one histogram of 114 scenarios with 4 trials each"


@given(st.lists(st.integers(0, 12), min_size=3, max_size=6).filter(any))
@settings(max_examples=60, deadline=None)
def test_every_histogram_comes_back_from_its_own_row(counts: list[int]) -> None:
    found = score_audit([f"{value:.6f}" for value in row_of(tuple(counts))], sum(counts))
    assert (found.possible, found.histogram) == (True, tuple(counts))


def test_numbers_may_have_lost_their_zeros_when_the_digits_are_named() -> None:
    row = [round(value, 3) for value in row_of(PUBLISHED)]
    assert score_audit(row, 114, digits=3).histogram == PUBLISHED
    assert score_audit([Decimal(str(value)) for value in row], 114, digits=3).possible


@pytest.mark.parametrize(
    ("row", "n"),
    [
        (["0.816", "0.718", "0.647", "0.592"], 114),
        (["0.50", "0.60"], 10),
        (["0.7", "0.2", "0.65", "0.1"], 50),
        (["0.333"], 10),
        (["1.000", "1.000", "1.000", "0.990"], 50),
    ],
)
def test_a_row_that_cannot_be_is_found_out(row: list[str], n: int) -> None:
    found = score_audit(row, n)
    assert (found.possible, found.histogram) == (False, ())
    assert found.reason.startswith("these values cannot come from")


def test_coarse_digits_fit_several_histograms_and_none_is_picked() -> None:
    found = score_audit(["0.8", "0.7", "0.6", "0.6"], 114)
    assert (found.possible, found.histogram) == (True, ())
    assert found.n_histograms > 1
    assert "more digits would tell which" in found.reason


def test_a_search_too_long_is_given_up_and_says_so() -> None:
    undecided, several = score_audit(["0.8", "0.7", "0.6", "0.6"], 10**15), score_audit(["0.5"], 10**15)
    assert (undecided.possible, str(undecided)) == (None, "not decided: too many histograms to try")
    assert several.possible
    assert several.reason.startswith("at least 1")
    assert several.histogram == ()


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ([81.6, 71.8], r"values\[0\]: must be between 0 and 1"),
        (["82%"], r"values\[0\]: must be a share such as 0.82, got '82%'"),
        ([0.5, nan], r"values\[1\]: must be a share"),
        ([], "values: must hold pass\\^1 to pass\\^n"),
    ],
)
def test_what_is_no_row_of_shares_is_refused(row: list[object], message: str) -> None:
    with pytest.raises(InvalidValueError, match=message):
        score_audit(row, 10)  # type: ignore[arg-type]
