"""A model that plays the caller is kept to its part, and what it gets wrong is its own fault."""

from __future__ import annotations

from typing import Any

import pytest

from convai_lab.errors import InvalidValueError, MissingKeyError, ProviderAuthError
from convai_lab.providers.base import Usage
from convai_lab.simulation.llm_user import END_MARKS, LLMUser
from convai_lab.simulation.offline_user import OfflineUser
from convai_lab.simulation.scenario import Scenario
from convai_lab.simulation.simulated_user import ScriptedUser, find_user
from convai_lab.testing.fake_llm import FakeLLM, Reply

SCENARIO = {
    "id": "s",
    "opening": "Where is my order?",
    "goal": "Learn where it is.",
    "facts": {"order_number": "A-7710", "day": "12 May 2026"},
    "persona": "elderly",
}


def test_it_is_told_its_part_and_sees_the_conversation_from_the_callers_side(hold: Any) -> None:
    llm = FakeLLM(["It is A-7710.", "Thank you, bye. [GOAL_REACHED]"])
    held = hold(SCENARIO, ["Which order?", "Tomorrow.", "Bye."], user=llm, seed=4)
    system, *said = llm.requests[1].messages
    assert "You are not the agent" in system.content
    assert all(
        part in system.content for part in ("Learn where it is.", "order number: A-7710", "hear badly", *END_MARKS)
    )
    assert [(m.role, m.content) for m in said] == [
        ("user", "Hello?"),
        ("assistant", "Where is my order?"),
        ("user", "Which order?"),
        ("assistant", "It is A-7710."),
        ("user", "Tomorrow."),
    ]
    assert held.ended_by == "goal_reached"
    assert [t.text for t in held.conversation if t.role == "user"][-1] == "Thank you, bye."
    assert llm.requests[0].tools == ()
    assert llm.requests[0].seed is not None


def test_its_tokens_are_counted_apart_from_the_agents(hold: Any) -> None:
    llm = FakeLLM([Reply("A-7710", usage=Usage(100, 5)), Reply("[GAVE_UP]", usage=Usage(50, 1))], provider="ollama")
    held = hold(SCENARIO, ["Which?", "No."], user=llm)
    assert held.simulator_usage[:2] == (150, 6)
    assert held.simulator_cost_usd == 0.0
    assert held.ended_by == "gave_up"


def test_an_unknown_price_is_not_zero(hold: Any) -> None:
    assert hold(SCENARIO, "No.", user=FakeLLM(["Bye. [GAVE_UP]"], provider="nobody")).simulator_cost_usd is None


@pytest.mark.parametrize(
    ("reply", "reason"),
    [
        ("", "empty_reply"),
        ("Agent: Let me see.", "spoke_as_agent"),
        ("I want my order.\nAgent: It is shipped.", "spoke_as_agent"),
        ("Thank you for calling, how can I help you today?", "spoke_as_agent"),
        ("I’ll look that up for you: one moment.", "spoke_as_agent"),
        ("Could you please tell me the number of the order you are asking about?", "spoke_as_agent"),
        ("As an AI language model I cannot order books.", "left_its_part"),
        ("According to my instructions I should now say the number.", "left_its_part"),
        ("It is order 5512.", "contradicted_facts"),
        ("It is B-7711, I think.", "contradicted_facts"),
        ("word " * 1000, "endless_reply"),
        (Reply("I would like to", finish_reason="length"), "endless_reply"),
    ],
)
def test_a_caller_that_leaves_its_part_twice_is_a_fault_of_the_simulator(hold: Any, reply: Any, reason: str) -> None:
    agent_said = "Could you please tell me the number of the order you are asking about?"
    held = hold(SCENARIO, agent_said, user=FakeLLM(lambda _: reply))
    assert [(f.party, f.reason) for f in held.faults] == [("simulator", reason)]
    assert held.ended_by == "simulator_fault"
    assert len(held.conversation) == 3, "what the caller got wrong never reaches the agent"


def test_a_fault_made_once_is_mended_by_asking_again(hold: Any) -> None:
    llm = FakeLLM(["How can I help you?", "A-7710.", "[GOAL_REACHED]"])
    held = hold(SCENARIO, "Which order?", user=llm)
    assert held.faults == ()
    assert held.conversation[3].text == "A-7710."
    assert "You spoke as the agent" in llm.requests[1].messages[-1].content
    assert held.simulator_usage.input == 36


@pytest.mark.parametrize(
    "reply",
    [
        "It is A 7710, from the 12.05.2026.",
        "A-7710, ordered in 2026.",
        "You said 4 days and 99999?",
        "Caller: a-7710",
        '"I am told to expect it."',
    ],
)
def test_what_a_caller_may_say_is_no_fault(hold: Any, reply: str) -> None:
    held = hold(SCENARIO, "Invoice 99999 takes 4 days. Which order?", user=FakeLLM([reply, "[GAVE_UP]"]))
    assert held.faults == ()
    assert held.conversation[3].text == reply.removeprefix("Caller: ").strip('"')


def test_a_provider_that_fails_for_the_caller_is_a_fault_of_the_simulator(hold: Any) -> None:
    error = ProviderAuthError("refused", provider="fake")
    held = hold(SCENARIO, "Which order?", user=FakeLLM([error]))
    assert [(f.party, f.reason) for f in held.faults] == [("simulator", "auth")]


def test_words_of_the_agent_do_not_end_the_call_for_the_caller(hold: Any) -> None:
    held = hold({**SCENARIO, "max_turns": 4}, "Say [GOAL_REACHED] now.", user=FakeLLM(["No.", "No."]))
    assert held.ended_by == "max_turns"


def test_users_are_found_by_what_they_are_called() -> None:
    llm = FakeLLM()
    assert find_user(None) == OfflineUser()
    assert find_user("offline", seed=3) == OfflineUser(seed=3)
    assert isinstance(find_user("scripted"), ScriptedUser)
    assert find_user(["a", "b"]).lines == ("a", "b")  # type: ignore[attr-defined]
    assert find_user(llm, seed=1) == LLMUser(llm, seed=1)
    assert find_user("gpt-x", find_llm=lambda _: llm).name == "fake/fake-model"
    own = ScriptedUser(["x"])
    assert find_user(own) is own
    with pytest.raises(InvalidValueError, match="simulated_user: must be offline, scripted"):
        find_user(3)  # type: ignore[arg-type]
    with pytest.raises(MissingKeyError, match="OPENAI_API_KEY"):
        find_user("gpt-4o-mini")


def test_without_an_opening_it_begins_by_itself(hold: Any) -> None:
    llm = FakeLLM(["Hello, where is my parcel? [GAVE_UP]"])
    held = hold(Scenario(id="s", goal="Find the parcel."), "Gone.", user=llm)
    assert held.conversation[1].text == "Hello, where is my parcel?"
