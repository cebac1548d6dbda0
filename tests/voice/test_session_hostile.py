"""Hostile calls: audio as it must not come, engines that fail, listeners that raise; nothing is lost."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from typing import Any

import pytest

from convai_lab.agents.agent import Agent
from convai_lab.agents.turn_taking import TurnTaking
from convai_lab.clock import VirtualClock
from convai_lab.conversations.conversation import Conversation
from convai_lab.dialogue.conversation_loop import ConversationLoop
from convai_lab.dialogue.tool_runner import ToolRunner
from convai_lab.errors import InvalidValueError, ProviderConnectionError
from convai_lab.providers.base import AudioChunk, Final, Mark
from convai_lab.providers.stub_speech import StubASR, StubTTS, stub_engines
from convai_lab.testing.callers import Noise, Play, Say, Stay, Type, barge_in, hold_call
from convai_lab.testing.fake_llm import FakeLLM, call
from convai_lab.voice.audio import gain, noise, silence
from convai_lab.voice.ear import EARLY_SECS
from convai_lab.voice.session import VoiceSession
from convai_lab.voice.transport import MemoryTransport

NUMBERS = "One two three four five six seven eight nine ten eleven twelve."


def sam(**fields: Any) -> Agent:
    return Agent(**{"name": "Sam", "prompt": "You are Sam.", "first_message": "Hello.", **fields})


def speech(text: str) -> bytes:
    return StubTTS().render(text, voice="caller")[0]


def user_texts(held: Any) -> list[str]:
    return [turn.text for turn in held.conversation if turn.role == "user"]


@pytest.mark.parametrize("chunk_bytes", [1, 7, 639, 641, 3200, 8001])
def test_chunks_of_any_size_are_heard_whole(chunk_bytes: int) -> None:
    held = hold_call(sam(), [Play(speech("Where is my order"), chunk_bytes=chunk_bytes)], llm=["Here."])
    assert user_texts(held) == ["Where is my order"]


def test_ten_minutes_in_one_burst_are_heard_at_the_pace_of_speech() -> None:
    burst = speech("one burst") + silence(300) + speech("and another")
    held = hold_call(sam(), [Play(burst, chunk_bytes=len(burst))], llm=["Yes."] * 60)
    assert user_texts(held) == ["one burst", "and another"]
    last = [t for t in held.conversation if t.role == "user"][-1]
    assert last.start_secs > 300 - EARLY_SECS


def test_a_microphone_that_was_open_before_the_session_does_not_shift_the_call() -> None:
    early = Play(silence(0.7), at=0.0, chunk_bytes=22_400)
    held = hold_call(sam(), [early, Say("Where is it?", at=4.0)], llm=["Here."], is_always_on=True)
    question, answer = held.conversation[1:3]
    assert question.start_secs == pytest.approx(4.0, abs=0.04)
    assert answer.metrics.voice_to_voice_ms == pytest.approx(400, abs=25)


def test_audio_that_was_late_is_heard_at_once_and_nothing_of_it_is_lost() -> None:
    pcm = speech("this line was cut for a moment")
    half = len(pcm) // 4 * 2
    script = [Play(pcm[:half], at=2.0), Stay(0.1), Play(pcm[half:], at=2.0 + half / 32000 + 0.15, chunk_bytes=100_000)]
    held = hold_call(sam(first_message=""), script, llm=["Yes."] * 3)
    words = " ".join(user_texts(held)).split()
    assert words[0] == "this"
    assert words[-1] == "moment"


def test_speech_before_and_over_the_first_message_is_kept() -> None:
    held = hold_call(sam(first_message=NUMBERS), [Say("I have a question", at=0.0)], llm=["Yes?"])
    assert user_texts(held) == ["I have a question"]


@pytest.mark.parametrize("vad", ["energy", "stub"])
def test_noise_alone_is_never_a_turn_and_the_agent_still_asks(vad: Any) -> None:
    agent = sam(turn=TurnTaking(timeout_secs=7))
    held = hold_call(
        agent, [Noise(-30.0), Stay(40)], llm=["Are you there?"] * 20, engines=lambda clock: stub_engines(clock, vad=vad)
    )
    assert user_texts(held) == []
    assert 2 <= len(held.conversation) <= 7


def test_clipped_speech_is_understood() -> None:
    assert user_texts(hold_call(sam(), [Play(gain(speech("so very loud"), 30))], llm=["Yes."])) == ["so very loud"]


def test_a_stream_that_stops_mid_word_ends_the_turn() -> None:
    pcm = speech("please wait for my last")
    held = hold_call(sam(), [Play(pcm[: len(pcm) - 9000])], llm=["Yes?"])
    assert len(user_texts(held)) == 1
    assert user_texts(held)[0].startswith("please wait for")


def test_ten_minutes_without_a_pause_are_one_turn() -> None:
    text = " ".join(f"word{n}" for n in range(960))
    pcm = speech(text)
    assert len(pcm) / 32000 > 600
    held = hold_call(sam(max_duration_secs=3600), [Play(pcm)], llm=["That was long."])
    assert user_texts(held) == [text]
    assert held.conversation[1].end_secs - held.conversation[1].start_secs == pytest.approx(len(pcm) / 32000, abs=0.1)


def test_a_long_turn_is_heard_in_bounded_memory() -> None:
    import tracemalloc

    pcm = speech(" ".join(f"word{n}" for n in range(100)))
    hold_call(sam(), ["warm up"], llm=["Yes."])
    tracemalloc.start()
    hold_call(sam(), [Play(pcm)], llm=["That was long."])
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 3 * len(pcm)


def test_two_talkers_at_once_are_both_in_the_record() -> None:
    held = hold_call(
        sam(), ["Count please.", barge_in("I am talking over you the whole time", word=1)], llm=[NUMBERS, "Go ahead."]
    )
    assert [t.role for t in held.conversation] == ["agent", "user", "agent", "user", "agent"]
    assert user_texts(held)[1] == "I am talking over you the whole time"


class FailingTTS:
    """Speaks a little of some sentences, then fails."""

    def __init__(self, fails: Callable[[int], bool]) -> None:
        self.name, self._inner, self._fails, self._count = "failing", StubTTS(), fails, 0
        self.capabilities = self._inner.capabilities

    async def synthesize(self, text: str, *, voice: str, speed: float = 1.0) -> AsyncIterator[AudioChunk | Mark]:
        self._count += 1
        fails = self._fails(self._count)
        async for item in self._inner.synthesize(text, voice=voice, speed=speed):
            yield item
            if fails and isinstance(item, AudioChunk):
                raise ProviderConnectionError("the line broke", provider="failing")


class FailingASR(StubASR):
    """Hears, but cannot say what."""

    name = "failing"

    def __init__(self, fails: Callable[[int], bool]) -> None:
        super().__init__()
        self._fails, self._count = fails, 0

    def open(self, **how: Any) -> Any:
        stream = super().open(**how)
        self._count += 1
        if self._fails(self._count):

            async def finish() -> Final:
                raise ProviderConnectionError("the line broke", provider="failing")

            stream.finish = finish  # type: ignore[method-assign]
        return stream


def with_engines(**engines: Any) -> Callable[[VirtualClock], Any]:
    return lambda clock: replace(stub_engines(clock), **engines)


def test_a_voice_that_fails_once_leaves_the_text_in_the_record_and_the_call_goes_on() -> None:
    held = hold_call(
        sam(), ["Count please.", "Again."], llm=[NUMBERS, "All is well."],
        engines=with_engines(tts=FailingTTS(lambda n: n == 2)),
    )  # fmt: skip
    assert held.conversation[2].text == NUMBERS
    assert "the line broke" in str(held.conversation[2].error)
    assert len(str(held.conversation[2].text_heard)) < len(NUMBERS)
    assert held.conversation[4].text == "All is well."
    assert held.conversation[4].error is None
    assert held.conversation.status == "done"


def test_a_voice_that_never_works_ends_the_call_in_words() -> None:
    held = hold_call(sam(), ["One.", "Two.", "Three."], llm=["A."] * 9, engines=with_engines(tts=FailingTTS(bool)))
    assert held.conversation.status == "failed"
    assert "speech failed 3 times in a row" in str(held.conversation.end_reason)
    assert "the line broke" in str(held.conversation.end_reason)


def test_a_recogniser_that_fails_once_leaves_its_error_in_the_record_and_the_call_goes_on() -> None:
    held = hold_call(
        sam(), ["Where is it?", "Hello again."], llm=["Here."] * 3,
        engines=with_engines(asr=FailingASR(lambda n: n == 1)),
    )  # fmt: skip
    assert "the line broke" in str(held.conversation[1].error)
    assert held.conversation[1].asr_engine == "failing"
    assert "Hello again." in user_texts(held)
    assert held.conversation.status == "done"


def test_a_recogniser_that_never_works_ends_the_call_in_words() -> None:
    script = [Say("One thing.", at=2.0), Say("Two things.", at=6.0), Say("Three things.", at=10.0), Stay(3)]
    held = hold_call(sam(), script, llm=["A."] * 9, engines=with_engines(asr=FailingASR(bool)))
    assert held.conversation.status == "failed"
    assert "the line broke" in str(held.conversation.end_reason)


def test_an_engine_that_breaks_its_contract_ends_the_call_and_nothing_hangs() -> None:
    class Broken(StubASR):
        def open(self, **how: Any) -> Any:
            raise RuntimeError("no such thing")

    held = hold_call(sam(), ["Hello?"], llm=["Hi."], engines=with_engines(asr=Broken()))
    assert held.conversation.status == "failed"
    assert held.conversation.end_reason == "no such thing"


def test_a_voice_activity_engine_that_breaks_ends_the_call() -> None:
    class Broken:
        name, rate_hz, hop = "broken", 16000, 512

        def probability(self, frame: bytes) -> float:
            raise ValueError("bad frame")

        def reset(self) -> None:
            pass

    assert hold_call(sam(), ["Hello?"], llm=["Hi."], engines=with_engines(vad=Broken())).failure is not None


def test_an_unsure_recogniser_flags_the_turn() -> None:
    class Unsure(StubASR):
        def open(self, **how: Any) -> Any:
            stream = super().open(**how)
            finish = stream.finish

            async def unsure() -> Final:
                return replace(await finish(), confidence=0.2)

            stream.finish = unsure  # type: ignore[method-assign]
            return stream

    held = hold_call(sam(), ["Where is it?"], llm=["Here."], engines=with_engines(asr=Unsure()))
    assert held.conversation[1].marks == ("low_confidence",)
    assert held.conversation[1].asr_confidence == pytest.approx(0.2)


def test_a_listener_that_raises_does_not_hurt_the_call() -> None:
    clock = VirtualClock()
    agent = sam()
    transport = MemoryTransport(clock)
    loop = ConversationLoop(
        agent=agent,
        conversation=Conversation(id="c", agent_id="a"),
        llm=FakeLLM(["Here."], clock=clock),
        tools=ToolRunner(agent, client_tool=None, clock=clock),
        clock=clock,
    )

    def broken(event: Any) -> None:
        raise RuntimeError("mine")

    async def main() -> Conversation:
        import asyncio

        session = VoiceSession(
            loop=loop, engines=stub_engines(clock), transport=transport, clock=clock, on_event=broken
        )
        running = asyncio.ensure_future(session.run())
        await clock.sleep(2)
        transport.speak(speech("Where is it"))
        await clock.sleep(5)
        await session.end("enough", by="test")
        session.hear_text("too late")
        session.dtmf("1")
        await session.end("again", by="nobody")
        return await running

    conversation = clock.run(main())
    assert [turn.text for turn in conversation] == ["Hello.", "Where is it", "Here."]
    assert (conversation.end_reason, conversation.ended_by) == ("enough", "test")


def test_white_noise_at_0_db_hides_words_but_never_invents_any() -> None:
    pcm = speech("where is my order")
    loud = noise(len(pcm) / 32000, dbfs=-20, seed=3)
    from convai_lab.voice.audio import mix

    held = hold_call(sam(), [Play(mix(pcm, loud)), Stay(3)], llm=["Here."] * 3)
    assert set(" ".join(user_texts(held)).split()) <= {"where", "is", "my", "order"}


class EnglishASR(StubASR):
    """Understands one language, and refuses the others."""

    def open(self, **how: Any) -> Any:
        if how["language"] != "en":
            raise InvalidValueError("understands English (en) only", field="language")
        return super().open(**how)


def test_a_language_that_the_recogniser_cannot_do_is_an_error_of_the_turn_and_the_call_goes_on() -> None:
    agent = sam(tools=("language_detection",))
    llm = [call("language_detection", reason="asked", language="de"), "Gerne.", "Ja.", "Ja."]
    held = hold_call(
        agent,
        ["Bitte auf Deutsch", "Wo ist sie", Type("Hallo"), Stay(1)],
        llm=llm,
        engines=with_engines(asr=EnglishASR()),
    )
    turn = [turn for turn in held.conversation if turn.role == "user"][1]
    assert (turn.text, turn.error) == ("", "language: understands English (en) only")
    assert held.conversation[-1].text == "Ja."
    assert held.conversation.status == "done"


@pytest.mark.parametrize("what", ["feed", "partial"])
def test_a_recogniser_that_fails_while_somebody_speaks_leaves_its_error_in_the_record(what: str) -> None:
    class Fails(StubASR):
        count = 0

        def open(self, **how: Any) -> Any:
            stream = super().open(**how)
            self.count += 1
            if self.count == 1:

                def fail(*_: Any) -> Any:
                    raise ProviderConnectionError("the line broke", provider="failing")

                setattr(stream, what, fail)
            return stream

    long = "this is a long sentence of mine which goes on and on and on for some time I think"
    held = hold_call(sam(), [long, "Hello again."], llm=["Here."] * 3, engines=with_engines(asr=Fails()))
    assert "the line broke" in str(held.conversation[1].error)
    assert "Hello again." in user_texts(held)
    assert held.conversation.status == "done"
