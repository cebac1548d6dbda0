"""VAD: is the user speaking, frame by frame, and since when?

The engine wants its own number of samples at a time; here any frames go in. All lengths are samples of audio.
"""

from __future__ import annotations

from array import array

from convai_lab.providers.base import VAD
from convai_lab.voice.audio import SAMPLE_BYTES, SESSION_RATE_HZ

SPEECH_FROM = 0.5
"""Speech begins at this probability,"""
SPEECH_TO = 0.35
"""and goes on down to this one."""
GAP_MS = 120
"""Pauses up to this long lie within a word: they do not end a burst of speech."""


AUDIBLE_SHARE = 0.05
"""Speech is audible down to this share of the burst's loudest sample (-26 dB)."""
AUDIBLE_BLOCK = 160
"""It is looked for in blocks of 10 ms."""


class SpeechDetector:
    """Follows one user's voice.

    `probability` is the engine's newest one, `is_speech` whether there is speech now. A burst is speech with no
    gap longer than `GAP_MS`: `burst_start` and `last_speech` are where it began and when speech was last heard,
    `burst_samples` how much speech is in it (0 when there is none). An engine goes on hearing speech for a while after
    it ended (60 to 90 ms, measured); `last_audible` is where it ended in the audio itself, which latency counts from.
    """

    def __init__(self, vad: VAD) -> None:
        self.probability, self.is_speech = 0.0, False
        self.position = 0
        self.burst_start, self.burst_samples, self.last_speech = 0, 0, 0
        self.last_audible, self._loudest = 0, 0
        self._vad, self._hop_bytes = vad, vad.hop * SAMPLE_BYTES
        self._hop = vad.hop * SESSION_RATE_HZ // vad.rate_hz
        self._gap = samples_of(GAP_MS)
        self._rest = b""
        self._is_fresh = True

    def hear(self, pcm: bytes) -> None:
        """Take some audio, a whole number of samples."""
        self.position += len(pcm) // SAMPLE_BYTES
        data, size = self._rest + pcm if self._rest else pcm, self._hop_bytes
        at = 0
        while len(data) - at >= size:
            at += size
            self._judge(data[at - size : at], self.position - (len(data) - at) // SAMPLE_BYTES)
        self._rest = data[at:]

    def hear_silence(self, samples: int) -> None:
        """Take so much silence at once: nobody needs to be asked whether it is speech."""
        self.position += samples
        self._rest = b""
        self.probability, self.is_speech = 0.0, False
        if not self._is_fresh:
            self._vad.reset()
            self._is_fresh = True
        self._close_burst(self.position)

    def forget(self) -> None:
        """Start afresh: a burst under way is none any more."""
        self.burst_samples = 0

    def _judge(self, frame: bytes, end: int) -> None:
        self.probability = self._vad.probability(frame)
        self._is_fresh = False
        self.is_speech = self.probability >= (SPEECH_TO if self.is_speech else SPEECH_FROM)
        if not self.is_speech:
            self._close_burst(end)
            return
        if not self.burst_samples:
            self.burst_start, self._loudest = end - self._hop, 0
        self.burst_samples += self._hop
        self.last_speech = end
        self._find_audible(frame, end)

    def _find_audible(self, frame: bytes, end: int) -> None:
        """Note where the sound of this hop ends, if it is as loud as speech is here."""
        samples = array("h", frame)
        blocks = range(0, len(samples), AUDIBLE_BLOCK)
        levels = [max(max(block), -min(block)) for block in (samples[at : at + AUDIBLE_BLOCK] for at in blocks)]
        self._loudest = max(self._loudest, *levels)
        for left, level in enumerate(reversed(levels)):
            if level >= AUDIBLE_SHARE * self._loudest:
                self.last_audible = end - left * self._hop // len(levels)
                return

    def _close_burst(self, now: int) -> None:
        if self.burst_samples and now - self.last_speech > self._gap:
            self.burst_samples = 0


def samples_of(millis: float) -> int:
    """Return how many samples of a session's input last so many milliseconds."""
    return round(millis * SESSION_RATE_HZ / 1000)


def secs_of(samples: int) -> float:
    """Return how many seconds so many samples of a session's input last."""
    return samples / SESSION_RATE_HZ
