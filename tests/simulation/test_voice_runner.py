"""A scenario is held as a call: spoken, sent over a line, recognised, answered; the same every time."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any

import pytest

from convai_lab.agents.agent import Agent
from convai_lab.clock import VirtualClock
from convai_lab.errors import InvalidValueError, ProviderError, ProviderRateLimitError
from convai_lab.providers.base import SpeechEngines
from convai_lab.providers.stub_speech import StubTTS, stub_engines
from convai_lab.simulation.acoustics import Acoustics
from convai_lab.simulation.runner import SimulatedConversation
from convai_lab.simulation.scenario import Scenario
from convai_lab.simulation.simulated_user import find_user
from convai_lab.simulation.voice_runner import expecting, run_voice_conversation
from convai_lab.testing.fake_llm import FakeLLM, Reply, call

FACTS = {"order_number": "1234"}
LATE = Scenario(id="late", opening="Where is my parcel", goal="Learn where it is.", facts=FACTS)
LONG = "Could you give me the order number please you can find it on the bill that came with the letter"


def held(
    agent: Agent, scenario: Scenario, replies: Any, *, seed: int = 0, clock: VirtualClock | None = None, **options: Any
) -> SimulatedConversation:
    """Hold a call in virtual time."""
    clock = clock or VirtualClock(seed=seed)
    user = find_user(options.pop("user", None))
    llm = FakeLLM(replies, clock=clock)
    return clock.run(run_voice_conversation(agent, scenario, llm=llm, user=user, seed=seed, clock=clock, **options))


def said(call: SimulatedConversation) -> list[tuple[str, str]]:
    return [(turn.role, turn.text) for turn in call.conversation]


def test_a_scenario_is_held_as_a_call_with_what_was_heard_and_how_long_it_took(agent: Agent) -> None:
    mocks = {"order_status": {"result": "shipped", "set": {"looked_up": "{{order_id}}"}}}
    ask, look = "What is the order number?", call("order_status", order_id="1234")
    done = held(agent, replace(LATE, mocks=mocks), [ask, look, "It comes tomorrow."])
    assert said(done) == [
        ("agent", "Hello?"),
        ("user", "Where is my parcel"),
        ("agent", ask),
        ("user", "1234"),
        ("agent", "It comes tomorrow."),
    ]
    assert (done.ended_by, done.conversation.end_reason, done.conversation.ended_by) == ("goal_reached",) * 2 + (
        "user",
    )
    assert (done.conversation.channel, done.conversation.status) == ("voice", "done")
    assert done.tool_state.state == {"looked_up": "1234"}
    assert all((turn.metrics.voice_to_voice_ms or 0) > 0 for turn in done.conversation.turns[2::2])


def test_the_same_seed_gives_the_same_call_and_another_line_another_one(agent: Agent) -> None:
    line = Acoustics(noise_dbfs=-45, packet_loss=0.1, delay_ms=80, jitter_ms=30)

    def told(seed: int, acoustics: Acoustics | None) -> str:
        done = held(agent, LATE, lambda _: "What is the order number?", seed=seed, acoustics=acoustics)
        return repr((done, done.conversation.turns, done.conversation.to_dict()))

    assert told(1, line) == told(1, line)
    assert told(1, None) != told(1, line)


def test_somebody_in_a_hurry_interrupts_and_is_answered(agent: Agent) -> None:
    done = held(agent, replace(LATE, persona="hurried"), [LONG, "It comes tomorrow."])
    cut = done.conversation[2]
    assert cut.interrupted
    assert cut.text == LONG
    assert LONG.startswith(cut.text_heard or "")
    assert 3 < len((cut.text_heard or "").split()) < 14
    patient = held(agent, replace(LATE, persona="patient"), [LONG, "It comes tomorrow."])
    assert not any(turn.interrupted for turn in patient.conversation)


def test_an_elderly_caller_takes_longer_than_one_in_a_hurry(agent: Agent) -> None:
    def secs(persona: str) -> float:
        replies = ["What is the order number?", "It comes tomorrow."]
        slow = replace(LATE, persona={"name": "x", **({"speed": 0.7, "reaction_secs": 2.0} if persona else {})})
        return held(agent, slow, replies).conversation.duration_secs or 0.0

    assert secs("slow") > secs("") + 2


def test_a_noisy_street_comes_with_its_persona(agent: Agent) -> None:
    done = held(agent, replace(LATE, persona="on_the_street"), ["What is the order number?", "It comes tomorrow."])
    assert ("user", "1234") in said(done)


def test_a_line_that_loses_everything_is_not_heard_and_the_call_ends(agent: Agent) -> None:
    done = held(agent, LATE, lambda _: "Are you there?", acoustics={"packet_loss": 1.0})
    assert not any(turn.role == "user" for turn in done.conversation)
    assert done.ended_by in ("silence", "max_turns", "max_duration", "agent", "gave_up")


def test_the_agent_ends_the_call(agent: Agent) -> None:
    done = held(agent, LATE, [[call("end_call", reason="done", message="Bye.")]])
    assert (done.ended_by, done.conversation.end_reason) == ("agent", "end_call")


def test_a_transfer_ends_the_call(agent: Agent) -> None:
    transfers = [{"transfer_destination": {"type": "phone", "phone_number": "+15550100"}, "condition": "asked"}]
    system = {"type": "system", "name": "transfer_to_number", "params": {"transfers": transfers}}
    arguments = {"transfer_number": "+15550100", "client_message": "One moment.", "agent_message": "A caller."}
    done = held(Agent(tools=(system,)), LATE, [call("transfer_to_number", arguments), "I put you through."])
    assert (done.ended_by, done.conversation.end_reason) == ("agent", "transfer_to_number")


def test_a_model_that_fails_in_a_call_is_a_fault_of_the_provider(agent: Agent) -> None:
    done = held(agent, LATE, [ProviderRateLimitError("slow down", provider="fake")])
    assert done.ended_by == "provider_fault"
    assert [f.party for f in done.faults] == ["provider"]
    assert "slow down" in done.faults[0].detail


class _Mute(StubTTS):
    async def synthesize(self, text: str, *, voice: str = "", speed: float = 1.0) -> Any:
        raise ProviderError("no voice", provider="mute")
        yield


def test_a_voice_that_fails_is_a_fault_of_the_provider_and_the_callers_of_the_simulator(agent: Agent) -> None:
    def mute(clock: Any) -> SpeechEngines:
        return replace(stub_engines(clock), tts=_Mute())

    broken = held(agent, LATE, lambda _: "It comes.", engines=mute, caller_tts=StubTTS())
    assert {f.party for f in broken.faults} == {"provider"}
    assert "no voice" in broken.faults[0].detail
    caller = held(agent, LATE, lambda _: "It comes.", caller_tts=_Mute())
    assert [(f.party, f.reason) for f in caller.faults] == [("simulator", "provider")]
    assert caller.ended_by == "simulator_fault"


def test_a_variable_without_a_value_ends_the_call_before_it_begins() -> None:
    done = held(Agent(prompt="Hi {{name}}"), LATE, ["Hm."])
    assert any("name" in fault.detail for fault in done.faults)
    assert done.conversation.status == "failed"


def test_a_caller_who_only_waits_gives_up_after_so_many_turns(agent: Agent) -> None:
    endless = replace(LATE, lines=tuple(f"word {n}" for n in range(20)), max_turns=6)
    done = held(agent, endless, lambda _: "Go on.", user="scripted")
    assert done.ended_by == "max_turns"
    assert sum(turn.role == "user" for turn in done.conversation) == 3


def test_a_line_that_cannot_be_is_refused_before_the_call(agent: Agent) -> None:
    with pytest.raises(InvalidValueError, match="packet_los: is no such setting"):
        held(agent, LATE, [], acoustics={"packet_los": 0.1})


def test_cancelled_a_call_is_raised_and_leaves_no_task(agent: Agent) -> None:
    clock = VirtualClock()

    async def main() -> None:
        before = asyncio.all_tasks()
        llm = FakeLLM([Reply("late", delay_secs=15)], clock=clock)
        run = run_voice_conversation(agent, LATE, llm=llm, user=find_user(None), clock=clock)
        task = asyncio.ensure_future(run)
        await clock.sleep(5)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert asyncio.all_tasks() == before

    clock.run(main())


def test_engines_are_found_by_the_name_of_their_platform(agent: Agent) -> None:
    done = held(agent, LATE, ["What is the order number?", "It comes tomorrow."], engines="stub")
    assert ("user", "1234") in said(done) or ("user", "1 2 3 4") in said(done)
    with pytest.raises(InvalidValueError, match="voice_platform"):
        held(agent, LATE, [], engines="nowhere")


def test_a_recogniser_may_expect_what_the_scenario_says(agent: Agent) -> None:
    expecting_it = expecting(agent.with_changes(expected_phrases=("hello",)), LATE)
    assert expecting_it.expected_phrases == ("hello", "Where is my parcel", "1 2 3 4")
