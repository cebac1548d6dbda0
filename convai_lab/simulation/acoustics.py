"""Acoustics: how does a caller sound at the other end of a bad line?

Everything follows from a seed: the same sound, line and seed give the same bytes at the same instants.
"""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, NamedTuple

from convai_lab.agents.plain_json import shown
from convai_lab.errors import InvalidValueError
from convai_lab.voice.audio import FRAME_BYTES, FRAME_MS, gain, mix, noise, silence

SEEDS_APART = 1_000_003
CONCEALMENT_DB = -3.0
"""In place of a lost frame the one before is heard again, so much softer, as receivers do it."""
_RANGES = {
    "noise_dbfs": (-90.0, 0.0),
    "gain_db": (-60.0, 40.0),
    "packet_loss": (0.0, 1.0),
    "delay_ms": (0.0, 5000.0),
    "jitter_ms": (0.0, 1000.0),
}


@dataclass(frozen=True, kw_only=True)
class Acoustics:
    """A caller's surroundings and line.

    Args:
        noise_dbfs: White noise at this level below full scale, all the time; None is quiet.
        gain_db: The caller is so much louder, or softer below zero; what does not fit is clipped.
        packet_loss: The share of frames that get lost; the frame before is heard again instead, a little softer.
        delay_ms: Every frame arrives so much later.
        jitter_ms: And up to so much later still, differently for every frame, never out of order.

    Raises:
        InvalidValueError: A value is out of range; names the field.

    Example:
        >>> Acoustics(packet_loss=2)
        Traceback (most recent call last):
        ...
        convai_lab.errors.InvalidValueError: acoustics.packet_loss: must be a number from 0.0 to 1.0, got 2
    """

    noise_dbfs: float | None = None
    gain_db: float = 0.0
    packet_loss: float = 0.0
    delay_ms: float = 0.0
    jitter_ms: float = 0.0

    def __post_init__(self) -> None:
        for name, (low, high) in _RANGES.items():
            value = getattr(self, name)
            if value is None and name == "noise_dbfs":
                continue
            if isinstance(value, bool) or not isinstance(value, int | float) or not low <= value <= high:
                raise InvalidValueError(
                    f"must be a number from {low} to {high}, got {shown(value)}", field=f"acoustics.{name}"
                )

    def apply(self, pcm: bytes, *, seed: int = 0) -> bytes:
        """Return a whole recording at 16 kHz as it is heard through this line; delay and jitter do not change it."""
        line = AcousticLine(self, seed)
        frames = (pcm[at : at + FRAME_BYTES].ljust(FRAME_BYTES, b"\0") for at in range(0, len(pcm), FRAME_BYTES))
        return b"".join(line.send(frame, at=0.0).pcm for frame in frames)[: len(pcm)]


def find_acoustics(given: Acoustics | Mapping[str, Any] | None) -> Acoustics:
    """Return the acoustics that are meant; None is a perfect line.

    Raises:
        InvalidValueError: A field is unknown or out of range.
    """
    if given is None or isinstance(given, Acoustics):
        return given or Acoustics()
    if not isinstance(given, Mapping):
        raise InvalidValueError(f"must be a mapping such as {{noise_dbfs: -35}}, got {shown(given)}", field="acoustics")
    known = [field.name for field in fields(Acoustics)]
    if unknown := [name for name in given if name not in known]:
        raise InvalidValueError(f"is no such setting; they are {', '.join(known)}", field=f"acoustics.{unknown[0]}")
    return Acoustics(**given)


class Arrival(NamedTuple):
    """One frame as it arrives, and when."""

    pcm: bytes
    at: float


class AcousticLine:
    """One call's line: frames go in in order, and come out changed and later."""

    def __init__(self, acoustics: Acoustics, seed: int) -> None:
        self.acoustics = acoustics
        self._seed, self._frames, self._last = seed, 0, 0.0
        self._heard = silence(FRAME_MS / 1000)
        self._chance = random.Random(f"line/{seed}")  # noqa: S311 - repeatable on purpose

    @property
    def has_noise(self) -> bool:
        """Say whether something is to be heard while nobody speaks."""
        return self.acoustics.noise_dbfs is not None

    @property
    def is_late(self) -> bool:
        """Say whether frames arrive later than they are sent."""
        return bool(self.acoustics.delay_ms or self.acoustics.jitter_ms)

    def send(self, frame: bytes, *, at: float) -> Arrival:
        """Return a frame that was spoken at an instant as it arrives."""
        line = self.acoustics
        self._frames += 1
        if line.gain_db:
            frame = gain(frame, line.gain_db)
        if line.noise_dbfs is not None:
            sound = noise(FRAME_MS / 1000, dbfs=line.noise_dbfs, seed=self._seed * SEEDS_APART + self._frames)
            frame = mix(frame, sound)
        if line.packet_loss and self._chance.random() < line.packet_loss:
            frame = gain(self._heard, CONCEALMENT_DB)
        self._heard = frame
        later = line.delay_ms + (self._chance.uniform(0, line.jitter_ms) if line.jitter_ms else 0.0)
        self._last = max(self._last, at + later / 1000)
        return Arrival(frame, self._last)
