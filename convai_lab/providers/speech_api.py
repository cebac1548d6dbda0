"""Speech API: how do OpenAI, and the many servers that speak its dialect, speak and transcribe?

``/v1/audio/speech`` streams bare samples at 24 kHz and says nothing about where words begin, so there are no marks.
``/v1/audio/transcriptions`` takes a whole utterance; there are no guesses before its end.
"""

from __future__ import annotations

import contextlib
from collections.abc import AsyncGenerator, AsyncIterator, Mapping, Sequence
from typing import Any

from convai_lab.agents.voices import VOICES, voice_name
from convai_lab.errors import InvalidValueError, ProviderStreamError
from convai_lab.providers.base import (
    ASRCapabilities,
    ASRStream,
    AudioChunk,
    Final,
    Mark,
    TTSCapabilities,
    WordTime,
)
from convai_lab.providers.http_speech import Call, SpeechVendor, refuse_wrong_type
from convai_lab.providers.streaming import read_chunks
from convai_lab.providers.tool_names import whole_text
from convai_lab.providers.utterance import (
    WholeSamples,
    WholeUtterance,
    base_language,
    check_rate,
    confidence,
    padded,
    sample_at,
    wav_file,
)

SPEECH_MODEL = "gpt-4o-mini-tts"
TRANSCRIPTION_MODEL = "gpt-4o-mini-transcribe"
RATE_HZ = 24000
"""What OpenAI sends; a local server may send at another rate, which must be named."""
SPEEDS = (0.25, 4.0)
LEAST_SECS = 0.2
"""Shorter recordings are refused; silence makes up for what is missing."""
LONGEST_PROMPT = 800
"""Characters of the phrases to expect: the vendor reads the last 224 tokens."""
OPENAI_VOICES = (
    "alloy", "ash", "ballad", "cedar", "coral", "echo", "fable", "marin", "nova", "onyx", "sage", "shimmer", "verse",
)  # fmt: skip
STAND_INS = {
    **dict.fromkeys(("Adam", "Bill", "Brian", "Daniel", "George", "Roger"), "onyx"),
    **dict.fromkeys(("Callum", "Charlie", "Chris", "Eric", "Harry", "Liam", "River", "Will"), "ash"),
    **dict.fromkeys(("Alice", "Charlotte", "Lily", "Matilda"), "shimmer"),
    **dict.fromkeys(("Aria", "Bella", "Jessica", "Laura", "Rachel", "Sarah"), "nova"),
}
"""Which of OpenAI's voices speaks for a voice of ElevenLabs, by its register."""
LONGEST_MAGIC = 4
"""Bytes that tell one kind of file from another."""

_OTHER_FORMATS = {b"RIFF": "a WAV file", b"ID3": "an MP3 file", b"OggS": "an Ogg file", b"fLaC": "a FLAC file"}


class SpeechApiTTS:
    """Speaks with an OpenAI-compatible server.

    Args:
        vendor: The way to the server; `find_tts("openai")` makes one.
        rate_hz: At which rate the server's samples are.
        instructions: How to speak, for models that take it.
    """

    name = "openai"

    def __init__(
        self, *, vendor: SpeechVendor, model: str = SPEECH_MODEL, rate_hz: int = RATE_HZ, instructions: str = ""
    ) -> None:
        check_rate(rate_hz)
        self.model, self._vendor, self._instructions = model, vendor, instructions
        self.capabilities = TTSCapabilities(
            rate_hz=rate_hz, alignment="none", voices=OPENAI_VOICES, languages=(), needs_network=True
        )

    async def synthesize(self, text: str, *, voice: str, speed: float = 1.0) -> AsyncIterator[AudioChunk | Mark]:
        """Yield audio as it arrives; no marks.

        Raises:
            ProviderError: The server refused, could not be reached, or sent something that is not bare samples.
            InvalidValueError: The speed is out of range.
        """
        if not SPEEDS[0] <= speed <= SPEEDS[1]:
            raise InvalidValueError(f"from {SPEEDS[0]} to {SPEEDS[1]}, got {speed}", field="speed")
        if not text.strip():
            return
        call = self._call(text, voice, speed)
        async with contextlib.aclosing(self._vendor.ask(lambda: self._speak(call, text))) as speech:
            async for piece in speech:
                yield piece

    def _call(self, text: str, voice: str, speed: float) -> Call:
        body: dict[str, Any] = {
            "model": self.model,
            "input": whole_text(text),
            "voice": spoken_by(voice),
            "response_format": "pcm",
        }
        if speed != 1.0:
            body["speed"] = speed
        if self._instructions:
            body["instructions"] = self._instructions
        return Call("/v1/audio/speech", self.model, json=body)

    async def _speak(self, call: Call, text: str) -> AsyncGenerator[AudioChunk | Mark, None]:
        samples, sent, start = WholeSamples(), 0, b""
        reading = self._vendor.reading(self.model)
        async with self._vendor.open(call) as response:
            refuse_wrong_type(response, reading, expected="audio")
            async with contextlib.aclosing(read_chunks(response, reading)) as chunks:
                async for chunk in chunks:
                    start += samples.feed(chunk)
                    if not sent and len(start) < LONGEST_MAGIC:
                        continue
                    self._require_samples(start if not sent else b"")
                    pcm, start = start, b""
                    if pcm:
                        yield AudioChunk(pcm, sent)
                        sent += len(pcm) // 2
        if start:
            yield AudioChunk(start, sent)
            sent += len(start) // 2
        if not sent and any(char.isalnum() for char in text):
            raise ProviderStreamError(
                "sent no audio for the text; try again", provider=self._vendor.name, model=self.model
            )

    def _require_samples(self, start: bytes) -> None:
        """Refuse a file where bare samples were asked for: it would be heard as noise."""
        for magic, what in _OTHER_FORMATS.items():
            if start.startswith(magic):
                raise ProviderStreamError(
                    f"sent {what} instead of bare samples: it does not know the response format pcm",
                    provider=self._vendor.name,
                    model=self.model,
                )


class SpeechApiASR:
    """Transcribes whole utterances with an OpenAI-compatible server; `find_asr("openai")` makes one."""

    name = "openai"

    def __init__(self, *, vendor: SpeechVendor, model: str = TRANSCRIPTION_MODEL) -> None:
        self.model, self._vendor = model, vendor
        self.capabilities = ASRCapabilities(
            streaming=False,
            partials=False,
            word_times=_tells_times(model),
            languages=(),
            biasing="phrases",
            needs_network=True,
        )

    def open(self, *, rate_hz: int, language: str, phrases: Sequence[str] = ()) -> ASRStream:
        """Start an utterance, which is sent when it ends.

        Raises:
            InvalidValueError: The rate is not one.
        """
        check_rate(rate_hz)

        async def recognise(pcm: bytes) -> Final:
            call = self._call(padded(pcm, secs=LEAST_SECS, rate_hz=rate_hz), rate_hz, language, phrases)
            return self._transcript(await self._vendor.ask_once(call), rate_hz)

        return WholeUtterance(recognise)

    def _call(self, pcm: bytes, rate_hz: int, language: str, phrases: Sequence[str]) -> Call:
        data: dict[str, Any] = {"model": self.model, "response_format": "json"}
        if _tells_times(self.model):
            data |= {"response_format": "verbose_json", "timestamp_granularities[]": ["word", "segment"]}
        elif self.model.startswith("gpt-4o"):
            data["include[]"] = "logprobs"
        if code := base_language(language):
            data["language"] = code
        if prompt := _prompt(phrases):
            data["prompt"] = prompt
        file = ("utterance.wav", wav_file(pcm, rate_hz), "audio/wav")
        return Call("/v1/audio/transcriptions", self.model, data=data, files={"file": file})

    def _transcript(self, document: Mapping[str, Any], rate_hz: int) -> Final:
        text = document.get("text")
        if not isinstance(text, str):
            raise ProviderStreamError("sent a transcript without a text", provider=self._vendor.name, model=self.model)
        sure = [entry.get("logprob") for entry in _objects(document.get("logprobs"))]
        sure += [entry.get("avg_logprob") for entry in _objects(document.get("segments"))]
        times = (_word_time(entry, rate_hz) for entry in _objects(document.get("words")))
        words = tuple(time for time in times if time is not None)
        return Final(text=text.strip(), confidence=confidence(sure), words=words)


def spoken_by(voice: str) -> str:
    """Return the name of the voice to ask for: one of ElevenLabs' has a stand-in, any other is sent as it is.

    Raises:
        InvalidValueError: It is no name at all.

    Example:
        >>> spoken_by("George"), spoken_by("af_heart")
        ('onyx', 'af_heart')
    """
    name = voice_name(voice.strip()) if isinstance(voice, str) else ""
    if not name or len(name) > 200 or not name.isprintable():
        raise InvalidValueError(f"must be a voice's name, such as {OPENAI_VOICES[0]}", field="voice")
    known = next((known for known in VOICES if known.lower() == name.lower()), None)
    return STAND_INS[known] if known else name


def _tells_times(model: str) -> bool:
    """Say whether the model gives the times of words; the newer ones of OpenAI refuse to be asked."""
    return model.rpartition("/")[2].startswith("whisper-1")


def _prompt(phrases: Sequence[str]) -> str:
    prompt = ""
    for phrase in phrases:
        longer = ", ".join(part for part in (prompt, " ".join(phrase.split())) if part)
        if len(longer) > LONGEST_PROMPT:
            break
        prompt = longer
    return whole_text(prompt)


def _objects(listed: Any) -> list[dict[str, Any]]:
    return [entry for entry in listed if isinstance(entry, dict)] if isinstance(listed, list) else []


def _word_time(entry: Mapping[str, Any], rate_hz: int) -> WordTime | None:
    start, end, word = sample_at(entry.get("start"), rate_hz), sample_at(entry.get("end"), rate_hz), entry.get("word")
    if start is None or end is None or not isinstance(word, str) or not word.strip():
        return None
    return WordTime(word.strip(), start, max(start, end))
