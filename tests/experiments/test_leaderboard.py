"""The leaderboard: how good, reliable, fast and dear each variant is, and what does not count."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest

from convai_lab.evaluation.reliability import pass_at_k, pass_hat_k
from convai_lab.evaluation.statistics import success_rate, wilson

from .conftest import invented


def test_one_trial_a_scenario_gives_wilsons_interval() -> None:
    comparison = invented({"a": {f"s{i}": [i < 17] for i in range(20)}})
    row = comparison.leaderboard().iloc[0]
    assert row["success"] == pytest.approx(0.85)
    assert (row["success_low"], row["success_high"]) == pytest.approx(wilson(17, 20))
    assert row["success_method"] == "Wilson"


def test_every_scenario_has_the_same_weight_and_intervals_cluster_by_scenario() -> None:
    comparison = invented({"a": {"s0": [True] * 4, "s1": [False], "s2": [True, False]}})
    row = comparison.leaderboard().iloc[0]
    expected = success_rate([(4, 4), (0, 1), (1, 2)])
    assert row["success"] == pytest.approx(0.5)
    assert row["success_low"] == pytest.approx(expected.low)


def test_failures_of_others_count_for_nobody_and_stand_apart() -> None:
    comparison = invented({"a": {"s0": [True, "provider", "simulator"], "s1": ["judge", "tool", None]}})
    row = comparison.leaderboard().iloc[0]
    assert row["success"] == 1.0
    assert (row["trials"], row["valid"], row["planned"], row["ungraded"]) == (6, 1, 6, 1)
    apart = [row[f"{party}_failures"] for party in ("provider", "simulator", "judge", "tool")]
    assert apart == [1, 1, 1, 1]


def test_reliability_names_its_estimator_and_agrees_with_evaluation() -> None:
    comparison = invented({"a": {"s0": [True, True, True], "s1": [True, False, False], "s2": [True, True, False]}})
    row = comparison.leaderboard().iloc[0]
    tallies = [(3, 3), (1, 3), (2, 3)]
    assert (row["k"], row["estimator"]) == (3, "unbiased")
    assert row["pass_hat_k"] == pytest.approx(pass_hat_k(tallies, 3).estimate) == pytest.approx(1 / 3)
    assert row["pass_at_k"] == pytest.approx(pass_at_k(tallies, 3).estimate) == pytest.approx(1.0)


def test_a_trial_that_does_not_count_lowers_k_for_every_variant_and_says_so() -> None:
    comparison = invented(
        {"a": {"s0": [True] * 3, "s1": [True, False, "judge"]}, "b": {"s0": [True] * 3, "s1": [True] * 3}}
    )
    assert list(comparison.leaderboard()["k"]) == [2, 2]
    assert "pass^2 stands in for pass^3" in str(comparison)


def test_a_single_trial_has_no_reliability() -> None:
    row = invented({"a": {"s0": [True], "s1": [False]}}).leaderboard().iloc[0]
    assert math.isnan(row["pass_hat_k"])
    assert "pass^" not in str(invented({"a": {"s0": [True]}}))


def test_a_cost_that_is_not_known_is_never_zero() -> None:
    results = {"a": {"s0": [True], "s1": [True]}}
    known = invented(results, trial={"cost_usd": 0.004})
    unknown = invented(results, trial={"cost_usd": None})
    assert known.leaderboard()["cost_per_conversation_usd"].iloc[0] == pytest.approx(0.004)
    assert unknown.leaderboard()["cost_per_conversation_usd"].isna().all()
    assert "unknown" in str(unknown)
    assert "$0.00 " not in str(unknown)


def test_one_unknown_cost_makes_the_mean_unknown() -> None:
    comparison = invented({"a": {"s0": [True, True]}})
    trials = (comparison.trials[0], comparison.trials[1].with_changes(cost_usd=None))
    half = replace(comparison, trials=trials)
    assert half.leaderboard()["cost_per_conversation_usd"].isna().all()


def test_the_cost_of_a_success_counts_failed_conversations() -> None:
    row = invented({"a": {"s0": [True], "s1": [False], "s2": [False]}}, trial={"cost_usd": 0.01}).leaderboard().iloc[0]
    assert row["cost_per_success_usd"] == pytest.approx(0.03)


def test_without_a_success_there_is_no_cost_of_one() -> None:
    comparison = invented({"a": {"s0": [False]}})
    assert math.isnan(comparison.leaderboard()["cost_per_success_usd"].iloc[0])
    assert "no success" in str(comparison)


def test_latency_is_over_replies_with_their_number() -> None:
    comparison = invented({"a": {"s0": [True], "s1": [True]}}, trial={"ttft_ms": (100.0, 200.0, 300.0)})
    row = comparison.leaderboard().iloc[0]
    assert (row["ttft_p50_ms"], row["ttft_n"]) == (200.0, 6)
    assert row["ttft_p95_ms"] == pytest.approx(300.0)
    assert row["voice_to_voice_n"] == 0
    assert math.isnan(row["voice_to_voice_p50_ms"])


def test_text_runs_show_no_voice_latency_and_voice_runs_no_other() -> None:
    times = {"ttft_ms": (100.0,), "voice_to_voice_ms": (900.0,)}
    text = str(invented({"a": {"s0": [True]}}, trial=times))
    voice = str(invented({"a": {"s0": [True]}}, trial=times, mode="voice"))
    assert "First token" in text
    assert "Voice to voice" not in text
    assert "100 / 100 ms" in text
    assert "Voice to voice" in voice
    assert "900 / 900 ms" in voice


def test_latency_in_virtual_time_is_not_measured() -> None:
    comparison = invented({"a": {"s0": [True]}})
    assert "not measured" in str(comparison)
    assert "0 / 0 ms" not in str(comparison)


def test_nothing_done_gives_a_row_of_unknowns_for_each_variant() -> None:
    board = invented({"a": {}, "b": {}}).leaderboard()
    assert list(board["variant"]) == ["a", "b"]
    assert board["success"].isna().all()
    assert list(board["valid"]) == [0, 0]


def test_a_variant_of_which_nothing_is_done_is_unknown_beside_the_others() -> None:
    board = invented({"a": {"s0": [True]}, "b": {}}).leaderboard()
    assert board["success"].isna().tolist() == [False, True]
    assert list(board["outcome"].iloc[1:]) == ["unknown"]
