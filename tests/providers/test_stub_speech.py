"""Stub speech: what the stub voice says, the stub recogniser reads back, whatever happened to the sound between."""

from __future__ import annotations

import asyncio
import time
from contextlib import aclosing

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from convai_lab.clock import VirtualClock
from convai_lab.errors import ConvaiLabError, InvalidValueError
from convai_lab.providers.base import AudioChunk, Final, Mark, Partial
from convai_lab.providers.stub_speech import EnergyVAD, StubASR, StubTTS, StubVAD, stub_engines
from convai_lab.voice.audio import AudioFormat, gain, mix, noise, resample, rms_dbfs, silence, tone

SENTENCE = "Where is my order 1234? I'd like a table for four, tomorrow at seven; grüße aus 東京 🎉"
RATES = (8000, 16000, 22050, 24000, 32000, 44100, 48000)
FRAME = 640


def heard(pcm: bytes, rate_hz: int = 16000, *, chunk: int = FRAME) -> Final:
    stream = StubASR().open(rate_hz=rate_hz, language="en")
    for at in range(0, len(pcm), chunk):
        stream.feed(pcm[at : at + chunk])
        stream.partial()
    return asyncio.run(stream.finish())


def said(text: str = SENTENCE, rate_hz: int = 16000) -> bytes:
    return StubTTS(rate_hz=rate_hz).render(text)[0]


@pytest.mark.parametrize("rate_hz", RATES)
def test_what_was_said_is_heard_word_for_word_at_every_rate(rate_hz: int) -> None:
    final = heard(said(rate_hz=rate_hz), rate_hz)
    assert (final.text, final.confidence) == (SENTENCE, 1.0)


@pytest.mark.parametrize("by_way_of", RATES[:1] + RATES[2:])
def test_words_survive_a_change_of_rate_and_back(by_way_of: int) -> None:
    there = resample(said(), 16000, by_way_of)
    assert heard(there, by_way_of).text == SENTENCE
    assert heard(resample(there, by_way_of, 16000)).text == SENTENCE


def test_words_survive_a_telephone() -> None:
    phone = AudioFormat.parse("ulaw_8000")
    wire = phone.encode(resample(gain(said(), -20), 16000, 8000))
    assert heard(resample(phone.decode(wire), 8000, 16000)).text == SENTENCE


@pytest.mark.parametrize("factor_db", [-20.0, -6.0, 6.02])
def test_words_survive_a_gain_from_a_tenth_to_twice(factor_db: float) -> None:
    assert heard(gain(said(), factor_db)).text == SENTENCE


def test_words_survive_clipping_and_a_constant_offset() -> None:
    assert heard(gain(said(), 18)).text == SENTENCE


@pytest.mark.parametrize("rate_hz", [8000, 16000, 48000])
@pytest.mark.parametrize("seed", range(5))
def test_words_survive_white_noise_as_loud_as_they_are(rate_hz: int, seed: int) -> None:
    speech = said(rate_hz=rate_hz)
    loud = noise(len(speech) / 2 / rate_hz, rate_hz, dbfs=rms_dbfs(speech), seed=seed)
    assert heard(mix(speech, loud), rate_hz).text == SENTENCE


def test_what_drowns_in_noise_is_left_out_and_lowers_the_confidence() -> None:
    speech = said(" ".join(f"word{n}" for n in range(60)))
    final = heard(mix(speech, noise(len(speech) / 32000, dbfs=rms_dbfs(speech) + 7, seed=1)))
    words = final.text.split()
    assert 0 < len(words) < 60
    assert words == [word for word in (f"word{n}" for n in range(60)) if word in words]
    assert final.confidence is not None
    assert final.confidence < 0.95


@pytest.mark.parametrize("seed", range(3))
def test_no_word_is_heard_in_noise_silence_or_music(seed: int) -> None:
    chord = mix(*(tone(hz, 2, dbfs=-20) for hz in (261.6, 329.6, 392.0, 2700.0, 3000.0)))
    for sound in (noise(20, dbfs=-10, seed=seed), silence(5), chord, b"\xff\x7f" * 16000):
        assert heard(sound).text == ""


def test_silence_has_no_confidence_rather_than_a_high_one() -> None:
    assert heard(silence(1)) == Final(text="", confidence=None)


@pytest.mark.parametrize("chunk", [1, 7, 640, 6400, 5_000_000])
def test_chunks_of_any_size_and_odd_ones_give_the_same_words(chunk: int) -> None:
    assert heard(said(), chunk=chunk) == heard(said())


def test_a_burst_of_megabytes_is_read_about_as_fast_as_a_stream() -> None:
    text = " ".join(f"number{n}" for n in range(220))
    pcm = said(text)
    assert len(pcm) > 4_000_000
    started = time.process_time()
    assert heard(pcm, chunk=len(pcm)).text == text
    assert len(pcm) / 32000 / (time.process_time() - started) > 400


def test_words_are_found_at_any_offset_and_in_any_company() -> None:
    for offset in range(0, 640, 37):
        pcm = bytes(2 * offset) + said("Two people") + noise(0.5, dbfs=-40, seed=offset) + said("please.")
        assert heard(pcm).text == "Two people please."


def test_of_two_at_once_the_louder_is_heard() -> None:
    assert (
        heard(mix(said("I want the blue one"), gain(said("You said something else"), -14))).text
        == "I want the blue one"
    )


def test_a_stream_that_stops_in_the_middle_of_a_word_gives_the_words_before_it() -> None:
    pcm, marks = StubTTS().render("my order number")
    final = heard(pcm[: 2 * marks[2].sample + 2000])
    assert final.text == "my order"
    assert final.confidence == pytest.approx(2 / 3, abs=0.001)


def test_a_stream_that_begins_in_the_middle_of_a_word_gives_the_words_after_it() -> None:
    pcm, marks = StubTTS().render("my order number")
    assert heard(pcm[2 * marks[1].sample + 1600 :]).text == "number"


@settings(max_examples=60, deadline=None)
@given(st.text(max_size=80))
def test_any_text_comes_back_as_its_words(text: str) -> None:
    whole = " ".join(text.split())
    assert heard(said(text)).text == whole.encode(errors="replace").decode()


def test_a_very_long_word_comes_back_whole() -> None:
    word = "東京" * 100
    assert heard(said(f"a {word} b")).text == f"a {word} b"


def test_damaged_bytes_are_no_speech_and_no_crash() -> None:
    import random

    junk = random.Random(3).randbytes(100_001)
    assert heard(junk).text == ""
    assert heard(junk[:1] + said("hello") + b"\x00").text in ("", "hello")


def test_words_know_when_they_were_said() -> None:
    pcm, marks = StubTTS().render("my order number")
    words = heard(silence(1) + pcm).words
    assert [word.text for word in words] == ["my", "order", "number"]
    for word, mark in zip(words, marks, strict=True):
        assert abs(word.start - 16000 - mark.sample) <= 16
    assert abs(words[-1].end - 16000 - len(pcm) // 2) <= 16


def test_partials_grow_word_by_word_and_what_is_stable_stays() -> None:
    stream = StubASR().open(rate_hz=16000)
    pcm, partials = said() + silence(0.2), list[Partial]()
    for at in range(0, len(pcm), FRAME):
        stream.feed(pcm[at : at + FRAME])
        if (partial := stream.partial()) and (not partials or partial != partials[-1]):
            partials.append(partial)
    assert [len(partial.text.split()) for partial in partials] == list(range(1, len(SENTENCE.split()) + 1))
    for partial in partials:
        assert SENTENCE.startswith(partial.text[: partial.stable_chars])
        assert partial.at_sample <= len(pcm) // 2
    assert partials[0].stable_chars == 0
    assert partials[-1].text[: partials[-1].stable_chars] == SENTENCE.rsplit(" ", 1)[0]


def test_a_word_is_a_partial_before_it_is_over() -> None:
    pcm, _ = StubTTS().render("remarkably")
    stream = StubASR().open(rate_hz=16000)
    stream.feed(pcm[: int(len(pcm) * 0.75) // 2 * 2])
    partial = stream.partial()
    assert partial is not None
    assert partial.text == "remarkably"


def test_there_is_no_partial_before_the_first_word() -> None:
    stream = StubASR().open(rate_hz=16000)
    assert stream.partial() is None
    stream.feed(silence(1))
    assert stream.partial() is None


def test_an_utterance_can_be_given_up_at_any_time() -> None:
    async def run() -> Final:
        stream = StubASR().open(rate_hz=16000)
        stream.feed(said())
        stream.abort()
        stream.abort()
        stream.feed(said())
        return await stream.finish()

    assert asyncio.run(run()).text == ""


def test_a_finished_utterance_stays_what_it_was_and_takes_no_more() -> None:
    async def run() -> None:
        stream = StubASR().open(rate_hz=16000)
        stream.feed(said("hello"))
        assert await stream.finish() == await stream.finish()
        with pytest.raises(ConvaiLabError, match="open a new one"):
            stream.feed(b"\0\0")
        stream.abort()
        assert (await stream.finish()).text == "hello"

    asyncio.run(run())


def test_several_finals_join_to_the_whole_when_the_user_pauses() -> None:
    first, second = said("I would like"), said("a table for four")
    assert f"{heard(first + silence(0.2)).text} {heard(silence(0.1) + second).text}" == "I would like a table for four"


def test_about_150_words_are_spoken_a_minute_and_the_pace_can_be_set() -> None:
    text = "the quick brown fox jumps over the lazy dog and then it goes home again"
    words = len(text.split())
    assert 60 * words / (len(said(text)) / 32000) == pytest.approx(150, rel=0.2)
    slow, fast = StubTTS(words_a_minute=100), StubTTS(words_a_minute=150)
    assert len(slow.render(text)[0]) > 1.3 * len(fast.render(text)[0])
    assert len(fast.render(text, speed=0.5)[0]) == pytest.approx(2 * len(fast.render(text)[0]), rel=0.05)


@pytest.mark.parametrize("pace", [{"speed": 0.1}, {"speed": 10}])
def test_words_are_heard_at_any_pace(pace: dict[str, float]) -> None:
    assert heard(StubTTS().render("one two three", **pace)[0]).text == "one two three"


def test_chunks_and_marks_come_in_order_and_make_the_whole() -> None:
    async def run() -> list[AudioChunk | Mark]:
        return [piece async for piece in StubTTS().synthesize(SENTENCE, voice="George")]

    pieces = asyncio.run(run())
    pcm, marks = StubTTS().render(SENTENCE, voice="George")
    assert [piece for piece in pieces if isinstance(piece, Mark)] == marks
    assert [SENTENCE[m.char_start : m.char_start + m.char_len] for m in marks] == SENTENCE.split()
    emitted = 0
    for piece in pieces:
        if isinstance(piece, Mark):
            assert emitted <= piece.sample < emitted + 1600
        else:
            assert piece.start_sample == emitted
            emitted += len(piece.pcm) // 2
    assert b"".join(piece.pcm for piece in pieces if isinstance(piece, AudioChunk)) == pcm


@pytest.mark.parametrize("text", ["", "   \n\t "])
def test_nothing_to_say_is_no_sound(text: str) -> None:
    async def run() -> list[AudioChunk | Mark]:
        return [piece async for piece in StubTTS().synthesize(text, voice="x")]

    assert asyncio.run(run()) == []


def test_speech_repeats_byte_for_byte_and_voices_differ() -> None:
    assert StubTTS().render("internationally", voice="A") == StubTTS().render("internationally", voice="A")
    assert StubTTS().render("internationally", voice="George") != StubTTS().render("internationally", voice="Charlotte")


def test_closing_the_speech_makes_no_more_of_it() -> None:
    async def run() -> int:
        chunks = 0
        async with aclosing(StubTTS().synthesize("word " * 1_000_000, voice="x")) as speech:
            async for piece in speech:
                chunks += isinstance(piece, AudioChunk)
                if chunks == 3:
                    break
        return chunks

    assert asyncio.run(run()) == 3


def test_latencies_pass_on_the_clock_and_only_when_asked_for() -> None:
    clock = VirtualClock()

    async def run() -> list[float]:
        instants = []
        engines = stub_engines(clock, first_byte_secs=0.25, finish_secs=0.4)
        async with aclosing(engines.tts.synthesize("hello there", voice="x")) as speech:  # type: ignore[type-var]
            async for piece in speech:
                if isinstance(piece, AudioChunk):
                    instants.append(clock.now())
        stream = engines.asr.open(rate_hz=16000, language="en")
        await stream.finish()
        await stream.finish()
        return [instants[0], instants[-1], clock.now()]

    assert clock.run(run()) == [0.25, 0.25, 0.65]


def test_a_voice_can_be_slower_than_it_is_heard() -> None:
    clock = VirtualClock()

    async def run() -> float:
        async for _ in StubTTS(clock, realtime_factor=2.0).synthesize("hello there", voice="x"):
            pass
        return clock.now()

    assert clock.run(run()) == pytest.approx(2 * len(said("hello there")) / 32000)


@pytest.mark.parametrize(
    "make",
    [
        lambda: StubTTS(first_byte_secs=0.1),
        lambda: StubASR(finish_secs=0.1),
        lambda: StubTTS(rate_hz=4000),
        lambda: StubTTS(words_a_minute=0),
        lambda: StubTTS(chunk_ms=0),
        lambda: StubTTS().render("x", speed=0),
        lambda: StubTTS().render("x", speed=float("nan")),
        lambda: StubASR().open(rate_hz=0),
        lambda: EnergyVAD().probability(bytes(639)),
        lambda: StubVAD().probability(b""),
    ],
)
def test_what_makes_no_sense_is_refused_in_words(make) -> None:
    with pytest.raises(InvalidValueError, match=r"clock|Hz|from|samples"):
        make()


def spoken_share(vad: EnergyVAD | StubVAD, pcm: bytes) -> float:
    frames = [pcm[at : at + FRAME] for at in range(0, len(pcm) - FRAME + 1, FRAME)]
    return sum(vad.probability(frame) > 0.5 for frame in frames) / len(frames)


@pytest.mark.parametrize("kind", [EnergyVAD, StubVAD])
@pytest.mark.parametrize("factor_db", [-20, 0, 6])
def test_a_detector_hears_speech_between_silences(kind: type[EnergyVAD | StubVAD], factor_db: float) -> None:
    vad = kind()
    assert spoken_share(vad, silence(1)) == 0
    assert spoken_share(vad, gain(said(), factor_db)) > 0.8
    assert spoken_share(vad, silence(1)) == 0


@pytest.mark.parametrize("dbfs", [-40, -25, -15])
def test_tones_are_speech_to_the_stub_detector_and_noise_is_not(dbfs: float) -> None:
    assert spoken_share(StubVAD(), noise(30, dbfs=dbfs, seed=5)) < 0.01
    speech = said()
    hiss = noise(len(speech) / 32000, dbfs=rms_dbfs(speech), seed=7)
    assert spoken_share(StubVAD(), mix(speech, hiss)) > 0.6


def test_steady_noise_becomes_background_to_the_energy_detector_after_three_seconds() -> None:
    vad = EnergyVAD()
    assert spoken_share(vad, noise(2.9, dbfs=-35, seed=1)) > 0.9
    assert spoken_share(vad, noise(10, dbfs=-35, seed=2)) < 0.05
    assert spoken_share(vad, mix(said(), noise(7, dbfs=-35, seed=3))) > 0.6
    vad.reset()
    assert spoken_share(vad, silence(1)) == 0


def test_a_cough_counts_for_the_energy_detector_alone() -> None:
    cough = noise(0.2, dbfs=-20, seed=4)
    assert spoken_share(EnergyVAD(), cough) == 1
    assert spoken_share(StubVAD(), cough) == 0


def test_both_ways_are_hundreds_of_times_faster_than_real_time() -> None:
    """A generous bound on processor time; the benchmark says what it really is."""
    text = " ".join(f"number{n}" for n in range(300))
    started = time.process_time()
    pcm = said(text)
    made, started = time.process_time() - started, time.process_time()
    assert heard(pcm).text == text
    read = time.process_time() - started
    secs = len(pcm) / 32000
    assert secs / made > 400
    assert secs / read > 400
