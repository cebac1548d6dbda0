"""How long sound takes between a user's page and the session: which turn it belongs to, and what is not taken."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import NamedTuple

import pytest

from convai_lab.agents.agent import Agent
from convai_lab.clock import VirtualClock
from convai_lab.conversations.conversation import Conversation
from convai_lab.conversations.turn import Turn
from convai_lab.dialogue.conversation_loop import ConversationLoop
from convai_lab.dialogue.tool_runner import ToolRunner
from convai_lab.providers.stub_speech import StubTTS, stub_engines
from convai_lab.simulation.phone import Phone
from convai_lab.testing.fake_llm import FakeLLM
from convai_lab.voice import events
from convai_lab.voice.session import VoiceSession
from convai_lab.voice.transit import Transit

AGENT = Agent(name="Sam", prompt="You are Sam.", first_message="Hello.")
ANSWER = "It ships tomorrow morning, and it will be there the day after."


class Told(NamedTuple):
    """What a page tells, so many seconds after an agent's turn began to be heard (0 is the greeting)."""

    of: int
    after: float
    ms: float
    is_at_start: bool = False
    late: float | None = None
    """So long ago the agent began to be heard, as far as the page knows."""


class Kept:
    """Keeps every version of every turn."""

    def __init__(self) -> None:
        self.turns: list[tuple[int, Turn]] = []

    def add_turn(self, conversation_id: str, turn: Turn, *, index: int) -> None:
        self.turns.append((index, turn))

    def replace_turn(self, conversation_id: str, index: int, turn: Turn) -> None:
        self.turns.append((index, turn))

    def update(self, conversation: Conversation) -> None:
        pass


def held(told: Sequence[Told], *, questions: int = 1, kept: Kept | None = None) -> Conversation:
    """Hold a call in which a page tells how long sound takes."""
    clock = VirtualClock(seed=0)
    phone = Phone(clock, seed=0, is_always_on=False)
    loop = ConversationLoop(
        agent=AGENT, conversation=Conversation(id="c", agent_id="a", channel="voice"), clock=clock, recorder=kept,
        llm=FakeLLM([ANSWER] * questions, clock=clock), tools=ToolRunner(AGENT, client_tool=None, clock=clock),
    )  # fmt: skip
    waiting, tasks, spoken = list(told), set[asyncio.Task[None]](), 0

    async def tell(one: Told) -> None:
        await clock.sleep(one.after)
        session.sound_takes(Transit(0.0, one.ms, one.is_at_start, None if one.late is None else clock.now() - one.late))

    def happened(event: events.VoiceEvent) -> None:
        nonlocal spoken
        phone.on_event(event)
        if event == events.StateChanged("speaking"):
            tasks.update(asyncio.ensure_future(tell(one)) for one in waiting if one.of == spoken)
            spoken += 1

    session = VoiceSession(
        loop=loop, engines=stub_engines(clock), transport=phone.transport, clock=clock, on_event=happened
    )

    async def call() -> Conversation:
        line, run = asyncio.ensure_future(phone.microphone.run()), asyncio.ensure_future(session.run())
        for _ in range(questions):
            await phone.agent_done()
            await clock.sleep(0.5)
            await phone.speak(StubTTS().render("Where is my order?", voice="caller")[0])
        await phone.agent_done()
        await clock.sleep(5)
        phone.transport.hang_up()
        conversation = await run
        for task in (line, *tasks):
            task.cancel()
        await asyncio.gather(line, *tasks, return_exceptions=True)
        return conversation

    return clock.run(call())


def agents(conversation: Conversation) -> list[Turn]:
    return [turn for turn in conversation if turn.role == "agent"]


def test_what_the_page_measures_is_part_of_the_wait() -> None:
    plain, measured = agents(held([]))[1].metrics, agents(held([Told(1, 0.2, 150.0)]))[1].metrics
    assert (plain.transport_ms, measured.transport_ms) == (None, 150.0)
    assert plain.voice_to_voice_ms is not None
    assert measured.voice_to_voice_ms == plain.voice_to_voice_ms + 150.0
    assert measured.unexplained_ms == plain.unexplained_ms


def test_the_figure_of_the_moment_at_which_the_agent_began_counts() -> None:
    told = [Told(1, 0.1, 90.0), Told(1, 0.2, 150.0, is_at_start=True), Told(1, 0.6, 70.0)]
    assert agents(held(told))[1].metrics.transport_ms == 150.0


def test_every_turn_has_its_own_figure_and_one_without_has_none() -> None:
    told = [Told(0, 0.1, 40.0), Told(2, 0.1, 60.0)]
    turns = agents(held(told, questions=2))
    assert [turn.metrics.transport_ms for turn in turns] == [40.0, None, 60.0]
    assert turns[0].metrics.voice_to_voice_ms is None, "nobody waited for a greeting"


def test_a_figure_that_comes_after_the_turn_was_recorded_corrects_it() -> None:
    kept = Kept()
    conversation = held([Told(0, 1.5, 40.0, is_at_start=True)], kept=kept)
    versions = [turn.metrics.transport_ms for index, turn in kept.turns if index == 0]
    assert versions[-2:] == [None, 40.0]
    assert conversation[0].metrics.transport_ms == 40.0
    assert conversation[0].text == "Hello."


def test_when_the_page_heard_the_agent_counts_more_than_what_it_takes_sound_to_take() -> None:
    assert agents(held([Told(1, 0.25, 90.0, is_at_start=True, late=0.05)]))[1].metrics.transport_ms == pytest.approx(
        200.0, abs=20
    ), "less the silence with which the voice begins"


@pytest.mark.parametrize("late", [5.0, -4.0])
def test_an_instant_that_cannot_be_is_not_believed(late: float) -> None:
    assert agents(held([Told(1, 0.25, 90.0, is_at_start=True, late=late)]))[1].metrics.transport_ms == 90.0


def test_a_second_beginning_within_a_turn_changes_nothing() -> None:
    told = [Told(1, 0.2, 90.0, is_at_start=True, late=0.1), Told(1, 1.5, 80.0, is_at_start=True, late=0.1)]
    assert agents(held(told))[1].metrics == agents(held(told[:1]))[1].metrics


@pytest.mark.parametrize("after", [5.5, 6.5])
def test_a_figure_that_comes_far_too_late_is_nobody_s(after: float) -> None:
    assert agents(held([Told(0, after, 40.0, is_at_start=True)]))[0].metrics.transport_ms is None


def test_before_anybody_spoke_and_after_the_end_a_figure_does_no_harm() -> None:
    clock = VirtualClock(seed=0)
    phone = Phone(clock, seed=0, is_always_on=False)
    loop = ConversationLoop(
        agent=AGENT.with_changes(first_message=""), conversation=Conversation(id="c", agent_id="a", channel="voice"),
        llm=FakeLLM([], clock=clock), tools=ToolRunner(AGENT, client_tool=None, clock=clock), clock=clock,
    )  # fmt: skip
    session = VoiceSession(loop=loop, engines=stub_engines(clock), transport=phone.transport, clock=clock)

    async def call() -> Conversation:
        session.sound_takes(Transit(5.0, 5.0, is_at_start=True))
        run = asyncio.ensure_future(session.run())
        await clock.sleep(0.1)
        session.sound_takes(Transit(5.0, 5.0, is_at_start=True))
        phone.transport.hang_up()
        conversation = await run
        session.sound_takes(Transit(5.0, 5.0, is_at_start=True))
        return conversation

    assert list(clock.run(call())) == []
