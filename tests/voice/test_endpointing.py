"""Endpointing: how long a silence ends a turn."""

from __future__ import annotations

import pytest

from convai_lab.agents.turn_taking import TurnTaking
from convai_lab.voice.endpointing import SILENCE_MS, Endpointer, is_spelling, is_unfinished, silence_ms


def test_the_default_silence_is_400_ms() -> None:
    endpointer = Endpointer(TurnTaking())
    assert not endpointer.is_over(380)
    assert endpointer.is_over(400)


@pytest.mark.parametrize("eagerness", ["eager", "normal", "patient"])
def test_mode_silence_does_not_look_at_the_words(eagerness: str) -> None:
    turn = TurnTaking(mode="silence", eagerness=eagerness)
    assert silence_ms(turn, "I would like to") == SILENCE_MS[turn.eagerness] == silence_ms(turn)


@pytest.mark.parametrize(
    "text",
    ["I would like to", "my order and", "I want the", "so it was,", "well…", "Ich möchte", "I was thinking about...",
     "what I would like"]
)  # fmt: skip
def test_these_go_on(text: str) -> None:
    assert is_unfinished(text)


@pytest.mark.parametrize(
    "text",
    ["What's the weather like", "so what is it like",
     "Where is it?", "It is broken.", "yes", "no", "Yes I do", "thank you", "ok", "", "你好。", "It is four", "4 pm"]
)  # fmt: skip
def test_these_are_complete(text: str) -> None:
    assert not is_unfinished(text)


@pytest.mark.parametrize(
    "text", ["my number is one two", "it's A B", "my order number is", "B as in bravo E", "12 34", "b"]
)
def test_these_are_being_spelled(text: str) -> None:
    assert is_spelling(text) or is_unfinished(text)


@pytest.mark.parametrize(
    "text",
    [
        "I have one",
        "that is a",
        "0123456789",
        "one two three four five six seven eight nine zero",
        "",
        "I",
        "...",
        "two thirty p m",
        "at 9 a.m.",
        "seven p m",
    ],
)
def test_these_are_not(text: str) -> None:
    assert not is_spelling(text)


def test_spelling_patience_can_be_turned_off() -> None:
    assert silence_ms(TurnTaking(spelling_patience="off"), "one two three") == 400
    assert silence_ms(TurnTaking(), "one two three") == 1400


def waited(text: str, phrases: tuple[str, ...]) -> int:
    endpointer = Endpointer(TurnTaking(), phrases)
    endpointer.read(text)
    return endpointer.wait_ms


ORDERS = ("where is my order one two three four", "can i change the address", "what would you like")


@pytest.mark.parametrize(
    "text",
    [
        "where is my order nine eight seven six",
        "my order number is 9876",
        "It's order 9 8 7 6.",
        "nine eight seven six",
        "double three oh six",
        "what would you like",
    ],
)
def test_a_number_as_long_as_the_agent_expects_is_complete(text: str) -> None:
    assert waited(text, ORDERS) == 400


@pytest.mark.parametrize(
    ("text", "wait_ms"),
    [
        ("where is my order nine eight seven", 1400),
        ("nine eight seven six five", 1400),
        ("my phone number is nine eight seven six", 1400),
        ("what would you", 400),
        ("where is my", 1100),
        ("can i change the", 1100),
    ],
)
def test_any_other_number_or_sentence_may_go_on(text: str, wait_ms: int) -> None:
    assert waited(text, ORDERS) == wait_ms


def test_the_longest_number_of_a_kind_counts_and_a_bare_one_may_be_of_any() -> None:
    phrases = ("order 1234", "order 12345", "my phone number is 555 010 0199", "table for two", "at nine p m")
    waits = {text: waited(text, phrases) for text in ("order 9876", "order 98765", "9876", "98765")}
    assert waits == {"order 9876": 1400, "order 98765": 400, "9876": 1400, "98765": 1400}


def test_a_number_longer_than_most_is_waited_for_where_it_is_expected() -> None:
    card, twelve = ("my card number is " + "1234" * 4,), "four three two one " * 3
    assert (waited(twelve, ()), waited(twelve, card), waited(twelve + "four three two one", card)) == (400, 1400, 400)


def test_what_a_longer_phrase_begins_with_may_go_on() -> None:
    phrases = ("i would like", "i would like to", "i would like to pay", "we are like")
    waits = [waited(text, phrases) for text in ("i would like", "i would like to", "We are like")]
    assert waits == [1100, 1100, 400]


def test_hostile_phrases_are_read_fast() -> None:
    import time

    started = time.process_time()
    endpointer = Endpointer(TurnTaking(), ("one " * 100_000, "", "?!", *map(str, range(5000))))
    endpointer.read("word " * 1000 + "one two three")
    assert time.process_time() - started < 1


def test_the_wait_follows_the_words() -> None:
    endpointer = Endpointer(TurnTaking())
    endpointer.read("I would like to")
    assert endpointer.wait_ms == 1100
    endpointer.read("I would like to pay")
    assert endpointer.wait_ms == 400


def test_a_very_long_text_is_read_fast() -> None:
    import time

    started = time.process_time()
    silence_ms(TurnTaking(), "word " * 40_000 + "one two")
    assert time.process_time() - started < 1
