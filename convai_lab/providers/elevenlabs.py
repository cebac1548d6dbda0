"""ElevenLabs: how does its voice speak, with the time of every character, and how does it transcribe an utterance?"""

from __future__ import annotations

import base64
import binascii
import contextlib
import json
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator, Iterator, Mapping, Sequence
from typing import Any
from urllib.parse import quote

from convai_lab.agents.voices import VOICES, voice_id
from convai_lab.errors import InvalidValueError, ProviderRequestError, ProviderStreamError
from convai_lab.providers.base import AudioChunk, Final, Mark, TTSCapabilities, WordTime
from convai_lab.providers.http_speech import Call, SpeechVendor, read_lines, refuse_wrong_type
from convai_lab.providers.refusal import Asker, Refused, Said, read_body, refusal
from convai_lab.providers.streaming import parse_object
from convai_lab.providers.tool_names import whole_text
from convai_lab.providers.utterance import WholeSamples, base_language, confidence, key_terms, sample_at, wav_file

DEFAULT_MODEL = "eleven_flash_v2_5"
BATCH_MODEL = "scribe_v2"
OUTPUT_RATES_HZ = (8000, 16000, 22050, 24000, 32000, 44100, 48000)
LONGEST_LINE_BYTES = 16 << 20
"""Two minutes of audio in one line; the vendor sends a second or less."""
RAW_RATE_HZ = 16000
"""The rate at which the vendor takes bare samples, which it reads faster than a file."""
MOST_TERMS, LONGEST_TERM = 50, 20
"""What realtime recognition takes; batch takes more, but then every minute costs more."""
SPEEDS = (0.7, 1.2)
LOOK_AHEAD_CHARS = 40

_LANGUAGE_MODELS = ("_v2_5", "_v3")
"""Models that may be told the language; the others refuse a request that names one."""
_NO_QUOTA = frozenset({"quota_exceeded", "insufficient_credits", "payment_required"})
_NO_VOICE = frozenset({"voice_not_found", "voice_does_not_exist", "invalid_voice_id"})
_FORBIDDEN_IN_TERMS = "<>{}[]\\"


class ElevenLabsTTS:
    """Speaks with a voice of ElevenLabs; every character of the text gets its mark.

    Args:
        vendor: The way to ElevenLabs; `find_tts("elevenlabs")` makes one.
        model: Such as ``eleven_flash_v2_5``; only the v2.5 and v3 models are told the language.
        language: The language of what will be said, "" for whatever the text is in.
    """

    name = "elevenlabs"

    def __init__(
        self,
        *,
        vendor: SpeechVendor,
        model: str = DEFAULT_MODEL,
        language: str = "",
        stability: float | None = None,
        similarity_boost: float | None = None,
        rate_hz: int = 16000,
    ) -> None:
        if rate_hz not in OUTPUT_RATES_HZ:
            raise InvalidValueError(f"one of {', '.join(map(str, OUTPUT_RATES_HZ))}, got {rate_hz}", field="rate_hz")
        for field, value in (("stability", stability), ("similarity_boost", similarity_boost)):
            if value is not None and not 0 <= value <= 1:
                raise InvalidValueError(f"from 0 to 1, got {value}", field=field)
        self.model, self._vendor, self._rate_hz = model, vendor, rate_hz
        self._language = base_language(language) if any(part in model for part in _LANGUAGE_MODELS) else ""
        self._settings = {"stability": stability, "similarity_boost": similarity_boost}
        self.capabilities = TTSCapabilities(
            rate_hz=rate_hz, alignment="char", voices=tuple(VOICES), languages=(), needs_network=True
        )

    async def synthesize(self, text: str, *, voice: str, speed: float = 1.0) -> AsyncIterator[AudioChunk | Mark]:
        """Yield audio as it arrives, and the marks of its characters before it.

        Raises:
            ProviderError: The vendor refused, could not be reached, or sent something that is not speech.
            InvalidValueError: There is no such voice, or the speed is out of range.
        """
        if not SPEEDS[0] <= speed <= SPEEDS[1]:
            raise InvalidValueError(f"from {SPEEDS[0]} to {SPEEDS[1]}, got {speed}", field="speed")
        call = self._call(text, voice_id(voice), speed)
        if not text.strip():
            return
        async with contextlib.aclosing(self._vendor.ask(lambda: self._speak(call, text))) as speech:
            async for piece in speech:
                yield piece

    def _call(self, text: str, voice: str, speed: float) -> Call:
        settings = {name: value for name, value in self._settings.items() if value is not None}
        body: dict[str, Any] = {
            "text": whole_text(text),
            "model_id": self.model,
            "voice_settings": {**settings, "speed": speed},
        }
        if self._language:
            body["language_code"] = self._language
        path = f"/v1/text-to-speech/{quote(voice, safe='')}/stream/with-timestamps?output_format=pcm_{self._rate_hz}"
        return Call(path, self.model, json=body)

    async def _speak(self, call: Call, text: str) -> AsyncGenerator[AudioChunk | Mark, None]:
        speech = _Speech(text, self._rate_hz, self._vendor.name, self.model)
        reading = self._vendor.reading(self.model)
        async with self._vendor.open(call) as response:
            refuse_wrong_type(response, reading, expected="lines of JSON")
            lines = read_lines(response, reading, longest=LONGEST_LINE_BYTES)
            async with contextlib.aclosing(lines):
                async for line in lines:
                    for piece in speech.read(self._document(line)):
                        yield piece
        for mark in speech.finish():
            yield mark

    def _document(self, line: bytes) -> dict[str, Any]:
        data = line.removeprefix(b"data:").decode("utf-8", "replace")
        document = parse_object(data, provider=self._vendor.name, model=self.model)
        if document.get("audio_base64") is None and (document.get("detail") or document.get("error")):
            raise self._vendor.refused(self.model, 500, data)
        return document


class _Speech:
    """Reads the vendor's lines: samples counted from the start of the text, each mark before its sound."""

    def __init__(self, text: str, rate_hz: int, provider: str, model: str) -> None:
        self._text, self._rate_hz = text, rate_hz
        self._provider, self._model = provider, model
        self._samples = WholeSamples()
        self._sent = 0
        self._at_char = 0
        self._newest = 0
        self._restarts = False
        self._waiting: deque[Mark] = deque()

    def read(self, document: Mapping[str, Any]) -> Iterator[AudioChunk | Mark]:
        """Take one line; yield its audio, and the marks of all that begins before the audio ends."""
        pcm = self._samples.feed(self._audio(document))
        self._waiting.extend(self._marks(document.get("alignment")))
        end = self._sent + len(pcm) // 2
        while self._waiting and self._waiting[0].sample < end:
            yield self._waiting.popleft()
        if pcm:
            yield AudioChunk(pcm, self._sent)
            self._sent = end

    def finish(self) -> Iterator[Mark]:
        """Yield the marks whose sound never came, at the end of what did.

        Raises:
            ProviderStreamError: There was no sound at all for a text that has some.
        """
        if not self._sent and any(char.isalnum() for char in self._text):
            raise ProviderStreamError(
                "sent no audio for the text; try again", provider=self._provider, model=self._model
            )
        for mark in self._waiting:
            yield mark._replace(sample=min(mark.sample, self._sent))

    def _audio(self, document: Mapping[str, Any]) -> bytes:
        encoded = document.get("audio_base64")
        if encoded is None:
            return b""
        try:
            return base64.b64decode(encoded, validate=True)
        except (TypeError, ValueError, binascii.Error):
            raise ProviderStreamError(
                "sent audio that is not base64; try again", provider=self._provider, model=self._model
            ) from None

    def _marks(self, alignment: Any) -> Iterator[Mark]:
        """Yield where the characters of the text begin.

        The times count from the start of the text. A line whose times start anew counts from its own audio.
        """
        if not isinstance(alignment, dict):
            return
        characters, starts = alignment.get("characters"), alignment.get("character_start_times_seconds")
        if not isinstance(characters, list) or not isinstance(starts, list):
            return
        first = sample_at(starts[0], self._rate_hz) if starts else None
        self._restarts = self._restarts or (
            first is not None and first < self._newest - self._rate_hz // 50 and self._sent > 0
        )
        offset = self._sent if self._restarts else 0
        for character, start in zip(characters, starts, strict=False):
            sample = sample_at(start, self._rate_hz)
            found = self._find(character)
            if sample is None or found is None:
                continue
            self._newest = max(self._newest, offset + sample)
            yield Mark(found, len(character), self._newest)

    def _find(self, character: Any) -> int | None:
        """Return where the character is in the text, and go on after it; the vendor may have left some out."""
        if not isinstance(character, str) or not character:
            return None
        found = self._text.find(character, self._at_char, self._at_char + LOOK_AHEAD_CHARS)
        if found < 0:
            return None
        self._at_char = found + len(character)
        return found


class ElevenLabsBatch:
    """Transcribes whole utterances; `ElevenLabsASR` uses it when realtime recognition fails."""

    def __init__(self, *, vendor: SpeechVendor, model: str = BATCH_MODEL) -> None:
        self.model, self._vendor = model, vendor

    async def transcribe(self, pcm: bytes, *, rate_hz: int, language: str, phrases: Sequence[str] = ()) -> Final:
        """Return what is said in the audio, with the time of every word.

        Raises:
            ProviderError: The vendor refused, could not be reached, or sent something else.
        """
        is_raw = rate_hz == RAW_RATE_HZ
        data: dict[str, Any] = {
            "model_id": self.model,
            "tag_audio_events": "false",
            "timestamps_granularity": "word",
            "file_format": "pcm_s16le_16" if is_raw else "other",
        }
        if code := base_language(language):
            data["language_code"] = code
        if terms := expected_terms(phrases):
            data["keyterms"] = terms
        file = ("utterance.pcm", pcm, "audio/pcm") if is_raw else ("utterance.wav", wav_file(pcm, rate_hz), "audio/wav")
        call = Call("/v1/speech-to-text", self.model, data=data, files={"file": file})
        return read_transcript(
            await self._vendor.ask_once(call), rate_hz=rate_hz, vendor=self._vendor, model=self.model
        )


def expected_terms(phrases: Sequence[str]) -> list[str]:
    """Return the words to expect that the vendor takes: at most 50, each of at most 20 characters."""
    return key_terms(phrases, most=MOST_TERMS, longest=LONGEST_TERM, forbidden=_FORBIDDEN_IN_TERMS)


def read_transcript(document: Mapping[str, Any], *, rate_hz: int, vendor: SpeechVendor, model: str) -> Final:
    """Return a transcript of the vendor's as ours.

    Raises:
        ProviderStreamError: There is no text in it.
    """
    text = document.get("text")
    if not isinstance(text, str):
        raise ProviderStreamError("sent a transcript without a text", provider=vendor.name, model=model)
    listed = document.get("words")
    listed = listed if isinstance(listed, list) else []
    words = [word for word in listed if isinstance(word, dict) and word.get("type") in (None, "word")]
    times = (_word_time(word, rate_hz) for word in words)
    return Final(
        text=text.strip(),
        confidence=confidence(word.get("logprob") for word in words),
        words=tuple(time for time in times if time is not None),
    )


def read_elevenlabs_refusal(asker: Asker, status: int, body: str, retry_after: float | None) -> Refused:
    """Read the vendor's errors, which stand under ``detail``; a used-up quota comes as 401, like a wrong key."""
    said = read_body(_unwrapped(body))
    if {said.code, said.kind} & _NO_QUOTA:
        spent = json.dumps({"error": {"message": said.message, "code": "insufficient_quota"}})
        return refusal(asker, 429, spent, retry_after=retry_after)
    if {said.code, said.kind} & _NO_VOICE:
        error = ProviderRequestError(
            f"does not know that voice ({status}); use a name such as George, or the id of a voice in your account",
            provider=asker.provider,
            status=status,
            model=asker.model,
        )
        return Refused(error, passing=False, retry_after=None, said=Said(said.message, said.code, said.kind))
    return refusal(asker, status, _unwrapped(body), retry_after=retry_after)


def _unwrapped(body: str) -> str:
    """Return an error body in the shape that all vendors' errors are read in."""
    try:
        document = json.loads(body)
    except (ValueError, RecursionError):
        return body
    detail = document.get("detail") if isinstance(document, dict) else None
    if isinstance(detail, dict):
        code = detail.get("code") or detail.get("status")
        return json.dumps({"error": {**detail, "code": code}})
    if isinstance(detail, list):
        return json.dumps({"error": {"message": "; ".join(map(_problem, detail[:5]))}})
    return body


def _problem(detail: Any) -> str:
    if not isinstance(detail, dict):
        return str(detail)
    where = detail.get("loc")
    path = ".".join(map(str, where)) if isinstance(where, list) else ""
    return f"{path}: {detail.get('msg', '')}" if path else str(detail.get("msg", ""))


def _word_time(word: Mapping[str, Any], rate_hz: int) -> WordTime | None:
    start, end = sample_at(word.get("start"), rate_hz), sample_at(word.get("end"), rate_hz)
    text = word.get("text")
    if start is None or end is None or not isinstance(text, str) or not text.strip():
        return None
    return WordTime(text.strip(), start, max(start, end))
