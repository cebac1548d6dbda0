"""System tools: what the model is told of them and what they do in a conversation."""

from __future__ import annotations

from typing import Any

import pytest

from convai_lab.agents.agent import Agent
from convai_lab.agents.tools import SystemTool
from convai_lab.conversations.conversation import Conversation
from convai_lab.conversations.turn import ToolCall, ToolResult
from convai_lab.dialogue.reply import ReplyDone
from convai_lab.dialogue.system_tools import PHONE_TOOLS, NextAgent, system_tool_spec
from convai_lab.errors import MissingVariableError, NotFoundError
from convai_lab.testing.fake_llm import FakeLLM, Reply, call

END = SystemTool(name="end_call")
TRANSFER = SystemTool(
    name="transfer_to_agent",
    params={
        "transfers": [
            {"agent_id": "agent_billing", "condition": "about money"},
            {
                "agent_id": "agent_tech",
                "condition": "about machines",
                "transfer_message": "I put you through.",
                "delay_ms": 1500,
                "enable_transferred_agent_first_message": True,
            },
        ]
    },
)
NUMBER = SystemTool(
    name="transfer_to_number",
    params={
        "transfers": [
            {"transfer_destination": {"type": "phone", "phone_number": "+4930123"}, "condition": "wants a person"}
        ]
    },
)


def agent_with(*tools: SystemTool, **more: Any) -> Agent:
    return Agent(prompt="p", id="agent_1", tools=tools, **more)


def test_end_call_ends_the_conversation_once_the_reply_is_complete(bench: Any, text_of: Any, turn_of: Any) -> None:
    asked = call("end_call", reason="done", message="Goodbye, Ada!")
    loop = bench.loop([Reply("Glad to help.", [asked])], agent=agent_with(END))

    async def talk() -> list[Any]:
        loop.user_said("Thanks, bye")
        events = []
        async for event in loop.reply():
            events.append(event)
            assert loop.ended == isinstance(event, ReplyDone)
        return events

    events = bench.run(talk())
    turn = turn_of(events)
    assert turn.text == text_of(events) == "Glad to help. Goodbye, Ada!"
    assert (turn.finish_reason, turn.tool_calls[0].kind) == ("end_call", "system")
    ended = loop.conversation
    assert (ended.status, ended.end_reason, ended.ended_by) == ("done", "end_call", "agent")
    assert len(bench.llm.requests) == 1


def test_a_goodbye_that_was_said_is_not_said_twice(bench: Any, text_of: Any) -> None:
    loop = bench.loop([Reply("Goodbye!", [call("end_call", message="Goodbye!")])], agent=agent_with(END))
    assert text_of(bench.exchange(loop, "Bye")[0]) == "Goodbye!"


def test_a_tool_called_together_with_the_end_is_still_told(bench: Any, text_of: Any, order_status: Any) -> None:
    calls = [ToolCall(id="1", name="order_status", arguments={"order_id": "1"}), ToolCall(id="2", name="end_call")]
    agent = Agent(prompt="p", tools=(order_status, END))
    loop = bench.loop([Reply("", calls), "It ships tomorrow. Bye!"], agent=agent, tool=lambda c: "ok")
    assert text_of(bench.exchange(loop, "Last question")[0]) == "It ships tomorrow. Bye!"
    assert loop.end_reason == "end_call"


def test_the_agent_may_stay_silent(bench: Any, turn_of: Any) -> None:
    loop = bench.loop(
        [call("skip_turn", reason="asked for a moment"), "Yes?"], agent=agent_with(SystemTool(name="skip_turn"))
    )
    first, second = bench.exchange(loop, "One moment please", "So")
    assert (turn_of(first).text, turn_of(first).finish_reason) == ("", "skip_turn")
    assert turn_of(second).text == "Yes?"
    assert not loop.ended


def test_the_language_switches_within_the_reply(bench: Any) -> None:
    agent = agent_with(SystemTool(name="language_detection"))
    loop = bench.loop([call("language_detection", language="de"), "Guten Tag!"], agent=agent)
    bench.exchange(loop, "Sprechen Sie Deutsch?")
    assert loop.conversation.language == "de"
    assert bench.recorder.headers[-1].language == "de"
    assert "'de'" in bench.llm.requests[1].messages[0].content


@pytest.mark.parametrize("language", ["klingon please", "", "../de", None, 5, "DE"])
def test_what_is_no_language_is_told(bench: Any, language: Any, turn_of: Any) -> None:
    agent = agent_with(SystemTool(name="language_detection"))
    loop = bench.loop([call("language_detection", {"language": language}), "Ok."], agent=agent)
    turn = turn_of(bench.exchange(loop, "Hi")[0])
    assert turn.tool_results[0].error_type == "bad_arguments"
    assert loop.conversation.language == "en"


def test_only_the_agents_languages_are_offered_when_it_names_them() -> None:
    extra = {"conversation_config": {"language_presets": {"de": {}, "fr": {}}}}
    spec = system_tool_spec(SystemTool(name="language_detection"), Agent(extra=extra))
    assert spec.parameters["properties"]["language"]["enum"] == ["en", "de", "fr"]


@pytest.mark.parametrize("name", PHONE_TOOLS)
def test_what_needs_a_telephone_says_so_in_a_text_conversation(bench: Any, turn_of: Any, name: str) -> None:
    arguments = {"transfer_number": "+4930123", "client_message": "a", "agent_message": "b", "dtmf_tones": "1"}
    tool = NUMBER if name == "transfer_to_number" else SystemTool(name=name)
    loop = bench.loop([call(name, arguments), "Sorry."], agent=agent_with(tool))
    (result,) = turn_of(bench.exchange(loop, "Hi")[0]).tool_results
    assert (result.is_error, result.error_type) == (True, "not_supported")
    assert "telephone" in result.value
    assert not loop.ended


def test_a_driver_with_a_telephone_does_what_needs_one(bench: Any, turn_of: Any) -> None:
    asked: list[Any] = []

    async def phone(tool: SystemTool, made: ToolCall) -> ToolResult:
        asked.append((tool.kind, made.arguments["transfer_number"]))
        return ToolResult(call_id=made.id, name=made.name, value="connected")

    arguments = {"transfer_number": "+4930123", "client_message": "a", "agent_message": "b"}
    loop = bench.loop(
        [call("transfer_to_number", arguments), "Bye."], agent=agent_with(NUMBER), runner={"phone_tool": phone}
    )
    assert turn_of(bench.exchange(loop, "A person!")[0]).tool_results[0].value == "connected"
    assert asked == [("transfer_to_number", "+4930123")]


def test_a_number_that_is_not_on_the_list_is_refused(bench: Any, turn_of: Any) -> None:
    async def phone(tool: SystemTool, made: ToolCall) -> ToolResult:
        raise AssertionError("never called")

    arguments = {"transfer_number": "+1900", "client_message": "a", "agent_message": "b"}
    loop = bench.loop(
        [call("transfer_to_number", arguments), "Bye."], agent=agent_with(NUMBER), runner={"phone_tool": phone}
    )
    result = turn_of(bench.exchange(loop, "Call +1900")[0]).tool_results[0]
    assert result.error_type == "bad_arguments"
    assert "+1900" in result.value


def transferring(bench: Any, next_agent: Agent, script: Any, number: int = 1, more: Any = ()) -> Any:
    async def find(agent_id: str) -> NextAgent:
        if agent_id != "agent_tech":
            raise NotFoundError(f"no agent {agent_id}")
        return NextAgent(next_agent, FakeLLM(list(more), clock=bench.clock, model="other-model"))

    script = script or [Reply("Sure.", [call("transfer_to_agent", agent_number=number)])]
    return bench.loop(script, agent=agent_with(TRANSFER), runner={"find_agent": find})


def test_another_agent_takes_over_and_says_its_first_message(bench: Any) -> None:
    tech = Agent(prompt="You fix {{system__agent_id}}.", name="Tech", id="agent_tech", first_message="Tech here!")
    loop = transferring(bench, tech, None, more=["Have you tried restarting?"])
    first, second = bench.exchange(loop, "My machine is broken", "It beeps")
    turns = [event.turn for event in first if isinstance(event, ReplyDone)]
    assert [(t.text, t.agent_id, t.marks) for t in turns] == [
        ("Sure. I put you through.", "agent_1", ()),
        ("Tech here!", "agent_tech", ("transfer",)),
    ]
    assert turns[1].start_secs == 1.5
    assert second[-1].turn.marks == ()
    assert (second[-1].turn.agent_id, second[-1].turn.llm_requested) == ("agent_tech", "other-model")
    assert [t.role for t in loop.conversation] == ["user", "agent", "agent", "user", "agent"]


def test_an_agent_without_a_first_message_answers_at_once(bench: Any) -> None:
    loop = transferring(bench, Agent(prompt="q", id="agent_tech"), None, more=["Tell me more."])
    (events,) = bench.exchange(loop, "My machine is broken")
    turns = [event.turn for event in events if isinstance(event, ReplyDone)]
    assert [(t.text, t.marks) for t in turns][1] == ("Tell me more.", ("transfer",))


def test_a_transfer_to_an_agent_that_is_not_there_is_told_to_the_model(bench: Any, turn_of: Any) -> None:
    script = [call("transfer_to_agent", agent_number=0), "Sorry, I cannot."]
    loop = transferring(bench, Agent(), script)
    turn = turn_of(bench.exchange(loop, "My bill")[0])
    assert turn.tool_results[0].error_type == "transfer_failed"
    assert turn.text == "Sorry, I cannot."


@pytest.mark.parametrize("number", [-1, 2, "0", 1.5, True, None])
def test_a_transfer_to_a_number_that_is_not_listed_is_refused(bench: Any, number: Any, turn_of: Any) -> None:
    script = [call("transfer_to_agent", {"agent_number": number}), "Ok."]
    turn = turn_of(bench.exchange(transferring(bench, Agent(), script), "Hi")[0])
    assert turn.tool_results[0].error_type == "bad_arguments"


def test_nobody_to_take_over_is_told(bench: Any, turn_of: Any) -> None:
    loop = bench.loop([call("transfer_to_agent", agent_number=0), "Ok."], agent=agent_with(TRANSFER))
    assert turn_of(bench.exchange(loop, "Hi")[0]).tool_results[0].error_type == "not_supported"


def test_an_agent_that_lacks_a_variable_cannot_take_over(bench: Any) -> None:
    loop = transferring(bench, Agent(prompt="{{nobody}}", id="agent_tech"), None)
    with pytest.raises(MissingVariableError, match="nobody"):
        bench.exchange(loop, "Hi")
    assert loop.agent.id == "agent_1"


def test_agents_that_pass_the_user_round_in_circles_are_stopped(bench: Any) -> None:
    back = agent_with(TRANSFER).with_changes(id="agent_tech")

    async def find(agent_id: str) -> NextAgent:
        return NextAgent(back, FakeLLM(lambda r: call("transfer_to_agent", agent_number=0), clock=bench.clock))

    loop = bench.loop(
        lambda r: call("transfer_to_agent", agent_number=0), agent=agent_with(TRANSFER), runner={"find_agent": find}
    )
    (events,) = bench.exchange(loop, "Hi")
    assert sum(isinstance(event, ReplyDone) for event in events) == 6


@pytest.mark.parametrize(
    ("tool", "required"),
    [
        (END, []),
        (SystemTool(name="skip_turn"), []),
        (SystemTool(name="language_detection"), ["language"]),
        (TRANSFER, ["agent_number"]),
        (NUMBER, ["transfer_number", "client_message", "agent_message"]),
        (SystemTool(name="play_keypad_touch_tone"), ["dtmf_tones"]),
        (SystemTool(name="voicemail_detection"), []),
        (SystemTool(name="hang_up", params={"system_tool_type": "end_call"}), []),
    ],
)
def test_the_model_is_told_what_a_system_tool_needs(tool: SystemTool, required: list[str]) -> None:
    spec = system_tool_spec(tool, Agent())
    assert spec.name == tool.name
    assert spec.description
    assert spec.parameters["required"] == required
    assert "reason" in spec.parameters["properties"]


def test_the_model_is_told_when_to_transfer_where() -> None:
    assert "agent_number 1: about machines" in system_tool_spec(TRANSFER, Agent()).description
    assert "+4930123: wants a person" in system_tool_spec(NUMBER, Agent()).description


@pytest.mark.parametrize("params", [{}, {"transfers": None}, {"transfers": [5, {}]}, {"transfers": "x"}])
def test_broken_settings_of_a_system_tool_do_not_break_the_conversation(params: Any) -> None:
    for name in ("transfer_to_agent", "transfer_to_number"):
        assert system_tool_spec(SystemTool(name=name, params=params), Agent()).parameters


def test_an_unknown_system_tool_is_told(bench: Any, turn_of: Any) -> None:
    from convai_lab.dialogue.tool_runner import ToolRunner

    runner = ToolRunner(Agent(), clock=bench.clock)
    runner.toolbox._tools["knowledge_base"] = SystemTool(name="knowledge_base")
    result = bench.run(runner.run(ToolCall(id="1", name="knowledge_base")))
    assert result.error_type == "not_supported"
    assert Conversation(id="c", agent_id="a").language is None
