"""Sound that comes late is heard whole, word for word; a line that really stops is silent soon enough."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import NamedTuple

import pytest

from convai_lab.agents.agent import Agent
from convai_lab.agents.turn_taking import TurnTaking
from convai_lab.clock import VirtualClock
from convai_lab.conversations.conversation import Conversation
from convai_lab.dialogue.conversation_loop import SILENCE, ConversationLoop
from convai_lab.dialogue.tool_runner import ToolRunner
from convai_lab.providers.stub_speech import StubTTS, stub_engines
from convai_lab.testing.fake_llm import FakeLLM
from convai_lab.voice import events
from convai_lab.voice.audio import FRAME_BYTES, FRAME_MS, silence
from convai_lab.voice.session import VoiceSession
from convai_lab.voice.transport import MemoryTransport

ORDER = "where is my order one two three four"
SPEAKS_AT, FRAME_SECS = 1.0, FRAME_MS / 1000
SPEECH = StubTTS().render(ORDER, voice="caller")[0]
SPEECH_SECS = len(SPEECH) / 32000
MIDDLE = SPEAKS_AT + SPEECH_SECS / 2
CALL_SECS = 6.0


class Stall(NamedTuple):
    """What is spoken from an instant on arrives so many seconds later, all at once; or, lost, never."""

    at: float
    secs: float


class Held(NamedTuple):
    """What became of a call: the record, and every event with its instant."""

    conversation: Conversation
    happened: list[tuple[float, events.VoiceEvent]]

    @property
    def said(self) -> list[str]:
        return [turn.text for turn in self.conversation if turn.role == "user"]

    def at(self, kind: type[events.VoiceEvent]) -> float:
        return next(at for at, event in self.happened if isinstance(event, kind))


def held(
    stalls: Sequence[Stall] = (),
    *,
    stops_at: float | None = None,
    is_steady: bool = True,
    turn: TurnTaking | None = None,
) -> Held:
    """Hold a call in which the user says the order into a microphone that never pauses, until it stops."""
    clock = VirtualClock(seed=0)
    transport = MemoryTransport(clock, is_steady=is_steady)
    agent = Agent(name="Sam", prompt="You are Sam.", first_message="", turn=turn or TurnTaking(eagerness="eager"))
    loop = ConversationLoop(
        agent=agent, conversation=Conversation(id="c", agent_id="a", channel="voice"), clock=clock,
        llm=FakeLLM(lambda _: "Tomorrow.", clock=clock), tools=ToolRunner(agent, client_tool=None, clock=clock),
    )  # fmt: skip
    happened: list[tuple[float, events.VoiceEvent]] = []
    session = VoiceSession(
        loop=loop, engines=stub_engines(clock), transport=transport, clock=clock,
        on_event=lambda event: happened.append((clock.now(), event)),
    )  # fmt: skip

    async def speak() -> None:
        pcm = silence(SPEAKS_AT) + SPEECH + silence(CALL_SECS)
        for number in range(round(CALL_SECS / FRAME_SECS)):
            spoken_at = (number + 1) * FRAME_SECS
            if stops_at is not None and spoken_at > stops_at:
                break
            late = max([one.at + one.secs for one in stalls if one.at < spoken_at <= one.at + one.secs], default=0.0)
            if (wait := max(spoken_at, late) - clock.now()) > 1e-5:
                await clock.sleep(wait)
            transport.speak(pcm[number * FRAME_BYTES :][:FRAME_BYTES])
        await clock.sleep(CALL_SECS - clock.now())
        transport.hang_up()

    async def call() -> Conversation:
        speaking = asyncio.ensure_future(speak())
        conversation = await session.run()
        speaking.cancel()
        await asyncio.gather(speaking, return_exceptions=True)
        return conversation

    return Held(clock.run(call()), happened)


@pytest.mark.parametrize("secs", [0.3, 0.5, 0.8])
@pytest.mark.parametrize("after", [0.05, 0.4, 1.4, 2.4])
def test_sound_that_comes_late_in_a_burst_is_heard_whole(secs: float, after: float) -> None:
    assert held([Stall(SPEAKS_AT + after, secs)]).said == [ORDER]


def test_a_bad_line_with_burst_after_burst_costs_no_word() -> None:
    stalls = [Stall(SPEAKS_AT + 0.1 + number * 0.65, 0.6) for number in range(6)]
    assert held(stalls).said == [ORDER]


def test_late_sound_is_dated_by_when_it_was_spoken() -> None:
    plain, late = held().conversation[0], held([Stall(MIDDLE, 0.8)]).conversation[0]
    assert late.start_secs == pytest.approx(plain.start_secs, abs=0.04)
    assert late.end_secs == pytest.approx(plain.end_secs, abs=0.04)


def test_a_line_that_is_on_time_is_answered_as_soon_as_ever() -> None:
    assert held(is_steady=True).at(events.UserFinal) == held(is_steady=False).at(events.UserFinal)


def test_a_microphone_that_stops_in_the_middle_of_a_word_ends_the_turn_after_a_second() -> None:
    stopped = held(stops_at=MIDDLE)
    assert ORDER.startswith(stopped.said[0][:-4])
    assert 0.9 < stopped.at(events.UserFinal) - MIDDLE < 1.2


@pytest.mark.parametrize("is_steady", [True, False])
def test_a_microphone_that_stops_lets_the_silence_of_the_call_count(is_steady: bool) -> None:
    turn = TurnTaking(eagerness="eager", timeout_secs=-1, silence_end_call_secs=4)
    ended = held(stops_at=SPEAKS_AT / 2, is_steady=is_steady, turn=turn)
    assert ended.conversation.end_reason == SILENCE
    assert ended.at(events.SessionEnded) == pytest.approx(4, abs=0.3)
