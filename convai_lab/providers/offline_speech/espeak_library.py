"""Espeak library: how is libespeak-ng, which speaks, called from Python?

Only the child process loads this: the library has one global state, and a licence (GPL) that stays on its side of
the pipe. Positions in text come 1-based and in characters; positions in audio are samples of this utterance.
"""

from __future__ import annotations

import ctypes
import os
from collections.abc import Callable
from typing import Any, NamedTuple

SYNCHRONOUS = 2
DO_NOT_EXIT = 0x8000
UTF8_TEXT = 1
CHARACTER_POSITIONS = 1
BUFFER_MS = 20
RATE, PITCH, RANGE = 1, 3, 4
LIST_END, WORD = 0, 1
SEPARATE_PHONEMES = ord("_") << 8


class _Id(ctypes.Union):
    _fields_ = (("number", ctypes.c_int), ("name", ctypes.c_char_p), ("string", ctypes.c_char * 8))


class _Event(ctypes.Structure):
    _fields_ = (
        ("type", ctypes.c_int),
        ("unique_identifier", ctypes.c_uint),
        ("text_position", ctypes.c_int),
        ("length", ctypes.c_int),
        ("audio_position", ctypes.c_int),
        ("sample", ctypes.c_int),
        ("user_data", ctypes.c_void_p),
        ("id", _Id),
    )


_Callback = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.POINTER(ctypes.c_short), ctypes.c_int, ctypes.POINTER(_Event))


class WordEvent(NamedTuple):
    """Where a word begins: in the text (from 0, in code points) and in the audio."""

    char_start: int
    char_len: int
    sample: int


class VoiceSettings(NamedTuple):
    """How to speak: the engine's voice name with its variant, words a minute, pitch and its range (0 to 99)."""

    voice: str
    words_a_minute: int
    pitch: int
    pitch_range: int


Sink = Callable[[bytes, list[WordEvent]], bool]
"""Takes a piece of audio and the words that begin in it; true means: stop speaking."""


class EspeakLibrary:
    """The one espeak-ng of this process.

    Raises:
        OSError: The library or its data cannot be loaded.
        ImportError: espeakng-loader is not installed.
    """

    def __init__(self) -> None:
        import espeakng_loader

        self._library: Any = ctypes.CDLL(espeakng_loader.get_library_path())
        self._library.espeak_TextToPhonemes.restype = ctypes.c_char_p
        data_parent = os.path.dirname(espeakng_loader.get_data_path())
        self.rate_hz = int(
            self._library.espeak_Initialize(SYNCHRONOUS, BUFFER_MS, os.fsencode(data_parent), DO_NOT_EXIT)
        )
        if self.rate_hz <= 0:
            raise OSError(f"espeak-ng cannot read its data in {data_parent}")
        self._sink: Sink = lambda _pcm, _words: True
        self._callback = _Callback(self._on_audio)
        self._library.espeak_SetSynthCallback(self._callback)

    def speak(self, text: str, settings: VoiceSettings, sink: Sink) -> None:
        """Speak plain text into `sink`, and return when all is spoken or the sink said stop.

        Raises:
            ValueError: There is no such voice.
            RuntimeError: The engine failed.
        """
        self._use(settings.voice)
        for parameter, value in (
            (RATE, settings.words_a_minute),
            (PITCH, settings.pitch),
            (RANGE, settings.pitch_range),
        ):
            self._library.espeak_SetParameter(parameter, value, 0)
        self._sink = sink
        raw = text.encode("utf-8", "replace") + b"\0"
        code = self._library.espeak_Synth(raw, len(raw), 0, CHARACTER_POSITIONS, 0, UTF8_TEXT, None, None)
        if code:
            raise RuntimeError(f"espeak-ng failed with code {code}")

    def phonemes(self, word: str, voice: str) -> list[str]:
        """Return the engine's own phoneme names for a word, without stress marks' meaning.

        Raises:
            ValueError: There is no such voice.
        """
        self._use(voice)
        text = ctypes.create_string_buffer(word.encode("utf-8", "replace"))
        place = ctypes.c_void_p(ctypes.addressof(text))
        said: list[str] = []
        while place.value:
            clause = self._library.espeak_TextToPhonemes(ctypes.byref(place), UTF8_TEXT, SEPARATE_PHONEMES)
            said += (clause or b"").decode("utf-8", "replace").replace(" ", "_").split("_")
        return [name for name in said if name]

    def _use(self, voice: str) -> None:
        if self._library.espeak_SetVoiceByName(voice.encode()):
            raise ValueError(f"espeak-ng has no voice {voice!r}")

    def _on_audio(self, wav: Any, samples: int, events: Any) -> int:
        pcm = ctypes.string_at(wav, samples * 2) if wav and samples > 0 else b""
        words, i = [], 0
        while events[i].type != LIST_END:
            if events[i].type == WORD:
                words.append(WordEvent(events[i].text_position - 1, events[i].length, events[i].sample))
            i += 1
        return int(self._sink(pcm, words))
