"""WebRTC track: how does our sound become frames of aiortc, and its frames our sound?

Imported only once aiortc is known to be there.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from fractions import Fraction
from typing import TYPE_CHECKING, Any

import av
from aiortc import MediaStreamTrack
from aiortc.mediastreams import MediaStreamError

from convai_lab.clock import Clock
from convai_lab.voice.audio import FRAME_MS, SESSION_RATE_HZ
from convai_lab.voice.webrtc import FRAME_SAMPLES, LINE_RATE_HZ

if TYPE_CHECKING:
    from convai_lab.voice.webrtc import Speaker

STANDSTILL_SECS = 0.2
"""After a longer halt of this process the track goes on from now, instead of rushing through what was missed."""


class SpeakerTrack(MediaStreamTrack):
    """Takes a frame from a speaker every 20 ms."""

    kind = "audio"

    def __init__(self, speaker: Speaker, clock: Clock) -> None:
        super().__init__()
        self._speaker, self._clock = speaker, clock
        self._due: float | None = None
        self._sent = 0

    async def recv(self) -> av.AudioFrame:
        """Return the next frame, when it is due."""
        if self.readyState != "live":
            raise MediaStreamError
        now = self._clock.now()
        if self._due is None or now - self._due > STANDSTILL_SECS:
            self._due = now
        if self._due > now:
            await self._clock.sleep(self._due - now)
        self._due += FRAME_MS / 1000
        frame = av.AudioFrame(format="s16", layout="mono", samples=FRAME_SAMPLES)
        frame.planes[0].update(self._speaker.frame())
        frame.sample_rate, frame.pts, frame.time_base = LINE_RATE_HZ, self._sent, Fraction(1, LINE_RATE_HZ)
        self._sent += FRAME_SAMPLES
        return frame


def hear_at_once(connection: Any) -> None:
    """Let a connection's sound be heard as it arrives: aiortc keeps four frames of it back, 80 ms of every answer.

    One is enough: the order of packets does not depend on it, and whoever listens copes with frames in bursts. There
    is no public way; where aiortc is made otherwise, the sound comes later and nothing else changes.
    """
    for receiver in connection.getReceivers():
        buffer = getattr(receiver, "_RTCRtpReceiver__jitter_buffer", None)
        if getattr(buffer, "_prefetch", 0) > 1:
            vars(buffer)["_prefetch"] = 1


async def pieces_of(track: MediaStreamTrack) -> AsyncIterator[bytes]:
    """Yield a track's sound as 16-bit mono PCM at 16 kHz until it ends."""
    resampler = av.AudioResampler("s16", "mono", SESSION_RATE_HZ)
    while True:
        try:
            frame = await track.recv()
        except MediaStreamError:
            return
        if isinstance(frame, av.AudioFrame):
            for piece in resampler.resample(frame):
                yield bytes(piece.planes[0])[: piece.samples * 2]
