"""Espeak voices: which of the engine's voices speaks for George, and in which language?"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass

from convai_lab.agents.voices import voice_name
from convai_lab.errors import InvalidValueError
from convai_lab.providers.base import TTSCapabilities

SLOWEST, FASTEST = 0.7, 1.2


@dataclass(frozen=True, kw_only=True)
class EspeakVoice:
    """One of the four voices: its accent in English, its variant, words a minute, pitch and pitch range."""

    accent: str
    variant: str
    words_a_minute: int
    pitch: int
    pitch_range: int


VOICES: Mapping[str, EspeakVoice] = {
    "George": EspeakVoice(accent="en-gb-x-rp", variant="m6", words_a_minute=158, pitch=32, pitch_range=45),
    "Sarah": EspeakVoice(accent="en-us", variant="f2", words_a_minute=168, pitch=66, pitch_range=55),
    "Daniel": EspeakVoice(accent="en-us", variant="m5", words_a_minute=174, pitch=56, pitch_range=50),
    "Charlotte": EspeakVoice(accent="en-gb-x-rp", variant="f5", words_a_minute=165, pitch=38, pitch_range=60),
}
"""The four embedded voices: they differ in sex, accent, timbre, pitch (82, 227, 105 and 180 Hz) and pace.

Of some forty variants tried, these are also the ones that the embedded recogniser understands best.
"""

_ALIASES = {
    "en-gb": "en-gb-x-rp",  # the engine refuses its own name for it
    "es-mx": "es-419",
    "fr-fr": "fr",
    "he-il": "he",
    "nn": "nb",
    "no": "nb",
    "zh": "cmn",
    "zh-cn": "cmn",
    "zh-hk": "yue",
}
_ENGINE_LANGUAGES = frozenset(
    {
        "af",
        "ar",
        "az",
        "bg",
        "bn",
        "bs",
        "ca",
        "cmn",
        "cs",
        "cy",
        "da",
        "de",
        "el",
        "en-029",
        "en-gb-scotland",
        "en-gb-x-rp",
        "en-us",
        "es",
        "es-419",
        "et",
        "eu",
        "fa",
        "fi",
        "fr",
        "ga",
        "gu",
        "he",
        "hi",
        "hr",
        "hu",
        "hy",
        "id",
        "is",
        "it",
        "ja",
        "ka",
        "kk",
        "kn",
        "ko",
        "lt",
        "lv",
        "mk",
        "ml",
        "mr",
        "ms",
        "my",
        "nb",
        "ne",
        "nl",
        "pa",
        "pl",
        "pt",
        "pt-br",
        "ro",
        "ru",
        "si",
        "sk",
        "sl",
        "sq",
        "sr",
        "sv",
        "sw",
        "ta",
        "te",
        "th",
        "tr",
        "uk",
        "ur",
        "vi",
        "yue",
    }
)

LANGUAGES = tuple(sorted({*_ENGINE_LANGUAGES - {"cmn", "nb", "yue"}, "en", "en-gb", "no", "zh"}))
"""Language codes that are understood; Chinese characters in Japanese text are only named, not read."""


@dataclass(frozen=True, kw_only=True, slots=True)
class EspeakCapabilities(TTSCapabilities):
    """What the embedded voice engine declares; `other_voices` says what happens to a name that is not in `voices`."""

    other_voices: str = (
        "every other voice name or id is spoken by one of these four, always the same one, chosen by a hash of the name"
    )


def stand_in(voice: str) -> str:
    """Return which of the four speaks for a voice, given by name in any case or by id.

    Raises:
        InvalidValueError: It is no text.

    Example:
        >>> stand_in("JBFqnCBsd6RMkjVDRZzb"), stand_in("charlotte")
        ('George', 'Charlotte')
    """
    if not isinstance(voice, str):
        raise InvalidValueError(f"must be a voice's name or id, got {type(voice).__name__}", field="voice")
    name = voice_name(voice.strip()).casefold()
    for known in VOICES:
        if known.casefold() == name:
            return known
    digest = hashlib.sha256(name.encode("utf-8", "replace")).digest()
    return list(VOICES)[digest[0] % len(VOICES)]


def engine_voice(voice: EspeakVoice, language: str) -> str:
    """Return the engine's name for a voice in a language, such as ``de+f3``.

    Raises:
        InvalidValueError: The engine does not speak that language.
    """
    wanted = language.strip().lower().replace("_", "-") if isinstance(language, str) else ""
    for code in (wanted, wanted.partition("-")[0]):
        if code == "en":
            return f"{voice.accent}+{voice.variant}"
        if (name := _ALIASES.get(code, code)) in _ENGINE_LANGUAGES:
            return f"{name}+{voice.variant}"
    raise InvalidValueError(
        f"espeak-ng does not speak {str(language)[:40]!r}: use one of {', '.join(LANGUAGES)}", field="language"
    )


def check_speed(speed: float) -> float:
    """Return the speed, from 0.7 to 1.2 times the voice's own.

    Raises:
        InvalidValueError: It is outside, or no number.
    """
    if isinstance(speed, bool) or not isinstance(speed, int | float) or not SLOWEST <= speed <= FASTEST:
        raise InvalidValueError(f"must be a number from {SLOWEST} to {FASTEST}, got {speed!r}", field="speed")
    return speed
