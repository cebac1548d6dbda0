"""Audio: how is sound written down on the wire, and where is everything else about sound?

Inside, sound is 16-bit little-endian mono PCM `bytes` at a named rate; this is also the one place to import from.
numpy and soxr are imported on first use.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from convai_lab.errors import InvalidValueError
from convai_lab.voice.resampling import Resampler, resample
from convai_lab.voice.sound import (
    FRAME_BYTES,
    FRAME_MS,
    FULL_SCALE,
    SAMPLE_BYTES,
    SESSION_RATE_HZ,
    SILENCE_DBFS,
    Framer,
    Sound,
    first_audible,
    gain,
    mix,
    noise,
    require_whole,
    rms_dbfs,
    silence,
    tone,
)
from convai_lab.voice.wav import read_wav, wav_bytes, write_wav

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Samples = NDArray[np.int16]
    Codes = NDArray[np.uint8]

__all__ = [
    "FORMAT_NAMES",
    "FRAME_BYTES",
    "FRAME_MS",
    "FULL_SCALE",
    "PCM_RATES_HZ",
    "SAMPLE_BYTES",
    "SESSION_RATE_HZ",
    "SILENCE_DBFS",
    "AudioFormat",
    "Framer",
    "Resampler",
    "Sound",
    "first_audible",
    "gain",
    "mix",
    "noise",
    "read_wav",
    "resample",
    "rms_dbfs",
    "silence",
    "tone",
    "wav_bytes",
    "write_wav",
]

PCM_RATES_HZ = (8000, 16000, 22050, 24000, 32000, 44100, 48000)
FORMAT_NAMES = (*(f"pcm_{rate}" for rate in PCM_RATES_HZ), "ulaw_8000")
"""The formats of the platform, for input and output."""


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
        require_whole(data, what=self.name)
        return bytes(data)

    def encode(self, pcm: bytes) -> bytes:
        """Return PCM of this format's rate as it goes over the wire."""
        require_whole(pcm, what=self.name)
        if self.encoding == "ulaw":
            return bytes(_ulaw_codes()[_numpy().frombuffer(pcm, dtype="<u2")].tobytes())
        return bytes(pcm)


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
