"""The offline user follows its goal and facts, reacts to what is asked, and knows when to stop."""

from __future__ import annotations

from typing import Any

import pytest

from convai_lab.clock import VirtualClock
from convai_lab.conversations.conversation import Conversation
from convai_lab.conversations.turn import Turn
from convai_lab.simulation.offline_user import OfflineUser
from convai_lab.simulation.persona import PERSONAS, STYLES
from convai_lab.simulation.scenario import Scenario
from convai_lab.simulation.simulated_user import Move
from convai_lab.simulation.wording import WORDINGS
from convai_lab.testing.fake_llm import FakeLLM, call

FACTS = {"order_number": "1234", "name": "Ada Lovelace", "confirmation": "yes, do it"}
SCENARIO = Scenario(id="s", opening="Where is my order?", goal="Learn where it is.", facts=FACTS)


def after(*agent_said: str, scenario: Scenario = SCENARIO) -> Move:
    """What the user does after the agent has said these things, one after the other."""
    user, turns = OfflineUser(), [Turn(role="user", text=scenario.opening)]
    move = Move()
    for said in agent_said:
        turns.append(Turn(role="agent", text=said))
        move = _next(user, turns, scenario)
        turns.append(Turn(role="user", text=move.text or ""))
    return move


def _next(user: OfflineUser, turns: list[Turn], scenario: Scenario) -> Move:
    conversation = Conversation(id="c", agent_id="a", turns=tuple(turns), seed=1)
    return VirtualClock().run(user.next_move(conversation, scenario))


@pytest.mark.parametrize(
    ("said", "answer"),
    [
        ("Could you tell me the order number?", "1234"),
        ("Please give me your order number.", "1234"),
        ("Which order is it about?", "1234"),
        ("What’s your name and the order number?", "1234, Ada Lovelace"),
        ("I will cancel it. Shall I go ahead?", "yes, do it"),
        ("You ordered on Monday, is that right?", "yes, do it"),
        ("I see order 1243 here; it is on its way.", "No, the order number is 1234."),
        ("I can put you through to a colleague, shall I?", "Yes, please."),
        ("What colour is the parcel?", "I don't know."),
        ("One moment, let me check.", "Okay."),
    ],
)
def test_it_answers_what_it_is_asked(said: str, answer: str) -> None:
    assert after(said).text == answer


def test_it_gives_up_when_it_is_asked_the_same_thing_for_the_third_time() -> None:
    ask = "What is your order number?"
    assert after(ask, ask).text == "1234"
    third = after(ask, ask, ask)
    assert (third.stop, third.text) == ("gave_up", "You have asked me that before. I give up, goodbye.")


def test_a_question_it_cannot_answer_counts_too() -> None:
    assert after("What colour is it?", "What shape is it?", "What size is it?").stop is None
    assert after(*["What colour is it?"] * 3).stop == "gave_up"


@pytest.mark.parametrize("said", ["a" * 200_000, "1" * 200_000, "order ? " * 50_000, "\n" * 200_000, "\x00\ud800", ""])
def test_nothing_an_agent_says_is_too_much_for_it(said: str) -> None:
    assert after(said, said) == after(said, said)


def test_patience_is_the_personas() -> None:
    hurried = Scenario(id="s", opening="Hi", goal="Learn.", facts=FACTS, persona="hurried")
    assert after(*["What is your order number?"] * 2, scenario=hurried).stop == "gave_up"


def test_the_right_value_comes_once_the_other_was_not_found() -> None:
    scenario = Scenario(
        id="s", opening="Order 9999?", goal="g", facts={"order_number": "9999", "right_order_number": "4321"}
    )
    assert after("I could not find that order.", scenario=scenario).text == "4321"
    assert after("I could not find it.", "What is the order number?", scenario=scenario).text == "4321"


def test_a_second_confirmation_follows_the_first() -> None:
    facts = {"confirmation": "no, on Friday", "second_confirmation": "yes"}
    scenario = Scenario(id="s", opening="Book me in.", goal="g", facts=facts)
    assert after("Shall I go ahead?", scenario=scenario).text == "no, on Friday"
    assert after("Shall I go ahead?", "On Friday then. Shall I go ahead?", scenario=scenario).text == "yes"


def test_it_stops_when_it_has_what_it_came_for_and_says_goodbye_if_that_is_its_goal() -> None:
    assert after("It arrives tomorrow.") == Move(stop="goal_reached")
    polite = Scenario(id="s", opening="Hi", goal="Learn it, then say goodbye.", facts=FACTS)
    assert after("It arrives tomorrow.", scenario=polite) == Move(text="Thank you, goodbye.", stop="goal_reached")
    assert after("Sorry, I cannot do that. Anything else?") == Move(stop="gave_up")


def test_a_goal_with_expected_calls_is_reached_only_by_them(hold: Any) -> None:
    expected = [{"tool": "order_status", "arguments": {"order_id": "1234"}}]
    scenario = {
        "id": "s",
        "opening": "Hi",
        "goal": "g",
        "expected_tool_calls": expected,
        "mocks": {"order_status": {"result": 1}},
    }
    assert hold(scenario, [call("order_status", order_id="1234"), "Here."], user="offline").ended_by == "goal_reached"
    assert hold(scenario, [call("order_status", order_id="4321"), "Here."], user="offline").ended_by == "gave_up"
    assert hold(scenario, "It is here.", user="offline").ended_by == "gave_up"


def test_without_a_goal_and_facts_it_asks_its_one_question(hold: Any) -> None:
    held = hold({"opening": "Are you open?"}, "Yes. What else would you like to know?", user="offline")
    assert (len(held.conversation), held.ended_by) == (3, "script_over")


def test_it_goes_on_from_a_history_it_did_not_begin(hold: Any) -> None:
    said = [{"user": "Where is my order?"}, {"agent": "What is the order number?"}]
    held = hold({"id": "s", "goal": "g", "facts": FACTS, "history": said}, "It is here.", user="offline")
    assert held.conversation[2].text == "1234"


def test_it_hears_what_was_heard_and_not_what_was_generated() -> None:
    turns = [
        Turn(role="user", text="Where is it?"),
        Turn(role="agent", text="Let me see. What is your name?", text_heard="Let me", interrupted=True),
    ]
    assert "Lovelace" not in (_next(OfflineUser(), turns, SCENARIO).text or "")


def test_a_scenario_that_says_nothing_is_a_fault_of_the_simulator(hold: Any) -> None:
    held = hold({"id": "mute"}, user="offline")
    assert [(f.party, f.reason) for f in held.faults] == [("simulator", "nothing_to_say")]


@pytest.mark.parametrize("name", PERSONAS)
def test_every_persona_keeps_the_facts_and_repeats_itself_with_the_same_seed(name: str, hold: Any) -> None:
    scenario = {"id": "s", "opening": "Hello, where is my order, please?", "goal": "g", "facts": FACTS, "persona": name}

    def said(seed: int) -> list[str]:
        replies = ["What is the order number?", "It comes tomorrow."]
        return [t.text for t in hold(scenario, replies, user="offline", seed=seed).conversation if t.role == "user"]

    assert said(5) == said(5)
    assert all("1234" in said(seed)[1] for seed in range(5))
    assert all("order" in said(seed)[0] for seed in range(5))


def test_personas_talk_differently(hold: Any) -> None:
    def opening(name: str) -> str:
        scenario = {"id": "s", "opening": "Hello, where is my order, please?", "goal": "g", "persona": name}
        return hold(scenario, user="offline", seed=2).conversation[1].text

    openings = {name: opening(name) for name in PERSONAS if PERSONAS[name].style}
    assert len(set(openings.values())) >= len(openings) - 1, openings
    assert openings["terse"] == "Where is my order?"


def test_every_style_has_a_wording() -> None:
    assert set(WORDINGS) == set(STYLES)


def test_one_user_holds_many_conversations_at_once(hold: Any) -> None:
    user = OfflineUser()
    scenario = {"id": "s", "opening": "Hi", "goal": "g", "facts": FACTS}
    first = hold(scenario, ["What is the order number?", "Here it is."], user=user)
    second = hold(scenario, ["What is the order number?", "Here it is."], user=user)
    assert [t.text for t in first.conversation] == [t.text for t in second.conversation]


def test_the_agents_model_is_asked_no_more_often_than_the_user_speaks(hold: Any) -> None:
    llm = FakeLLM(["What is the order number?", "It comes tomorrow."])
    hold({"id": "s", "opening": "Hi", "goal": "g", "facts": FACTS}, llm=llm, user="offline")
    assert len(llm.requests) == 2
