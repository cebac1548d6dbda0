"""Word errors: counted after the published normaliser, and never flattering."""

from __future__ import annotations

from math import isnan

import pytest
from hypothesis import given
from hypothesis import strategies as st

from convai_lab.errors import InvalidValueError
from convai_lab.evaluation.word_errors import (
    MAX_WORDS,
    WordErrors,
    entity_accuracy,
    normalised_words,
    total_word_errors,
    word_errors,
)

WORDS = st.lists(st.sampled_from(["red", "blue", "green", "now"]), max_size=7).map(" ".join)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("Hello, WORLD!", "hello world"),
        ("don't — stop…", "dont stop"),
        ("Straße ＡＢＣ", "strasse abc"),
        ("e\u0301te\u0301", "été"),
        ("order #1234", "order 1 2 3 4"),
        ("order one two three four", "order 1 2 3 4"),
        ("twelve thirty-four", "1 2 3 4"),
        ("twenty one", "2 1"),
        ("two one", "2 1"),
        ("two hundred and five", "2 0 5"),
        ("five and six", "5 and 6"),
        ("twelve hundred", "1 2 0 0"),
        ("three million two hundred thousand forty", "3 2 0 0 0 4 0"),
        ("nineteen ninety nine", "1 9 9 9"),
        ("hundred and one thousand", "hundred and 1 0 0 0"),
        ("zero zero seven", "0 0 7"),
        ("?!", ""),
    ],
)
def test_case_punctuation_and_numbers_do_not_count(text: str, words: str) -> None:
    assert " ".join(normalised_words(text)) == words


@pytest.mark.parametrize(
    ("heard", "counts"),
    [
        ("turn on the lights", (0, 0, 0)),
        ("turn of the lights", (1, 0, 0)),
        ("turn on lights", (0, 1, 0)),
        ("turn on all the lights", (0, 0, 1)),
        ("", (0, 4, 0)),
        ("the lights turn on", (0, 2, 2)),
    ],
)
def test_substitutions_deletions_and_insertions_are_told_apart(heard: str, counts: tuple[int, int, int]) -> None:
    found = word_errors("Turn on the lights.", heard)
    assert (found.substitutions, found.deletions, found.insertions) == counts
    assert found.rate == sum(counts) / 4


def slow_distance(said: list[str], got: list[str]) -> int:
    """The textbook table."""
    row = list(range(len(got) + 1))
    for i, word in enumerate(said, 1):
        above, row = row, [i]
        for j, other in enumerate(got, 1):
            row.append(min(above[j] + 1, row[j - 1] + 1, above[j - 1] + (word != other)))
    return row[-1]


@given(WORDS, WORDS)
def test_the_errors_are_the_edit_distance_and_add_up(reference: str, heard: str) -> None:
    found = word_errors(reference, heard)
    said, got = reference.split(), heard.split()
    assert found.substitutions + found.deletions + found.insertions == slow_distance(said, got)
    assert len(said) - found.deletions + found.insertions == len(got)
    assert min(found.substitutions, found.deletions, found.insertions) >= 0
    back = word_errors(heard, reference)
    assert (back.deletions, back.insertions) == (found.insertions, found.deletions)


def test_without_reference_words_the_rate_is_not_known() -> None:
    found = word_errors("...", "hello there")
    assert isnan(found.rate)
    assert found.insertions == 2
    assert str(found) == "WER not known: no reference words (0 S, 0 D, 2 I)"


def test_the_rate_may_exceed_one() -> None:
    assert word_errors("yes", "no no no").rate == 3.0


def test_many_turns_are_counted_word_by_word() -> None:
    found = total_word_errors([("yes", "no"), ("turn on the lights please", "turn on the lights please")])
    assert (found.rate, found.n_words) == (1 / 6, 6)
    assert str(found) == "WER 17% (1 S, 0 D, 0 I in 6 words)"
    assert total_word_errors([]) == WordErrors()


def test_a_text_too_long_is_refused_and_a_long_one_is_fast_enough() -> None:
    with pytest.raises(InvalidValueError, match=r"heard: has 20,001 words, more than 20,000"):
        word_errors("yes", "no " * (MAX_WORDS + 1))
    assert word_errors("go " * 1500, "go " * 1499 + "on").rate == 1 / 1500


def test_entities_are_looked_for_as_a_whole() -> None:
    found = entity_accuracy(["1234", "Ada Lovelace", "12"], "order twelve thirty four, for ada lovelace")
    assert (found.found, found.n_entities, found.missed) == (2, 3, ("12",))
    assert str(found) == "entity accuracy 67% of 3, missed 12"


def test_no_entity_is_not_known_and_an_empty_one_is_refused() -> None:
    assert isnan(entity_accuracy([], "hello").rate)
    assert str(entity_accuracy([], "hello")) == "entity accuracy not known: no entities named"
    with pytest.raises(InvalidValueError, match=r"entities\[1\]: must hold a word"):
        entity_accuracy(["Ada", "?"], "hello")
