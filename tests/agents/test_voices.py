"""Voices are found by name in any case, and ids pass through."""

from __future__ import annotations

from typing import Any

import pytest

from convai_lab.agents.voices import DEFAULT_VOICE, VOICES, voice_id, voice_name
from convai_lab.errors import InvalidValueError


def test_the_default_voice_is_the_platforms() -> None:
    assert voice_id(DEFAULT_VOICE) == "cjVigY5qzO86Huf0OWal"


@pytest.mark.parametrize("name", ["George", "george", " GEORGE "])
def test_a_voice_is_found_by_name_in_any_case(name: str) -> None:
    assert voice_id(name) == "JBFqnCBsd6RMkjVDRZzb"


def test_every_id_is_known_once_and_looks_like_one() -> None:
    assert len(set(VOICES.values())) == len(VOICES)
    assert all(voice_name(voice_id(name)) == name and voice_id(VOICES[name]) == VOICES[name] for name in VOICES)


def test_an_unknown_id_passes_through_both_ways() -> None:
    assert voice_id("abcdefghij0123456789") == "abcdefghij0123456789"
    assert voice_name("abcdefghij0123456789") == "abcdefghij0123456789"


def test_a_misspelt_name_brings_suggestions() -> None:
    with pytest.raises(InvalidValueError, match="there is no voice called 'Gorge': did you mean George"):
        voice_id("Gorge")


@pytest.mark.parametrize("name", ["", "x" * 10_000, None, 5, ["George"]])
def test_what_is_no_voice_is_one_sentence_about_the_field(name: Any) -> None:
    with pytest.raises(InvalidValueError, match=r"^voice: ") as caught:
        voice_id(name)
    assert len(str(caught.value)) < 500
