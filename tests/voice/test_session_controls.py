"""What comes to a session beside the sound (keys, typed text, context, activity), and what it tells meanwhile."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from convai_lab.agents.agent import Agent
from convai_lab.agents.turn_taking import TurnTaking
from convai_lab.clock import VirtualClock
from convai_lab.conversations.conversation import Conversation
from convai_lab.dialogue.conversation_loop import ConversationLoop
from convai_lab.dialogue.tool_runner import ToolRunner
from convai_lab.providers.stub_speech import stub_engines
from convai_lab.testing.callers import Say, barge_in, hold_call
from convai_lab.testing.fake_llm import FakeLLM
from convai_lab.voice import events
from convai_lab.voice.recording import Recording
from convai_lab.voice.session import VoiceSession
from convai_lab.voice.transport import MemoryTransport

NUMBERS = "One two three four five six seven eight nine ten eleven twelve."


def sam(**fields: Any) -> Agent:
    return Agent(**{"name": "Sam", "prompt": "You are Sam.", "first_message": "Hello.", **fields})


class Held(NamedTuple):
    conversation: Conversation
    llm: FakeLLM
    transport: MemoryTransport
    told: list[tuple[float, Any]]


def hold(agent: Agent, act: Callable[[VoiceSession, VirtualClock], Awaitable[None]], llm: Sequence[Any] = ()) -> Held:
    """Hold a session with a user who says nothing, and do something to it."""
    clock = VirtualClock()
    model, transport = FakeLLM(llm, clock=clock), MemoryTransport(clock)
    told: list[tuple[float, Any]] = []
    loop = ConversationLoop(
        agent=agent,
        conversation=Conversation(id="c", agent_id="a"),
        llm=model,
        tools=ToolRunner(agent, client_tool=None, clock=clock),
        clock=clock,
    )

    async def main() -> Conversation:
        session = VoiceSession(
            loop=loop,
            engines=stub_engines(clock),
            transport=transport,
            clock=clock,
            on_event=lambda event: told.append((clock.now(), event)),
        )
        running = asyncio.ensure_future(session.run())
        await clock.sleep(0.01)
        await act(session, clock)
        await session.end("enough", by="test")
        return await running

    return Held(clock.run(main()), model, transport, told)


@pytest.mark.parametrize("is_active", [True, False])
def test_who_is_active_is_neither_asked_nor_cut_off_for_their_silence(is_active: bool) -> None:
    agent = sam(turn=TurnTaking(timeout_secs=6, silence_end_call_secs=15))

    async def fill_in_a_form(session: VoiceSession, clock: VirtualClock) -> None:
        for _ in range(10):
            await clock.sleep(3)
            if is_active:
                session.user_activity()

    held = hold(agent, fill_in_a_form, ["Are you there?"] * 9)
    assert (len(held.llm.requests) == 0) is is_active
    assert held.conversation.end_reason == ("enough" if is_active else "silence")


def test_a_key_pressed_while_the_agent_speaks_makes_it_stop() -> None:
    async def press(session: VoiceSession, clock: VirtualClock) -> None:
        await clock.sleep(2.0)
        session.dtmf("1")
        await clock.sleep(4)

    held = hold(sam(first_message=NUMBERS), press, ["You pressed one."])
    first, keys, answer = held.conversation.turns
    assert first.interrupted
    assert first.end_secs == pytest.approx(2.01, abs=0.001)
    assert (keys.text, keys.marks, answer.text) == ("1", ("dtmf",), "You pressed one.")


@pytest.mark.parametrize("key", ["", "12", "x", "é"])
def test_what_is_no_key_is_ignored(key: str) -> None:
    async def press(session: VoiceSession, clock: VirtualClock) -> None:
        session.dtmf(key)
        await clock.sleep(4)

    held = hold(sam(), press)
    assert [turn.text for turn in held.conversation] == ["Hello."]


def test_typed_text_while_the_agent_speaks_makes_it_stop_and_answer() -> None:
    async def write(session: VoiceSession, clock: VirtualClock) -> None:
        await clock.sleep(2.0)
        session.hear_text("Stop counting.")
        await clock.sleep(4)

    held = hold(sam(first_message=NUMBERS), write, ["Sorry."])
    assert [(turn.text, turn.interrupted) for turn in held.conversation] == [
        (NUMBERS, True),
        ("Stop counting.", False),
        ("Sorry.", False),
    ]
    assert held.transport.flushed == [1]


def test_context_is_read_with_the_next_turn_and_is_none_itself() -> None:
    async def look_around(session: VoiceSession, clock: VirtualClock) -> None:
        await clock.sleep(2.0)
        session.add_context("The user is on the page of order 1234.")
        await clock.sleep(1.0)
        session.hear_text("Where is it?")
        await clock.sleep(3.0)

    held = hold(sam(), look_around, ["It ships tomorrow."])
    assert [turn.role for turn in held.conversation] == ["agent", "user", "agent"]
    assert len(held.llm.requests) == 1
    assert any("order 1234" in message.content for message in held.llm.requests[0].messages)


def test_a_first_message_gives_way_unless_it_must_be_heard() -> None:
    held = hold_call(sam(first_message=NUMBERS), [barge_in("Where is my order", word=3)], llm=["Here."])
    assert [turn.text for turn in held.conversation] == [NUMBERS, "Where is my order", "Here."]
    assert held.conversation[0].interrupted
    assert NUMBERS.startswith(held.conversation[0].text_heard)
    assert 0 < len(held.conversation[0].text_heard) < len(NUMBERS) / 2


def test_partial_words_come_while_the_user_speaks_and_end_in_the_final_ones() -> None:
    text = "where is the order that I made on Monday"
    held = hold_call(sam(), [Say(text, at=3.0)], llm=["Here."])
    partials = [event.text for event in held.events(events.UserPartial) if event.text]
    assert len(partials) > 3
    assert partials == sorted(set(partials), key=len)
    assert all(text.startswith(partial) for partial in partials)
    assert held.when(events.UserPartial) < held.conversation[1].end_secs - 1
    assert held.events(events.UserFinal)[0].text == partials[-1] == text


def test_a_score_of_voice_activity_comes_every_100_ms_and_tells_speech_from_silence() -> None:
    held = hold_call(sam(), [Say("where is my order", at=3.0)], llm=["Here."], is_always_on=True)
    scores = [(at, event.score) for at, event in held.happened if isinstance(event, events.VadScore)]
    gaps = [b - a for (a, _), (b, _) in itertools.pairwise(scores)]
    assert max(gaps) == pytest.approx(0.1, abs=0.021)
    question = held.conversation[1]
    during = [score for at, score in scores if question.start_secs + 0.1 < at < question.end_secs]
    before = [score for at, score in scores if at < question.start_secs]
    assert sum(during) / len(during) > 0.8
    assert before
    assert max(before) < 0.2


@pytest.mark.parametrize(
    ("place", "max_secs", "words"), [("/dev/full", 60, "No space left"), (None, 2, "2 s is the longest recording")]
)
def test_a_recording_that_lacks_something_of_a_call_says_so(
    place: str | None, max_secs: int, words: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    recording = Recording(place or tmp_path / "call.wav", max_secs=max_secs)
    held = hold_call(sam(), ["Where is my order?"], llm=["It ships tomorrow."], recording=recording)
    assert held.conversation.status == "done"
    (record,) = [record for record in caplog.records if "not all there" in record.getMessage()]
    assert words in record.getMessage()
