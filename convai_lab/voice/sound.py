"""Sound: what is a piece of audio, how loud is it, and how is one made or mixed?

Sound is 16-bit little-endian mono PCM `bytes` at a named rate. numpy is imported on first use.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

from convai_lab.errors import InvalidValueError

SAMPLE_BYTES = 2
FULL_SCALE = 32768
SILENCE_DBFS = -100.0
"""What `rms_dbfs` says of digital silence."""
AUDIBLE_DBFS = -50.0
"""A voice is heard from here on: engines begin with some milliseconds of less."""
SESSION_RATE_HZ = 16000
FRAME_MS = 20
FRAME_BYTES = SESSION_RATE_HZ * FRAME_MS // 1000 * SAMPLE_BYTES
"""One frame of a session's input: 20 ms at 16 kHz."""
MIN_RATE_HZ, MAX_RATE_HZ = 4000, 384_000
LONGEST_SECS = 24 * 3600.0


class Sound(NamedTuple):
    """Mono 16-bit PCM and its rate."""

    pcm: bytes
    rate_hz: int

    @property
    def secs(self) -> float:
        """Return how long it lasts."""
        return len(self.pcm) // SAMPLE_BYTES / self.rate_hz

    def at(self, rate_hz: int) -> Sound:
        """Return the same sound at another rate."""
        from convai_lab.voice.resampling import resample

        return Sound(resample(self.pcm, self.rate_hz, rate_hz), rate_hz)

    def __repr__(self) -> str:
        return f"Sound({self.secs:.2f} s at {self.rate_hz} Hz)"


class Framer:
    """Cuts a stream of chunks of any size into frames of `frame_bytes`; what is left waits for the next chunk."""

    def __init__(self, frame_bytes: int = FRAME_BYTES) -> None:
        if frame_bytes < 1:
            raise InvalidValueError(f"a frame has at least one byte, got {frame_bytes}", field="frame_bytes")
        self.frame_bytes = frame_bytes
        self._rest = b""

    def feed(self, data: bytes) -> list[bytes]:
        """Take a chunk and return the frames that are complete now."""
        whole, size = self.whole(data), self.frame_bytes
        return [whole[at : at + size] for at in range(0, len(whole), size)]

    def whole(self, data: bytes) -> bytes:
        """Take a chunk and return all complete frames in one piece; `Framer(2).whole` mends odd byte counts."""
        data = self._rest + data if self._rest else bytes(data)
        cut = len(data) - len(data) % self.frame_bytes
        self._rest = data[cut:]
        return data[:cut] if self._rest else data

    def flush(self) -> bytes:
        """Return what is left, less than a frame, and start afresh."""
        rest, self._rest = self._rest, b""
        return rest


def rms_dbfs(pcm: bytes) -> float:
    """Return the level in dB below full scale; a full-scale sine is -3, digital silence `SILENCE_DBFS`."""
    samples = _numpy().frombuffer(pcm, dtype="<i2", count=len(pcm) // SAMPLE_BYTES).astype("f4")
    if not len(samples):
        return SILENCE_DBFS
    power = float(samples @ samples) / len(samples) / FULL_SCALE**2
    return max(SILENCE_DBFS, 10 * math.log10(power)) if power > 0 else SILENCE_DBFS


def first_audible(pcm: bytes, *, dbfs: float = AUDIBLE_DBFS) -> int | None:
    """Return the first sample that stands out of the silence before it, or None when all is silent."""
    np = _numpy()
    samples = np.frombuffer(pcm, dtype="<i2", count=len(pcm) // SAMPLE_BYTES).astype("i4")
    loud = np.flatnonzero(abs(samples) >= FULL_SCALE * 10 ** (dbfs / 20))
    return int(loud[0]) if len(loud) else None


def silence(secs: float, rate_hz: int = SESSION_RATE_HZ) -> bytes:
    """Return so many seconds of digital silence."""
    return bytes(SAMPLE_BYTES * _sample_count(secs, rate_hz))


def tone(hz: float, secs: float, rate_hz: int = SESSION_RATE_HZ, *, dbfs: float = -12.0) -> bytes:
    """Return a sine of that frequency; `dbfs` is its level as `rms_dbfs` tells it."""
    np = _numpy()
    peak = FULL_SCALE * 10 ** (dbfs / 20) * math.sqrt(2)
    return _to_pcm(peak * np.sin(2 * np.pi * hz / rate_hz * np.arange(_sample_count(secs, rate_hz))))


def noise(secs: float, rate_hz: int = SESSION_RATE_HZ, *, dbfs: float, seed: int) -> bytes:
    """Return white noise at that level; the same seed gives the same noise."""
    values = _numpy().random.default_rng(seed).standard_normal(_sample_count(secs, rate_hz), dtype="f4")
    return _to_pcm(values * (FULL_SCALE * 10 ** (dbfs / 20)))


def gain(pcm: bytes, db: float) -> bytes:
    """Return the sound louder or softer by so many dB; what does not fit is clipped."""
    require_whole(pcm)
    return _to_pcm(_numpy().frombuffer(pcm, dtype="<i2").astype("f4") * 10 ** (db / 20))


def mix(*tracks: bytes) -> bytes:
    """Return sounds of the same rate on top of each other, as long as the longest; what does not fit is clipped."""
    np = _numpy()
    total = np.zeros(max((len(track) for track in tracks), default=0) // SAMPLE_BYTES, dtype="i4")
    for track in tracks:
        require_whole(track)
        total[: len(track) // SAMPLE_BYTES] += np.frombuffer(track, dtype="<i2")
    return _to_pcm(total)


def require_whole(data: bytes, *, what: str = "16-bit PCM") -> None:
    """Refuse bytes that are not whole 16-bit samples."""
    if len(data) % SAMPLE_BYTES:
        raise InvalidValueError(f"{what}: {len(data)} bytes are not a whole number of 16-bit samples")


def checked_rate(rate_hz: int) -> int:
    """Return a sample rate that a sound can have, or refuse it in words."""
    if isinstance(rate_hz, bool) or not isinstance(rate_hz, int) or not MIN_RATE_HZ <= rate_hz <= MAX_RATE_HZ:
        raise InvalidValueError(f"a whole number from {MIN_RATE_HZ} to {MAX_RATE_HZ}, got {rate_hz!r}", field="rate_hz")
    return rate_hz


def _to_pcm(values: Any) -> bytes:
    np = _numpy()
    return bytes(np.clip(np.rint(values), -FULL_SCALE, FULL_SCALE - 1).astype("<i2").tobytes())


def _sample_count(secs: float, rate_hz: int) -> int:
    if not 0 <= secs <= LONGEST_SECS:
        raise InvalidValueError(f"a length is from 0 to {LONGEST_SECS:.0f} seconds, got {secs}", field="secs")
    return round(secs * checked_rate(rate_hz))


def _numpy() -> Any:
    import numpy

    return numpy
