"""Verdict: better, worse, tied, or not known; and what could have been seen."""

from __future__ import annotations

import json
from dataclasses import replace
from math import isnan

import pytest

from convai_lab.errors import InvalidValueError
from convai_lab.evaluation.paired import PairedDifference, compare_paired
from convai_lab.evaluation.power import minimum_detectable_difference, scenarios_needed
from convai_lab.evaluation.verdict import verdict


def difference(gained: int, lost: int, same: int, trials: int = 1) -> PairedDifference:
    """So many scenarios won, lost and tied by the other variant."""
    changes = [1.0] * gained + [-1.0] * lost + [0.0] * same
    before = {
        f"s{i}": [(seed, 1.0 if change < 0 else 0.0) for seed in range(trials)] for i, change in enumerate(changes)
    }
    after = {
        f"s{i}": [(seed, 1.0 if change > 0 else 0.0) for seed in range(trials)] for i, change in enumerate(changes)
    }
    return compare_paired(before, after)


def test_a_clear_difference_is_said_in_one_sentence() -> None:
    better = verdict(difference(12, 1, 27), baseline="A", other="B")
    assert (better.outcome, better.n_scenarios) == ("better", 40)
    assert better.sentence.startswith("B beats A by 28 points [12, 42], p = .00")


def test_the_same_difference_the_other_way_round_is_worse() -> None:
    better, worse = verdict(difference(12, 1, 27)), verdict(difference(1, 12, 27), baseline="A", other="B")
    assert worse.outcome == "worse"
    assert worse.sentence.startswith("B loses to A by 28 points [12, 42]")
    assert worse.minimum_detectable == better.minimum_detectable


def test_less_may_be_better() -> None:
    assert verdict(difference(1, 12, 27), higher_is_better=False).outcome == "better"


def test_a_tie_says_what_could_have_been_seen_and_what_it_would_take() -> None:
    found = difference(4, 3, 33, trials=5)
    tied = verdict(found)
    detectable = minimum_detectable_difference(found.spread, 40, step=1)
    more = scenarios_needed(found.estimate, found.spread, step=1)
    assert more is not None
    assert (tied.outcome, tied.minimum_detectable, tied.more_scenarios) == ("tied", detectable, more - 40)
    assert tied.sentence == (
        f"Tied: 40 scenarios × 5 could only have seen {100 * detectable:.0f} points or more; "
        f"seeing 2 points takes about {more - 40:,} more scenarios"
    )


def test_the_step_is_that_of_the_trials_unless_all_of_a_scenario_come_out_alike() -> None:
    before = {f"s{i}": [(seed, 0.0) for seed in range(5)] for i in range(40)}
    after = {f"s{i}": [(seed, float(seed < i % 3)) for seed in range(5)] for i in range(40)}
    found = compare_paired(before, after)
    assert verdict(found).minimum_detectable == minimum_detectable_difference(found.spread, 40, step=1 / 5)


def test_seconds_move_in_no_steps() -> None:
    before = {f"s{i}": [(0, float(i % 3))] for i in range(40)}
    after = {f"s{i}": [(0, float(i % 4))] for i in range(40)}
    found = compare_paired(before, after, bounds=None)
    assert verdict(found).minimum_detectable == minimum_detectable_difference(found.spread, 40)


def test_the_difference_worth_seeing_sets_how_many_more_it_takes() -> None:
    found = difference(4, 3, 33)
    tied = verdict(found, worth_seeing=0.1)
    needed = scenarios_needed(0.1, found.spread, step=1)
    assert needed is not None
    assert (tied.target, tied.more_scenarios) == (0.1, needed - 40)
    assert verdict(found, worth_seeing=0.9).more_scenarios == 0


def test_several_comparisons_may_turn_a_win_into_a_tie() -> None:
    found = difference(8, 1, 31)
    assert verdict(found).outcome == "better"
    tied = verdict(found, p_value=0.12)
    assert (tied.outcome, tied.p_value) == ("tied", 0.12)


def test_a_p_value_alone_wins_nothing_against_the_interval() -> None:
    found = replace(difference(8, 1, 31), low=-0.01)
    tied = verdict(found)
    assert tied.outcome == "tied"
    assert "but the interval includes 0" in tied.sentence


def test_identical_variants_are_tied_without_certainty() -> None:
    tied = verdict(difference(0, 0, 40))
    assert (tied.outcome, tied.more_scenarios) == ("tied", None)
    assert 0.1 < tied.minimum_detectable < 0.2
    assert tied.sentence == "Tied: 40 scenarios × 1 could only have seen 16 points or more"


@pytest.mark.parametrize("n", [1, 2, 5])
def test_too_few_scenarios_decide_nothing_however_large_the_difference(n: int) -> None:
    tied = verdict(difference(n, 0, 0, trials=20))
    noun = "scenario" if n == 1 else "scenarios"
    assert tied.outcome == "tied"
    assert isnan(tied.minimum_detectable)
    assert tied.sentence == f"Tied: {n} {noun} can decide nothing at p < 0.05: it takes at least 6"


def test_without_pairs_it_is_no_tie_but_not_known() -> None:
    unknown = verdict(compare_paired({}, {}))
    assert (unknown.outcome, unknown.more_scenarios) == ("unknown", None)
    assert unknown.sentence == "Not known: no pair is complete (0 trials without a partner)"


def test_a_verdict_is_json_and_prints_as_its_sentence() -> None:
    found = verdict(difference(5, 0, 0))
    stored = json.loads(json.dumps(found.to_dict(), allow_nan=False))
    assert (stored["outcome"], stored["minimum_detectable"]) == ("tied", None)
    assert str(found) == stored["sentence"]


def test_a_p_value_out_of_range_is_refused() -> None:
    with pytest.raises(InvalidValueError, match="p_value: must be between 0 and 1"):
        verdict(difference(1, 1, 6), p_value=1.5)


@pytest.mark.parametrize(("same", "trials", "is_rough"), [(6, 1, True), (11, 1, True), (12, 1, False), (6, 5, True)])
def test_so_few_scenarios_that_power_is_overstated_are_told(same: int, trials: int, is_rough: bool) -> None:
    tied = verdict(difference(1, 1, same, trials))
    caution = ", and so few see even that in less than 80% of runs"
    assert tied.outcome == "tied"
    assert (caution in tied.sentence, bool(tied.caution)) == (is_rough, is_rough)
    assert tied.minimum_detectable > 0
