"""Listening: audio that is on time, late, missing or too fast, and utterances with pauses."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from convai_lab.agents.turn_taking import TurnTaking
from convai_lab.clock import VirtualClock
from convai_lab.providers.stub_speech import StubTTS, stub_engines
from convai_lab.voice.audio import FRAME_BYTES, silence
from convai_lab.voice.listening import MAX_AHEAD_SECS, Ear, Listener

FRAME = bytes(FRAME_BYTES)


def heard_live(ear: Ear, secs: float, *, start: float = 0.0, clock_rate: float = 1.0) -> None:
    for number in range(1, round(secs / 0.02) + 1):
        now = start + number * 0.02 * clock_rate
        for _ in ear.arrive(FRAME, now):
            ear.cover(now)


def test_live_audio_needs_no_silence() -> None:
    ear = Ear(0.0)
    heard_live(ear, 10)
    assert ear.covered == pytest.approx(10)
    assert ear.silence_due(10.1) == 0


def test_silence_takes_the_place_of_audio_that_does_not_come() -> None:
    ear = Ear(0.0)
    heard_live(ear, 1)
    assert ear.silence_due(1.19) == 0
    assert ear.silence_due(1.2) == 10
    assert ear.silence_due(1.24) == 2
    assert ear.covered == pytest.approx(1.24)


def test_a_client_that_sends_large_chunks_is_given_more_time() -> None:
    ear = Ear(0.0)
    for number in range(1, 9):
        now = number * 0.25
        ear.silence_due(now - 0.01)
        for _ in ear.arrive(FRAME * 12, now):
            ear.cover(now)
    assert ear.silence_due(2.4) == 0
    assert ear.silence_due(2.5) > 0


def test_late_audio_takes_the_place_of_the_silence() -> None:
    ear = Ear(0.0)
    heard_live(ear, 1)
    assert ear.silence_due(1.4) == 20
    frames = ear.arrive(FRAME * 21, 1.4)
    ends = [ear.cover(1.4) for _ in frames]
    assert ends[0] == pytest.approx(1.02)
    assert ends[19] == pytest.approx(1.4)
    assert ear.covered == pytest.approx(1.42)


def test_speech_after_a_long_pause_is_on_time() -> None:
    ear = Ear(0.0)
    heard_live(ear, 1)
    for tick in range(100):
        ear.silence_due(1.2 + tick * 0.1)
    ends = [ear.cover(12.0) for _ in ear.arrive(FRAME * 5, 12.0)]
    assert ends == pytest.approx([11.92, 11.94, 11.96, 11.98, 12.0])


@pytest.mark.parametrize("rate", [0.999, 1.001])
def test_clocks_that_drift_stay_together(rate: float) -> None:
    ear = Ear(0.0)
    heard_live(ear, 600, clock_rate=rate)
    now = 600 * rate
    assert ear.covered - now == pytest.approx(0.0, abs=0.03)


def test_audio_that_comes_too_fast_is_noticed() -> None:
    ear = Ear(0.0)
    for _ in ear.arrive(FRAME * 100, 0.0):
        ear.cover(0.0)
    assert ear.ahead(0.0) == pytest.approx(2 - MAX_AHEAD_SECS, abs=0.03)


def listen(pcm: bytes, turn: TurnTaking | None = None) -> tuple[list[str], list[str]]:
    """Return what happened, and the turns that were heard."""
    clock = VirtualClock()

    async def main() -> tuple[list[str], list[str]]:
        listener = Listener(stub_engines(clock), turn or TurnTaking(mode="silence"), now=clock.now)
        happened: list[str] = []
        turns: list[Any] = []
        current: Any = None
        for at in range(0, len(pcm), FRAME_BYTES):
            happening = listener.hear(pcm[at : at + FRAME_BYTES].ljust(FRAME_BYTES, b"\0"))
            await asyncio.sleep(0)
            if happening:
                happened.append(happening)
            current = listener.utterance or current
            if happening == "ended":
                turns.append((await current.final()).text)
        return happened, turns

    return clock.run(main())


def speech(text: str) -> bytes:
    return StubTTS().render(text)[0]


def test_a_pause_is_no_end_and_the_pieces_are_joined() -> None:
    happened, turns = listen(speech("one two") + silence(0.3) + speech("three four") + silence(1))
    assert happened == ["started", "paused", "resumed", "paused", "ended"]
    assert turns == ["one two three four"]


def test_a_longer_pause_is_the_end() -> None:
    happened, turns = listen(speech("one two") + silence(0.6) + speech("three four") + silence(1))
    assert happened == ["started", "paused", "ended"] * 2
    assert turns == ["one two", "three four"]


def test_a_click_in_the_pause_does_not_put_the_end_off() -> None:
    from convai_lab.voice.audio import tone

    pcm = speech("one two") + silence(0.3) + tone(300, 0.02) + silence(1)
    assert listen(pcm)[0] == ["started", "paused", "ended"]


def test_nothing_happens_in_silence() -> None:
    assert listen(silence(5)) == ([], [])
