"""Every speech engine that is installed and needs nothing else keeps the same promises."""

from __future__ import annotations

import asyncio
import math
import os
import socket
import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest

from convai_lab.clock import SystemClock, VirtualClock
from convai_lab.errors import InvalidValueError, MissingPackageError
from convai_lab.providers.base import ASR, TTS, AudioChunk, Final, Mark
from convai_lab.providers.offline_speech import stop_speech_processes
from convai_lab.providers.offline_speech.installed import is_installed
from convai_lab.providers.speech import ENGINES, Engine, find_asr, find_tts, find_vad
from convai_lab.voice.audio import noise, resample, silence

RATE_HZ = 16000
SENTENCE = "please turn on the kitchen light"
VOICE = "Daniel"
"""The recogniser understood this sentence in 25 of 25 renderings by him, which are never quite the same."""
VOICE_FOR = {"stub": "stub"}
"""Which voice engine a recogniser is tried with; the others hear espeak."""


def _ready(kind: str) -> list[str]:
    """Name the engines of this machine: no vendor, no weights to fetch, and their package is there."""
    return [e.name for e in ENGINES if e.kind == kind and _is_local(e) and (not e.module or is_installed(e.module))]


def _is_local(engine: Engine) -> bool:
    return engine.vendor is None and engine.takes == ""


RECOGNISERS, VOICES, DETECTORS = _ready("asr"), _ready("tts"), _ready("vad")
NEEDING = [engine for engine in ENGINES if _is_local(engine) and engine.module]


@pytest.fixture(autouse=True, scope="module")
def _stop() -> Iterator[None]:
    yield
    stop_speech_processes()


@pytest.fixture(autouse=True)
def _no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_: socket.socket, address: Any) -> None:
        raise AssertionError(f"an engine of this machine called {address}")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket.socket, "connect_ex", refuse)


def _tts(name: str) -> TTS:
    return find_tts(name, clock=SystemClock())


def _asr(name: str) -> ASR:
    return find_asr(name, clock=SystemClock())


async def _items(tts: TTS, text: str, **more: Any) -> list[AudioChunk | Mark]:
    return [item async for item in tts.synthesize(text, voice=VOICE, **more)]


async def _said(recogniser: str) -> bytes:
    """Return the sentence at 16 kHz, in a voice that this recogniser understands."""
    tts = _tts(VOICE_FOR.get(recogniser, "espeak"))
    pcm = b"".join([item.pcm for item in await _items(tts, SENTENCE) if isinstance(item, AudioChunk)])
    pcm = pcm if tts.capabilities.rate_hz == RATE_HZ else resample(pcm, tts.capabilities.rate_hz, RATE_HZ)
    return silence(0.3, RATE_HZ) + pcm + silence(0.4, RATE_HZ)


async def _heard(asr: ASR, pcm: bytes, *, chunk: int = 640) -> Final:
    stream = asr.open(rate_hz=RATE_HZ, language="en", phrases=(SENTENCE, "the door is open"))
    for start in range(0, len(pcm), chunk):
        stream.feed(pcm[start : start + chunk])
    return await stream.finish()


@pytest.mark.parametrize("name", VOICES)
async def test_chunks_follow_each_other_and_marks_come_with_their_audio(name: str) -> None:
    items = await _items(_tts(name), SENTENCE)
    chunks = [item for item in items if isinstance(item, AudioChunk)]
    longest = max(len(chunk.pcm) // 2 for chunk in chunks)
    heard, marks = 0, []
    for item in items:
        if isinstance(item, AudioChunk):
            assert (item.start_sample, len(item.pcm) % 2) == (heard, 0)
            heard += len(item.pcm) // 2
        else:
            assert heard <= item.sample <= heard + longest
            marks.append(item)
    assert [mark.sample for mark in marks] == sorted(mark.sample for mark in marks)
    assert [SENTENCE[m.char_start : m.char_start + m.char_len] for m in marks] == SENTENCE.split()


@pytest.mark.parametrize("name", VOICES)
async def test_a_voice_that_is_closed_stops_and_speaks_again(name: str) -> None:
    tts = _tts(name)
    speech = tts.synthesize("A story without an end. " * 500, voice="George")
    assert [item async for item in _until_audio(speech)]
    await speech.aclose()  # type: ignore[attr-defined]
    with pytest.raises(StopAsyncIteration):
        await anext(speech)
    assert any(isinstance(item, AudioChunk) for item in await _items(tts, "Again."))


async def _until_audio(speech: AsyncIterator[AudioChunk | Mark]) -> AsyncIterator[AudioChunk | Mark]:
    while True:
        item = await anext(speech)
        yield item
        if isinstance(item, AudioChunk):
            return


@pytest.mark.parametrize("name", VOICES)
@pytest.mark.parametrize(
    "text", ["", " \n\t ", "…", "\x00\x07", "a" * 3000, "é\u0301 ﷺ 👩‍👩‍👧 \u202e x", "<break time='9s'/> &amp;"]
)
async def test_any_text_gives_whole_samples_and_marks_inside_it(name: str, text: str) -> None:
    for item in await _items(_tts(name), text):
        if isinstance(item, AudioChunk):
            assert len(item.pcm) % 2 == 0
        else:
            assert 0 <= item.char_start < item.char_start + item.char_len <= len(text)


@pytest.mark.parametrize("name", VOICES)
async def test_a_faster_voice_takes_less_time(name: str) -> None:
    slow, fast = [
        sum(len(item.pcm) for item in await _items(_tts(name), SENTENCE, speed=speed) if isinstance(item, AudioChunk))
        for speed in (0.8, 1.2)
    ]
    assert fast < 0.9 * slow


@pytest.mark.parametrize("name", VOICES)
@pytest.mark.parametrize("speed", [0.0, -1.0, math.nan, math.inf, 99.0])
async def test_a_voice_refuses_a_speed_that_is_none(name: str, speed: float) -> None:
    with pytest.raises(InvalidValueError, match="speed"):
        await _items(_tts(name), SENTENCE, speed=speed)


@pytest.mark.parametrize("name", RECOGNISERS)
async def test_a_recogniser_hears_the_same_in_any_chunks(name: str) -> None:
    pcm = await _said(name)
    asr = _asr(name)
    finals = [await _heard(asr, pcm, chunk=size) for size in (640, 6400, 1001, len(pcm))]
    assert finals[0].text == SENTENCE
    assert len(set(finals)) == 1


@pytest.mark.parametrize("name", RECOGNISERS)
async def test_word_times_go_forward_inside_the_audio(name: str) -> None:
    pcm = await _said(name)
    final = await _heard(_asr(name), pcm)
    assert " ".join(word.text for word in final.words) == final.text
    edges = [edge for word in final.words for edge in (word.start, word.end)]
    assert edges == sorted(edges)
    assert 0.2 * RATE_HZ < edges[0] < edges[-1] <= len(pcm) // 2
    assert final.confidence is not None
    assert 0 <= final.confidence <= 1


@pytest.mark.parametrize("name", RECOGNISERS)
async def test_a_recogniser_can_be_finished_twice_and_given_up_at_any_time(name: str) -> None:
    pcm = await _said(name)
    asr = _asr(name)
    for fed in (b"", pcm[:5000], pcm):
        stream = asr.open(rate_hz=RATE_HZ, language="en", phrases=(SENTENCE,))
        stream.feed(fed)
        stream.abort()
        stream.feed(pcm)
        stream.abort()
        assert (await stream.finish()).text == ""
    stream = asr.open(rate_hz=RATE_HZ, language="en", phrases=(SENTENCE,))
    stream.feed(pcm)
    first = await stream.finish()
    stream.abort()
    assert await stream.finish() == first
    assert first.text == SENTENCE


@pytest.mark.parametrize("name", RECOGNISERS)
async def test_silence_is_no_words_and_nothing_is_nothing(name: str) -> None:
    assert (await _heard(_asr(name), b"")).text == ""
    assert (await _heard(_asr(name), b"\x01")).text == ""
    assert (await _heard(_asr(name), silence(2, RATE_HZ))).text == ""


@pytest.mark.parametrize("name", RECOGNISERS)
async def test_several_utterances_at_once_do_not_mix(name: str) -> None:
    pcm = await _said(name)
    asr = _asr(name)
    sounds = [pcm, silence(1, RATE_HZ), pcm, noise(1, RATE_HZ, dbfs=-50, seed=1), pcm]
    finals = await asyncio.gather(*(_heard(asr, sound) for sound in sounds))
    assert [finals[i].text for i in (0, 1, 2, 4)] == [SENTENCE, "", SENTENCE, SENTENCE]


@pytest.mark.parametrize("name", RECOGNISERS)
async def test_a_rate_that_is_none_is_refused_in_words(name: str) -> None:
    with pytest.raises(InvalidValueError, match="rate_hz"):
        _asr(name).open(rate_hz=0, language="en")


@pytest.mark.parametrize("name", RECOGNISERS)
def test_speech_works_in_virtual_time(name: str) -> None:
    clock = VirtualClock(seed=1)

    async def talk() -> str:
        tts = find_tts(VOICE_FOR.get(name, "espeak"), clock=clock)
        pcm = b"".join([item.pcm for item in await _items(tts, SENTENCE) if isinstance(item, AudioChunk)])
        pcm = pcm if tts.capabilities.rate_hz == RATE_HZ else resample(pcm, tts.capabilities.rate_hz, RATE_HZ)
        return (await _heard(find_asr(name, clock=clock), silence(0.3, RATE_HZ) + pcm)).text

    assert clock.run(talk()) == SENTENCE


@pytest.mark.parametrize("name", DETECTORS)
async def test_a_detector_tells_speech_from_silence_again_after_a_reset(name: str) -> None:
    vad = find_vad(name)
    pcm = resample(await _said("stub" if name == "stub" else "pocketsphinx"), RATE_HZ, vad.rate_hz)
    frames = [pcm[i : i + 2 * vad.hop] for i in range(0, len(pcm) - 2 * vad.hop + 1, 2 * vad.hop)]
    first = [vad.probability(frame) for frame in frames]
    vad.reset()
    assert [vad.probability(frame) for frame in frames] == pytest.approx(first, abs=1e-6)
    assert all(0 <= probability <= 1 for probability in first)
    assert max(first) > 0.8
    assert first[0] < 0.5


@pytest.mark.parametrize("name", DETECTORS)
@pytest.mark.parametrize("extra", [-2, -1, 1, 100])
def test_a_detector_refuses_a_frame_of_another_length(name: str, extra: int) -> None:
    vad = find_vad(name)
    with pytest.raises(InvalidValueError, match="frame"):
        vad.probability(bytes(2 * vad.hop + extra))


@pytest.mark.parametrize("engine", NEEDING, ids=lambda engine: f"{engine.kind}-{engine.name}")
def test_an_engine_without_its_package_says_what_to_install(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, engine.module, None)
    find: Any = {"asr": find_asr, "tts": find_tts, "vad": find_vad}[engine.kind]
    with pytest.raises(MissingPackageError, match=r"pip install 'convai-lab\[offline\]'"):
        find(engine.name, clock=SystemClock())


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="needs /proc")
async def test_the_engines_processes_hold_no_sockets() -> None:
    from convai_lab.providers.offline_speech.espeak import speaking_process
    from convai_lab.providers.offline_speech.pocketsphinx import listening_processes

    await _heard(_asr("pocketsphinx"), await _said("pocketsphinx"))
    for connection in (speaking_process.connection(), listening_processes.connection()):
        assert connection.process is not None
        files = Path(f"/proc/{connection.process.pid}/fd")
        assert not [file for file in files.iterdir() if os.readlink(file).startswith("socket:")]
