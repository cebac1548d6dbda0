"""Flips: the scenarios in which it matters which variant answers."""

from __future__ import annotations

from .conftest import invented

RESULTS = {
    "a": {
        "same": [True, True],
        "gained": [False, False],
        "half": [True, False],
        "lost": [True, True],
        "both": [True, False],
    },
    "b": {
        "same": [True, True],
        "gained": [True, True],
        "half": [True, True],
        "lost": [False, False],
        "both": [False, True],
    },
}


def test_flips_are_ordered_by_size_with_losses_first() -> None:
    frame = invented(RESULTS).flips()
    assert list(frame["scenario"]) == ["lost", "gained", "half", "both"]
    assert list(frame["direction"]) == ["lost", "gained", "gained", "mixed"]
    assert list(frame["difference"]) == [-1.0, 1.0, 0.5, 0.0]


def test_a_flip_counts_its_pairs_and_names_the_first_trial_that_shows_it() -> None:
    half = invented(RESULTS).flips().set_index("scenario").loc["half"]
    assert (half["pairs"], half["gained"], half["lost"]) == (2, 1, 0)
    assert (half["baseline_successes"], half["successes"]) == (1, 2)
    assert half["trial"] == 1
    assert half["reason"] == "a never said shipped"


def test_the_conversations_of_a_flip_can_be_read() -> None:
    comparison = invented(RESULTS)
    flip = comparison.flips().iloc[0]
    assert comparison.conversation(flip["variant"], flip["scenario"], flip["trial"]).id == flip["conversation_id"]
    base = comparison.conversation(flip["baseline"], flip["scenario"], flip["trial"])
    assert base.id == flip["baseline_conversation_id"]


def test_a_side_that_does_not_count_is_no_flip() -> None:
    assert invented({"a": {"s": ["provider"]}, "b": {"s": [True]}}).flips().empty


def test_every_challenger_has_its_own_flips() -> None:
    frame = invented({"a": {"s": [False]}, "b": {"s": [True]}, "c": {"s": [True]}}).flips()
    assert list(zip(frame["variant"], frame["baseline"], strict=True)) == [("b", "a"), ("c", "a")]


def test_without_flips_the_table_has_its_columns() -> None:
    frame = invented({"a": {"s": [True]}, "b": {"s": [True]}}).flips()
    assert frame.empty
    assert "baseline_conversation_id" in frame.columns
