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
    ["I would like to", "my order and", "I want the", "so it was,", "well…", "Ich möchte", "I was thinking about..."]
)  # fmt: skip
def test_these_go_on(text: str) -> None:
    assert is_unfinished(text)


@pytest.mark.parametrize(
    "text",
    ["Where is it?", "It is broken.", "yes", "no", "Yes I do", "thank you", "ok", "", "你好。", "It is four", "4 pm"]
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
    ["I have one", "that is a", "0123456789", "one two three four five six seven eight nine zero", "", "I", "..."],
)
def test_these_are_not(text: str) -> None:
    assert not is_spelling(text)


def test_spelling_patience_can_be_turned_off() -> None:
    assert silence_ms(TurnTaking(spelling_patience="off"), "one two three") == 400
    assert silence_ms(TurnTaking(), "one two three") == 1400


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
