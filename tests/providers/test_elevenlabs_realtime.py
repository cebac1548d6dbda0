"""What realtime recognition with ElevenLabs sends, and what it makes of the answers, good and broken."""

from __future__ import annotations

import asyncio
import base64
import logging
from collections.abc import Callable
from typing import Any

import pytest

from convai_lab.errors import (
    InvalidValueError,
    ProviderAuthError,
    ProviderError,
    ProviderRateLimitError,
    ProviderRequestError,
)
from convai_lab.providers.base import Final
from convai_lab.providers.elevenlabs_realtime import ElevenLabsASR
from convai_lab.providers.http_speech import SpeechVendor
from convai_lab.testing.fake_speech_vendors import Hang, HangUp, Heard, Session, Status, fake_elevenlabs, tone

KEY = "sk-test-0123456789abcdefghij"
SECOND = bytes(32000)


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


async def test_guesses_come_while_somebody_speaks_and_the_commit_is_final(
    elevenlabs_at: Callable[..., SpeechVendor],
) -> None:
    with fake_elevenlabs(sessions=[Session(texts=("hello there",), guesses=("hel", "hello th"))]) as server:
        stream = ElevenLabsASR(vendor=elevenlabs_at(server)).open(rate_hz=16000, language="en-GB", phrases=["Zoë"])
        assert stream.partial() is None
        stream.feed(SECOND[:3200])
        first = await until(stream.partial)
        stream.feed(SECOND[:3200])
        second = await until(lambda: (p := stream.partial()) and p.text != "hel" and p)
        final = await stream.finish()
        assert await stream.finish() == final
        listened = server.sockets[0]
        assert server.requests == []
    assert (first.text, first.stable_chars, second.text) == ("hel", 0, "hello th")
    assert final == Final(text="hello there")
    assert listened.received.path == "/v1/speech-to-text/realtime"
    assert listened.received.query == {
        "model_id": "scribe_v2_realtime",
        "audio_format": "pcm_16000",
        "commit_strategy": "manual",
        "include_timestamps": "false",
        "language_code": "en",
        "keyterms": "Zoë",
    }
    assert listened.received.headers["xi-api-key"] == KEY
    assert {m["message_type"] for m in listened.messages} == {"input_audio_chunk"}
    assert {m["sample_rate"] for m in listened.messages} == {16000}


@pytest.mark.parametrize("step", [1, 639, 640, 32000 * 40])
async def test_all_the_audio_arrives_however_it_is_fed(step: int, elevenlabs_at: Callable[..., SpeechVendor]) -> None:
    pcm = tone("some words to hear" * (200 if step > 640 else 5), 16000)
    with fake_elevenlabs() as server:
        assert (await hear(ElevenLabsASR(vendor=elevenlabs_at(server)), pcm, step=step)).text.startswith("hello")
        assert bytes(server.sockets[0].audio[: len(pcm)]) == pcm


async def test_too_short_an_utterance_is_filled_with_silence(elevenlabs_at: Callable[..., SpeechVendor]) -> None:
    with fake_elevenlabs() as server:
        await hear(ElevenLabsASR(vendor=elevenlabs_at(server)), b"\1\1" * 320)
        listened = server.sockets[0]
    assert listened.commits == [5600]
    assert bytes(listened.audio) == b"\1\1" * 320 + bytes(2 * (5600 - 320))


async def test_a_long_monologue_is_committed_in_pieces_that_are_joined(
    elevenlabs_at: Callable[..., SpeechVendor],
) -> None:
    with fake_elevenlabs(sessions=[Session(texts=("one", "two", "three"))]) as server:
        final = await hear(ElevenLabsASR(vendor=elevenlabs_at(server), word_times=True), bytes(32000 * 70), step=32000)
        assert server.sockets[0].commits == [480000, 960000, 1120000]
    assert final.text == "one two three"
    assert [word.start for word in final.words] == [0, 480000, 960000]
    assert final.confidence == 0.9048


async def test_exactly_thirty_seconds_are_committed_once(elevenlabs_at: Callable[..., SpeechVendor]) -> None:
    with fake_elevenlabs(sessions=[Session(texts=("one",))]) as server:
        assert (await hear(ElevenLabsASR(vendor=elevenlabs_at(server)), bytes(32000 * 30), step=32000)).text == "one"
        assert server.sockets[0].commits == [480000]


async def test_a_piece_committed_without_being_asked_is_kept(elevenlabs_at: Callable[..., SpeechVendor]) -> None:
    with fake_elevenlabs(sessions=[Session(texts=("two",), unasked="one", guesses=("on", "tw"))]) as server:
        stream = ElevenLabsASR(vendor=elevenlabs_at(server)).open(rate_hz=16000, language="en")
        stream.feed(SECOND)
        await until(lambda: (p := stream.partial()) and p.stable_chars)
        stream.feed(SECOND)
        partial = await until(lambda: (p := stream.partial()) and p.text == "one tw" and p)
        assert partial.stable_chars == 3
        assert (await stream.finish()).text == "one two"


async def test_nothing_heard_is_an_empty_transcript(elevenlabs_at: Callable[..., SpeechVendor]) -> None:
    session = Session(error="insufficient_audio_activity", silent=True)
    with fake_elevenlabs(sessions=[session]) as server:
        assert await hear(ElevenLabsASR(vendor=elevenlabs_at(server)), SECOND[:3200]) == Final(text="")
        assert server.requests == []


async def test_nothing_fed_opens_nothing(elevenlabs_at: Callable[..., SpeechVendor]) -> None:
    with fake_elevenlabs() as server:
        stream = ElevenLabsASR(vendor=elevenlabs_at(server)).open(rate_hz=16000, language="en")
        assert await stream.finish() == Final(text="")
        stream.abort()
        stream.abort()
        assert server.connections == 0


@pytest.mark.parametrize(
    "session",
    [
        HangUp(),
        Session(refuse=Status(code=503)),
        Session(refuse=Status(code=429)),
        Session(cut=True),
        Session(close=1000),
        Session(garbage=True),
        Session(error="rate_limited"),
        Session(error="transcriber_error", after=0),
        Session(error="something_new"),
    ],
)
async def test_when_realtime_fails_the_utterance_is_sent_whole_and_the_log_says_why(
    session: Any, elevenlabs_at: Callable[..., SpeechVendor], caplog: pytest.LogCaptureFixture
) -> None:
    with fake_elevenlabs(sessions=[session], transcripts=[Heard(text="whole")]) as server:
        assert (await hear(ElevenLabsASR(vendor=elevenlabs_at(server)), SECOND)).text == "whole"
        assert len(server.requests) == 1
    (record,) = [r for r in caplog.records if r.name == "convai_lab.providers.elevenlabs"]
    assert record.levelno == logging.WARNING
    assert "sent whole" in record.getMessage()
    assert KEY not in record.getMessage()


async def test_a_session_hears_that_no_guesses_will_come_when_realtime_has_failed(
    elevenlabs_at: Callable[..., SpeechVendor],
) -> None:
    with fake_elevenlabs(sessions=[HangUp()], transcripts=[Heard(text="whole")]) as server:
        asr = ElevenLabsASR(vendor=elevenlabs_at(server))
        stream: Any = asr.open(rate_hz=16000, language="en")
        assert stream.has_guesses
        stream.feed(SECOND)
        await until(lambda: not stream.has_guesses)
        assert (await stream.finish()).text == "whole"
        after: Any = asr.open(rate_hz=16000, language="en")
        assert not after.has_guesses


@pytest.mark.parametrize("session", [Session(silent=True), Hang()], ids=["no transcript", "no handshake"])
async def test_a_recogniser_that_hangs_is_given_up_and_left_alone(
    session: Any, elevenlabs_at: Callable[..., SpeechVendor], quick_clock: Any
) -> None:
    with fake_elevenlabs(sessions=[session], transcripts=[Heard(text="whole"), Heard(text="again")]) as server:
        asr = ElevenLabsASR(vendor=elevenlabs_at(server, clock=quick_clock(5)))
        assert (await hear(asr, SECOND)).text == "whole"
        assert (await hear(asr, SECOND)).text == "again"
        assert len(server.sockets) <= 1


@pytest.mark.parametrize(
    ("session", "error"),
    [
        (Session(refuse=Status(code=401, message="invalid_api_key|No")), ProviderAuthError),
        (Session(error="auth_error"), ProviderAuthError),
        (Session(error="quota_exceeded"), ProviderRateLimitError),
        (Session(error="unaccepted_terms"), ProviderRequestError),
    ],
)
async def test_what_would_refuse_the_whole_too_is_told_at_once(
    session: Session, error: type[Exception], elevenlabs_at: Callable[..., SpeechVendor]
) -> None:
    with fake_elevenlabs(sessions=[session]) as server, pytest.raises(error):
        await hear(ElevenLabsASR(vendor=elevenlabs_at(server)), SECOND)
    assert server.requests == []


async def test_when_both_ways_fail_the_last_failure_is_told(elevenlabs_at: Callable[..., SpeechVendor]) -> None:
    with (
        fake_elevenlabs(sessions=[HangUp()], transcripts=[Status(code=500)]) as server,
        pytest.raises(ProviderError, match="500"),
    ):
        await hear(ElevenLabsASR(vendor=elevenlabs_at(server)), SECOND)


async def test_aborting_closes_the_socket_and_another_utterance_works(
    elevenlabs_at: Callable[..., SpeechVendor],
) -> None:
    with fake_elevenlabs(sessions=[Session(guesses=("he",)), Session(texts=("again",))]) as server:
        asr = ElevenLabsASR(vendor=elevenlabs_at(server))
        stream = asr.open(rate_hz=16000, language="en")
        stream.feed(SECOND)
        await until(stream.partial)
        stream.abort()
        stream.abort()
        stream.feed(SECOND)
        assert await stream.finish() == Final(text="")
        await until(lambda: server.left_early)
        assert (await hear(asr, SECOND)).text == "again"


async def test_aborting_while_finishing_answers_with_nothing(elevenlabs_at: Callable[..., SpeechVendor]) -> None:
    with fake_elevenlabs(sessions=[Session(silent=True)]) as server:
        stream = ElevenLabsASR(vendor=elevenlabs_at(server)).open(rate_hz=16000, language="en")
        stream.feed(SECOND)
        finishing = asyncio.ensure_future(stream.finish())
        await until(lambda: server.sockets and server.sockets[0].commits)
        stream.abort()
        assert await finishing == Final(text="")
        assert server.requests == []


async def test_whoever_is_cancelled_while_finishing_leaves_nothing_running(
    elevenlabs_at: Callable[..., SpeechVendor],
) -> None:
    with fake_elevenlabs(sessions=[Session(silent=True)]) as server:
        stream = ElevenLabsASR(vendor=elevenlabs_at(server)).open(rate_hz=16000, language="en")
        stream.feed(SECOND)
        finishing = asyncio.ensure_future(stream.finish())
        await until(lambda: server.sockets and server.sockets[0].commits)
        finishing.cancel()
        with pytest.raises(asyncio.CancelledError):
            await finishing
        await until(lambda: server.left_early)


def test_a_rate_the_vendor_does_not_take_is_refused(elevenlabs_at: Callable[..., SpeechVendor]) -> None:
    asr = ElevenLabsASR(vendor=elevenlabs_at("http://127.0.0.1:1"))
    with pytest.raises(InvalidValueError, match="resample first"):
        asr.open(rate_hz=11025, language="en")


async def test_the_vendors_own_client_understands_the_fake(elevenlabs_at: Callable[..., SpeechVendor]) -> None:
    from elevenlabs import AudioFormat, ElevenLabs, RealtimeEvents
    from elevenlabs.realtime.scribe import ScribeRealtime

    with fake_elevenlabs(sessions=[Session(texts=("one",)), Session(texts=("one",))]) as server:
        sdk = ElevenLabs(api_key=KEY, base_url=server.base_url)
        spoken = await asyncio.to_thread(
            lambda: list(sdk.text_to_speech.stream_with_timestamps("JBFqnCBsd6RMkjVDRZzb", text="Hello"))
        )
        heard = await asyncio.to_thread(lambda: sdk.speech_to_text.convert(model_id="scribe_v2", file=SECOND))
        scribe = ScribeRealtime(KEY, server.base_url.replace("http", "ws"))
        connection = await scribe.connect(
            {"model_id": "scribe_v2_realtime", "audio_format": AudioFormat.PCM_16000, "sample_rate": 16000}
        )
        committed: list[dict[str, Any]] = []
        connection.on(RealtimeEvents.COMMITTED_TRANSCRIPT, committed.append)
        await connection.send({"audio_base_64": base64.b64encode(SECOND).decode()})
        await connection.commit()
        await until(lambda: committed)
        await connection.close()
        await hear(ElevenLabsASR(vendor=elevenlabs_at(server)), SECOND)
        theirs, ours = server.sockets
    assert "".join(c for chunk in spoken if chunk.alignment for c in chunk.alignment.characters) == "Hello"
    assert heard.text == "hello"  # type: ignore[union-attr]
    assert committed[0]["text"] == "one"
    assert {name for message in ours.messages for name in message} <= {n for m in theirs.messages for n in m}
    assert set(theirs.received.query) <= set(ours.received.query) | {"include_timestamps"}
