"""Devices: the microphone and the loudspeaker of a conversation that is held from files."""

from __future__ import annotations

import asyncio
import base64
import os
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any, TypeAlias

import convai_lab
from convai_lab.clock import Clock
from convai_lab.errors import InvalidValueError

Speech: TypeAlias = "convai_lab.Sound | str | os.PathLike[str] | bytes"
"""Something to say: a `Sound`, the path of a WAV file, or the bytes of one."""

FRAME_SECS = 0.02
STANDSTILL_SECS = 1.0
SPEECH_DBFS = -50.0
MAX_SOUNDS = 1000


def read_sounds(given: Any) -> list[convai_lab.Sound]:
    """Return what is to be said: one sound, or several, each said once the one before is answered.

    Raises:
        InvalidValueError: Something is no sound, or no WAV file.
    """
    several = isinstance(given, Sequence) and not isinstance(given, str | bytes | bytearray | convai_lab.Sound)
    listed = list(given) if several else [given]
    if not 1 <= len(listed) <= MAX_SOUNDS:
        raise InvalidValueError(f"give from 1 to {MAX_SOUNDS} sounds, not {len(listed)}", field="audio")
    return [_sound(one, f"audio[{at}]" if several else "audio") for at, one in enumerate(listed)]


def _sound(given: Any, field: str) -> convai_lab.Sound:
    if isinstance(given, convai_lab.Sound):
        sound = given
    elif isinstance(given, bytes | bytearray):
        sound = _from_bytes(bytes(given), field)
    elif isinstance(given, str | os.PathLike):
        sound = convai_lab.read_wav(Path(given).expanduser())
    else:
        kind = type(given).__name__
        raise InvalidValueError(f"give the path of a WAV file, its bytes, or a Sound, not {kind}", field=field)
    if len(sound.pcm) < 2:
        which = f"{given} holds no sound" if isinstance(given, str | os.PathLike) else "there is nothing in this sound"
        raise InvalidValueError(which, field=field)
    return sound


def _from_bytes(data: bytes, field: str) -> convai_lab.Sound:
    if data[:4] != b"RIFF":
        raise InvalidValueError("these bytes are no WAV file; give raw samples as Sound(pcm, rate_hz)", field=field)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "audio.wav"
        path.write_bytes(data)
        return convai_lab.read_wav(path)


class Loudspeaker:
    """Plays the agent's speech as a client would: each piece after the one before, until it is cut."""

    def __init__(self) -> None:
        self.plays_until = 0.0
        self.heard_anything = False
        self._cut_id = 0

    def play(self, event_id: Any, secs: float, now: float) -> float | None:
        """Play a piece; returns the instant at which it begins, None when it belongs to what was cut."""
        if isinstance(event_id, int) and event_id <= self._cut_id:
            return None
        begins = max(now, self.plays_until)
        self.plays_until, self.heard_anything = begins + secs, True
        return begins

    def cut(self, event_id: Any, now: float) -> None:
        """Stop, and play nothing more of that piece or of those before it."""
        if isinstance(event_id, int):
            self._cut_id = max(self._cut_id, event_id)
        self.plays_until = min(self.plays_until, now)


class Microphone:
    """Gives out frames of 20 ms: of the sound that is being said, or silence."""

    def __init__(self, spoken_in: convai_lab.AudioFormat) -> None:
        self._format = spoken_in
        self._frame_bytes = round(FRAME_SECS * spoken_in.rate_hz) * 2
        self._pcm = b""
        self._at = 0

    def say(self, sound: convai_lab.Sound) -> None:
        """Begin to say this."""
        self._pcm, self._at = sound.at(self._format.rate_hz).pcm, 0

    @property
    def is_speaking(self) -> bool:
        """Say whether there is more of the sound."""
        return self._at < len(self._pcm)

    def frame(self, *, whole: bool = False) -> bytes:
        """Return the next frame as 16-bit PCM; `whole` returns all that is left of the sound at once."""
        size = max(self._frame_bytes, len(self._pcm) - self._at) if whole else self._frame_bytes
        frame = self._pcm[self._at : self._at + size]
        self._at += size
        return frame.ljust(self._frame_bytes, b"\0")

    def encoded(self, pcm: bytes) -> dict[str, Any]:
        """Return PCM as the frame that is sent."""
        return {"user_audio_chunk": base64.b64encode(self._format.encode(pcm)).decode("ascii")}


class Pace:
    """Says when the next frame is due: every 20 ms, without drifting; after a standstill it does not rush."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._due = clock.now()

    async def next(self) -> None:
        """Wait until the next frame is due."""
        self._due += FRAME_SECS
        late = self._clock.now() - self._due
        if late > STANDSTILL_SECS:
            self._due = self._clock.now()
        await (self._clock.sleep(-late) if late < 0 else asyncio.sleep(0))


def speech_end_secs(sound: convai_lab.Sound) -> float:
    """Return when the last word of a sound ends, by its level; its whole length when it is all quiet."""
    import numpy as np

    size = max(1, sound.rate_hz // 50)
    samples = np.frombuffer(sound.pcm, dtype="<i2", count=len(sound.pcm) // 2).astype("f4") / 32768
    frames = samples[: len(samples) // size * size].reshape(-1, size)
    loud = np.flatnonzero((frames**2).mean(axis=1) > 10 ** (SPEECH_DBFS / 10))
    return float((loud[-1] + 1) * size / sound.rate_hz) if len(loud) else sound.secs
