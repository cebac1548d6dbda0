"""Live clips: what is to be heard in something that a page's recorder made?"""

from __future__ import annotations

import asyncio
import io

from convai_lab.errors import InvalidValueError, MissingPackageError
from convai_lab.voice.audio import SAMPLE_BYTES, SESSION_RATE_HZ

MAX_CLIP_SECS = 120.0
UNREADABLE = "is no recording that can be read: webm with Opus, ogg, or wav"
EMPTY = "is empty: hold the button while you speak"
HEADERS_AT_MOST_BYTES = 1_000
"""A recorder that was stopped at once leaves the beginning of a file, and no sound."""
RECORDINGS = {b"\x1aE\xdf\xa3": "matroska", b"OggS": "ogg", b"RIFF": "wav", b"fLaC": "flac"}
"""What recorders make, by its first bytes. FFmpeg must not guess: some of what it knows opens other files and ports."""


async def decode_clip(data: bytes) -> bytes:
    """Return a recorded clip as 16-bit mono PCM at 16 kHz; a thread decodes it.

    Raises:
        InvalidValueError: It is no sound, or a very long one.
        MissingPackageError: PyAV is not installed.
    """
    return await asyncio.to_thread(_decode, data)


def _decode(data: bytes) -> bytes:
    try:
        import av
    except ImportError:
        raise MissingPackageError("av", extra="voice", needed_for="Decoding a recorded clip") from None
    pcm, name = bytearray(), _format(data)
    try:
        with av.open(io.BytesIO(data), mode="r", format=name) as container:
            if not container.streams.audio:
                raise InvalidValueError("holds no sound: record with a microphone", field="clip")
            resampler = av.AudioResampler("s16", "mono", SESSION_RATE_HZ)
            for frame in container.decode(audio=0):
                for piece in resampler.resample(frame):
                    pcm += bytes(piece.planes[0])[: piece.samples * SAMPLE_BYTES]
                if len(pcm) > MAX_CLIP_SECS * SESSION_RATE_HZ * SAMPLE_BYTES:
                    raise InvalidValueError(
                        f"may last {MAX_CLIP_SECS:g} seconds at most: say it in pieces", field="clip"
                    )
            for piece in resampler.resample(None):
                pcm += bytes(piece.planes[0])[: piece.samples * SAMPLE_BYTES]
    except (av.FFmpegError, ValueError, OSError, EOFError) as error:
        if isinstance(error, InvalidValueError):
            raise
        is_cut_off = name != "wav" and len(data) < HEADERS_AT_MOST_BYTES
        raise InvalidValueError(EMPTY if is_cut_off else UNREADABLE, field="clip") from None
    if not pcm:
        raise InvalidValueError(EMPTY, field="clip")
    return bytes(pcm)


def _format(data: bytes) -> str:
    if data[4:8] == b"ftyp":
        return "mp4"
    if (name := RECORDINGS.get(data[:4])) is None:
        raise InvalidValueError(UNREADABLE, field="clip")
    return name
