"""Recorded clips: what a page's recorder makes is heard, and nothing else is opened on behalf of what it sent."""

from __future__ import annotations

import asyncio
import contextlib
import io
import math
import random
import socket

import pytest

from convai_lab.errors import InvalidValueError
from convai_lab.server.live_clips import decode_clip
from convai_lab.voice.audio import tone

av = pytest.importorskip("av", reason="needs PyAV: pip install 'convai-lab[voice]'")


def recorded(container: str, codec: str, rate_hz: int) -> bytes:
    """Return half a second of a tone as a recorder would make it."""
    file = io.BytesIO()
    with av.open(file, "w", format=container) as made:
        stream = made.add_stream(codec, rate=rate_hz, layout="mono")
        pcm = tone(440.0, 0.5, 16000)
        frame = av.AudioFrame(format="s16", layout="mono", samples=len(pcm) // 2)
        frame.planes[0].update(pcm)
        frame.sample_rate = 16000
        resampler = av.AudioResampler(stream.format, "mono", rate_hz, frame_size=960)
        for piece in [*resampler.resample(frame), *resampler.resample(None)]:
            made.mux(stream.encode(piece))
        made.mux(stream.encode(None))
    return file.getvalue()


@pytest.mark.parametrize(
    ("container", "codec", "rate_hz"),
    [
        ("webm", "libopus", 48000),
        ("ogg", "libopus", 48000),
        ("wav", "pcm_s16le", 48000),
        ("mp4", "aac", 48000),
        ("flac", "flac", 44100),
    ],
)
async def test_what_recorders_make_is_heard(container: str, codec: str, rate_hz: int) -> None:
    pcm = await decode_clip(recorded(container, codec, rate_hz))
    assert math.isclose(len(pcm) / 2 / 16000, 0.5, abs_tol=0.1)
    assert any(pcm)


async def test_a_clip_of_a_tap_on_the_button_says_to_hold_it() -> None:
    only_beginning = recorded("webm", "libopus", 48000)[:200]
    with pytest.raises(InvalidValueError, match="clip: is empty: hold the button while you speak"):
        await decode_clip(only_beginning)


async def test_a_clip_that_asks_for_a_port_of_this_machine_is_refused_at_once() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    clip = f"v=0\no=- 0 0 IN IP4 127.0.0.1\ns=x\nc=IN IP4 127.0.0.1\nt=0 0\nm=audio {port} RTP/AVP 0\n"
    async with asyncio.timeout(10):  # a port that was opened would be listened at for twenty seconds
        with pytest.raises(InvalidValueError, match="clip: is no recording that can be read"):
            await decode_clip(clip.encode())


@pytest.mark.parametrize("seed", range(5))
async def test_a_damaged_recording_is_refused_in_words_or_heard_as_far_as_it_goes(seed: int) -> None:
    chance, data = random.Random(seed), bytearray(recorded("webm", "libopus", 48000))
    for _ in range(20):
        data[chance.randrange(4, len(data))] = chance.randrange(256)
    with contextlib.suppress(InvalidValueError):
        assert len(await decode_clip(bytes(data))) <= 2 * 16000 * 120
