"""What ElevenLabs' adapters send, and what they make of its answers, good and broken."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from convai_lab.errors import (
    InvalidValueError,
    ProviderAuthError,
    ProviderConnectionError,
    ProviderError,
    ProviderRateLimitError,
    ProviderRequestError,
    ProviderStreamError,
    ProviderTimeoutError,
)
from convai_lab.providers.base import AudioChunk, Final, Mark, WordTime
from convai_lab.providers.elevenlabs import ElevenLabsBatch, ElevenLabsTTS
from convai_lab.providers.elevenlabs_realtime import ElevenLabsASR
from convai_lab.providers.http_speech import SpeechVendor
from convai_lab.providers.retry import RetryPolicy
from convai_lab.settings import Secret
from convai_lab.testing.fake_speech_vendors import (
    Hang,
    HangUp,
    Heard,
    Raw,
    Speech,
    Status,
    fake_elevenlabs,
    tone,
)

KEY = "sk-test-0123456789abcdefghij"
GEORGE = "JBFqnCBsd6RMkjVDRZzb"
SECOND = bytes(32000)


async def say(tts: ElevenLabsTTS, text: str, **options: Any) -> tuple[bytes, list[Mark]]:
    pcm, marks = b"", []
    async for piece in tts.synthesize(text, **{"voice": "George", **options}):
        if isinstance(piece, Mark):
            assert piece.sample <= len(pcm) // 2 + 16000
            marks.append(piece)
        else:
            assert piece.start_sample == len(pcm) // 2
            assert piece.pcm
            assert len(piece.pcm) % 2 == 0
            pcm += piece.pcm
    return pcm, marks


async def hear(asr: Any, pcm: bytes, *, step: int = 640, rate_hz: int = 16000, **options: Any) -> Final:
    stream = asr.open(**{"rate_hz": rate_hz, "language": "en", **options})
    for start in range(0, len(pcm), step):
        stream.feed(pcm[start : start + step])
    return await stream.finish()


async def until(condition: Callable[[], Any]) -> Any:
    async with asyncio.timeout(5):
        while not (found := condition()):
            await asyncio.sleep(0)
    return found


# Speech out


async def test_every_character_is_marked_where_it_begins(elevenlabs_at: Callable[..., SpeechVendor]) -> None:
    with fake_elevenlabs() as server:
        pcm, marks = await say(ElevenLabsTTS(vendor=elevenlabs_at(server)), "Hello, Zoë!")
    assert pcm == tone("Hello, Zoë!", 16000)
    assert marks == [Mark(n, 1, n * 160) for n in range(11)]


async def test_the_request_carries_the_voice_its_settings_and_the_language(
    elevenlabs_at: Callable[..., SpeechVendor],
) -> None:
    with fake_elevenlabs() as server:
        tts = ElevenLabsTTS(vendor=elevenlabs_at(server), language="pt-br", stability=0.4, similarity_boost=0.9)
        await say(tts, "Oi", speed=1.1)
        request = server.requests[0]
    assert request.path == f"/v1/text-to-speech/{GEORGE}/stream/with-timestamps"
    assert request.query == {"output_format": "pcm_16000"}
    assert request.headers["xi-api-key"] == KEY
    assert request.body == {
        "text": "Oi",
        "model_id": "eleven_flash_v2_5",
        "language_code": "pt",
        "voice_settings": {"stability": 0.4, "similarity_boost": 0.9, "speed": 1.1},
    }


async def test_an_english_only_model_is_not_told_the_language(elevenlabs_at: Callable[..., SpeechVendor]) -> None:
    with fake_elevenlabs() as server:
        await say(ElevenLabsTTS(vendor=elevenlabs_at(server), model="eleven_flash_v2", language="en"), "Hi")
        assert "language_code" not in server.requests[0].body


@pytest.mark.parametrize(
    "speech",
    [Speech(odd=True), Speech(piece_bytes=1), Speech(piece_bytes=7, odd=True), Speech(restarting=True)],
    ids=["odd bytes", "a byte at a time", "odd pieces", "times that start anew"],
)
async def test_however_an_answer_is_cut_it_says_the_same(
    speech: Speech, elevenlabs_at: Callable[..., SpeechVendor]
) -> None:
    text = "A longer text, so that there are many lines of it and then some more."
    with fake_elevenlabs(speech=[speech]) as server:
        pcm, marks = await say(ElevenLabsTTS(vendor=elevenlabs_at(server)), text)
    assert pcm == tone(text, 16000)
    assert [mark.char_start for mark in marks] == list(range(len(text)))
    assert all(abs(mark.sample - 160 * mark.char_start) <= 1 for mark in marks)


async def test_characters_the_vendor_leaves_out_or_makes_up_are_passed_over(
    elevenlabs_at: Callable[..., SpeechVendor],
) -> None:
    with fake_elevenlabs(speech=[Speech(spoken_as="Hi€ there")]) as server:
        _, marks = await say(ElevenLabsTTS(vendor=elevenlabs_at(server)), "Hi  there")
    assert [mark.char_start for mark in marks] == [0, 1, 2, 4, 5, 6, 7, 8]


async def test_without_alignment_there_is_sound_and_no_marks(elevenlabs_at: Callable[..., SpeechVendor]) -> None:
    with fake_elevenlabs(speech=[Speech(alignment=False)]) as server:
        pcm, marks = await say(ElevenLabsTTS(vendor=elevenlabs_at(server)), "Hi")
    assert pcm
    assert marks == []


@pytest.mark.parametrize(
    "alignment",
    ["[]", "5", '{"characters": "Hi"}', '{"characters": [1, null], "character_start_times_seconds": ["x", null]}',
     '{"characters": ["H", "i"], "character_start_times_seconds": [NaN, -1e999]}',
     '{"characters": ["H"], "character_start_times_seconds": []}'],
)  # fmt: skip
async def test_nonsense_for_alignment_harms_nobody(alignment: str, elevenlabs_at: Callable[..., SpeechVendor]) -> None:
    line = '{"audio_base64": "AAA=", "alignment": ' + alignment + "}\n"
    with fake_elevenlabs(speech=[Raw(body=line.encode())]) as server:
        assert (await say(ElevenLabsTTS(vendor=elevenlabs_at(server)), "Hi"))[0] == bytes(2)


async def test_nothing_to_say_asks_nothing(elevenlabs_at: Callable[..., SpeechVendor]) -> None:
    with fake_elevenlabs() as server:
        assert await say(ElevenLabsTTS(vendor=elevenlabs_at(server)), " \n") == (b"", [])
        assert server.requests == []


@pytest.mark.parametrize(
    ("speech", "error", "words"),
    [
        (Status(code=401, message="invalid_api_key|Invalid API key"), ProviderAuthError, "refused the key"),
        (Status(code=401, message="quota_exceeded|You have 0 credits left"), ProviderRateLimitError, "0 credits"),
        (Status(code=404, message="voice_not_found|A voice with id x"), ProviderRequestError, "that voice"),
        (Status(code=422, body=b'{"detail": [{"loc": ["body", "text"], "msg": "too long"}]}'),
         ProviderRequestError, "body.text: too long"),
        (Status(code=429, message="too_many_concurrent_requests|Slow down"), ProviderRateLimitError, "Slow down"),
        (Status(code=500, body=b"<html>oops"), ProviderError, "500"),
        (Status(code=302), ProviderError, "redirect"),
        (Raw(body=b"<html>", content_type="text/html"), ProviderStreamError, "base URL"),
        (Raw(body=b"[]"), ProviderStreamError, "JSON object"),
        (Raw(body=b""), ProviderStreamError, "no audio"),
        (Raw(body=b'{"audio_base64": 7}'), ProviderStreamError, "base64"),
        (Speech(silent=True), ProviderStreamError, "no audio"),
        (Speech(garbage_after=1), ProviderStreamError, "not JSON"),
        (Speech(bad_base64_after=1), ProviderStreamError, "base64"),
        (Speech(error_after=1), ProviderError, "busy"),
        (Speech(cut_after=1), ProviderStreamError, "cut"),
        (HangUp(), ProviderConnectionError, "closed"),
    ],
)  # fmt: skip
async def test_every_failure_to_speak_has_its_error(
    speech: Any, error: type[Exception], words: str, elevenlabs_at: Callable[..., SpeechVendor]
) -> None:
    with fake_elevenlabs(speech=[speech]) as server, pytest.raises(error, match=words) as raised:
        await say(ElevenLabsTTS(vendor=elevenlabs_at(server)), "Hello there")
    assert KEY not in str(raised.value)


@pytest.mark.parametrize("speech", [Hang(), Speech(hang_after=1)], ids=["at once", "in the middle"])
async def test_a_server_that_hangs_is_given_up(
    speech: Any, elevenlabs_at: Callable[..., SpeechVendor], quick_clock: Any
) -> None:
    with fake_elevenlabs(speech=[speech]) as server, pytest.raises(ProviderTimeoutError):
        await say(ElevenLabsTTS(vendor=elevenlabs_at(server, clock=quick_clock(20))), "Hello there")


async def test_a_passing_failure_is_tried_again_but_never_after_sound_came(
    elevenlabs_at: Callable[..., SpeechVendor], quick_clock: Any
) -> None:
    retry = RetryPolicy(attempts=3)
    with fake_elevenlabs(speech=[Status(code=503), HangUp(), Speech(), Speech(cut_after=1)]) as server:
        tts = ElevenLabsTTS(vendor=elevenlabs_at(server, retry=retry, clock=quick_clock()))
        assert (await say(tts, "Hello"))[0] == tone("Hello", 16000)
        with pytest.raises(ProviderStreamError):
            await say(tts, "Hello")
        assert len(server.requests) == 4


async def test_closing_the_speech_closes_the_connection(elevenlabs_at: Callable[..., SpeechVendor]) -> None:
    with fake_elevenlabs(speech=[Speech(chars_a_line=1, hang_after=3)]) as server:
        speech = ElevenLabsTTS(vendor=elevenlabs_at(server)).synthesize("Hello there", voice="George")
        assert isinstance(await anext(speech), Mark)
        assert isinstance(await anext(speech), AudioChunk)
        await speech.aclose()  # type: ignore[attr-defined]
        await until(lambda: server.left_early)


async def test_a_nobody_voice_or_speed_is_refused_before_anything_is_sent(
    elevenlabs_at: Callable[..., SpeechVendor],
) -> None:
    with fake_elevenlabs() as server:
        tts = ElevenLabsTTS(vendor=elevenlabs_at(server))
        with pytest.raises(InvalidValueError, match="did you mean George"):
            await say(tts, "Hi", voice="Georg")
        with pytest.raises(InvalidValueError, match=r"from 0\.7 to 1\.2"):
            await say(tts, "Hi", speed=3)
        assert server.requests == []
    with pytest.raises(InvalidValueError, match="stability"):
        ElevenLabsTTS(vendor=elevenlabs_at("http://127.0.0.1:1"), stability=2)
    with pytest.raises(InvalidValueError, match="rate_hz"):
        ElevenLabsTTS(vendor=elevenlabs_at("http://127.0.0.1:1"), rate_hz=11025)


async def test_a_line_without_an_end_is_given_up(elevenlabs_at: Callable[..., SpeechVendor]) -> None:
    with (
        fake_elevenlabs(speech=[Raw(body=bytes(17 << 20))]) as server,
        pytest.raises(ProviderStreamError, match="a line over 16 MiB"),
    ):
        await say(ElevenLabsTTS(vendor=elevenlabs_at(server)), "Hi")


async def test_a_key_that_cannot_be_one_is_not_sent(elevenlabs_at: Callable[..., SpeechVendor]) -> None:
    with fake_elevenlabs() as server:
        vendor = elevenlabs_at(server, api_key=Secret("my key\n"))
        for work in (say(ElevenLabsTTS(vendor=vendor), "Hi"), hear(ElevenLabsASR(vendor=vendor), SECOND)):
            with pytest.raises(ProviderAuthError, match="copy it again") as raised:
                await work
            assert "my key" not in str(raised.value)
        assert server.connections == 0


async def test_half_a_character_is_spoken_as_a_sign_for_one(elevenlabs_at: Callable[..., SpeechVendor]) -> None:
    with fake_elevenlabs() as server:
        await say(ElevenLabsTTS(vendor=elevenlabs_at(server)), "Hi \ud83d")
        assert server.requests[0].body["text"] == "Hi \ufffd"


async def test_nobody_at_the_address_is_a_connection_error(elevenlabs_at: Callable[..., SpeechVendor]) -> None:
    with pytest.raises(ProviderConnectionError, match="could not connect"):
        await say(ElevenLabsTTS(vendor=elevenlabs_at("http://127.0.0.1:1")), "Hi")


# Speech in, whole


async def test_an_utterance_is_sent_whole_with_what_to_expect(elevenlabs_at: Callable[..., SpeechVendor]) -> None:
    with fake_elevenlabs(transcripts=[Heard(text="two people", logprob=-0.5)]) as server:
        asr = ElevenLabsASR(vendor=elevenlabs_at(server), realtime=False)
        final = await hear(asr, SECOND, phrases=["table for two", "x" * 30, "[no]", "table  for two"])
        sent = server.requests[0]
    assert final == Final(
        text="two people", confidence=0.6065, words=(WordTime("two", 0, 4800), WordTime("people", 4800, 9600))
    )
    assert sent.headers["content-type"].startswith("multipart/form-data")
    for field, value in [("model_id", "scribe_v2"), ("language_code", "en"), ("keyterms", "table for two"),
                         ("file_format", "pcm_s16le_16"), ("tag_audio_events", "false")]:  # fmt: skip
        assert sent.raw.count(f'name="{field}"\r\n\r\n{value}\r\n'.encode()) == 1, field
    assert sent.raw.count(b"keyterms") == 1
    assert SECOND in sent.raw


async def test_at_other_rates_the_utterance_is_a_wav_file(elevenlabs_at: Callable[..., SpeechVendor]) -> None:
    with fake_elevenlabs() as server:
        await ElevenLabsBatch(vendor=elevenlabs_at(server)).transcribe(SECOND, rate_hz=8000, language="")
        sent = server.requests[0]
    assert b"RIFF" in sent.raw
    assert b"language_code" not in sent.raw


async def test_a_transcript_that_does_not_come_is_given_up(
    elevenlabs_at: Callable[..., SpeechVendor], quick_clock: Any
) -> None:
    with fake_elevenlabs(transcripts=[Hang()]) as server, pytest.raises(ProviderTimeoutError):
        await hear(ElevenLabsASR(vendor=elevenlabs_at(server, clock=quick_clock(20)), realtime=False), SECOND)


@pytest.mark.parametrize("document", [{}, {"text": 5}, [], "hello"])
async def test_a_transcript_that_is_none_is_an_error(document: Any, elevenlabs_at: Callable[..., SpeechVendor]) -> None:
    with fake_elevenlabs(transcripts=[Heard(document=document)]) as server, pytest.raises(ProviderStreamError):
        await hear(ElevenLabsASR(vendor=elevenlabs_at(server), realtime=False), SECOND)


async def test_odd_words_in_a_transcript_are_left_out(elevenlabs_at: Callable[..., SpeechVendor]) -> None:
    words = [5, {"text": "a"}, {"text": "b", "start": "x", "end": 1}, {"text": "c", "start": 1, "end": 0.5,
             "logprob": 3}, {"text": "(laughs)", "type": "audio_event", "start": 0, "end": 1}]  # fmt: skip
    with fake_elevenlabs(transcripts=[Heard(document={"text": " c ", "words": words})]) as server:
        final = await hear(ElevenLabsASR(vendor=elevenlabs_at(server), realtime=False), SECOND)
    assert final == Final(text="c", confidence=1.0, words=(WordTime("c", 16000, 16000),))
