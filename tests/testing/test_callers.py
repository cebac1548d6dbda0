"""Callers: a call in virtual time repeats, and its script is followed."""

from __future__ import annotations

import asyncio
import time

import pytest

from convai_lab.agents.agent import Agent
from convai_lab.testing.callers import Cough, HangUp, Noise, Say, Stay, Type, barge_in, hold_call
from convai_lab.testing.fake_llm import FakeLLM, Reply
from convai_lab.voice import events

AGENT = Agent(name="Sam", prompt="p", first_message="Hello, this is Sam.")
NUMBERS = "One two three four five six seven eight nine ten eleven twelve."
SCRIPT = [
    Noise(-50.0),
    "Where is my order?",
    barge_in("No, wait, stop", word=4),
    Cough(word=2),
    Stay(1),
    Say("mm-hm", word=3),
    "Thank you.",
]


@pytest.mark.parametrize("is_always_on", [True, False])
def test_the_same_seed_gives_the_same_call_byte_for_byte(is_always_on: bool) -> None:
    def held(seed: int) -> bytes:
        llm = lambda _request: Reply(NUMBERS, delay_secs=0.2, piece_secs=0.03)  # noqa: E731
        return hold_call(AGENT, SCRIPT, seed=seed, llm=llm, is_always_on=is_always_on).trace

    assert held(1) == held(1)


def test_another_seed_is_another_noise() -> None:
    def heard(seed: int) -> list[float]:
        return [e.score for e in hold_call(AGENT, [Noise(-40.0), Stay(3)], seed=seed, llm=[]).events(events.VadScore)]

    assert heard(1) == heard(1)
    assert heard(1) != heard(2)


def test_a_line_that_sends_silence_and_one_that_sends_nothing_hold_the_same_conversation() -> None:
    calls = [hold_call(AGENT, SCRIPT[1:], llm=lambda _r: NUMBERS, is_always_on=on) for on in (True, False)]
    texts = [
        [(turn.role, turn.text, turn.text_heard, turn.interrupted) for turn in call.conversation] for call in calls
    ]
    assert texts[0] == texts[1]
    times = [[turn.start_secs for turn in call.conversation] for call in calls]
    assert times[0] == pytest.approx(times[1], abs=0.1)


def test_barging_in_waits_for_that_word() -> None:
    held = hold_call(AGENT, ["Count.", barge_in("no no", word=5)], llm=[NUMBERS, "Ok."])
    assert str(held.conversation[2].text_heard).split()[:5] == ["One", "two", "three", "four", "five"]
    assert len(str(held.conversation[2].text_heard).split()) <= 6


def test_a_step_may_be_at_an_instant() -> None:
    held = hold_call(AGENT, [Say("Good morning", at=4.0)], llm=["Hi."])
    assert held.conversation[1].start_secs == pytest.approx(4.0, abs=0.03)


def test_a_caller_hangs_up_when_told_to() -> None:
    held = hold_call(AGENT, ["Count.", HangUp(word=2), "never said"], llm=[NUMBERS])
    assert len(held.conversation) == 3
    assert held.conversation.end_reason == "hung_up"


def test_without_a_model_the_agent_repeats_what_it_hears() -> None:
    assert hold_call(AGENT, ["Red blue"]).conversation[2].text == "You said: Red blue"


def test_a_model_of_one_s_own_is_asked() -> None:
    llm = FakeLLM(["Hi."])
    assert hold_call(AGENT, [Type("Hello")], llm=llm).conversation[2].text == "Hi."
    assert len(llm.requests) == 1


def test_two_minutes_take_a_moment() -> None:
    started = time.process_time()
    held = hold_call(AGENT, [Stay(120)], llm=lambda _r: "Are you there?", is_always_on=True)
    assert held.secs > 120
    assert time.process_time() - started < 5


def test_the_call_gives_events_instants_and_sound() -> None:
    held = hold_call(AGENT, ["Good morning."], llm=["Hi."])
    assert [e.text for e in held.events(events.AgentTurn)] == ["Hello, this is Sam.", "Hi."]
    assert held.when(events.UserFinal) < held.when(events.AgentTurn, 1) + 0.001
    assert any(held.transport.pcm_heard())


def test_a_call_can_be_held_where_a_loop_is_running_as_in_a_notebook() -> None:
    async def cell() -> bytes:
        return hold_call(AGENT, ["Where is my order?"], seed=1).trace

    assert asyncio.run(cell()) == hold_call(AGENT, ["Where is my order?"], seed=1).trace
