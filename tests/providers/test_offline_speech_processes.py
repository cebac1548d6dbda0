"""The processes that hear and speak end with us, survive a fork, and serve everybody in turn."""

from __future__ import annotations

import asyncio
import json
import os
import select
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("espeakng_loader", reason="pip install 'convai-lab[offline]'")
pytest.importorskip("pocketsphinx", reason="pip install 'convai-lab[offline]'")

from convai_lab.providers.base import Final
from convai_lab.providers.offline_speech import PocketsphinxASR, stop_speech_processes
from convai_lab.providers.offline_speech.child_frames import Frame
from convai_lab.providers.offline_speech.child_process import ProcessPool
from convai_lab.providers.offline_speech.espeak_library import VoiceSettings, WordEvent
from convai_lab.providers.offline_speech.espeak_process import EspeakWorker
from convai_lab.providers.offline_speech.pocketsphinx_process import STEP_BYTES, PocketsphinxWorker
from convai_lab.voice.audio import noise, silence

RATE_HZ = 16000
LONG_SECS = 600
GONE_LIMIT_SECS = 10.0
BOTH_ENGINES = """
import asyncio, os, sys
from convai_lab.providers.offline_speech import EspeakTTS, PocketsphinxASR
from convai_lab.providers.offline_speech.espeak import speaking_process
from convai_lab.providers.offline_speech.pocketsphinx import listening_processes

async def use():
    await EspeakTTS().prepare()
    asr = PocketsphinxASR()
    await asr.prepare(["the door is open"])
    stream = asr.open(rate_hz=16000, language="en", phrases=["the door is open"])
    stream.feed(bytes(16000))
    return (await stream.finish()).text

def children():
    return [process.connection().process.pid for process in (speaking_process, listening_processes)]
"""
WAITS = """
print(asyncio.run(use()), *children(), flush=True)
if sys.argv[1] == "forked":
    if os.fork() == 0:
        sys.stdout.close()
        sys.stdin.read()
        os._exit(0)
sys.stdin.read()
"""
FORKS = """
before = asyncio.run(use()), children()
child = os.fork()
if child == 0:
    heard = asyncio.run(use())
    own = not set(children()) & set(before[1])
    sys.stdout.write(f"child {heard!r} {own}\\n")
    sys.stdout.flush()
    from convai_lab.providers.offline_speech import stop_speech_processes
    stop_speech_processes()
    os._exit(0)
os.waitpid(child, 0)
print("parent", repr(asyncio.run(use())), children() == before[1], flush=True)
"""


@pytest.fixture(autouse=True, scope="module")
def _stop() -> Iterator[None]:
    yield
    stop_speech_processes()


def _started(program: str, *arguments: str) -> subprocess.Popen[str]:
    root = str(Path(__file__).resolve().parents[2])
    return subprocess.Popen(
        [sys.executable, "-c", BOTH_ENGINES + program, *arguments],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env={**os.environ, "PYTHONPATH": root},
    )  # fmt: skip


@pytest.mark.skipif(not hasattr(os, "pidfd_open"), reason="needs pidfd")
@pytest.mark.parametrize("how", ["alone", "forked"])
def test_no_speech_process_outlives_a_parent_that_was_killed(how: str) -> None:
    parent = _started(WAITS, how)
    assert parent.stdout is not None
    pids = [int(word) for word in parent.stdout.readline().split()]
    assert len(pids) == 2
    watched = [os.pidfd_open(pid) for pid in pids]
    parent.send_signal(signal.SIGKILL)
    try:
        assert [_is_over(fd) for fd in watched] == [True, True]
    finally:
        for fd in watched:
            os.close(fd)
        parent.communicate()  # closes its pipe, on which a forked one still waits


def _is_over(pid_fd: int) -> bool:
    """Wait until a process has ended; nothing needs to be polled."""
    return bool(select.select([pid_fd], [], [], GONE_LIMIT_SECS)[0])


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_after_a_fork_both_sides_hear_and_speak_in_processes_of_their_own() -> None:
    said, _ = _started(FORKS).communicate(timeout=60)
    assert said.splitlines() == ["child '' True", "parent '' True"]


class _Outbox:
    """What a worker sends, by stream."""

    def __init__(self) -> None:
        self.sent: list[tuple[dict[str, Any], bytes]] = []

    def send(self, head: dict[str, Any], body: bytes = b"") -> None:
        self.sent.append((head, body))

    def of(self, stream: int, op: str) -> list[tuple[dict[str, Any], bytes]]:
        return [(head, body) for head, body in self.sent if head.get("id") == stream and head["op"] == op]


def test_a_monologue_of_ten_minutes_holds_up_nobody(tmp_path: Path) -> None:
    outbox = _Outbox()
    worker = PocketsphinxWorker(outbox.send)
    worker.take(Frame({"op": "model", "key": "k", "folder": str(tmp_path)}, json.dumps(["the door is open"]).encode()))
    short_secs = 1.5
    for stream, secs in ((1, LONG_SECS), (2, short_secs)):
        worker.take(Frame({"op": "open", "id": stream, "key": "k", "fast": True}))
        worker.take(Frame({"op": "audio", "id": stream}, silence(secs, RATE_HZ)))
        worker.take(Frame({"op": "finish", "id": stream}))
    steps = 0
    while not outbox.of(2, "final"):
        assert worker.work()
        steps += 1
    own_steps = 1 + -(-int(short_secs * 2 * RATE_HZ) // STEP_BYTES) + 1
    assert steps <= 2 * own_steps, "the two take turns"
    assert not outbox.of(1, "final")
    assert outbox.of(1, "partial"), "the monologue goes on meanwhile"


async def test_a_live_utterance_is_answered_while_a_long_recording_is_heard_in_the_same_process() -> None:
    asr = PocketsphinxASR(processes=ProcessPool("convai_lab.providers.offline_speech.pocketsphinx_process", 1))
    long = asr.open(rate_hz=RATE_HZ, language="en", phrases=("the door is open",))
    long.feed(noise(1, RATE_HZ, dbfs=-30, seed=1) * LONG_SECS)
    waiting = asyncio.ensure_future(long.finish())
    live = asr.open(rate_hz=RATE_HZ, language="en", phrases=("the door is open",))
    live.feed(silence(0.5, RATE_HZ))
    assert (await live.finish()).text == ""
    assert live._connection is long._connection
    assert not waiting.done()
    long.abort()
    assert await waiting == Final(text="")


class _SlowVoice:
    """Speaks in chunks for ever, and is told to stop after some of them."""

    rate_hz = 22050

    def __init__(self) -> None:
        self.worker: EspeakWorker
        self.cancel_after = 0
        self.chunks = 0

    def speak(self, text: str, settings: VoiceSettings, sink: Any) -> None:
        for chunk in range(1, 1000 if self.cancel_after else 3):
            self.chunks = chunk
            if sink(b"\0\0" * 441, [WordEvent(0, 1, 0)]):
                return
            if self.chunks == self.cancel_after:
                self.worker.cancel(1)

    def phonemes(self, word: str, voice: str) -> list[str]:
        return [word, voice]


def _speak(stream: int) -> Frame:
    return Frame({"op": "speak", "id": stream, "voice": "en-us", "wpm": 160, "pitch": 50, "range": 50}, b"hello")


def test_speech_that_is_given_up_stops_within_one_chunk_and_the_next_is_spoken_whole() -> None:
    outbox, voice = _Outbox(), _SlowVoice()
    worker = voice.worker = EspeakWorker(outbox.send, voice)  # type: ignore[arg-type]
    voice.cancel_after = 3
    worker.take(_speak(1))
    worker.take(_speak(1))
    worker.take(_speak(2))
    assert worker.work()
    assert voice.chunks == 4, "asked once more, and told to stop"
    assert len(outbox.of(1, "audio")) == 3
    worker.take(Frame({"op": "cancel", "id": 1}))
    voice.cancel_after = 0
    assert worker.work()
    assert len(outbox.of(2, "audio")) == 2
    assert outbox.of(2, "done")
    assert not worker.work(), "what else was asked for the first is forgotten"
    assert len(outbox.of(1, "audio")) == 3
