"""Ear: audio that is on time, early, late, missing or too fast."""

from __future__ import annotations

import pytest

from convai_lab.voice.audio import FRAME_BYTES
from convai_lab.voice.ear import MAX_AHEAD_SECS, Ear

FRAME = bytes(FRAME_BYTES)


def heard_live(
    ear: Ear, secs: float, *, start: float = 0.0, clock_rate: float = 1.0, late: float = 0.0, is_silent: bool = False
) -> None:
    for number in range(1, round(secs / 0.02) + 1):
        now = start + number * 0.02 * clock_rate + late
        for _ in ear.arrive(FRAME, now):
            ear.cover(now, is_silent=is_silent)


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


def test_sound_of_a_line_that_never_pauses_is_waited_for_a_second_and_then_the_line_has_stopped() -> None:
    ear = Ear(0.0)
    heard_live(ear, 1)
    assert ear.wait(1.0, is_busy=True, is_steady=True) == pytest.approx(1.0)
    assert ear.silence_due(1.99, is_steady=True) == 0
    assert ear.silence_due(2.0, is_steady=True) == 50
    assert ear.silence_due(2.04, is_steady=True) == 2


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


def test_audio_from_before_the_session_does_not_make_the_user_late_for_ever() -> None:
    ear = Ear(0.0)
    for _ in ear.arrive(FRAME * 40, 0.0):
        ear.cover(0.0, is_silent=True)
    assert ear.ahead(0.0) < 0
    heard_live(ear, 5)
    assert ear.covered == pytest.approx(5, abs=0.021)


def test_what_was_said_before_the_session_keeps_its_length() -> None:
    ear = Ear(0.0)
    ends = [ear.cover(0.0) for _ in ear.arrive(FRAME * 20, 0.0)]
    assert ends == pytest.approx([0.02 * number for number in range(1, 21)])


def test_a_file_that_is_sent_at_once_later_keeps_its_silences() -> None:
    ear = Ear(0.0)
    heard_live(ear, 3)
    ends = [ear.cover(3.0, is_silent=True) for _ in ear.arrive(FRAME * 20, 3.0)]
    assert ends[-1] == pytest.approx(3.4)


@pytest.mark.parametrize(("is_silent", "ahead"), [(True, 0.0), (False, 0.11)])
def test_a_line_that_was_slow_for_a_while_leaves_no_lasting_error_once_the_user_is_silent(
    is_silent: bool, ahead: float
) -> None:
    ear = Ear(0.0)
    heard_live(ear, 4)
    heard_live(ear, 4, start=4.0, late=0.15)
    assert ear.covered == pytest.approx(8.15, abs=0.001)
    heard_live(ear, 4, start=8.0, is_silent=is_silent)
    assert ear.covered - 12.0 == pytest.approx(ahead, abs=0.001)


def test_a_standstill_of_this_process_is_no_silence_of_the_user() -> None:
    ear = Ear(0.0)
    heard_live(ear, 1)
    ear.stood_still(1.5, 0.48)
    assert ear.silence_due(1.5) == 0
    for _ in ear.arrive(FRAME * 25, 1.5):
        ear.cover(1.5)
    assert ear.covered == pytest.approx(1.5)
    ear.stood_still(1.7, 9.0)
    assert ear.silence_due(1.89) == 0
    assert ear.silence_due(1.91) > 0
