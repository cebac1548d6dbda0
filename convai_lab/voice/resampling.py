"""Resampling: how does a stream of sound change its rate, with how much delay?

Rates of which one is a multiple of the other (16 and 48 kHz, a telephone's 8 and 16 kHz) go through a short filter
of our own: soxr works in blocks, and would keep up to 37 ms of 48 kHz audio and 115 ms of a telephone's waiting.
All other pairs (22050, 44100, 24000 to 16000) go through soxr.
"""

from __future__ import annotations

import functools
from typing import Any, NamedTuple, Protocol

from convai_lab.errors import MissingPackageError
from convai_lab.voice.sound import FULL_SCALE, SAMPLE_BYTES, Framer, checked_rate, require_whole

CROSSINGS = 24
"""Half the length of the short filter, in samples of the lower rate: 1.5 ms at 16 kHz, 3 ms at 8 kHz."""
KAISER_BETA = 7.5
CUTOFF = 0.93
"""Where the short filter is at half, as a share of the lower rate's band: 80 dB of what would fold is gone."""
BLOCK = 8192
"""So many windows are computed at once, so that a chunk of megabytes needs no gigabytes."""


class Resampler:
    """Changes the rate of a stream; any byte counts are fine, and nothing is lost once it is flushed.

    What comes out keeps its place in time: sample 0 stays sample 0, and after `flush` the length is the same. The
    stream runs late by at most `delay_secs`. Equal rates pass unchanged.
    """

    def __init__(self, from_hz: int, to_hz: int) -> None:
        self.from_hz, self.to_hz = checked_rate(from_hz), checked_rate(to_hz)
        self._samples = Framer(SAMPLE_BYTES)
        self._stream = _stream(from_hz, to_hz)

    @property
    def delay_secs(self) -> float:
        """Return how much audio may wait inside: none, 1.5 to 3 ms, or 60 ms with soxr (measured in the tests)."""
        return self._stream.delay_secs if self._stream else 0.0

    def feed(self, pcm: bytes) -> bytes:
        """Take some audio and return what is ready at the new rate."""
        pcm = self._samples.whole(pcm)
        return self._stream.run(pcm, last=False) if self._stream and pcm else pcm

    def flush(self) -> bytes:
        """Return what still waits, and start afresh; half a sample at the end is dropped."""
        self._samples.flush()
        if self._stream is None:
            return b""
        rest = self._stream.run(b"", last=True)
        self._stream = _stream(self.from_hz, self.to_hz)
        return rest


def resample(pcm: bytes, from_hz: int, to_hz: int) -> bytes:
    """Return a whole sound at another rate; it keeps its length in time and its place."""
    require_whole(pcm)
    resampler = Resampler(from_hz, to_hz)
    return resampler.feed(pcm) + resampler.flush()


class _Stream(Protocol):
    delay_secs: float

    def run(self, pcm: bytes, *, last: bool) -> bytes: ...


def _stream(from_hz: int, to_hz: int) -> _Stream | None:
    if from_hz == to_hz:
        return None
    if max(from_hz, to_hz) % min(from_hz, to_hz) == 0:
        return _ShortFilter(from_hz, to_hz)
    return _Soxr(from_hz, to_hz)


class _Filter(NamedTuple):
    """`weights` turn a window of the input into one or more samples; the next window is `step` samples on."""

    weights: Any
    step: int
    lead: int


class _ShortFilter:
    """Multiplies or divides the rate by a whole number, by a windowed sinc."""

    def __init__(self, from_hz: int, to_hz: int) -> None:
        self.delay_secs = CROSSINGS / min(from_hz, to_hz)
        self._filter = _short_filter(to_hz // from_hz or 1, from_hz // to_hz or 1)
        self._held = _numpy().zeros(self._filter.lead, dtype="f4")

    def run(self, pcm: bytes, *, last: bool) -> bytes:
        np = _numpy()
        weights, step, lead = self._filter
        end = [np.zeros(lead, dtype="f4")] if last else []
        samples = np.concatenate([self._held, np.frombuffer(pcm, dtype="<i2").astype("f4"), *end])
        count = max(0, (len(samples) - len(weights)) // step + 1)
        self._held = samples[count * step :]
        return b"".join(self._block(samples[at * step :], min(BLOCK, count - at)) for at in range(0, count, BLOCK))

    def _block(self, samples: Any, count: int) -> bytes:
        np = _numpy()
        weights, step, _ = self._filter
        stride = samples.strides[0]
        windows = np.lib.stride_tricks.as_strided(samples, (count, len(weights)), (stride * step, stride))
        return _pcm((windows @ weights).reshape(-1))


@functools.cache
def _short_filter(up: int, down: int) -> _Filter:
    """Return the filter that multiplies the rate by `up`, or divides it by `down`."""
    np = _numpy()
    ratio, half = max(up, down), CROSSINGS * max(up, down)
    reach = np.arange(-half, half + 1)
    sinc = CUTOFF / ratio * np.sinc(CUTOFF / ratio * reach) * np.kaiser(2 * half + 1, KAISER_BETA)
    sinc /= sinc.sum()
    if down > 1:
        return _Filter(sinc[:, None].astype("f4"), down, half)
    spread = np.zeros((2 * CROSSINGS + 2) * up)
    spread[: len(sinc)] = sinc * up
    weights = spread.reshape(-1, up)[2 * CROSSINGS :: -1]
    return _Filter(np.ascontiguousarray(weights, dtype="f4"), 1, CROSSINGS)


class _Soxr:
    """Any other pair of rates."""

    delay_secs = 0.06

    def __init__(self, from_hz: int, to_hz: int) -> None:
        try:
            import soxr
        except ImportError:
            raise MissingPackageError(
                "soxr", extra="voice", needed_for=f"Changing audio from {from_hz} to {to_hz} Hz"
            ) from None
        self._stream = soxr.ResampleStream(from_hz, to_hz, 1, dtype="float32", quality="HQ")

    def run(self, pcm: bytes, *, last: bool) -> bytes:
        samples = _numpy().frombuffer(pcm, dtype="<i2").astype("f4")  # of 16 bits, soxr would add random dither
        return _pcm(self._stream.resample_chunk(samples, last=last))


def _pcm(made: Any) -> bytes:
    np = _numpy()
    return bytes(np.clip(np.rint(made), -FULL_SCALE, FULL_SCALE - 1).astype("<i2").tobytes())


def _numpy() -> Any:
    import numpy

    return numpy
