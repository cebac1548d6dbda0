"""How sound and what is said about it are kept in bounds, whatever a vendor or a caller sends."""

from __future__ import annotations

import asyncio
import math
import wave
from io import BytesIO
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from convai_lab.errors import InvalidValueError
from convai_lab.providers.base import Final
from convai_lab.providers.utterance import (
    WholeSamples,
    WholeUtterance,
    base_language,
    check_rate,
    confidence,
    key_terms,
    padded,
    sample_at,
    wav_file,
)


@given(st.lists(st.binary(max_size=5)))
def test_samples_stay_whole_however_the_bytes_are_cut(pieces: list[bytes]) -> None:
    samples = WholeSamples()
    whole = [samples.feed(piece) for piece in pieces]
    assert all(len(piece) % 2 == 0 for piece in whole)
    everything = b"".join(pieces)
    assert b"".join(whole) == everything[: len(everything) // 2 * 2]


def test_a_wav_file_holds_the_samples() -> None:
    with wave.open(BytesIO(wav_file(b"\1\2" * 10, 8000))) as file:
        assert (file.getframerate(), file.readframes(100)) == (8000, b"\1\2" * 10)


def test_silence_fills_what_is_missing_and_never_cuts() -> None:
    assert padded(b"\1\1", secs=0.001, rate_hz=4000) == b"\1\1" + bytes(6)
    assert padded(b"\1\1" * 9, secs=0.001, rate_hz=4000) == b"\1\1" * 9


@pytest.mark.parametrize("rate_hz", [0, -16000, 3999, 200000, 16000.0, "16000", None, True])
def test_what_is_no_rate_is_refused(rate_hz: Any) -> None:
    with pytest.raises(InvalidValueError, match="rate_hz"):
        check_rate(rate_hz)


@pytest.mark.parametrize(
    ("logs", "expected"),
    [([], None), ([None, "x", True, math.nan, math.inf], None), ([0.0], 1.0), ([5], 1.0), ([-math.inf, -0.5], 0.6065)],
)
def test_confidence_is_from_0_to_1_or_unknown(logs: list[Any], expected: float | None) -> None:
    assert confidence(logs) == expected


@pytest.mark.parametrize(
    ("secs", "sample"), [(0.5, 8000), (-1, 0), (math.nan, None), (1e300, None), ("1", None), (None, None), (True, None)]
)
def test_an_instant_is_a_sample_or_nothing(secs: Any, sample: int | None) -> None:
    assert sample_at(secs, 16000) == sample


def test_key_terms_are_short_printable_and_each_once() -> None:
    phrases = ["two", " two ", "far too long", "a\nb", "\ud800", "<x>", "", "three", "four"]
    assert key_terms(phrases, most=3, longest=6, forbidden="<>") == ["two", "a b", "three"]


@pytest.mark.parametrize(
    ("language", "code"),
    [("en", "en"), ("pt-BR", "pt"), ("zh_CN", "zh"), ("", ""), ("english", ""), ("é", ""), ("e1", "")],
)
def test_a_language_is_its_first_letters_or_nothing(language: str, code: str) -> None:
    assert base_language(language) == code


async def test_an_utterance_is_recognised_once_and_what_comes_later_is_not_heard() -> None:
    heard: list[bytes] = []

    async def recognise(pcm: bytes) -> Final:
        heard.append(pcm)
        return Final(text="yes")

    utterance = WholeUtterance(recognise)
    utterance.feed(b"\1")
    utterance.feed(b"\2\3")
    assert [await utterance.finish(), await utterance.finish()] == [Final(text="yes")] * 2
    utterance.feed(b"\4\4")
    utterance.abort()
    assert heard == [b"\1\2"]


async def test_aborting_ends_the_waiting_with_nothing_and_stops_the_work() -> None:
    stopped = asyncio.Event()

    async def recognise(pcm: bytes) -> Final:
        try:
            await asyncio.Event().wait()
        finally:
            stopped.set()
        raise AssertionError

    utterance = WholeUtterance(recognise)
    utterance.feed(bytes(100))
    waiting = asyncio.ensure_future(utterance.finish())
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    utterance.abort()
    assert await waiting == Final(text="")
    assert stopped.is_set()
    assert await utterance.finish() == Final(text="")
