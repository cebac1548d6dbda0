"""A conversation is held to its end, and whatever goes wrong is told with the party whose fault it was."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator
from typing import Any

import pytest

from convai_lab.agents.agent import Agent
from convai_lab.agents.tools import ClientTool, WebhookTool, tool
from convai_lab.clock import SystemClock, VirtualClock
from convai_lab.conversations.conversation import Conversation
from convai_lab.errors import ProviderRateLimitError
from convai_lab.providers.base import ChatRequest, LLMEvent, TextDelta
from convai_lab.simulation.runner import SimulatedConversation, run_conversation
from convai_lab.simulation.scenario import Scenario
from convai_lab.simulation.simulated_tools import ToolDesk
from convai_lab.simulation.simulated_user import Move, ScriptedUser
from convai_lab.testing.fake_llm import FakeLLM, Reply, call

ASK = {"id": "ask", "opening": "Where is my order 1234?"}
TWO_LINES = {**ASK, "lines": ["Thanks."]}
SHIPPED = {"order_status": [{"when": {"order_id": "1234"}, "result": {"status": "shipped"}}]}


def texts(held: SimulatedConversation) -> list[str]:
    return [turn.text for turn in held.conversation]


def test_a_script_is_said_line_by_line_and_the_record_is_complete(hold: Any) -> None:
    held = hold(TWO_LINES, ["It ships tomorrow.", "Bye."], seed=7, conversation_id="conv_x")
    assert texts(held) == ["Hello?", "Where is my order 1234?", "It ships tomorrow.", "Thanks.", "Bye."]
    record = held.conversation
    assert (record.id, record.scenario, record.seed, record.source) == ("conv_x", "ask", 7, "simulated")
    assert (record.status, record.end_reason, record.ended_by) == ("done", "script_over", "user")
    assert (held.ended_by, held.faults) == ("script_over", ())


def test_the_seed_and_the_variables_reach_the_model(hold: Any) -> None:
    llm = FakeLLM(["Hi Ada."])
    hold({**ASK, "variables": {"name": "Ada"}}, llm=llm, agent=Agent(prompt="Talk to {{name}}."), seed=11)
    assert llm.requests[0].seed == 11
    assert "Talk to Ada." in llm.requests[0].messages[0].content


def test_the_same_seed_gives_the_same_bytes(hold: Any) -> None:
    def told(seed: int) -> str:
        held = hold({**ASK, "mocks": SHIPPED}, [call("order_status", order_id="1234"), "Shipped."], seed=seed)
        return repr((held, held.conversation.to_dict()))

    assert told(3) == told(3)
    assert told(3) != told(4)


def test_a_conversation_goes_on_from_its_history(hold: Any) -> None:
    llm = FakeLLM(["It ships tomorrow."])
    said = [{"user": "Hi"}, {"agent": "How can I help?"}]
    held = hold({**ASK, "history": said}, llm=llm)
    assert texts(held) == ["Hi", "How can I help?", "Where is my order 1234?", "It ships tomorrow."]
    assert [m.content for m in llm.requests[0].messages][1:4] == ["Hi", "How can I help?", "Where is my order 1234?"]


def test_a_history_that_ends_with_the_caller_is_answered_first(hold: Any) -> None:
    held = hold({"id": "s", "goal": "g", "history": [{"user": "Hi"}], "lines": ["Thanks."]}, ["Yes?", "Bye."])
    assert texts(held) == ["Hi", "Yes?", "Thanks.", "Bye."]


def test_it_ends_after_so_many_turns(hold: Any) -> None:
    held = hold({"id": "talks", "opening": "a", "lines": ["b"] * 50, "max_turns": 4}, "Go on.")
    assert texts(held) == ["Hello?", "a", "Go on.", "b", "Go on."]
    assert (held.ended_by, held.conversation.ended_by) == ("max_turns", "system")


def test_the_callers_last_words_are_answered(hold: Any) -> None:
    assert texts(hold({**TWO_LINES, "max_turns": 1}, "Here.")) == ["Hello?", ASK["opening"], "Here."]


def test_the_language_of_the_caller_is_not_told_to_the_agent(hold: Any) -> None:
    llm = FakeLLM(["Ja."])
    hold({**ASK, "language": "de"}, llm=llm)
    assert "'de'" not in llm.requests[0].messages[0].content


def test_the_agent_can_end_it(hold: Any) -> None:
    held = hold(TWO_LINES, [[call("end_call", reason="done", message="Bye.")]])
    assert (held.ended_by, held.conversation.end_reason, held.conversation.ended_by) == ("agent", "end_call", "agent")
    assert texts(held)[-1] == "Bye."


def test_a_transfer_to_a_number_ends_it_without_a_telephone(hold: Any) -> None:
    transfers = [{"transfer_destination": {"type": "phone", "phone_number": "+15550100"}, "condition": "asked"}]
    system = {"type": "system", "name": "transfer_to_number", "params": {"transfers": transfers}}
    arguments = {"transfer_number": "+15550100", "client_message": "One moment.", "agent_message": "A caller."}
    held = hold(TWO_LINES, [call("transfer_to_number", arguments), "I put you through."], agent=Agent(tools=(system,)))
    assert (held.ended_by, held.conversation.end_reason) == ("agent", "transfer_to_number")
    assert held.faults == ()
    assert held.tool_state.calls[0].by == "platform"


# Tools


def test_the_first_mock_that_fits_answers_and_its_changes_are_kept(hold: Any) -> None:
    mocks = {
        "order_status": [
            {"given": {"order.looked_up": True}, "result": "again"},
            {"when": {"order_id": "1234"}, "result": {"id": "{{order_id}}"}, "set": {"order.looked_up": True}},
            {"error": "no such order"},
        ]
    }
    look = call("order_status", order_id="1234")
    replies = [look, "Yes.", call("order_status", order_id="1234"), "Yes again."]
    held = hold({**TWO_LINES, "mocks": mocks, "state": {"order": {"paid": True}}}, replies)
    assert [(entry.result, entry.by) for entry in held.tool_state.calls] == [
        ({"id": "1234"}, "mock"),
        ("again", "mock"),
    ]
    assert held.tool_state.state == {"order": {"paid": True, "looked_up": True}}
    assert held.conversation[2].tool_results[0].value == '{"id": "1234"}'


def test_an_error_that_a_mock_is_written_to_give_is_nobodys_fault(hold: Any) -> None:
    held = hold({**ASK, "mocks": {"order_status": {"error": "down"}}}, [call("order_status", order_id="1"), "Sorry."])
    assert held.faults == ()
    assert held.conversation[2].tool_results[0].is_error
    assert held.tool_state.calls[0].is_error


def test_two_conversations_with_the_same_scenario_share_no_world(hold: Any) -> None:
    scenario = Scenario(
        **ASK, mocks={"order_status": {"result": 1, "set": {"n.m": "{{order_id}}"}}}, state={"n": {"a": 1}}
    )
    first = hold(scenario, [call("order_status", order_id="9"), "ok"])
    second = hold(scenario, ["ok"])
    assert first.tool_state.state == {"n": {"a": 1, "m": "9"}}
    assert second.tool_state.state == {"n": {"a": 1}}


def test_a_mock_that_takes_longer_than_the_tool_may_is_a_fault_of_the_tool(hold: Any) -> None:
    mocks = {"order_status": {"result": 1, "delay_secs": 60}}
    held = hold({**ASK, "mocks": mocks}, [call("order_status", order_id="1"), "Sorry."])
    assert [(f.party, f.reason) for f in held.faults] == [("tool", "timeout")]
    assert "5 seconds" in held.faults[0].detail


def test_functions_answer_tools_without_mocks_and_what_they_raise_is_the_tools_fault(hold: Any) -> None:
    @tool
    def order_status(order_id: str) -> str:
        """Look up."""
        if order_id == "0":
            raise ZeroDivisionError("by zero")
        return f"order {order_id}"

    good, bad = call("order_status", order_id="1"), call("order_status", order_id="0")
    held = hold(TWO_LINES, [good, "ok", bad, "sorry"], tools={"order_status": order_status})
    assert held.tool_state.calls[0].result == "order 1"
    assert held.tool_state.calls[0].by == "function"
    assert [(f.party, f.reason) for f in held.faults] == [("tool", "tool_error")]
    assert "ZeroDivisionError: by zero" in held.faults[0].detail


def test_a_function_that_knows_no_such_order_has_answered(hold: Any) -> None:
    @tool
    def order_status(order_id: str) -> str:
        """Look up."""
        return {"1": "shipped"}[order_id]

    invented = call("order_status", order_id="9")
    held = hold(ASK, [invented, "I cannot find it."], tools={"order_status": order_status})
    assert held.faults == ()
    assert held.tool_state.calls[0].is_error
    assert [r.error_type for turn in held.conversation.turns for r in turn.tool_results] == ["refused"]


def test_a_function_that_hangs_is_a_time_out_also_in_invented_time() -> None:
    clock, release = VirtualClock(), threading.Event()
    hangs = ClientTool(name="hangs", function=lambda: release.wait())
    desk = ToolDesk(mocks={}, state={}, tools={"hangs": hangs}, executor=None, clock=clock)
    with pytest.raises(TimeoutError):
        clock.run(desk.by_function(call("hangs"), 0.01))
    release.set()
    assert desk.calls[0].is_error


def test_a_tool_that_nobody_answers_is_told_with_the_remedy_and_nothing_outside_is_called(hold: Any) -> None:
    webhook = WebhookTool(name="pay", url="https://pay.invalid/charge", method="POST")
    lonely = hold(ASK, [call("order_status", order_id="1"), "Sorry."])
    outside = hold(ASK, [call("pay"), "Sorry."], agent=Agent(tools=(webhook,)))
    assert [(f.party, f.reason) for f in (*lonely.faults, *outside.faults)] == [("tool", "tool_not_available")] * 2
    assert "give it `mocks`" in lonely.faults[0].detail
    assert "give the tool `mocks`" in outside.faults[0].detail
    assert outside.tool_state.calls[0].by == "nobody"


def test_a_mock_stands_in_for_a_webhook(hold: Any) -> None:
    webhook = WebhookTool(name="pay", url="https://pay.invalid/charge", method="POST")
    held = hold({**ASK, "mocks": {"pay": {"result": "paid"}}}, [call("pay"), "Paid."], agent=Agent(tools=(webhook,)))
    assert held.faults == ()
    assert held.conversation[1].tool_results[0].value == "paid"
    assert held.conversation[1].tool_results[0].kind == "webhook"


def test_a_mock_that_fits_no_call_is_told(hold: Any) -> None:
    held = hold({**ASK, "mocks": SHIPPED}, [call("order_status", order_id="9"), "Sorry."])
    assert "end its mocks with one without `when`" in held.faults[0].detail


def test_wrong_arguments_are_the_agents_fault(hold: Any) -> None:
    held = hold({**ASK, "mocks": SHIPPED}, [call("order_status", number=1), call("cancel"), "Sorry."])
    assert [(f.party, f.reason) for f in held.faults] == [("agent", "bad_arguments"), ("agent", "unknown_tool")]


# What goes wrong


def test_a_provider_that_fails_is_told_and_keeps_what_was_said(hold: Any) -> None:
    held = hold(TWO_LINES, ["Hm.", ProviderRateLimitError("slow down", provider="fake")])
    assert held.ended_by == "provider_fault"
    assert [(f.party, f.reason) for f in held.faults] == [("provider", "rate_limit")]
    assert held.conversation.status == "failed"
    assert texts(held)[:4] == ["Hello?", ASK["opening"], "Hm.", "Thanks."]


def test_a_model_that_never_answers_is_a_time_out_of_the_provider(hold: Any) -> None:
    held = hold(ASK, [Reply("late", delay_secs=3600)])
    assert [(f.party, f.reason) for f in held.faults] == [("provider", "timeout")]


def test_a_model_that_breaks_in_its_own_way_is_the_providers_fault_too(hold: Any) -> None:
    held = hold(ASK, [KeyError("choices")])
    assert [(f.party, f.reason) for f in held.faults] == [("provider", "key")]


def test_a_variable_without_a_value_is_the_agents_fault(hold: Any) -> None:
    held = hold(ASK, agent=Agent(prompt="Hi {{name}}"))
    assert held.ended_by == "agent_fault"
    assert held.faults[0].party == "agent"
    assert "name" in held.faults[0].detail
    assert len(held.conversation) == 0


class _Caller:
    name = "caller"

    def __init__(self, move: Any) -> None:
        self.move = move

    async def next_move(self, conversation: Conversation, scenario: Scenario) -> Move:
        if isinstance(self.move, float):
            await asyncio.sleep(self.move)
        if isinstance(self.move, BaseException):
            raise self.move
        return self.move  # type: ignore[no-any-return]


@pytest.mark.parametrize(
    ("move", "reason"),
    [
        (Move(fault="spoke_as_agent", detail="“How can I help”", cost_usd=0.5), "spoke_as_agent"),
        (ValueError("broken"), "value"),
        (ProviderRateLimitError("no", provider="fake"), "rate_limit"),
        (900.0, "timeout"),
        (Move(text="a" * 1_000_000), "invalid_value"),
        (Move(text=" "), "empty_reply"),
        (Move(text=3), "invalid_value"),  # type: ignore[arg-type]
        ("nothing of the kind", "invalid_value"),
    ],
)
def test_a_fault_of_the_simulated_user_is_told_apart_from_the_agents(hold: Any, move: Any, reason: str) -> None:
    held = hold(ASK, user=_Caller(move))
    assert held.ended_by == "simulator_fault"
    assert [(f.party, f.reason) for f in held.faults] == [("simulator", reason)]


def test_a_price_that_is_not_known_makes_the_sum_unknown_and_not_zero(hold: Any) -> None:
    assert hold(ASK, user=_Caller(Move(stop="gave_up", cost_usd=None))).simulator_cost_usd is None
    assert hold(ASK, user=_Caller(Move(stop="gave_up", cost_usd=0.25))).simulator_cost_usd == 0.25


# Cancellation


class _Endless:
    provider, model, is_offline = "fake", "endless", False

    def __init__(self) -> None:
        self.closed, self.begun = False, asyncio.Event()

    async def stream(self, request: ChatRequest) -> AsyncIterator[LLMEvent]:
        try:
            yield TextDelta("I am")
            self.begun.set()
            await asyncio.sleep(3600)
        finally:
            self.closed = True


async def test_cancelled_it_is_raised_and_nothing_is_left_running(agent: Agent) -> None:
    llm, before = _Endless(), asyncio.all_tasks()
    run = run_conversation(agent, Scenario(**ASK), llm=llm, user=ScriptedUser(), clock=SystemClock())
    task = asyncio.ensure_future(run)
    await llm.begun.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert llm.closed
    assert asyncio.all_tasks() == before


def test_hundred_conversations_at_once_do_not_mix(agent: Agent) -> None:
    clock = VirtualClock()
    llm = FakeLLM(lambda request: Reply(f"You said {request.messages[-1].content}", delay_secs=0.1), clock=clock)

    async def main() -> list[SimulatedConversation]:
        runs = [
            run_conversation(agent, Scenario(opening=f"word {n}"), llm=llm, user=ScriptedUser(), clock=clock)
            for n in range(100)
        ]
        return await asyncio.gather(*runs)

    held = clock.run(main())
    assert [one.conversation[2].text for one in held] == [f"You said word {n}" for n in range(100)]
    assert clock.now() < 1
