"""What goes wrong between us and a speech process is one clear error, and the next utterance has a new process."""

from __future__ import annotations

import asyncio
import json
import signal
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("espeakng_loader", reason="pip install 'convai-lab[offline]'")
pytest.importorskip("pocketsphinx", reason="pip install 'convai-lab[offline]'")

from convai_lab.errors import InvalidValueError, ProviderError, ProviderStreamError
from convai_lab.providers.base import AudioChunk, Final
from convai_lab.providers.offline_speech import EspeakTTS, PocketsphinxASR, stop_speech_processes
from convai_lab.providers.offline_speech.child_frames import MAX_BODY_BYTES, BrokenFrameError, Frame, packed
from convai_lab.providers.offline_speech.child_process import Connection, ProcessPool, SpeechProcess, new_stream_id
from convai_lab.providers.offline_speech.pocketsphinx import KEPT_BYTES, PocketsphinxStream
from convai_lab.voice.audio import resample, silence

RATE_HZ = 16000
REFUSED = 2
"""With this code a process ends that is sent something else than frames."""
SENTENCE = "please turn on the kitchen light"
LISTENING = "convai_lab.providers.offline_speech.pocketsphinx_process"
CHILD = """
import sys
from convai_lab.providers.offline_speech.child_frames import LENGTHS, packed, read_frame

while (frame := read_frame(sys.stdin.buffer)) is not None:
    if frame.head["op"] in ("finish", "speak"):
        number = frame.head["id"]
        sys.stdout.buffer.write({answer})
        sys.stdout.buffer.flush()
        {after}
"""
DAMAGE = {
    "too long": r"b'\xff' * 64",
    "not JSON": r"LENGTHS.pack(3, 0) + b'{x}'",
    "not an object": r"LENGTHS.pack(2, 0) + b'[]'",
    "for no stream": r"packed({'op': 'final', 'id': [1]})",
    "KeyError": r"packed({'id': number})",
}
"""What a process may answer that is no frame of anybody, with words of the error."""
HEARD_WRONG = {
    "JSONDecodeError": r"packed({'op': 'final', 'id': number}, b'nothing')",
    "ValueError": r"""packed({'op': 'final', 'id': number}, b'{"words": [["a", 1]], "confidence": 1}')""",
    "ValueError in": r"packed({'op': 'partial', 'id': number, 'samples': 'many'})",
    "UnicodeDecodeError": r"packed({'op': 'partial', 'id': number, 'samples': 1}, b'\xff')",
}
SAID_WRONG = {
    "half a sample": r"packed({'op': 'audio', 'id': number, 'words': []}, b'123')",
    "words without their place": r"packed({'op': 'audio', 'id': number, 'words': [[1]]}, b'12')",
    "KeyError in": r"packed({'op': 'audio', 'id': number}, b'12')",
    "no such answer": r"packed({'op': 'sing', 'id': number})",
}


@pytest.fixture(autouse=True, scope="module")
def _stop() -> Iterator[None]:
    yield
    stop_speech_processes()


@pytest.fixture
def child(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., str]:
    """Write the program of a speech process, and return its module's name."""

    def write(answer: str, after: str = "pass") -> str:
        name = f"child_{abs(hash((answer, after)))}"
        (tmp_path / f"{name}.py").write_text(CHILD.format(answer=answer, after=after), encoding="utf-8")
        return name

    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    return write


async def _said() -> bytes:
    pcm = b"".join([i.pcm async for i in EspeakTTS().synthesize(SENTENCE, voice="Daniel") if _is_audio(i)])
    return silence(0.3, RATE_HZ) + resample(pcm, 22050, RATE_HZ) + silence(0.4, RATE_HZ)


def _is_audio(item: Any) -> bool:
    return isinstance(item, AudioChunk)


def _open(pool: ProcessPool) -> PocketsphinxStream:
    return PocketsphinxASR(processes=pool).open(rate_hz=RATE_HZ, language="en", phrases=(SENTENCE, "the door is open"))


async def _heard(pool: ProcessPool, pcm: bytes) -> Final:
    stream = _open(pool)
    stream.feed(pcm)
    return await stream.finish()


def _over(connection: Connection) -> bool:
    """Wait until a process has ended, and say whether it is known to be gone."""
    assert connection.process is not None
    connection.process.wait(timeout=10)
    return not connection.alive


def _in_one_sentence(error: ProviderError, words: str, name: str) -> None:
    said = str(error)
    assert said.startswith(f"{name}: ")
    assert words in said
    assert "\n" not in said
    assert "Traceback" not in said
    assert len(said) < 250


@pytest.mark.parametrize("words", [*DAMAGE, *HEARD_WRONG])
async def test_a_recogniser_that_answers_nonsense_is_one_error_in_words(child: Callable[..., str], words: str) -> None:
    pool = ProcessPool(child((DAMAGE | HEARD_WRONG)[words]), 1)
    stream = _open(pool)
    stream.feed(silence(0.1, RATE_HZ))
    first = stream._connection
    with pytest.raises(ProviderStreamError) as caught:
        await stream.finish()
    _in_one_sentence(caught.value, words, "pocketsphinx")
    assert _over(first)
    assert stream._connection is not first, "another process was tried"
    assert pool.connection() not in (first, stream._connection)


@pytest.mark.parametrize("words", [*DAMAGE, *SAID_WRONG])
async def test_a_voice_that_answers_nonsense_is_one_error_in_words(child: Callable[..., str], words: str) -> None:
    process = SpeechProcess(child((DAMAGE | SAID_WRONG)[words]))
    first = process.connection()
    with pytest.raises(ProviderStreamError) as caught:
        async for _ in EspeakTTS(process=process).synthesize("Hello."):
            pass
    _in_one_sentence(caught.value, words, "espeak")
    assert _over(first)
    assert process.connection() is not first


async def test_a_frame_that_is_broken_off_and_a_silent_end_are_told(child: Callable[..., str]) -> None:
    broken = child(r"LENGTHS.pack(50, 10) + b'{\"op\"'", "sys.exit(0)")
    with pytest.raises(ProviderStreamError, match="ended inside a frame"):
        await _heard(ProcessPool(broken, 1), b"")
    with pytest.raises(ProviderStreamError, match="its process ended with code 7"):
        await _heard(ProcessPool(child("b''", "sys.exit(7)"), 1), b"")
    with pytest.raises(ProviderStreamError, match="its process ended with code 1"):
        await _heard(ProcessPool("no_such_module_anywhere", 1), b"")


async def test_what_an_engine_says_before_it_dies_is_the_error(child: Callable[..., str]) -> None:
    fatal = child(r"packed({'op': 'fatal', 'message': 'OSError: no data'})", "sys.exit(1)")
    with pytest.raises(ProviderStreamError, match="the recogniser stopped: OSError: no data"):
        await _heard(ProcessPool(fatal, 1), b"")


async def test_a_process_that_is_sent_nonsense_is_replaced_and_the_utterance_is_heard_whole() -> None:
    pool, pcm = ProcessPool(LISTENING, 1), await _said()
    whole = await _heard(pool, pcm)
    stream = _open(pool)
    stream.feed(pcm[:20_000])
    connection = stream._connection
    connection._outbox.put(b"\xff" * 64)
    assert connection.process is not None
    assert await asyncio.to_thread(connection.process.wait, 10) == REFUSED
    stream.feed(pcm[20_000:])
    assert await stream.finish() == whole
    assert whole.text == SENTENCE


@pytest.mark.parametrize("is_finishing", [False, True])
async def test_an_utterance_whose_process_is_killed_is_heard_by_another(is_finishing: bool) -> None:
    pool, pcm = ProcessPool(LISTENING, 1), await _said()
    whole = await _heard(pool, pcm)
    stream = _open(pool)
    stream.feed(pcm if is_finishing else pcm[:30_001])
    process = stream._connection.process
    assert process is not None
    process.send_signal(signal.SIGSTOP)
    answer = asyncio.ensure_future(stream.finish()) if is_finishing else None
    await asyncio.sleep(0)
    process.kill()
    if answer is None:
        stream.feed(pcm[30_001:])
        assert await stream.finish() == whole
    else:
        assert await answer == whole
    assert stream._connection.process is not process


async def test_an_utterance_that_kills_two_processes_is_an_error_and_the_next_one_is_heard() -> None:
    pool, pcm = ProcessPool(LISTENING, 1), await _said()
    whole = await _heard(pool, pcm)
    stream = _open(pool)
    stream.feed(pcm)
    for _ in range(2):
        connection = stream._connection
        death = _Death(connection)
        connection.stop()
        assert await asyncio.to_thread(death.told.wait, 10)
    with pytest.raises(ProviderStreamError, match="the recogniser stopped: its process"):
        await stream.finish()
    assert await _heard(pool, pcm) == whole


class _Death:
    """Waits until everybody who listens to a process was told that it is gone."""

    def __init__(self, connection: Connection) -> None:
        self.told = threading.Event()
        assert connection.listen(new_stream_id(), self)

    def on_frame(self, frame: Frame) -> None:
        raise AssertionError(f"nobody asked for {frame}")

    def on_loss(self, reason: str) -> None:
        self.told.set()


async def test_an_utterance_too_long_to_be_kept_is_lost_with_its_process_and_says_so() -> None:
    pool = ProcessPool(LISTENING, 1)
    await _heard(pool, b"")
    stream = _open(pool)
    process = stream._connection.process
    assert process is not None
    process.send_signal(signal.SIGSTOP)
    stream.feed(bytes(KEPT_BYTES + 2))
    process.kill()
    with pytest.raises(ProviderStreamError, match="the recogniser stopped"):
        await stream.finish()
    assert (await _heard(pool, silence(0.2, RATE_HZ))).text == ""


def test_nothing_too_long_is_sent() -> None:
    with pytest.raises(BrokenFrameError, match="too long"):
        packed({"op": "audio"}, bytes(MAX_BODY_BYTES + 1))
    with pytest.raises(InvalidValueError, match="phrases"):
        PocketsphinxASR().open(rate_hz=RATE_HZ, language="en", phrases=[""] * 1_000_001)


def test_the_longest_phrases_there_may_be_fit_into_a_frame() -> None:
    for worst in (["\x00"] * 500_000, ["\U0001f600" * 999_999], ["\\" * 999_999]):
        said = json.dumps(worst, ensure_ascii=False).encode()
        assert len(packed({"op": "model"}, said)) < MAX_BODY_BYTES
