"""Frames of a WebRTC call: each is heard as it comes, and what was lost on the way is told from what is late."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import pytest

av = pytest.importorskip("av", reason="needs aiortc: pip install 'convai-lab[voice]'")
pytest.importorskip("aiortc", reason="needs aiortc: pip install 'convai-lab[voice]'")

from aiortc.mediastreams import MediaStreamError  # noqa: E402 - only where it is installed

from convai_lab.voice.audio import tone  # noqa: E402
from convai_lab.voice.webrtc import FRAME_SAMPLES  # noqa: E402
from convai_lab.voice.webrtc_track import NoBuffer, pieces_of  # noqa: E402


@dataclass
class Packet:
    """What a buffer looks at."""

    sequence_number: int
    timestamp: int
    _data: bytes


def given_on(*numbers: int) -> list[int]:
    """Return which packets of these numbers are given on, each as it arrives."""
    buffer = NoBuffer()
    added = [buffer.add(Packet(number % 65536, number * 960, b"%d" % number)) for number in numbers]
    return [int(frame.data) for asks, frame in added if frame is not None and not asks]


def test_a_lost_packet_holds_nothing_up_and_one_that_was_overtaken_or_comes_twice_is_left_out() -> None:
    assert given_on(1, 2, 4, 5) == [1, 2, 4, 5]
    assert given_on(1, 3, 2, 3, 4) == [1, 3, 4]
    assert given_on(65534, 65535, 65536, 65537) == [65534, 65535, 65536, 65537]
    assert given_on(5000, 5001, 40, 41) == [5000, 5001, 40, 41], "whoever begins anew is heard"


class Track:
    """A track of such frames of 20 ms, by their place in time."""

    def __init__(self, *places: int) -> None:
        self._frames = [self._frame(place) for place in places]

    def _frame(self, place: int) -> Any:
        frame = av.AudioFrame(format="s16", layout="mono", samples=FRAME_SAMPLES)
        frame.planes[0].update(tone(440, 0.02, 48000))
        frame.sample_rate, frame.pts, frame.time_base = 48000, place * FRAME_SAMPLES, Fraction(1, 48000)
        return frame

    async def recv(self) -> Any:
        if not self._frames:
            raise MediaStreamError
        return self._frames.pop(0)


@pytest.mark.parametrize(
    ("places", "frames"),
    [((0, 1, 2, 3), 4), ((0, 1, 5, 6), 7), ((0, 1, 500, 501), 4), ((0, 1, 1, 2), 4)],
    ids=["on time or late", "three were lost", "another clock", "said twice"],
)
async def test_what_was_lost_on_the_way_is_as_long_a_silence(places: tuple[int, ...], frames: int) -> None:
    pcm = b"".join([piece async for piece in pieces_of(Track(*places))])  # type: ignore[arg-type]
    assert len(pcm) / 640 == pytest.approx(frames, abs=0.1)
