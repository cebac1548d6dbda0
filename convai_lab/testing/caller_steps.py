"""Caller steps: what may a scripted caller do, and when?"""

from __future__ import annotations

from typing import NamedTuple

from convai_lab.voice.audio import FRAME_BYTES

COUGH_SECS = 0.25


class Say(NamedTuple):
    """Say something: when the agent is done, or at an instant `at`, or once the agent has said `word` words."""

    text: str
    at: float | None = None
    word: int | None = None


class Cough(NamedTuple):
    """Cough: when the agent is done, at an instant, or once the agent has said `word` words."""

    at: float | None = None
    word: int | None = None
    secs: float = COUGH_SECS
    dbfs: float = -20.0


class Stay(NamedTuple):
    """Say nothing for so long."""

    secs: float


class Noise(NamedTuple):
    """Let there be noise at this level from now on; None is quiet."""

    dbfs: float | None


class Play(NamedTuple):
    """Let the agent hear these bytes: 16-bit PCM at 16 kHz, in chunks of `chunk_bytes` at the pace of speech."""

    pcm: bytes
    at: float | None = None
    word: int | None = None
    chunk_bytes: int = FRAME_BYTES


class Press(NamedTuple):
    """Press keys of the telephone."""

    keys: str


class Type(NamedTuple):
    """Type a message instead of saying it."""

    text: str


class HangUp(NamedTuple):
    """Hang up now, or once the agent has said `word` words; without this step the caller does so at the end."""

    word: int | None = None


Step = Say | Cough | Stay | Noise | Play | Press | Type | HangUp | str
"""What a caller does; a plain text is said when the agent is done."""


def barge_in(text: str, *, word: int) -> Say:
    """Return the step of saying something once the agent has said `word` words."""
    return Say(text, word=word)
