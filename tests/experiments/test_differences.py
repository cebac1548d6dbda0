"""Differences to the baseline: paired, clustered, corrected, and honest when the run was looked at."""

from __future__ import annotations

import math
import random
from typing import Any

import pytest

from convai_lab.evaluation.paired import compare_paired
from convai_lab.evaluation.sequential import peek
from convai_lab.evaluation.statistics import holm
from convai_lab.experiments.plan import PlannedTrial, drawn_order
from convai_lab.experiments.sequence import SequentialRule

from .conftest import invented


def drawn(rates: dict[str, float], *, scenarios: int = 24, trials: int = 2, seed: int = 1) -> dict[str, Any]:
    """Draw results with these success rates."""
    chance = random.Random(seed)
    return {
        name: {f"s{i:02}": [chance.random() < rate for _ in range(trials)] for i in range(scenarios)}
        for name, rate in rates.items()
    }


def outcomes(of_variant: dict[str, list[bool]]) -> dict[str, list[tuple[int, float]]]:
    return {name: list(enumerate(map(float, came))) for name, came in of_variant.items()}


def test_a_difference_is_the_paired_and_clustered_one_of_evaluation() -> None:
    results = drawn({"a": 0.4, "b": 0.8})
    row = invented(results).differences().iloc[0]
    expected = compare_paired(outcomes(results["a"]), outcomes(results["b"]))
    assert row["difference"] == pytest.approx(expected.estimate)
    assert (row["low"], row["high"], row["p_value"]) == (expected.low, expected.high, expected.p_value)
    assert row["outcome"] == "better"
    assert row["n_pairs"] == 48
    assert row["correction"] == "none"


def test_several_challengers_are_corrected_by_holm() -> None:
    results = drawn({"a": 0.5, "b": 0.8, "c": 0.55, "d": 0.7})
    frame = invented(results).differences()
    single = [compare_paired(outcomes(results["a"]), outcomes(results[name])).p_value for name in "bcd"]
    assert list(frame["p_adjusted"]) == pytest.approx(holm(single))
    assert set(frame["correction"]) == {"Holm over 3 comparisons"}
    assert set(frame["baseline"]) == {"a"}


def test_another_baseline_turns_the_difference_around() -> None:
    from dataclasses import replace

    comparison = invented(drawn({"a": 0.4, "b": 0.8}))
    turned = replace(comparison, baseline="b")
    assert turned.differences()["difference"].iloc[0] == pytest.approx(-comparison.differences()["difference"].iloc[0])
    assert turned.differences()["variant"].iloc[0] == "a"


def test_pairs_that_lack_a_side_are_counted_and_never_filled_in() -> None:
    results = {"a": {"s0": [True, "provider"], "s1": [False, False]}, "b": {"s0": [True, True], "s1": [True, None]}}
    comparison = invented(results)
    row = comparison.differences().iloc[0]
    assert (row["n_pairs"], row["n_missing"]) == (2, 2)
    assert row["difference"] == pytest.approx(0.5)
    assert "2 pairs left out" in str(comparison)


def test_without_a_complete_pair_the_difference_is_not_known() -> None:
    row = invented({"a": {"s0": ["provider"]}, "b": {"s0": [True]}}).differences().iloc[0]
    assert math.isnan(row["difference"])
    assert row["outcome"] == "unknown"
    assert "no pair is complete" in row["reason"]


def means_as_drawn(results: Any) -> list[float]:
    """The differences of b to a, in the order in which a run that may end early looks at them."""
    names = [scenario.id for scenario in drawn_order(invented(results).scenarios, seed=0)]
    return [float(results["b"][name][0]) - float(results["a"][name][0]) for name in names]


def test_a_run_that_was_looked_at_shows_the_interval_that_holds_at_every_look() -> None:
    results = drawn({"a": 0.2, "b": 0.9}, scenarios=40, trials=1)
    ordinary, looked = invented(results).differences().iloc[0], invented(results, stop="decided").differences().iloc[0]
    expected = peek(means_as_drawn(results))
    assert (looked["low"], looked["high"], looked["p_adjusted"]) == (expected.low, expected.high, expected.p_value)
    assert looked["high"] - looked["low"] > ordinary["high"] - ordinary["low"]
    assert "valid at every look" in looked["test"]


def test_what_is_quickly_done_does_not_count_before_its_turn() -> None:
    results = drawn({"a": 0.3, "b": 0.7}, scenarios=10, trials=2)
    fifth = drawn_order(invented(results).scenarios, seed=0)[4].id
    results["b"][fifth] = results["b"][fifth][:1]
    looked = invented(results, stop="decided", trials=2).differences().iloc[0]
    assert looked["n_scenarios"] == 4


def test_scenarios_that_stand_in_groups_decide_nothing_where_the_groups_cancel_out() -> None:
    gains = {f"s{at:02}": [at < 50] for at in range(100)}
    results = {"a": {name: [not gained] for name, (gained,) in gains.items()}, "b": gains}
    assert peek([1.0] * 50 + [-1.0] * 50).decided
    assert str(invented(results, stop="decided").verdict).startswith("Not decided: after 100 complete scenarios")


def test_what_is_shown_is_what_the_stopping_rule_saw() -> None:
    comparison = invented(drawn({"a": 0.1, "b": 0.95}, scenarios=30, trials=1), stop="decided")
    variants = {variant.name: variant for variant in comparison.variants}
    cases = {scenario.id: scenario for scenario in comparison.scenarios}
    planned = [
        PlannedTrial(variants[t.variant], cases[t.scenario_id], t.trial, t.seed, t.key) for t in comparison.trials
    ]
    rule = SequentialRule(planned, "a")
    assert rule.is_decided({t.key: t for t in comparison.trials})
    assert comparison.differences()["outcome"].iloc[0] == "better"


def test_several_challengers_of_a_run_that_was_looked_at_are_corrected_as_the_stopping_was() -> None:
    results = drawn({"a": 0.2, "b": 0.8, "c": 0.3}, scenarios=40, trials=1)
    frame = invented(results, stop="decided").differences()
    expected = peek(means_as_drawn(results), alpha=0.025)
    assert (frame["low"][0], frame["high"][0]) == (expected.low, expected.high)
    assert frame["p_adjusted"][0] == pytest.approx(min(1.0, 2 * expected.p_value))
    assert set(frame["correction"]) == {"Bonferroni over 2 comparisons"}


def test_power_says_what_could_have_been_seen_and_what_it_takes() -> None:
    row = invented(drawn({"a": 0.5, "b": 0.6}, trials=5)).power().iloc[0]
    assert row["n_scenarios"] == 24
    assert row["trials_per_scenario"] == 5.0
    assert 0.05 < row["minimum_detectable"] < 0.6
    assert row["more_scenarios"] > 0
    assert (row["power"], row["alpha"]) == (0.8, 0.05)


def test_few_scenarios_say_that_their_power_is_less_than_it_says() -> None:
    few = {"a": {f"s{n}": [n > 3] for n in range(8)}, "b": {f"s{n}": [n > 2] for n in range(8)}}
    row = invented(few).power().iloc[0]
    assert row["minimum_detectable"] > 0
    assert row["reason"] == "so few see even that in less than 80% of runs"


def test_too_few_scenarios_have_no_power_and_a_reason() -> None:
    row = invented({"a": {"s0": [True], "s1": [False]}, "b": {"s0": [True], "s1": [True]}}).power().iloc[0]
    assert math.isnan(row["minimum_detectable"])
    assert "it takes at least 6" in row["reason"]


def test_one_variant_has_no_differences() -> None:
    comparison = invented({"a": {"s0": [True]}})
    assert comparison.differences().empty
    assert comparison.power().empty
    assert list(comparison.differences().columns[:3]) == ["variant", "baseline", "outcome"]


def test_seeds_below_zero_are_as_good_as_others() -> None:
    assert not invented(drawn({"a": 0.4, "b": 0.8}), seed=-7).differences()["low"].isna().any()
