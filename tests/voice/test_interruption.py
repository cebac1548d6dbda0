"""Interruption: which sounds and words make the agent stop."""

from __future__ import annotations

import pytest

from convai_lab.providers.stub_speech import StubTTS
from convai_lab.voice.audio import FRAME_BYTES, noise, silence, tone
from convai_lab.voice.interruption import (
    CERTAIN_MS,
    HOLD_MS,
    PATIENT_MS,
    Interruption,
    Verdict,
    is_echo,
    is_voiced,
    words_of,
)

AGENT = "Your order was shipped yesterday, and it will arrive tomorrow."


def judged(pcm: bytes, text: str = "", *, terms: tuple[str, ...] = (), speech_ms: float | None = None) -> Verdict:
    judge = Interruption(terms)
    for at in range(0, len(pcm), FRAME_BYTES):
        judge.hear(pcm[at : at + FRAME_BYTES])
    millis = len(pcm) / 32 if speech_ms is None else speech_ms
    return judge.verdict(millis, text, agent_text=AGENT)


def test_voiced_sound_makes_the_agent_pause_before_there_are_words() -> None:
    assert judged(tone(200, 0.1)) is Verdict.NOTHING
    assert judged(tone(200, HOLD_MS / 1000)) is Verdict.HOLD
    assert judged(tone(200, CERTAIN_MS / 1000 + 0.04)) is Verdict.INTERRUPT


@pytest.mark.parametrize("secs", [0.1, 0.3, 1.0])
def test_a_cough_is_not_voiced(secs: float) -> None:
    assert judged(noise(secs, dbfs=-20, seed=1)) is Verdict.NOTHING


def test_words_for_the_agent_interrupt_it() -> None:
    sound = tone(200, 0.3)
    assert judged(sound, "stop") is Verdict.INTERRUPT
    assert judged(sound, "no wait") is Verdict.INTERRUPT
    assert judged(sound, "mm-hm") is Verdict.NOTHING
    assert judged(sound, "Okay.", terms=("okay",)) is Verdict.NOTHING
    assert judged(sound, "i see that", terms=("I see",)) is Verdict.INTERRUPT
    assert judged(sound, "shipped yesterday and") is Verdict.NOTHING


def test_one_word_that_the_agent_said_too_only_makes_it_pause() -> None:
    assert judged(tone(200, 0.3), "yesterday") is Verdict.HOLD
    assert judged(tone(200, 0.9), "yesterday") is Verdict.INTERRUPT


def test_a_listener_who_goes_on_and_on_has_the_floor_in_the_end() -> None:
    assert judged(tone(200, 0.3), "mm-hm", speech_ms=PATIENT_MS) is Verdict.INTERRUPT


@pytest.mark.parametrize("terms", [(), ("", "  "), ("!",)])
def test_empty_terms_change_nothing(terms: tuple[str, ...]) -> None:
    assert Interruption(terms).is_ignorable("mm-hm uh-huh")
    assert not Interruption(terms).is_ignorable("stop")
    assert Interruption(terms).is_ignorable("")


@pytest.mark.parametrize(
    ("text", "is_one"),
    [
        ("it will arrive tomorrow", True),
        ("order was", True),
        ("when will it arrive tomorrow morning then", False),
        ("tomorrow", False),
        ("", False),
        ("I want my order", False),
    ],
)
def test_an_echo_is_a_run_of_the_agent_s_own_words(text: str, is_one: bool) -> None:
    assert is_echo(text, AGENT) is is_one


def test_a_pitch_is_heard_in_tones_and_words_but_not_in_noise_or_silence() -> None:
    window = 1280
    assert is_voiced(tone(150, 0.04))
    assert is_voiced(StubTTS().render("hello")[0][-window - 640 : -640])
    assert not is_voiced(noise(0.04, dbfs=-20, seed=2))
    assert not is_voiced(silence(0.04))


def test_words_have_neither_case_nor_punctuation() -> None:
    assert words_of("Mm-hm, IT'S “fine”… 3.5!") == ["mm-hm", "it's", "fine", "3", "5"]
