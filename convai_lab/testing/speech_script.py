"""Speech script: what may a fake speech vendor be told to say and to hear, and how may it go wrong?"""

from __future__ import annotations

import base64
import json
import math
import struct
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from convai_lab.testing.vendor_script import Hang, HangUp, Raw, Received, Status

CHAR_SECS = 0.01
"""How long the fake voice takes to say a character."""
WORD_SECS = 0.3


@dataclass(frozen=True, kw_only=True)
class Speech:
    """Say the text that was asked for, a character every 10 ms, perhaps in an unusual or a broken way.

    Args:
        chars_a_line: Characters in one line of JSON, or in one piece of bare samples.
        alignment: Send the times of the characters.
        restarting: Let the times of every line start at zero.
        spoken_as: The characters in the alignment, when they are not those of the text.
        odd: Cut the samples between lines at odd bytes.
        silent: Send lines, but no sound.
        piece_bytes: Send the answer in pieces of that many bytes.
        pause_secs: Real time to wait before each line.
        cut_after: Reset the connection after that many lines.
        hang_after: Say nothing more after that many lines, and keep the connection open.
        stop_after: End the answer properly, but after that many lines.
        garbage_after: Send a line that is not JSON after that many lines.
        bad_base64_after: Send sound that is not base64 after that many lines.
        error_after: Send an error of the vendor's as a line after that many lines.
    """

    chars_a_line: int = 4
    alignment: bool = True
    restarting: bool = False
    spoken_as: str | None = None
    odd: bool = False
    silent: bool = False
    piece_bytes: int | None = None
    pause_secs: float = 0.0
    cut_after: int | None = None
    hang_after: int | None = None
    stop_after: int | None = None
    garbage_after: int | None = None
    bad_base64_after: int | None = None
    error_after: int | None = None


@dataclass(frozen=True, kw_only=True)
class Heard:
    """Hear this in an utterance sent whole; `document` is the whole answer when it is something else."""

    text: str = "hello"
    logprob: float = -0.1
    document: Any = None


@dataclass(frozen=True, kw_only=True)
class Session:
    """Hear these texts, one for every commit, in speech sent as it is spoken.

    Args:
        texts: What is committed, in turn.
        guesses: What is guessed, one after every message with audio, as long as there are any.
        refuse: Refuse the handshake.
        hang: Take the handshake and never answer it.
        silent: Never answer a commit.
        error: An error to send after `after` messages with audio (or instead of the first transcript).
        garbage: Send something that is not JSON after `after` messages with audio.
        close: Close with this code after `after` messages with audio.
        cut: Reset the connection after `after` messages with audio.
        unasked: Commit without being asked after `after` messages with audio.
        after: See above; 0 means at once.
    """

    texts: tuple[str, ...] = ("hello",)
    guesses: tuple[str, ...] = ()
    refuse: Status | None = None
    hang: bool = False
    silent: bool = False
    error: str | None = None
    garbage: bool = False
    close: int | None = None
    cut: bool = False
    unasked: str | None = None
    after: int = 1


SpeechScripted = Speech | Heard | Session | Status | Raw | Hang | HangUp
"""What the script of a fake speech vendor may hold."""


class Line(NamedTuple):
    """A piece of an answer, and what goes wrong instead of it: ``cut``, ``hang``, ``stop`` or nothing."""

    data: bytes = b""
    fault: str = ""


@dataclass
class Listened:
    """What a fake vendor got over one socket: its request, the samples, and how many of them at each commit."""

    received: Received
    audio: bytearray = field(default_factory=bytearray)
    messages: list[dict[str, Any]] = field(default_factory=list)
    commits: list[int] = field(default_factory=list)


def tone(text: str, rate_hz: int) -> bytes:
    """Return the sound of a text: 10 ms a character, each at its own pitch."""
    count = int(rate_hz * CHAR_SECS)
    samples = [
        int(8000 * math.sin(2 * math.pi * (200 + 10 * (ord(char) % 64)) * i / rate_hz)) or 1
        for char in text
        for i in range(count)
    ]
    return struct.pack(f"<{len(samples)}h", *samples)


def timed_lines(speech: Speech, text: str, rate_hz: int) -> Iterator[Line]:
    """Yield the lines of ElevenLabs' answer: sound in base64, and when each character begins."""
    spoken = text if speech.spoken_as is None else speech.spoken_as
    sound = b"" if speech.silent else tone(spoken, rate_hz)
    step, size = speech.chars_a_line, len(sound) // max(1, len(spoken))
    cuts = [min(len(sound), n * size + (1 if speech.odd and n else 0)) for n in range(0, len(spoken), step)]
    for number, first in enumerate(range(0, len(spoken), step)):
        yield from _faults(speech, number)
        chars = spoken[first : first + step]
        end = cuts[number + 1] if number + 1 < len(cuts) else len(sound)
        encoded = base64.b64encode(sound[cuts[number] : end]).decode()
        begins = 0 if speech.restarting else first
        times = [round((begins + n) * CHAR_SECS, 3) for n in range(len(chars) + 1)]
        alignment = {
            "characters": list(chars),
            "character_start_times_seconds": times[:-1],
            "character_end_times_seconds": times[1:],
        }
        document = {
            "audio_base64": "*not base64*" if number == speech.bad_base64_after else encoded,
            "alignment": alignment if speech.alignment else None,
            "normalized_alignment": alignment if speech.alignment else None,
        }
        yield Line(json.dumps(document).encode() + b"\n")
    yield from _faults(speech, len(cuts))


def bare_samples(speech: Speech, text: str, rate_hz: int) -> Iterator[Line]:
    """Yield the pieces of an OpenAI-compatible answer: samples and nothing else."""
    sound = b"" if speech.silent else tone(text, rate_hz)
    step = speech.chars_a_line * int(rate_hz * CHAR_SECS) * 2 + (1 if speech.odd else 0)
    starts = range(0, len(sound), step)
    for number, start in enumerate(starts):
        yield from _faults(speech, number)
        yield Line(sound[start : start + step])
    yield from _faults(speech, len(starts))


def transcript(heard: Heard) -> dict[str, Any]:
    """Return the transcript of an utterance as both vendors write it: words with their times."""
    if heard.document is not None:
        return heard.document  # type: ignore[no-any-return]
    words = [
        {
            "text": word,
            "word": word,
            "type": "word",
            "start": round(n * WORD_SECS, 3),
            "end": round((n + 1) * WORD_SECS, 3),
            "logprob": heard.logprob,
        }
        for n, word in enumerate(heard.text.split())
    ]
    spaces = [{"text": " ", "type": "spacing", "start": 0.0, "end": 0.0, "logprob": -9.0}] if words else []
    return {
        "text": heard.text,
        "language_code": "eng",
        "language_probability": 0.98,
        "words": words + spaces,
        "segments": [{"avg_logprob": heard.logprob}],
        "logprobs": [{"token": heard.text, "logprob": heard.logprob}],
    }


def _faults(speech: Speech, number: int) -> Iterator[Line]:
    if number == speech.cut_after:
        yield Line(fault="cut")
    if number == speech.hang_after:
        yield Line(fault="hang")
    if number == speech.stop_after:
        yield Line(fault="stop")
    if number == speech.garbage_after:
        yield Line(b'{"audio_base64": oops\n')
    if number == speech.error_after:
        yield Line(b'{"detail": {"status": "system_busy", "message": "The system is busy."}}\n')
