"""Sound over WebRTC: paced and flushed at once, connected with a page, refused in words, and closed without a rest."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

from convai_lab.clock import SystemClock
from convai_lab.errors import InvalidValueError, MissingPackageError
from convai_lab.testing.fake_page import FakePage
from convai_lab.voice import webrtc
from convai_lab.voice.audio import rms_dbfs, tone
from convai_lab.voice.transport import AgentAudio
from convai_lab.voice.webrtc import FRAME_SAMPLES, Speaker, WebRTCLine

FRAME_BYTES = 2 * FRAME_SAMPLES


def audio(secs: float, turn_id: int = 1, rate_hz: int = 16000, hz: float = 440.0) -> AgentAudio:
    return AgentAudio(tone(hz, secs, rate_hz), rate_hz, turn_id)


def is_loud(frame: bytes) -> bool:
    return rms_dbfs(frame) > -40


@pytest.mark.parametrize("rate_hz", [8000, 16000, 22050, 24000, 44100, 48000])
def test_a_speaker_plays_as_long_as_the_sound_lasts_and_then_is_silent(rate_hz: int) -> None:
    speaker = Speaker()
    speaker.play(audio(0.5, rate_hz=rate_hz))
    frames = [speaker.frame() for _ in range(40)]
    assert {len(frame) for frame in frames} == {FRAME_BYTES}
    assert 24 <= sum(map(is_loud, frames)) <= 27
    assert not any(frame.strip(b"\0") for frame in frames[30:])


def test_a_speaker_is_silent_in_the_frame_after_a_flush() -> None:
    speaker = Speaker()
    speaker.play(audio(2.0))
    assert all(is_loud(speaker.frame()) for _ in range(10))
    speaker.flush(1)
    assert speaker.frame() == bytes(FRAME_BYTES)


def test_a_flush_drops_a_turn_and_those_before_it_and_leaves_the_later_ones() -> None:
    speaker = Speaker()
    for turn_id in (0, 1):
        speaker.play(audio(0.2, turn_id=turn_id))
    speaker.play(audio(0.5, turn_id=2))
    speaker.flush(1)
    assert sum(is_loud(speaker.frame()) for _ in range(60)) in range(24, 28)
    speaker.play(audio(0.5, turn_id=3))
    speaker.play(audio(0.2, turn_id=4))
    speaker.frame()
    speaker.flush(3)
    assert sum(is_loud(speaker.frame()) for _ in range(60)) in range(9, 13)
    speaker.play(audio(1.0, turn_id=5))
    speaker.flush()
    assert not is_loud(speaker.frame())


def test_sounds_of_other_rates_follow_each_other_without_a_gap() -> None:
    speaker = Speaker()
    for rate_hz in (16000, 24000, 8000):
        speaker.play(audio(0.2, rate_hz=rate_hz))
    frames = [speaker.frame() for _ in range(40)]
    assert 29 <= sum(map(is_loud, frames)) <= 33
    assert all(map(is_loud, frames[:28]))


class Ends:
    """A line and a page that are connected to each other, and what both heard."""

    def __init__(self) -> None:
        self.heard = bytearray()
        self.states: list[tuple[str, str | None]] = []
        self.refused: list[str] = []
        self.signals: list[dict[str, Any]] = []
        self.page: FakePage | None = None
        self._loop = asyncio.get_running_loop()
        self.line = WebRTCLine(
            hear=self.heard.extend,
            tell=self._to_page,
            changed=lambda state, why: self.states.append((state, why)),
            refuse=self.refused.append,
            clock=SystemClock(),
        )

    def _to_page(self, message: dict[str, Any]) -> None:
        self.signals.append(message)
        if self.page is not None:
            self.page.signal(message)

    def to_line(self, message: dict[str, Any]) -> None:
        self._loop.call_soon_threadsafe(self.line.signal, message)

    async def until(self, is_true: Callable[[], bool]) -> None:
        async with asyncio.timeout(10):
            while not is_true():
                await asyncio.sleep(0.01)


@pytest.fixture
async def ends() -> AsyncIterator[Ends]:
    pytest.importorskip("aiortc", reason="needs aiortc: pip install 'convai-lab[voice]'")
    ends = Ends()
    yield ends
    await ends.line.close()


async def test_a_page_and_a_line_hear_each_other(ends: Ends) -> None:
    with FakePage(ends.to_line) as page:
        ends.page = page
        ends.line.join()
        await ends.until(lambda: ends.line.state == "connected")
        ends.line.speaker.play(audio(1.0))
        page.say(tone(880, 0.6))
        await ends.until(lambda: page.loud_secs() > 0.9)
        await ends.until(lambda: len(ends.heard) > 32000 * 0.8)
        assert rms_dbfs(bytes(ends.heard)) > -40
        from convai_lab.voice.webrtc_track import BUFFER, NoBuffer

        [receiver, *_] = ends.line._connection.getReceivers()  # type: ignore[union-attr]
        assert isinstance(vars(receiver)[BUFFER], NoBuffer)  # else every answer is 80 ms later
        assert [state for state, _ in ends.states] == ["connecting", "connected"]
        assert (ends.refused, ends.signals[0]) == ([], {"type": "join", "room_id": "convai"})
        await asyncio.get_running_loop().run_in_executor(None, page.close)
        await ends.until(lambda: ends.line.state == "failed")
        assert "was lost" in str(ends.states[-1][1])


async def test_a_closed_line_leaves_no_task_behind(ends: Ends) -> None:
    before = asyncio.all_tasks()
    other = Ends()
    with FakePage(other.to_line) as page:
        other.page = page
        other.line.join()
        await other.until(lambda: other.line.state == "connected")
        await other.line.close()
        await asyncio.sleep(0.05)
        assert asyncio.all_tasks() - before == set()
        assert other.line.state == "closed"


async def test_a_page_without_an_address_is_given_up_in_words(ends: Ends, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(webrtc, "CONNECT_SECS", 0.3)
    with FakePage(ends.to_line, is_deaf=True) as page:
        ends.page = page
        ends.line.join()
        await ends.until(lambda: ends.line.state == "failed")
        assert "did not connect in 0.3 seconds" in str(ends.states[-1][1])
        monkeypatch.undo()
        ends.line.join()
        assert ends.line.state == "connecting"


async def test_a_line_is_not_flooded(ends: Ends) -> None:
    def flood() -> None:
        for number in range(1000):
            ends.line.signal({"room_id": "page", "candidate": {"candidate": f"candidate:{number}"}})

    with pytest.raises(InvalidValueError, match="too many messages at once"):
        flood()
    await ends.until(lambda: len(ends.refused) >= 200)
    assert "before the offer" in ends.refused[0]


async def test_a_page_has_a_limited_number_of_addresses(ends: Ends) -> None:
    with FakePage(ends.to_line, is_deaf=True) as page:
        ends.page = page
        ends.line.join()
        await ends.until(lambda: any("sdp" in message for message in ends.signals))
        for number in range(102):
            text = f"candidate:{number} 1 udp 1 127.0.0.{number} {20000 + number} typ host"
            ends.line.signal({"room_id": "page", "candidate": {"candidate": text, "sdpMid": "0", "sdpMLineIndex": 0}})
        ends.line.signal({"room_id": "page", "candidate": {"candidate": "nonsense"}})
        await ends.until(lambda: bool(ends.refused))
    assert "100 addresses at most" in ends.refused[0]


async def test_a_candidate_of_nonsense_is_refused(ends: Ends) -> None:
    with FakePage(ends.to_line, is_deaf=True) as page:
        ends.page = page
        ends.line.join()
        await ends.until(lambda: any("sdp" in message for message in ends.signals))
        ends.line.signal({"room_id": "page", "candidate": {"candidate": "candidate:what is this"}})
        await ends.until(lambda: bool(ends.refused))
    assert "is no candidate of ICE" in ends.refused[0]


def test_a_missing_package_is_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "aiortc", None)
    with pytest.raises(MissingPackageError) as missing:
        webrtc.load_aiortc()
    assert str(missing.value) == "Sound over WebRTC needs the package aiortc: pip install 'convai-lab[voice]'"
