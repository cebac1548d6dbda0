"""Audio: how is sound written down, at which rate, and how does it get from one form to another?

Inside, sound is 16-bit little-endian mono PCM `bytes` at a named rate. numpy and soxr are imported on first use.
"""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from convai_lab.errors import InvalidValueError, MissingPackageError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Samples = NDArray[np.int16]
    Codes = NDArray[np.uint8]

SAMPLE_BYTES = 2
FULL_SCALE = 32768
SILENCE_DBFS = -100.0
"""What `rms_dbfs` says of digital silence."""
SESSION_RATE_HZ = 16000
FRAME_MS = 20
FRAME_BYTES = SESSION_RATE_HZ * FRAME_MS // 1000 * SAMPLE_BYTES
"""One frame of a session's input: 20 ms at 16 kHz."""
PCM_RATES_HZ = (8000, 16000, 22050, 24000, 32000, 44100, 48000)
FORMAT_NAMES = (*(f"pcm_{rate}" for rate in PCM_RATES_HZ), "ulaw_8000")
"""The formats of the platform, for input and output."""
MIN_RATE_HZ, MAX_RATE_HZ = 4000, 384_000
TELEPHONE_HZ = 8000


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
        return Sound(resample(self.pcm, self.rate_hz, rate_hz), rate_hz)


@dataclass(frozen=True)
class AudioFormat:
    """One of the platform's audio formats.

    Example:
        >>> AudioFormat.parse("ulaw_8000").encode(silence(0.001, 8000)).hex()
        'ffffffffffffffff'
    """

    name: str
    encoding: Literal["pcm", "ulaw"]
    rate_hz: int

    @classmethod
    def parse(cls, name: str) -> AudioFormat:
        """Return the format of that name.

        Raises:
            InvalidValueError: There is no such format.
        """
        if not isinstance(name, str) or name not in FORMAT_NAMES:
            shown = repr(name)[:60]
            raise InvalidValueError(f"{shown} is no audio format here: use one of {', '.join(FORMAT_NAMES)}")
        encoding, rate = name.split("_")
        return cls(name, "ulaw" if encoding == "ulaw" else "pcm", int(rate))

    @property
    def sample_bytes(self) -> int:
        """Return the bytes of one sample on the wire."""
        return 1 if self.encoding == "ulaw" else SAMPLE_BYTES

    def decode(self, data: bytes) -> bytes:
        """Return PCM at this format's rate.

        Raises:
            InvalidValueError: The bytes are not whole samples; a `Framer` keeps the rest for the next chunk.
        """
        if self.encoding == "ulaw":
            return bytes(_ulaw_values()[_numpy().frombuffer(data, dtype="u1")].tobytes())
        _require_whole(data, self.name)
        return bytes(data)

    def encode(self, pcm: bytes) -> bytes:
        """Return PCM of this format's rate as it goes over the wire."""
        _require_whole(pcm, self.name)
        if self.encoding == "ulaw":
            return bytes(_ulaw_codes()[_numpy().frombuffer(pcm, dtype="<u2")].tobytes())
        return bytes(pcm)


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


class Resampler:
    """Changes the rate of a stream; any byte counts are fine, and nothing is lost once it is flushed.

    The stream is late by `delay_secs` (measured, see the tests): about 20 ms between 16 and 48 kHz, and less than
    15 ms where one side is a telephone at 8 kHz, for which a shorter filter is used. Equal rates pass unchanged.
    """

    def __init__(self, from_hz: int, to_hz: int) -> None:
        self.from_hz, self.to_hz = _checked_rate(from_hz), _checked_rate(to_hz)
        self._samples = Framer(SAMPLE_BYTES)
        self._stream = None if from_hz == to_hz else self._new_stream()

    def feed(self, pcm: bytes) -> bytes:
        """Take some audio and return what is ready at the new rate."""
        pcm = self._samples.whole(pcm)
        if self._stream is None or not pcm:
            return pcm
        return self._run(pcm, last=False)

    def flush(self) -> bytes:
        """Return what the filter still holds, and start afresh; half a sample at the end is dropped."""
        self._samples.flush()
        if self._stream is None:
            return b""
        rest = self._run(b"", last=True)
        self._stream = self._new_stream()
        return rest

    def _run(self, pcm: bytes, *, last: bool) -> bytes:
        stream: Any = self._stream
        samples = _numpy().frombuffer(pcm, dtype="<i2")
        return bytes(stream.resample_chunk(samples, last=last).astype("<i2", copy=False).tobytes())

    def _new_stream(self) -> Any:
        quality = "LQ" if TELEPHONE_HZ in (self.from_hz, self.to_hz) else "HQ"
        return _soxr().ResampleStream(self.from_hz, self.to_hz, 1, dtype="int16", quality=quality)


def resample(pcm: bytes, from_hz: int, to_hz: int) -> bytes:
    """Return a whole sound at another rate; it keeps its length in time and its place."""
    _require_whole(pcm, "pcm")
    if from_hz == to_hz or not pcm:
        return pcm
    samples = _numpy().frombuffer(pcm, dtype="<i2")
    done = _soxr().resample(samples, _checked_rate(from_hz), _checked_rate(to_hz), quality="HQ")
    return bytes(done.astype("<i2", copy=False).tobytes())


def rms_dbfs(pcm: bytes) -> float:
    """Return the level in dB below full scale; a full-scale sine is -3, digital silence `SILENCE_DBFS`."""
    samples = _numpy().frombuffer(pcm, dtype="<i2", count=len(pcm) // SAMPLE_BYTES).astype("f4")
    if not len(samples):
        return SILENCE_DBFS
    power = float(samples @ samples) / len(samples) / FULL_SCALE**2
    return max(SILENCE_DBFS, 10 * math.log10(power)) if power > 0 else SILENCE_DBFS


def silence(secs: float, rate_hz: int = SESSION_RATE_HZ) -> bytes:
    """Return so many seconds of digital silence."""
    return bytes(SAMPLE_BYTES * _sample_count(secs, rate_hz))


def tone(hz: float, secs: float, rate_hz: int = SESSION_RATE_HZ, *, dbfs: float = -12.0) -> bytes:
    """Return a sine of that frequency; `dbfs` is its level as `rms_dbfs` tells it."""
    np = _numpy()
    peak = FULL_SCALE * 10 ** (dbfs / 20) * math.sqrt(2)
    phase = 2 * np.pi * hz / rate_hz * np.arange(_sample_count(secs, rate_hz))
    return _to_pcm(peak * np.sin(phase))


def noise(secs: float, rate_hz: int = SESSION_RATE_HZ, *, dbfs: float, seed: int) -> bytes:
    """Return white noise at that level; the same seed gives the same noise."""
    values = _numpy().random.default_rng(seed).standard_normal(_sample_count(secs, rate_hz), dtype="f4")
    return _to_pcm(values * (FULL_SCALE * 10 ** (dbfs / 20)))


def gain(pcm: bytes, db: float) -> bytes:
    """Return the sound louder or softer by so many dB; what does not fit is clipped."""
    _require_whole(pcm, "pcm")
    return _to_pcm(_numpy().frombuffer(pcm, dtype="<i2").astype("f4") * 10 ** (db / 20))


def mix(*tracks: bytes) -> bytes:
    """Return sounds of the same rate on top of each other, as long as the longest; what does not fit is clipped."""
    np = _numpy()
    total = np.zeros(max((len(track) for track in tracks), default=0) // SAMPLE_BYTES, dtype="i4")
    for track in tracks:
        _require_whole(track, "pcm")
        total[: len(track) // SAMPLE_BYTES] += np.frombuffer(track, dtype="<i2")
    return bytes(np.clip(total, -FULL_SCALE, FULL_SCALE - 1).astype("<i2").tobytes())


def _to_pcm(values: Any) -> bytes:
    np = _numpy()
    return bytes(np.clip(np.rint(values), -FULL_SCALE, FULL_SCALE - 1).astype("<i2").tobytes())


def _sample_count(secs: float, rate_hz: int) -> int:
    if not 0 <= secs < math.inf:
        raise InvalidValueError(f"a length is a number of seconds from 0 up, got {secs}", field="secs")
    return round(secs * rate_hz)


def _require_whole(data: bytes, name: str) -> None:
    if len(data) % SAMPLE_BYTES:
        raise InvalidValueError(f"{name}: {len(data)} bytes are no whole number of 16-bit samples")


def _checked_rate(rate_hz: int) -> int:
    if isinstance(rate_hz, bool) or not isinstance(rate_hz, int) or not MIN_RATE_HZ <= rate_hz <= MAX_RATE_HZ:
        raise InvalidValueError(f"a sample rate is from {MIN_RATE_HZ} to {MAX_RATE_HZ} Hz, got {rate_hz!r}")
    return rate_hz


@functools.cache
def _ulaw_values() -> Samples:
    """Return the 256 values of G.711 mu-law, in 16 bits."""
    np = _numpy()
    code = ~np.arange(256) & 0xFF
    segment, step = code >> 4 & 7, code & 15
    magnitude = (((2 * step + 33) << segment) - 33) * 4
    values: Samples = np.where(code & 0x80, -magnitude, magnitude).astype("<i2")
    return values


@functools.cache
def _ulaw_codes() -> Codes:
    """Return the mu-law code of every 16-bit sample, by its bits as an unsigned number."""
    np = _numpy()
    linear = np.arange(65536).astype("u2").view("i2").astype("i4") >> 2
    magnitude = np.minimum(abs(linear), 8158) + 33
    segment = np.floor(np.log2(magnitude)).astype("i4") - 5
    code = segment << 4 | magnitude >> (segment + 1) & 15
    codes: Codes = (code ^ np.where(linear < 0, 0x7F, 0xFF)).astype("u1")
    return codes


def _numpy() -> Any:
    import numpy

    return numpy


def _soxr() -> Any:
    try:
        import soxr
    except ImportError:
        raise MissingPackageError("soxr", extra="voice", needed_for="Changing the sample rate of audio") from None
    return soxr
