"""Sound that comes oddly: nothing is lost, and what cannot be taken gets one clear error."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import Callable
from typing import Any

import pytest

from convai_lab import settings
from convai_lab.clock import Clock, VirtualClock
from convai_lab.errors import MissingPackageError
from convai_lab.providers.stub_speech import StubTTS
from convai_lab.server.client_frames import AudioChunk, read_frame
from convai_lab.server.socket_events import Problem
from convai_lab.server.voice_socket import MAX_WAITING_SECS, Pace, UserAudio, VoiceSocket
from convai_lab.testing.fake_llm import FakeLLM
from convai_lab.voice.audio import AudioFormat, mix
from convai_lab.voice.recording import slice_recording
from convai_lab.voice.transport import AgentAudio

Make = Callable[..., Any]
QUESTION = "where is my order"


def base64_of(data: bytes) -> str:
    return base64.b64encode(data).decode()


@pytest.mark.parametrize("size", [1, 3, 641, 5_000_000], ids=["1 byte", "3 bytes", "641 bytes", "5 MB"])
def test_chunks_of_any_size_are_understood(size: int, virtual: VirtualClock, virtual_bench: Make, phone: Any) -> None:
    bench = virtual_bench(FakeLLM(["Tomorrow."]))
    caller = phone(bench, bench.line(bench.make_agent()))
    words = "yes" if size == 1 else QUESTION
    data = caller.sound(words)
    data = data if size < 5_000_000 else data.ljust(size, b"\0")

    async def talk() -> None:
        await caller.call()
        for at in range(0, len(data), size):
            await caller.send(data[at : at + size])
            await virtual.sleep(min(1.0, size / 32000))
        await caller.hear("agent_response")
        await caller.hang_up()

    virtual.run(talk())
    assert bench.only_conversation().turns[0].text == words


def test_audio_before_the_initiation_data_is_heard_too(virtual: VirtualClock, virtual_bench: Make, phone: Any) -> None:
    bench = virtual_bench(FakeLLM(["Hi Ada."]))
    agent_id = bench.make_agent(conversation_config__agent__prompt__prompt="The user is {{name}}.")
    caller = phone(bench, bench.line(agent_id))
    data = caller.sound(QUESTION)

    async def talk() -> None:
        await caller.line.open()
        for at in range(0, len(data) // 2, 640):
            await caller.send(data[at : at + 640])
            await virtual.sleep(0.02)
        await caller.line.begin(dynamic_variables={"name": "Ada"})
        await caller.send(data[at + 640 :])
        await caller.line.reply()
        await caller.line.hang_up()

    virtual.run(talk())
    assert bench.only_conversation().turns[0].text == QUESTION
    assert "Ada" in bench.llm.requests[0].messages[0].content


@pytest.mark.parametrize("wrong", ["not base64!", "AAA", "====", "ÄÖÜ", "AAAA\nAAAA", "AA-_"])
def test_what_is_not_base64_ends_the_call_in_words_and_keeps_it(
    wrong: str, virtual: VirtualClock, virtual_bench: Make, phone: Any
) -> None:
    bench = virtual_bench(FakeLLM(["Tomorrow."]))
    caller = phone(bench, bench.line(bench.make_agent()))

    async def talk() -> Any:
        await caller.call()
        await caller.say(QUESTION)
        await caller.hear("agent_response")
        await caller.line.send({"user_audio_chunk": wrong})
        return await caller.end()

    closed = virtual.run(talk())
    assert (closed.code, "base64" in closed.reason) == (1008, True)
    assert len(caller.of("error")) == 1
    conversation = bench.only_conversation()
    assert (conversation.status, conversation.turns[0].text) == ("failed", QUESTION)


def test_a_flood_of_audio_ends_the_call_in_words() -> None:
    user = UserAudio(AudioFormat.parse("pcm_16000"), VirtualClock())
    minute = base64_of(bytes(32000 * 60))
    for _ in range(int(MAX_WAITING_SECS) // 60):
        user.take(minute)
    with pytest.raises(Problem, match="at the pace at which it is spoken") as flood:
        user.take(minute)
    assert flood.value.kind == "audio_flood"


def test_a_flood_of_frames_ends_the_call_in_words(virtual: VirtualClock, virtual_bench: Make, phone: Any) -> None:
    bench = virtual_bench()
    caller = phone(bench, bench.line(bench.make_agent()))

    async def talk() -> Any:
        await caller.call()
        for _ in range(50_000):
            await caller.line.send({"user_audio_chunk": "AA=="})
        return await caller.end()

    assert virtual.run(talk()).code == 1008
    assert caller.of("error")[0]["error_event"]["error_type"] == "rate_limit"


@pytest.mark.parametrize(("sent_hz", "ratio"), [(48000, "3.00"), (8000, "0.50")])
def test_a_wrong_rate_is_told_once_and_the_call_goes_on(
    sent_hz: int, ratio: str, virtual: VirtualClock, virtual_bench: Make, phone: Any
) -> None:
    bench = virtual_bench(FakeLLM(lambda _: "Hm."))
    caller = phone(bench, bench.line(bench.make_agent()))

    async def talk() -> None:
        await caller.call()
        for _ in range(30 * 50):
            await caller.send(bytes(sent_hz // 50 * 2))
            await virtual.sleep(0.02)
        await caller.hang_up()

    virtual.run(talk())
    [error] = caller.of("error")
    assert error["error_event"]["error_type"] == "audio_pace"
    assert f"{ratio} times" in error["error_event"]["message"]
    assert bench.only_conversation().status == "done"


def test_a_muted_microphone_and_a_file_sent_at_once_are_no_wrong_rate() -> None:
    pace = Pace("pcm_16000")
    muted = [pace.odd(0.02, at) for start in range(0, 60, 5) for at in (start + n * 0.02 for n in range(50))]
    assert set(muted) == {None}
    at_once = [pace.odd(30.0, 100.0), *(pace.odd(0.02, 100.0 + n * 0.02) for n in range(2000))]
    assert set(at_once) == {None}


def test_a_client_that_leaves_in_the_middle_of_a_word_leaves_what_it_said(
    virtual: VirtualClock, virtual_bench: Make, phone: Any
) -> None:
    bench = virtual_bench()
    caller = phone(bench, bench.line(bench.make_agent()))
    data = caller.sound("please send it to nineteen")

    async def talk() -> None:
        await caller.call()
        for at in range(0, len(data) - 6400, 640):
            await caller.send(data[at : at + 640])
            await virtual.sleep(0.02)
        await caller.line.hang_up(1006)

    virtual.run(talk())
    conversation = bench.only_conversation()
    assert conversation.turns[0].text.startswith("please send it to")
    assert (conversation.status, conversation.end_reason) == ("done", "client disconnected")


def test_a_format_that_nobody_speaks_and_a_missing_engine_are_refused_in_words(
    virtual: VirtualClock, virtual_bench: Make, phone: Any
) -> None:
    def refused(bench: Any, **config: Any) -> Any:
        caller = phone(bench, bench.line(bench.make_agent(**config)))

        async def talk() -> Any:
            await caller.call()
            return await caller.end()

        closed = virtual.run(talk())
        return closed.code, caller.of("error")[0]["error_event"]["message"]

    def no_engines(agent: Any, *, clock: Clock) -> Any:
        raise MissingPackageError("pocketsphinx", extra="offline", needed_for="Listening")

    code, message = refused(virtual_bench(), conversation_config__asr__user_input_audio_format="opus_48000")
    assert (code, "opus_48000" in message) == (1008, True)
    bench = virtual_bench()
    bench.platform.find_engines = no_engines
    code, message = refused(bench)
    assert (code, "pip install" in message) == (1002, True)
    assert {c["has_audio"] for c in bench.platform.conversations.documents()} == {False}


def test_large_frames_may_hold_audio_and_nothing_else() -> None:
    big = base64_of(bytes(6_000_000))
    assert isinstance(read_frame('{"user_audio_chunk": "' + big + '"}'), AudioChunk)
    assert isinstance(read_frame('{"user_audio_chunk": "AA\\/A", "more": 1}'), AudioChunk)
    for wrong in (
        '{"user_audio_chunk": "' + base64_of(bytes(10_000_000)) + '"}',
        '{"user_audio_chunk": "' + big + '", "more": 1}',
        '{"type": "user_message", "text": "' + big + '"}',
        '{"user_audio_chunk": 7}',
        '{"user_audio_chunk": null}',
    ):
        with pytest.raises(Problem):
            read_frame(wrong)


def test_a_client_that_does_not_read_does_not_keep_the_end_waiting(virtual: VirtualClock) -> None:
    class Stuck:
        def wants(self, event_type: str) -> bool:
            return True

        async def send(self, event: Any) -> None:
            await asyncio.Event().wait()

    spoken_in = AudioFormat.parse("pcm_16000")

    async def talk() -> float:
        socket = VoiceSocket(
            Stuck(),  # type: ignore[arg-type]
            user=UserAudio(spoken_in, virtual),
            spoken_in=spoken_in,
            clock=virtual,
        )
        socket.open()
        socket.send(AgentAudio(bytes(640), 16000, 1))
        await socket.close()
        return virtual.now()

    assert virtual.run(talk()) <= 2.0


def test_two_talkers_at_once_are_one_user(virtual: VirtualClock, virtual_bench: Make, phone: Any) -> None:
    bench = virtual_bench(FakeLLM(lambda _: "Pardon?"))
    caller = phone(bench, bench.line(bench.make_agent()))
    first, second = (StubTTS(rate_hz=16000).render(text)[0] for text in (QUESTION, "no it is my turn to speak"))
    both = mix(first, second)

    async def talk() -> None:
        await caller.call()
        await virtual.sleep(1)
        for at in range(0, len(both), 640):
            await caller.send(both[at : at + 640])
            await virtual.sleep(0.02)
        await virtual.sleep(5)
        await caller.hang_up()

    virtual.run(talk())
    conversation = bench.only_conversation()
    assert conversation.status == "done"
    heard = slice_recording(settings.home() / "audio" / f"{conversation.id}.wav", 0, 60, "user")
    assert both[: len(both) // 640 * 640] in heard.pcm
