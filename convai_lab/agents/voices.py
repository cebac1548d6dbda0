"""Voices: which id belongs to the voice called George?"""

from __future__ import annotations

import difflib
import re

from convai_lab.errors import InvalidValueError

DEFAULT_VOICE = "Eric"

VOICES: dict[str, str] = {
    "Adam": "pNInz6obpgDQGcFmaJgB",
    "Alice": "Xb7hH8MSUJpSbSDYk0k2",
    "Aria": "9BWtsMINqrJLrRacOk9x",
    "Bella": "hpp4J3VqNfWAUOO0d1Us",
    "Bill": "pqHfZKP75CvOlQylNhV4",
    "Brian": "nPczCjzI2devNBz1zQrb",
    "Callum": "N2lVS1w4EtoT3dr4eOWO",
    "Charlie": "IKne3meq5aSn9XLyUdCD",
    "Charlotte": "XB0fDUnXU5powFXDhCwa",
    "Chris": "iP95p4xoKVk53GoZ742B",
    "Daniel": "onwK4e9ZLuTAKqWW03F9",
    "Eric": "cjVigY5qzO86Huf0OWal",
    "George": "JBFqnCBsd6RMkjVDRZzb",
    "Harry": "SOYHLrjzK2X1ezoPC6cr",
    "Jessica": "cgSgspJ2msm6clMCkdW9",
    "Laura": "FGY2WhTYpPnrIDTdsKH5",
    "Liam": "TX3LPaxmHKxFdv7VOQHJ",
    "Lily": "pFZP5JQG7iQjIQuC4Bku",
    "Matilda": "XrExE9yKIg1WjnnlVkGX",
    "Rachel": "21m00Tcm4TlvDq8ikWAM",
    "River": "SAz9YHcvj6GT2YYXdXww",
    "Roger": "CwhRBWXzGAHq8TQ4Fs17",
    "Sarah": "EXAVITQu4vr4xnSDxMaL",
    "Will": "bIHbv24MWmeRgasZH58o",
}
"""The vendor's premade voices by name, with their public ids."""

_LOOKS_LIKE_AN_ID = re.compile(r"[A-Za-z0-9]{20}")
_NAMES_BY_ID = {voice: name for name, voice in VOICES.items()}
_NAMES_BY_LOWER = {name.lower(): name for name in VOICES}


def voice_id(name_or_id: str) -> str:
    """Return the id of a voice given by name, in any case; an id passes through.

    Raises:
        InvalidValueError: No voice has that name; it suggests close ones.

    Example:
        >>> voice_id("george")
        'JBFqnCBsd6RMkjVDRZzb'
    """
    if not isinstance(name_or_id, str):
        raise InvalidValueError(f"must be a voice's name or id, got {type(name_or_id).__name__}", field="voice")
    wanted = name_or_id.strip()
    if known := _NAMES_BY_LOWER.get(wanted.lower()):
        return VOICES[known]
    if _LOOKS_LIKE_AN_ID.fullmatch(wanted):
        return wanted
    close = difflib.get_close_matches(wanted.lower()[:60], _NAMES_BY_LOWER, n=3, cutoff=0.5)
    near = [_NAMES_BY_LOWER[name] for name in close]
    hint = f"did you mean {', '.join(near)}?" if near else f"known are {', '.join(VOICES)}, or give a voice id"
    raise InvalidValueError(f"there is no voice called {wanted[:60]!r}: {hint}", field="voice")


def voice_name(voice: str) -> str:
    """Return the name of a known voice id; any other text is returned as it is.

    Example:
        >>> voice_name("cjVigY5qzO86Huf0OWal")
        'Eric'
    """
    return _NAMES_BY_ID.get(voice, voice)
