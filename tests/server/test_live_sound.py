"""The agent's sound on a live session: what was cut or taken back is silent, and what comes after it is heard."""

from __future__ import annotations

import json
from collections import Counter
from typing import Any

import pytest

from convai_lab.clock import VirtualClock
from convai_lab.server import live_frames as live
from convai_lab.server.live_conversation import LiveSocket
from convai_lab.server.live_media import LiveMedia
from convai_lab.server.socket_events import Problem
from convai_lab.server.socket_wire import Gone, Inbox
from convai_lab.voice.audio import AudioFormat
from convai_lab.voice.transport import AgentAudio
from convai_lab.voice.webrtc import Speaker

SECOND = bytes(2 * 16000)


class Kept:
    """An outbox that keeps what is sent."""

    def __init__(self) -> None:
        self.sent: list[dict[str, Any]] = []

    def wants(self, event_type: str) -> bool:
        return event_type != "vad_score"

    async def send(self, event: dict[str, Any]) -> None:
        self.sent.append(event)


class Line:
    """A connected line to a page."""

    def __init__(self) -> None:
        self.state, self.speaker = "connected", Speaker()

    async def close(self) -> None:
        self.state = "closed"


def by_webrtc(clock: VirtualClock) -> LiveMedia:
    media = LiveMedia(clock, lambda _: None)
    media.kind = "webrtc"
    vars(media)["_line"] = Line()
    return media


def heard_ids(events: list[dict[str, Any]]) -> list[int]:
    """Return the numbers of the sound that a client plays, which drops what is not newer than the last flush."""
    flushed, heard = 0, []
    for event in events:
        if event["type"] == "live_flush":
            flushed = event["event_id"]
        elif event["type"] == "interruption":
            flushed = event["interruption_event"]["event_id"]
        elif event["type"] == "audio" and event["audio_event"]["event_id"] > flushed:
            heard.append(event["audio_event"]["event_id"])
    return heard


def test_the_rest_of_what_the_agent_says_is_heard_when_the_line_is_lost_in_the_middle_of_it() -> None:
    clock, outbox = VirtualClock(), Kept()

    async def main() -> None:
        media = by_webrtc(clock)
        socket = LiveSocket(outbox, media=media, spoken_in=AudioFormat.parse("pcm_16000"), clock=clock)  # type: ignore[arg-type]
        socket.open()
        socket.send(AgentAudio(3 * SECOND, 16000, 1))
        await clock.sleep(1)
        await media.take(live.Choose("comm"))
        socket.send(AgentAudio(SECOND, 16000, 1))
        await clock.sleep(1)
        socket.flush(1)
        socket.send(AgentAudio(SECOND, 16000, 1))
        await media.close()
        await socket.close()

    clock.run(main())
    assert [event["type"] for event in outbox.sent] == ["live_flush", "audio", "audio", "interruption", "audio"]
    assert heard_ids(outbox.sent) == [2, 2]


@pytest.mark.parametrize(("cut", "left"), [(3, [4]), (1, [2, 3, 4]), (9, [])])
def test_an_interruption_silences_all_that_was_said_before_it(cut: int, left: list[int]) -> None:
    clock = VirtualClock()

    async def main() -> tuple[list[int], float]:
        media = by_webrtc(clock)
        for number in (1, 2, 3, 4):
            media.send(AgentAudio(SECOND, 16000, number))
        media.flush(cut)
        waiting, until = vars(vars(media)["_line"].speaker)["_waiting"], media.plays_until
        await media.close()
        return [audio.turn_id for audio in waiting], until

    assert clock.run(main()) == (left, 4.0 if left else 0.0)


def test_the_sound_that_waited_for_a_busy_notebook_is_taken_all_at_once() -> None:
    clock = VirtualClock()
    piece = json.dumps({"type": "live_sound", "pcm": "AAAA", "rate_hz": 48000})

    frames = [{"type": "websocket.receive", "text": piece}] * 2000

    class Burst:
        async def receive(self) -> dict[str, Any]:
            return frames.pop() if frames else {"type": "websocket.disconnect", "code": 1000}

    async def main() -> Counter[type]:
        inbox, taken = Inbox(Burst(), clock, read=live.read_live_frame), Counter[type]()  # type: ignore[arg-type]
        inbox.open()
        while not isinstance(message := await inbox.get(), Gone | Problem):
            taken[type(message)] += 1
        await inbox.close()
        return taken

    assert clock.run(main()) == {live.UserSound: 2000}
