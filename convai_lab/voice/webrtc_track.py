"""WebRTC track: how does our sound become frames of aiortc, and its frames our sound?

Imported only once aiortc is known to be there.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from fractions import Fraction
from typing import TYPE_CHECKING, Any

import av
from aiortc import MediaStreamTrack
from aiortc.mediastreams import MediaStreamError

from convai_lab.clock import Clock
from convai_lab.voice.audio import FRAME_MS, SESSION_RATE_HZ, silence
from convai_lab.voice.ear import LATE_SECS
from convai_lab.voice.webrtc import FRAME_SAMPLES, LINE_RATE_HZ

if TYPE_CHECKING:
    from convai_lab.voice.webrtc import Speaker

STANDSTILL_SECS = 0.2
"""After a longer halt of this process the track goes on from now, instead of rushing through what was missed."""


BUFFER = "_RTCRtpReceiver__jitter_buffer"
"""What aiortc calls the place where a receiver keeps packets back."""
OVERTAKEN = 100
"""A packet of a number so little smaller than the newest one was overtaken; otherwise the numbers begin anew."""


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


@dataclass
class SoundFrame:
    """One frame of encoded sound, and when it was spoken by the speaker's clock."""

    data: bytes
    timestamp: int


class NoBuffer:
    """Passes every packet of sound on as it arrives: each is a whole frame, and whoever listens copes with bursts.

    It stands in for aiortc's own buffer, which keeps 80 ms of every answer back, and after each lost packet holds
    everything up for a third of a second, and all that follows for as long as the call lasts.
    """

    def __init__(self) -> None:
        self._newest: int | None = None

    def add(self, packet: Any) -> tuple[bool, SoundFrame | None]:
        """Return False (nothing is to be asked for again), and a packet's frame; an overtaken one has none."""
        number: int = packet.sequence_number
        if self._newest is not None and (self._newest - number) % (1 << 16) < OVERTAKEN:
            return False, None
        self._newest = number
        return False, SoundFrame(packet._data, packet.timestamp)


def hear_at_once(connection: Any) -> None:
    """Let a connection's sound be heard as it arrives.

    There is no public way; where aiortc is made otherwise, the sound comes later and nothing else changes.
    """
    for receiver in connection.getReceivers():
        if receiver.track is not None and receiver.track.kind == "audio" and BUFFER in vars(receiver):
            vars(receiver)[BUFFER] = NoBuffer()


async def pieces_of(track: MediaStreamTrack) -> AsyncIterator[bytes]:
    """Yield a track's sound as 16-bit mono PCM at 16 kHz until it ends; what was lost on the way is silence."""
    resampler = av.AudioResampler("s16", "mono", SESSION_RATE_HZ)
    due: Fraction | None = None
    while True:
        try:
            frame = await track.recv()
        except MediaStreamError:
            return
        if not isinstance(frame, av.AudioFrame):
            continue
        begins = _begins(frame)
        if due is not None and begins is not None and FRAME_MS / 2000 < begins - due < LATE_SECS:
            yield silence(float(begins - due), SESSION_RATE_HZ)
        due = None if begins is None else begins + Fraction(frame.samples, frame.sample_rate)
        for piece in resampler.resample(frame):
            yield bytes(piece.planes[0])[: piece.samples * 2]


def _begins(frame: av.AudioFrame) -> Fraction | None:
    """Return when a frame was spoken, in seconds of the speaker's own clock, which late packets do not change."""
    return None if frame.pts is None or frame.time_base is None else frame.pts * frame.time_base
