"""WAV: how does a sound file become a sound, and a sound a file?"""

from __future__ import annotations

import os
import struct
from pathlib import Path
from typing import Any, NamedTuple

from convai_lab.errors import InvalidValueError
from convai_lab.voice.sound import FULL_SCALE, MAX_RATE_HZ, MIN_RATE_HZ, SAMPLE_BYTES, Sound, checked_rate

HEADER_BYTES = 44
MAX_FILE_BYTES = 512 << 20
BLOCK_FRAMES = 1 << 18
"""So many moments are converted at once, so that a file needs little more memory than its own size."""
DEFAULT_MAX_SECS = 2 * 3600.0
MAX_CHANNELS = 32
PCM, FLOAT, EXTENSIBLE = 1, 3, 0xFFFE
_WAVE_ONLY = (
    "only WAV files with 8 to 32-bit integer or 32-bit float samples can be read: "
    "convert it first, as ffmpeg -i IN OUT.wav does"
)


class _Shape(NamedTuple):
    encoding: int
    channels: int
    rate_hz: int
    bits: int

    @property
    def frame_bytes(self) -> int:
        return self.channels * self.bits // 8


def read_wav(path: str | os.PathLike[str], *, max_secs: float = DEFAULT_MAX_SECS) -> Sound:
    """Return the sound in a WAV file, its channels mixed to one, at the rate of the file.

    Samples may be integers of 8, 16, 24 or 32 bits or floats of 32 or 64; a file that was cut off, or is still being
    written, is read as far as it goes.

    Raises:
        InvalidValueError: The file is missing, no such WAV file, or longer than `max_secs`.
    """
    name = os.fspath(path)
    shape, data = _parts(_file_bytes(name), name)
    frames = len(data) // shape.frame_bytes
    if frames > max_secs * shape.rate_hz:
        raise InvalidValueError(f"{name} lasts {frames / shape.rate_hz:.0f} seconds; the limit is {max_secs:.0f}")
    size = BLOCK_FRAMES * shape.frame_bytes
    whole = data[: frames * shape.frame_bytes]
    return Sound(b"".join(_mono(whole[at : at + size], shape) for at in range(0, len(whole), size)), shape.rate_hz)


def write_wav(path: str | os.PathLike[str], sound: Sound) -> None:
    """Write a sound as a 16-bit WAV file."""
    Path(path).write_bytes(wav_bytes(sound))


def wav_bytes(sound: Sound) -> bytes:
    """Return a sound as the bytes of a 16-bit WAV file."""
    data = sound.pcm[: len(sound.pcm) // SAMPLE_BYTES * SAMPLE_BYTES]
    return wav_header(len(data), checked_rate(sound.rate_hz)) + data


def wav_header(data_bytes: int, rate_hz: int, *, channels: int = 1) -> bytes:
    """Return the 44 bytes before the samples of a 16-bit WAV file."""
    frame = channels * SAMPLE_BYTES
    shape = struct.pack("<HHIIHH", PCM, channels, rate_hz, rate_hz * frame, frame, 8 * SAMPLE_BYTES)
    return (
        struct.pack("<4sI4s4sI", b"RIFF", 36 + data_bytes, b"WAVE", b"fmt ", 16)
        + shape
        + struct.pack("<4sI", b"data", data_bytes)
    )


def _file_bytes(name: str) -> bytes:
    try:
        with open(name, "rb") as file:
            known = os.fstat(file.fileno()).st_size
            content = b"" if known > MAX_FILE_BYTES else file.read(MAX_FILE_BYTES + 1)
    except OSError as error:
        raise InvalidValueError(f"{name} cannot be read: {error.strerror or error}") from None
    if max(known, len(content)) > MAX_FILE_BYTES:
        raise InvalidValueError(f"{name} is larger than {MAX_FILE_BYTES >> 20} MB, the limit here")
    return content


def _parts(content: bytes, name: str) -> tuple[_Shape, memoryview]:
    """Return the shape and the samples of a WAV file, in whatever order and company its chunks come."""
    if len(content) < 12 or content[:4] != b"RIFF" or content[8:12] != b"WAVE":
        raise InvalidValueError(f"{name} is {_kind(content)}: {_WAVE_ONLY}")
    shape, at = None, 12
    while at + 8 <= len(content):
        tag, size = content[at : at + 4], int.from_bytes(content[at + 4 : at + 8], "little")
        at += 8
        if tag == b"fmt ":
            shape = _shape(content[at : at + size], name)
        elif tag == b"data":
            if shape is None:
                raise InvalidValueError(f"{name} is a damaged WAV file: its samples come before their format")
            end = len(content) if _is_open_ended(size, content) else at + size
            return shape, memoryview(content)[at:end]
        at += size + size % 2
    raise InvalidValueError(f"{name} is a damaged WAV file: it has no {'samples' if shape else 'format'}")


def _is_open_ended(size: int, content: bytes) -> bool:
    """Say whether a data chunk goes on to the end: streamed programs leave its size 0 or at its largest."""
    return size >= 0xFFFFFF00 or (size == 0 and int.from_bytes(content[4:8], "little") in (0, 0xFFFFFFFF))


def _kind(content: bytes) -> str:
    kinds = {
        b"ID3": "an MP3 file",
        b"\xff\xfb": "an MP3 file",
        b"\xff\xf3": "an MP3 file",
        b"\xff\xf2": "an MP3 file",
        b"FORM": "an AIFF file",
        b"OggS": "an Ogg file",
        b"fLaC": "a FLAC file",
    }
    kinds |= {b"RF64": "a WAV file of more than 4 GB", b"\x1aE\xdf\xa3": "a WebM file", b"caff": "a CAF file"}
    found = next((kind for start, kind in kinds.items() if content.startswith(start)), None)
    if content[4:8] == b"ftyp":
        return "an MP4 file"
    return found or ("empty" if not content else "not a WAV file")


def _shape(head: bytes, name: str) -> _Shape:
    if len(head) < 16:
        raise InvalidValueError(f"{name} is a damaged WAV file: its format is cut off")
    encoding, channels, rate_hz, _, _, bits = struct.unpack("<HHIIHH", head[:16])
    if encoding == EXTENSIBLE and len(head) >= 26:
        encoding = int.from_bytes(head[24:26], "little")
    if (encoding, bits) not in {(PCM, 8), (PCM, 16), (PCM, 24), (PCM, 32), (FLOAT, 32), (FLOAT, 64)}:
        raise InvalidValueError(f"{name} has samples of encoding {encoding} and {bits} bits: {_WAVE_ONLY}")
    if not 1 <= channels <= MAX_CHANNELS or not MIN_RATE_HZ <= rate_hz <= MAX_RATE_HZ:
        raise InvalidValueError(
            f"{name} says it has {channels} channels at {rate_hz} Hz; from 1 to {MAX_CHANNELS} channels at "
            f"{MIN_RATE_HZ} to {MAX_RATE_HZ} Hz can be read"
        )
    return _Shape(encoding, channels, rate_hz, bits)


def _mono(data: memoryview, shape: _Shape) -> bytes:
    """Return samples of any shape as 16-bit mono."""
    import numpy as np

    values = _values(data, shape).reshape(-1, shape.channels)
    mixed = values.mean(axis=1) if shape.channels > 1 else values[:, 0]
    return bytes(np.clip(np.rint(mixed * FULL_SCALE), -FULL_SCALE, FULL_SCALE - 1).astype("<i2").tobytes())


def _values(data: memoryview, shape: _Shape) -> Any:
    """Return samples as floats from -1 to 1; what is no number counts as silence."""
    import numpy as np

    if shape.encoding == FLOAT:
        return np.nan_to_num(np.frombuffer(data, dtype=f"<f{shape.bits // 8}").astype("f4"), posinf=1.0, neginf=-1.0)
    if shape.bits == 8:
        return (np.frombuffer(data, dtype="u1").astype("f4") - 128) / 128
    if shape.bits == 24:
        wide = np.zeros((len(data) // 3, 4), dtype="u1")
        wide[:, 1:] = np.frombuffer(data, dtype="u1").reshape(-1, 3)
        return (wide.view("<i4")[:, 0] / 2.0**31).astype("f4")
    return (np.frombuffer(data, dtype=f"<i{shape.bits // 8}") / 2.0 ** (shape.bits - 1)).astype("f4")
