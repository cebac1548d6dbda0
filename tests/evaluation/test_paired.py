"""Paired comparison: pairs are found or named, scenarios count once, and luck stays luck."""

from __future__ import annotations

import json
from math import isnan, nan

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from statsmodels.stats.contingency_tables import mcnemar

from convai_lab.errors import InvalidValueError
from convai_lab.evaluation.paired import (
    MissingPair,
    Outcomes,
    ScenarioDifference,
    compare_paired,
    flip_test,
    mcnemar_exact,
)

TRIALS = st.lists(
    st.tuples(st.integers(0, 4), st.sampled_from([0.0, 0.5, 1.0, None])), max_size=4, unique_by=lambda t: t[0]
)
OUTCOMES = st.dictionaries(st.sampled_from("abcdefgh"), TRIALS, max_size=8)


def outcomes(*rows: list[float]) -> Outcomes:
    """One scenario per row, one seed per value."""
    return {f"s{i:03}": list(enumerate(row)) for i, row in enumerate(rows)}


def test_differences_are_averaged_within_scenarios_before_they_are_averaged() -> None:
    before = {"often": [(seed, 0.0) for seed in range(9)], "once": [(0, 1.0)]}
    after = {"often": [(seed, 1.0) for seed in range(9)], "once": [(0, 1.0)]}
    found = compare_paired(before, after)
    assert (found.estimate, found.n_scenarios, found.n_pairs) == (0.5, 2, 10)
    assert found.by_scenario == (ScenarioDifference("often", 1.0, 9), ScenarioDifference("once", 0.0, 1))
    assert (found.baseline_mean, found.other_mean) == (0.5, 1.0)


def test_pairs_are_matched_by_seed_and_not_by_place() -> None:
    found = compare_paired({"a": [(1, 0.0), (2, 1.0)]}, {"a": [(2, 1.0), (1, 0.0)]})
    assert (found.estimate, found.spread, found.n_pairs) == (0.0, found.spread, 2)


def test_missing_pairs_are_counted_and_named_and_never_filled_in() -> None:
    before = {"a": [(1, 1.0), (2, None), (4, None)], "b": [(1, 1.0)]}
    after = {"a": [(1, 0.0), (2, 1.0), (3, 1.0), (4, None)]}
    found = compare_paired(before, after)
    assert (found.estimate, found.n_pairs, found.n_missing) == (-1.0, 1, 4)
    assert found.missing == (
        MissingPair("a", 2, "baseline"),
        MissingPair("a", 3, "baseline"),
        MissingPair("a", 4, "both"),
        MissingPair("b", 1, "other"),
    )


def test_without_a_pair_nothing_is_known_and_the_reason_is_said() -> None:
    found = compare_paired({"a": [(1, 1.0)]}, {"a": [(2, 1.0)]})
    assert isnan(found.estimate)
    assert isnan(found.p_value)
    assert str(found) == "not known: no pair is complete (2 trials without a partner)"
    assert str(compare_paired({}, {})) == "not known: no pair is complete (0 trials without a partner)"


def test_one_scenario_has_a_difference_but_neither_interval_nor_evidence() -> None:
    found = compare_paired(outcomes([0.0] * 50), outcomes([1.0] * 50))
    assert (found.estimate, found.p_value) == (1.0, 1.0)
    assert isnan(found.low)
    assert found.reason == "a single scenario shows no spread between scenarios"
    assert str(found) == "+100 points [interval not known], p = 1.000"


def test_all_equal_is_no_certainty() -> None:
    same = outcomes(*[[1.0, 0.0]] * 40)
    found = compare_paired(same, same)
    assert (found.estimate, found.p_value) == (0.0, 1.0)
    assert found.low == -found.high
    assert found.high == pytest.approx(1 - 0.025 ** (1 / 40))


def test_it_agrees_with_the_paired_t_interval_below_twenty_scenarios() -> None:
    random = np.random.default_rng(5)
    before, after = random.uniform(0, 1, 15), random.uniform(0, 1, 15)
    found = compare_paired(outcomes(*before[:, None].tolist()), outcomes(*after[:, None].tolist()))
    expected = stats.ttest_rel(after, before).confidence_interval()
    assert (found.low, found.high) == pytest.approx((expected.low, expected.high), abs=1e-9)
    assert found.spread == pytest.approx(np.std(after - before, ddof=1), abs=1e-12)
    assert found.method.startswith("t over 15 scenarios")


def test_the_same_seed_repeats_everything_and_json_takes_it() -> None:
    random = np.random.default_rng(6)
    before, after = (outcomes(*random.integers(0, 2, (40, 3)).astype(float).tolist()) for _ in range(2))
    first = compare_paired(before, after, seed=3)
    assert first == compare_paired(before, after, seed=3)
    assert first.low != compare_paired(before, after, seed=4).low or first.p_value != 0
    stored = json.loads(json.dumps(first.to_dict(), allow_nan=False))
    assert (stored["estimate"], stored["seed"], stored["n_pairs"]) == (first.estimate, 3, 120)
    assert stored["by_scenario"][0]["scenario_id"] == "s000"


def test_an_interval_that_is_not_known_is_null_in_json() -> None:
    stored = compare_paired({"a": [(1, 1.0)]}, {"a": [(1, 0.0)]}).to_dict()
    assert (stored["low"], stored["estimate"], stored["missing"]) == (None, -1.0, [])


@given(OUTCOMES, OUTCOMES)
@settings(max_examples=60, deadline=None)
def test_swapping_the_variants_turns_the_answer_round(before: Outcomes, after: Outcomes) -> None:
    there, back = compare_paired(before, after, resamples=200), compare_paired(after, before, resamples=200)
    assert there.n_missing == back.n_missing
    if isnan(there.estimate):
        assert isnan(back.estimate)
        return
    assert back.estimate == pytest.approx(-there.estimate, abs=1e-12)
    assert back.p_value == there.p_value
    assert -1 <= there.estimate <= 1
    if not isnan(there.low):
        assert (back.low, back.high) == pytest.approx((-there.high, -there.low), abs=1e-12)
        assert -1 <= there.low <= there.high <= 1


@given(OUTCOMES, OUTCOMES, st.randoms(use_true_random=False))
@settings(max_examples=40, deadline=None)
def test_neither_the_order_of_scenarios_nor_of_trials_matters(
    before: Outcomes, after: Outcomes, random: object
) -> None:
    shuffled = {name: list(before[name]) for name in sorted(before, reverse=True)}
    for trials in shuffled.values():
        random.shuffle(trials)  # type: ignore[attr-defined]
    assert compare_paired(shuffled, after).to_dict() == compare_paired(before, after).to_dict()


@pytest.mark.parametrize(
    ("trials", "message"),
    [
        ([(1, nan)], r"baseline\['a'\] seed 1: must be a finite number"),
        ([(1, float("inf"))], "must be a finite number"),
        ([(1, 1.5)], r"baseline\['a'\] seed 1: must be between 0 and 1, got 1.5"),
        ([(1, "1")], "must be a finite number, got '1'"),
        ([(1, 1.0), (1, 0.0)], r"baseline\['a'\]: seed 1 comes twice"),
        ([1.0], r"baseline\['a'\]: must hold \(seed, outcome\), got 1.0"),
        ([(0.5, 1.0)], r"baseline\['a'\] seed: must be a whole number"),
        ([("x" * 500, 1.0)], "must be a number, got 'x{80}'"),
        ([("seed 1", 1.0)], "seed: must be a number"),
    ],
)
def test_what_is_no_outcome_is_refused_with_its_place(trials: list[object], message: str) -> None:
    with pytest.raises(InvalidValueError, match=message):
        compare_paired({"a": trials}, {"a": [(1, 1.0)]})  # type: ignore[dict-item]


@pytest.mark.parametrize(
    ("baseline", "message"),
    [
        ([], "baseline: must map each scenario's id"),
        ({"a": None}, r"baseline\['a'\]: must map a scenario's id, a text, to a list"),
        ({1: [(1, 1.0)]}, r"baseline\['1'\]: must map a scenario's id, a text"),
    ],
)
def test_what_is_no_table_of_outcomes_is_refused(baseline: object, message: str) -> None:
    with pytest.raises(InvalidValueError, match=message):
        compare_paired(baseline, {"a": [(1, 1.0)]})  # type: ignore[arg-type]


def test_what_only_rounding_leaves_is_no_difference() -> None:
    before = outcomes(*[[0.1, 0.2, 0.3]] * 30)
    found = compare_paired(before, outcomes(*[[0.3, 0.1, 0.2]] * 30))
    assert (found.estimate, found.p_value, found.method) == (0.0, 1.0, "exact bound: all 30 scenarios equal")


def test_differences_of_any_size_have_an_interval_of_their_size() -> None:
    before, after = ({f"s{i}": [(0, 1e-9 * (3 + step * i))] for i in range(9)} for step in (0, 1))
    found = compare_paired(before, after, bounds=None)
    assert 0 < found.low < found.estimate < found.high < 1e-8


@pytest.mark.parametrize(
    ("settings_", "field"),
    [
        ({"alpha": 0.0}, "alpha"),
        ({"seed": -1}, "seed"),
        ({"resamples": 0}, "resamples"),
        ({"bounds": (1, 0)}, "bounds"),
        ({"bounds": 5}, "bounds"),
    ],
)
def test_settings_out_of_range_are_refused_by_name(settings_: dict[str, object], field: str) -> None:
    with pytest.raises(InvalidValueError, match=f"^{field}: "):
        compare_paired({}, {}, **settings_)  # type: ignore[arg-type]


def test_what_has_no_bounds_is_compared_in_its_own_unit() -> None:
    found = compare_paired(
        {f"s{i}": [(0, 3.0 + i)] for i in range(8)}, {f"s{i}": [(0, 2.0 + 1.1 * i)] for i in range(8)}, bounds=None
    )
    assert str(found) == f"{found.estimate:.3g} [{found.low:.3g}, {found.high:.3g}], p = {found.p_value:.3f}".replace(
        "p = 0", "p = "
    )
    same = outcomes([1.0], [1.0])
    assert compare_paired(same, same, bounds=None).reason.startswith("all differences are equal")


def test_a_difference_reads_as_a_sentence() -> None:
    random = np.random.default_rng(8)
    before = random.integers(0, 2, (60, 5)).astype(float)
    after = np.maximum(before, random.random((60, 5)) < 0.2)
    found = compare_paired(outcomes(*before.tolist()), outcomes(*after.tolist()))
    assert str(found) == f"+{100 * found.estimate:.0f} points [{100 * found.low:.0f}, {100 * found.high:.0f}], p < .001"


@given(st.integers(0, 400), st.integers(0, 400))
def test_mcnemars_test_agrees_with_statsmodels(gained: int, lost: int) -> None:
    expected = mcnemar([[5, gained], [lost, 7]], exact=True).pvalue
    assert mcnemar_exact(gained, lost) == pytest.approx(float(expected), abs=1e-9)


def test_flips_are_counted_and_tested_where_scenarios_have_one_pair() -> None:
    found = flip_test(outcomes(*[[0.0]] * 8, [1.0], [1.0]), outcomes(*[[1.0]] * 8, [1.0], [0.0]))
    assert (found.gained, found.lost, found.p_value) == (8, 1, pytest.approx(0.0390625))
    assert str(found) == "8 gained, 1 lost of 10 pairs, p = .039"


def test_mcnemars_test_refuses_what_it_cannot_know() -> None:
    several = flip_test(outcomes([0.0, 0.0], [0.0, 0.0]), outcomes([1.0, 1.0], [1.0, 0.0]))
    shares = flip_test(outcomes([0.5]), outcomes([1.0]))
    assert isnan(several.p_value)
    assert (several.gained, several.lost) == (3, 0)
    assert "not independent" in several.reason
    assert str(shares) == "not known: outcomes are not yes or no"
    assert str(flip_test({}, {})) == "not known: no pair is complete"
    with pytest.raises(InvalidValueError, match="lost: must be a whole number of at least 0"):
        mcnemar_exact(1, -1)
