"""What the OpenAI-compatible speech adapters send, and what they make of the answers, good and broken."""

from __future__ import annotations

import asyncio
import wave
from collections.abc import Callable
from io import BytesIO
from typing import Any

import httpx
import pytest

from convai_lab.agents.voices import VOICES
from convai_lab.clock import SystemClock
from convai_lab.errors import (
    InvalidValueError,
    ModelNotFoundError,
    ProviderAuthError,
    ProviderConnectionError,
    ProviderError,
    ProviderRateLimitError,
    ProviderStreamError,
)
from convai_lab.providers.base import AudioChunk, Final, WordTime
from convai_lab.providers.http_speech import SpeechVendor
from convai_lab.providers.retry import NO_RETRIES
from convai_lab.providers.speech_api import OPENAI_VOICES, STAND_INS, SpeechApiASR, SpeechApiTTS, spoken_by
from convai_lab.settings import Secret
from convai_lab.testing.fake_speech_vendors import (
    FakeSpeechVendor,
    HangUp,
    Heard,
    Raw,
    Speech,
    Status,
    fake_openai_speech,
    tone,
)

KEY = "sk-test-0123456789abcdefghij"
SECOND = bytes(32000)


@pytest.fixture
def vendor_at(client: httpx.AsyncClient) -> Callable[..., SpeechVendor]:
    def build(server: FakeSpeechVendor | str, **options: Any) -> SpeechVendor:
        options = {"retry": NO_RETRIES, "clock": SystemClock(), "api_key": Secret(KEY), **options}
        return SpeechVendor(
            "openai", base_url=server if isinstance(server, str) else server.base_url, http=client, **options
        )

    return build


async def say(tts: SpeechApiTTS, text: str, **options: Any) -> bytes:
    pcm = b""
    async for piece in tts.synthesize(text, **{"voice": "nova", **options}):
        assert isinstance(piece, AudioChunk)
        assert piece.start_sample == len(pcm) // 2
        assert piece.pcm
        assert len(piece.pcm) % 2 == 0
        pcm += piece.pcm
    return pcm


async def hear(asr: SpeechApiASR, pcm: bytes, *, step: int = 640, **options: Any) -> Final:
    stream = asr.open(**{"rate_hz": 16000, "language": "en", **options})
    for start in range(0, len(pcm), step):
        stream.feed(pcm[start : start + step])
        assert stream.partial() is None
    return await stream.finish()


async def test_speech_streams_as_samples_at_24_khz(vendor_at: Callable[..., SpeechVendor]) -> None:
    with fake_openai_speech() as server:
        tts = SpeechApiTTS(vendor=vendor_at(server), instructions="Kindly.")
        assert await say(tts, "Hello there", speed=1.5) == tone("Hello there", 24000)
        request = server.requests[0]
    assert (tts.capabilities.rate_hz, tts.capabilities.alignment) == (24000, "none")
    assert request.path == "/v1/audio/speech"
    assert request.headers["authorization"] == f"Bearer {KEY}"
    assert request.body == {
        "model": "gpt-4o-mini-tts",
        "input": "Hello there",
        "voice": "nova",
        "response_format": "pcm",
        "speed": 1.5,
        "instructions": "Kindly.",
    }


@pytest.mark.parametrize("speech", [Speech(odd=True), Speech(piece_bytes=1, chars_a_line=1), Speech(piece_bytes=333)])
async def test_however_the_samples_are_cut_they_are_the_same(
    speech: Speech, vendor_at: Callable[..., SpeechVendor]
) -> None:
    with fake_openai_speech(speech=[speech]) as server:
        assert await say(SpeechApiTTS(vendor=vendor_at(server)), "Hello") == tone("Hello", 24000)


async def test_a_single_sample_is_sound_too(vendor_at: Callable[..., SpeechVendor]) -> None:
    with fake_openai_speech(speech=[Raw(body=b"\1\2\3", content_type="audio/pcm")]) as server:
        assert await say(SpeechApiTTS(vendor=vendor_at(server)), "Hello") == b"\1\2"


async def test_nothing_to_say_asks_nothing(vendor_at: Callable[..., SpeechVendor]) -> None:
    with fake_openai_speech() as server:
        assert await say(SpeechApiTTS(vendor=vendor_at(server)), "  ") == b""
        assert server.requests == []


@pytest.mark.parametrize(
    ("speech", "error", "words"),
    [
        (Status(code=401, message="Incorrect API key"), ProviderAuthError, "refused the key"),
        (Status(code=404, message="The model `x` does not exist"), ModelNotFoundError, "does not offer"),
        (Status(code=429, body=b'{"error": {"message": "No money", "code": "insufficient_quota"}}'),
         ProviderRateLimitError, "quota is used up"),
        (Status(code=500), ProviderError, "500"),
        (Raw(body=b"RIFF....WAVE", content_type="audio/wav"), ProviderStreamError, "a WAV file"),
        (Raw(body=b"ID3\4\0\0", content_type="audio/mpeg"), ProviderStreamError, "an MP3 file"),
        (Raw(body=b"{}", content_type="application/json"), ProviderStreamError, "instead of audio"),
        (Raw(body=b"<html>", content_type="text/html; charset=utf-8"), ProviderStreamError, "base URL"),
        (Raw(body=b"\1", content_type="audio/pcm"), ProviderStreamError, "no audio"),
        (Speech(silent=True), ProviderStreamError, "no audio"),
        (Speech(cut_after=1), ProviderStreamError, "cut"),
        (HangUp(), ProviderConnectionError, "closed"),
    ],
)  # fmt: skip
async def test_every_failure_to_speak_has_its_error(
    speech: Any, error: type[Exception], words: str, vendor_at: Callable[..., SpeechVendor]
) -> None:
    with fake_openai_speech(speech=[speech]) as server, pytest.raises(error, match=words) as raised:
        await say(SpeechApiTTS(vendor=vendor_at(server)), "Hello there")
    assert KEY not in str(raised.value)


async def test_closing_the_speech_closes_the_connection(vendor_at: Callable[..., SpeechVendor]) -> None:
    with fake_openai_speech(speech=[Speech(hang_after=2)]) as server:
        speech = SpeechApiTTS(vendor=vendor_at(server)).synthesize("Hello there", voice="nova")
        await anext(speech)
        await speech.aclose()  # type: ignore[attr-defined]
        async with asyncio.timeout(5):
            while not server.left_early:
                await asyncio.sleep(0)


def test_every_premade_voice_has_a_stand_in() -> None:
    assert set(STAND_INS) == set(VOICES)
    assert set(STAND_INS.values()) <= set(OPENAI_VOICES)
    assert spoken_by("george") == spoken_by(VOICES["George"]) == "onyx"
    assert spoken_by("my own voice") == "my own voice"


@pytest.mark.parametrize("voice", ["", " ", "a\nb", "x" * 300, None])
def test_what_is_no_name_is_refused_as_a_voice(voice: Any) -> None:
    with pytest.raises(InvalidValueError, match="voice"):
        spoken_by(voice)


async def test_a_wrong_speed_or_rate_is_refused(vendor_at: Callable[..., SpeechVendor]) -> None:
    vendor = vendor_at("http://127.0.0.1:1")
    with pytest.raises(InvalidValueError, match="speed"):
        await say(SpeechApiTTS(vendor=vendor), "Hi", speed=0)
    with pytest.raises(InvalidValueError, match="rate_hz"):
        SpeechApiTTS(vendor=vendor, rate_hz=1)
    with pytest.raises(InvalidValueError, match="rate_hz"):
        SpeechApiASR(vendor=vendor).open(rate_hz=True, language="en")


async def test_an_utterance_is_sent_as_a_wav_file_with_what_to_expect(vendor_at: Callable[..., SpeechVendor]) -> None:
    with fake_openai_speech(transcripts=[Heard(text="two people", logprob=-0.5)]) as server:
        asr = SpeechApiASR(vendor=vendor_at(server))
        final = await hear(asr, tone("two people", 16000), phrases=["Zoë", "table  for two"])
        sent = server.requests[0]
    assert (final.text, final.confidence) == ("two people", 0.6065)
    assert sent.path == "/v1/audio/transcriptions"
    for field, value in [("model", "gpt-4o-mini-transcribe"), ("response_format", "json"), ("language", "en"),
                         ("include[]", "logprobs"), ("prompt", "Zoë, table for two")]:  # fmt: skip
        assert f'name="{field}"\r\n\r\n{value}\r\n'.encode() in sent.raw, field
    start = sent.raw.index(b"RIFF")
    with wave.open(BytesIO(sent.raw[start:])) as file:
        assert (file.getframerate(), file.getnchannels(), file.getsampwidth()) == (16000, 1, 2)
        assert file.readframes(10) == tone("two people", 16000)[:20]


async def test_whisper_tells_the_time_of_every_word(vendor_at: Callable[..., SpeechVendor]) -> None:
    with fake_openai_speech(transcripts=[Heard(text="two people")]) as server:
        asr = SpeechApiASR(vendor=vendor_at(server), model="whisper-1")
        final = await hear(asr, SECOND, rate_hz=8000)
        assert b"verbose_json" in server.requests[0].raw
    assert asr.capabilities.word_times
    assert final.words == (WordTime("two", 0, 2400), WordTime("people", 2400, 4800))


async def test_a_server_that_sends_only_the_text_is_enough(vendor_at: Callable[..., SpeechVendor]) -> None:
    with fake_openai_speech(transcripts=[Heard(document={"text": " hello \n", "segments": 5, "words": [1]})]) as server:
        asr = SpeechApiASR(vendor=vendor_at(server, api_key=None), model="Systran/faster-whisper-small")
        assert await hear(asr, SECOND) == Final(text="hello")
        assert "authorization" not in server.requests[0].headers


async def test_a_very_short_utterance_is_filled_with_silence_and_none_is_not_sent(
    vendor_at: Callable[..., SpeechVendor],
) -> None:
    with fake_openai_speech() as server:
        asr = SpeechApiASR(vendor=vendor_at(server))
        assert await hear(asr, b"\1") == Final(text="")
        assert server.requests == []
        await hear(asr, b"\1\1\1")
        assert bytes(6398) in server.requests[0].raw


async def test_finishing_twice_asks_once_and_aborting_is_harmless(vendor_at: Callable[..., SpeechVendor]) -> None:
    with fake_openai_speech() as server:
        stream = SpeechApiASR(vendor=vendor_at(server)).open(rate_hz=16000, language="en")
        stream.feed(SECOND)
        assert await stream.finish() == await stream.finish()
        stream.abort()
        stream.abort()
        stream.feed(SECOND)
        assert len(server.requests) == 1


@pytest.mark.parametrize(
    ("answer", "error", "words"),
    [
        (Heard(document={}), ProviderStreamError, "without a text"),
        (Heard(document={"text": None}), ProviderStreamError, "without a text"),
        (Raw(body=b"hello", content_type="text/plain"), ProviderStreamError, "not JSON"),
        (Status(code=400, message="Audio file might be corrupted"), ProviderError, "corrupted"),
        (HangUp(), ProviderConnectionError, "closed"),
    ],
)
async def test_every_failure_to_hear_has_its_error(
    answer: Any, error: type[Exception], words: str, vendor_at: Callable[..., SpeechVendor]
) -> None:
    with fake_openai_speech(transcripts=[answer]) as server, pytest.raises(error, match=words):
        await hear(SpeechApiASR(vendor=vendor_at(server)), SECOND)
