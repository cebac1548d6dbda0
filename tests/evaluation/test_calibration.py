"""Calibration: kappa beside its base rate, and rates corrected for the judge's errors, with the errors' errors."""

from __future__ import annotations

import json
from math import isnan

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from statsmodels.stats.inter_rater import cohens_kappa

from convai_lab.errors import InvalidValueError
from convai_lab.evaluation.calibration import Confusion, agreement, agreement_of, corrected_rate

COUNTS = st.integers(1, 400)
GOOD = agreement_of(Confusion(45, 10, 5, 40))


@given(COUNTS, COUNTS, COUNTS, COUNTS)
def test_kappa_and_its_error_agree_with_statsmodels(a: int, b: int, c: int, d: int) -> None:
    found = agreement_of(Confusion(a, b, c, d))
    expected = cohens_kappa(np.array([[a, b], [c, d]]))
    assert found.kappa == pytest.approx(expected.kappa, abs=1e-9)
    assert found.low == pytest.approx(max(-1.0, expected.kappa_low), abs=1e-9)
    assert found.high == pytest.approx(min(1.0, expected.kappa_upp), abs=1e-9)


def test_kappa_stands_beside_the_base_rate() -> None:
    judge = [True] * 95 + [False] * 5
    human = [True] * 93 + [False] * 2 + [True] * 3 + [False] * 2
    found = agreement(judge, human)
    assert (found.agreement, found.base_rate, found.judge_rate) == (0.95, 0.96, 0.95)
    assert str(found).startswith("kappa 0.42 [")
    assert str(found).endswith("agreement 95%, base rate 96%, 100 labels")


def test_swapping_judge_and_human_keeps_kappa() -> None:
    judge, human = [True, True, False, True, False], [True, False, False, True, True]
    assert agreement(judge, human).kappa == pytest.approx(agreement(human, judge).kappa)


def test_unknown_is_never_a_success_but_counted_apart() -> None:
    found = agreement([True, None, False, True], [True, True, None, False])
    assert (found.n, found.n_unknown, found.judge_rate) == (2, 2, 1.0)
    assert "2 unknown left out" in str(found)


def test_where_nothing_varies_kappa_is_not_known() -> None:
    found = agreement([True] * 20, [True] * 20)
    assert isnan(found.kappa)
    assert found.agreement == 1.0
    assert "agreement by chance is certain" in str(found)
    assert json.loads(json.dumps(found.to_dict(), allow_nan=False))["kappa"] is None
    assert agreement([], []).reason == "no item has both labels"


def test_labels_of_one_kind_only_are_pointed_out() -> None:
    found = agreement([True, False, True], [True, True, True])
    assert isnan(found.specificity)
    assert "only one kind" in found.reason


def test_sensitivity_and_specificity_have_their_intervals() -> None:
    assert (GOOD.sensitivity, GOOD.specificity) == (0.9, 0.8)
    assert GOOD.sensitivity_interval() == pytest.approx((0.7864, 0.9565), abs=1e-4)
    assert GOOD.specificity_interval().low == pytest.approx(0.6696, abs=1e-4)


@pytest.mark.parametrize("truth", [0.0, 0.2, 0.7, 1.0])
def test_a_rate_seen_through_a_known_judge_is_corrected_to_the_truth(truth: float) -> None:
    seen = truth * 0.9 + (1 - truth) * 0.2
    assert corrected_rate(seen, 0.02, GOOD).estimate == pytest.approx(truth, abs=1e-12)


def test_the_errors_of_the_judge_widen_the_interval() -> None:
    few, many = agreement_of(Confusion(9, 2, 1, 8)), agreement_of(Confusion(900, 200, 100, 800))
    widths = [found.high - found.low for found in (corrected_rate(0.62, 0.03, judge) for judge in (few, GOOD, many))]
    assert widths == sorted(widths, reverse=True)
    assert widths[2] == pytest.approx(2 * 1.96 * 0.03 / 0.7, rel=0.1)


def test_the_interval_covers_the_truth_about_as_often_as_it_says() -> None:
    random, covered, truth = np.random.default_rng(9), 0, 0.7
    for _ in range(1000):
        hits, rejections = int(random.binomial(60, 0.9)), int(random.binomial(40, 0.85))
        rate = random.binomial(300, truth * 0.9 + (1 - truth) * 0.15) / 300
        judge = agreement_of(Confusion(hits, 40 - rejections, 60 - hits, rejections))
        found = corrected_rate(rate, (rate * (1 - rate) / 300) ** 0.5, judge)
        covered += found.low <= truth <= found.high
    assert 0.93 <= covered / 1000 <= 0.985


def test_a_judge_who_was_always_right_on_few_labels_is_not_taken_to_be_always_right() -> None:
    found = corrected_rate(0.5, 0.0, agreement_of(Confusion(5, 0, 0, 5)))
    assert found.estimate == 0.5
    assert found.high - found.low > 0.2


@pytest.mark.parametrize("table", [Confusion(5, 5, 5, 5), Confusion(2, 8, 8, 2)])
def test_a_judge_no_better_than_chance_corrects_nothing(table: Confusion) -> None:
    judge = agreement_of(table)
    found = corrected_rate(0.6, 0.02, judge)
    assert isnan(found.estimate)
    assert "sensitivity + specificity is not above 1" in judge.reason
    assert str(found) == f"not known: {judge.reason}"


def test_a_judge_whose_errors_are_not_known_corrects_nothing() -> None:
    assert "no human labels of failures" in corrected_rate(0.6, 0.02, agreement([True, False], [True, True])).reason
    assert isnan(corrected_rate(0.6, 0.02, agreement([], [])).estimate)


def test_a_rate_below_what_the_judge_gives_failures_is_cut_and_said_so() -> None:
    found = corrected_rate(0.1, 0.02, GOOD)
    assert (found.estimate, found.low) == (0.0, 0.0)
    assert found.high > 0.1
    assert found.reason == "-0.143 before it was cut to [0, 1]"


def test_what_is_no_label_or_rate_is_refused_by_name() -> None:
    with pytest.raises(InvalidValueError, match=r"judge\[1\]: must be True, False or None"):
        agreement([True, "success"], [True, True])  # type: ignore[list-item]
    with pytest.raises(InvalidValueError, match="human: has 1 labels for 2 of the judge"):
        agreement([True, False], [True])
    with pytest.raises(InvalidValueError, match="rate: must be between 0 and 1"):
        corrected_rate(62, 0.02, GOOD)
    with pytest.raises(InvalidValueError, match="standard_error: must be a finite number"):
        corrected_rate(0.6, float("nan"), GOOD)
    with pytest.raises(InvalidValueError, match="standard_error: must not be negative"):
        corrected_rate(0.6, -0.1, GOOD)
    with pytest.raises(InvalidValueError, match=r"confusion.both_no: must be a whole number"):
        agreement_of(Confusion(1, 1, 1, -1))
