"""A text conversation over the socket: what a client sees, event by event."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from convai_lab.clock import VirtualClock
from convai_lab.testing.fake_llm import FakeLLM, Reply, call

TEXT = {"conversation_config__conversation__text_only": True}
TOOL = {
    "type": "client",
    "name": "order_status",
    "description": "Look up an order.",
    "parameters": {"type": "object", "properties": {"order_id": {"type": "string"}}, "required": ["order_id"]},
    "expects_response": True,
    "response_timeout_secs": 5,
}
TOOLS = {"conversation_config__agent__prompt__tools": [TOOL]}

Make = Callable[..., Any]


def kinds(events: list[Any]) -> list[str]:
    return [event["type"] for event in events]


def test_the_first_event_is_the_metadata_with_the_conversations_id(virtual: VirtualClock, virtual_bench: Make) -> None:
    bench = virtual_bench()
    line = bench.line(bench.make_agent())

    async def talk() -> dict[str, Any]:
        await line.open()
        first = await line.event()
        await line.hang_up()
        return first

    first = virtual.run(talk())
    assert first["type"] == "conversation_initiation_metadata"
    event = first["conversation_initiation_metadata_event"]
    assert event["conversation_id"].startswith("conv_")
    assert len(event["conversation_id"]) == len("conv_") + 32
    assert event["agent_output_audio_format"] == event["user_input_audio_format"] == "pcm_16000"


def test_the_subprotocol_convai_is_selected_when_it_is_offered(virtual: VirtualClock, virtual_bench: Make) -> None:
    bench = virtual_bench()
    agent_id = bench.make_agent()

    async def accepted(*offered: str) -> Any:
        line = bench.line(agent_id, subprotocols=offered)
        await line.open()
        await line.event()
        await line.hang_up()
        return line.accepted.get("subprotocol")

    assert virtual.run(accepted("bearer.abc", "convai")) == "convai"
    assert virtual.run(accepted("other")) is None


def test_a_text_reply_streams_its_parts_and_then_comes_whole(virtual: VirtualClock, virtual_bench: Make) -> None:
    bench = virtual_bench(FakeLLM([Reply(["It ", "ships ", "tomorrow."])]))
    line = bench.line(bench.make_agent(**TEXT))

    async def talk() -> list[Any]:
        await line.open()
        await line.begin()
        await line.say("Where is my order?")
        seen = [await line.event() for _ in range(6)]
        await line.hang_up()
        return seen

    seen = virtual.run(talk())
    parts = [event["text_response_part"] for event in seen[:5]]
    assert [part["type"] for part in parts] == ["start", "delta", "delta", "delta", "stop"]
    assert "".join(part["text"] for part in parts) == "It ships tomorrow."
    assert seen[5]["agent_response_event"] == {"agent_response": "It ships tomorrow.", "event_id": 1}
    conversation = bench.only_conversation()
    assert [(turn.role, turn.text) for turn in conversation] == [
        ("user", "Where is my order?"),
        ("agent", "It ships tomorrow."),
    ]
    assert conversation.status == "done"
    assert conversation.end_reason == "client ended the conversation"


def test_parts_are_for_clients_that_ask_and_responses_for_all(virtual: VirtualClock, virtual_bench: Make) -> None:
    bench = virtual_bench(FakeLLM(["Hello."]))
    agent_id = bench.make_agent(conversation_config__conversation__client_events=["audio", "interruption"])
    line = bench.line(agent_id)

    async def talk() -> list[Any]:
        await line.open()
        await line.begin()
        await line.say("Hi")
        await line.event("agent_response")
        await line.say("again")
        return [await line.event("error"), await line.rest()]

    bench.llm = FakeLLM(["Hello.", RuntimeError("stop here")])
    first, rest = virtual.run(talk())
    assert first["type"] == "error"
    assert rest[-1].code == 1011


def test_the_first_message_is_said_with_its_variables_filled(virtual: VirtualClock, virtual_bench: Make) -> None:
    bench = virtual_bench()
    line = bench.line(bench.make_agent(conversation_config__agent__first_message="Hi {{name}}!"))

    async def talk() -> str:
        await line.open()
        await line.begin(dynamic_variables={"name": "Ada"}, user_id="ada-1", source_info={"source": "js_sdk"})
        said = await line.reply()
        await line.hang_up()
        return said

    assert virtual.run(talk()) == "Hi Ada!"
    conversation = bench.only_conversation()
    assert conversation.variables["name"] == "Ada"
    assert conversation.user_id == "ada-1"
    assert conversation.extra["metadata"]["conversation_initiation_source"] == "js_sdk"
    assert conversation.extra["metadata"]["authorization_method"] == "public"


def test_a_client_that_always_says_its_wishes_is_waited_for_on_a_busy_machine(
    virtual: VirtualClock, virtual_bench: Make
) -> None:
    bench = virtual_bench()
    agent_id = bench.make_agent(conversation_config__agent__first_message="Hi {{name}}!")

    async def talk(**query: str) -> str:
        line = bench.line(agent_id, **query)
        await line.open()
        await virtual.sleep(3)
        await line.begin(dynamic_variables={"name": "Ada"})
        said = await line.reply()
        await line.hang_up()
        return said

    assert virtual.run(talk(source="python_sdk", version="2.0")) == "Hi Ada!"


def test_a_client_tool_is_asked_for_and_its_answer_goes_to_the_model(
    virtual: VirtualClock, virtual_bench: Make
) -> None:
    llm = FakeLLM([call("order_status", order_id="1234"), "It has shipped."])
    bench = virtual_bench(llm)
    line = bench.line(bench.make_agent(**TEXT, **TOOLS))

    async def talk() -> tuple[Any, str]:
        await line.open()
        await line.begin()
        await line.say("Where is order 1234?")
        asked = await line.event("client_tool_call")
        call_id = asked["client_tool_call"]["tool_call_id"]
        await line.send({"type": "client_tool_result", "tool_call_id": "never_asked", "result": "x"})
        await line.send({"type": "client_tool_result", "tool_call_id": call_id, "result": {"status": "shipped"}})
        await line.send({"type": "client_tool_result", "tool_call_id": call_id, "result": "too late"})
        said = await line.reply()
        await line.hang_up()
        return asked["client_tool_call"], said

    asked, said = virtual.run(talk())
    assert said == "It has shipped."
    assert asked["tool_name"] == "order_status"
    assert asked["parameters"] == {"order_id": "1234"}
    assert json.loads(bench.only_conversation()[1].tool_results[0].value) == {"status": "shipped"}
    assert json.loads(llm.requests[1].messages[-1].content) == {"status": "shipped"}


def test_a_client_tool_that_never_answers_becomes_an_error_result(virtual: VirtualClock, virtual_bench: Make) -> None:
    bench = virtual_bench(FakeLLM([call("order_status", order_id="1"), "I could not find out."]))
    line = bench.line(bench.make_agent(**TEXT, **TOOLS))

    async def talk() -> str:
        await line.open()
        await line.begin()
        await line.say("Where?")
        said = await line.reply()
        await line.hang_up()
        return said

    assert virtual.run(talk()) == "I could not find out."
    result = bench.only_conversation()[1].tool_results[0]
    assert result.is_error
    assert result.error_type == "timeout"
    assert 4.9 < virtual.now() < 6


def test_tool_requests_and_responses_are_told_when_the_agent_asks_for_them(
    virtual: VirtualClock, virtual_bench: Make
) -> None:
    wanted = ["agent_response", "agent_tool_request", "agent_tool_response", "agent_tool_response_full_payload"]
    bench = virtual_bench(FakeLLM([call("order_status", order_id="1"), "Done."]))
    line = bench.line(bench.make_agent(conversation_config__conversation__client_events=wanted, **TOOLS))

    async def talk() -> list[Any]:
        await line.open()
        await line.begin()
        await line.say("Where?")
        seen = [await line.event(), await line.event()]
        call_id = next(e["client_tool_call"]["tool_call_id"] for e in seen if e["type"] == "client_tool_call")
        await line.send({"type": "client_tool_result", "tool_call_id": call_id, "result": "ok", "is_error": False})
        seen += [await line.event() for _ in range(3)]
        await line.hang_up()
        return seen

    seen = virtual.run(talk())
    assert sorted(kinds(seen[:2])) == ["agent_tool_request", "client_tool_call"]
    assert kinds(seen[2:]) == ["agent_tool_response", "agent_tool_response_full_payload", "agent_response"]
    assert seen[3]["agent_tool_response_full_payload"]["full_tool_result"] == "ok"


def test_a_contextual_update_reaches_the_model_without_an_answer(virtual: VirtualClock, virtual_bench: Make) -> None:
    llm = FakeLLM(["Yes."])
    bench = virtual_bench(llm)
    line = bench.line(bench.make_agent(**TEXT))

    async def talk() -> str:
        await line.open()
        await line.begin()
        await line.send({"type": "contextual_update", "text": "The user is on the checkout page."})
        await line.send({"type": "user_activity"})
        await line.say("Can I pay by card?")
        said = await line.reply()
        await line.hang_up()
        return said

    assert virtual.run(talk()) == "Yes."
    assert any("checkout page" in message.content for message in llm.requests[0].messages)
    assert len(llm.requests) == 1


def test_pings_tell_the_round_trip_of_the_one_before(virtual: VirtualClock, virtual_bench: Make) -> None:
    bench = virtual_bench(FakeLLM([Reply("Late.", delay_secs=12)]))
    line = bench.line(bench.make_agent(**TEXT))

    async def talk() -> None:
        await line.open()
        await line.begin()
        await virtual.sleep(0.04)
        for event_id in (1, 1, 99, 0):  # answered, repeated, invented, wrong
            await line.send({"type": "pong", "event_id": event_id})
        await line.send({"type": "pong"})
        await line.say("Hi")
        await line.reply()
        await line.hang_up()

    virtual.run(talk())
    assert [ping["event_id"] for ping in line.pings] == [1, 2, 3]
    assert [ping["ping_ms"] for ping in line.pings] == [None, 40, 40]


def test_typed_messages_are_not_echoed_as_transcripts(virtual: VirtualClock, virtual_bench: Make) -> None:
    bench = virtual_bench(FakeLLM(["A.", "B."]))
    line = bench.line(bench.make_agent(**TEXT))

    async def talk() -> list[Any]:
        await line.open()
        await line.begin()
        await line.say("one")
        seen = [await line.event("agent_response")]
        await line.send({"type": "multimodal_message", "text": {"type": "user_message", "text": "two"}})
        seen.append(await line.event("agent_response"))
        await line.hang_up()
        return seen

    seen = virtual.run(talk())
    assert [event["agent_response_event"]["agent_response"] for event in seen] == ["A.", "B."]


def test_audio_is_answered_once_and_the_text_conversation_goes_on(virtual: VirtualClock, virtual_bench: Make) -> None:
    bench = virtual_bench(FakeLLM(["Still here."]))
    line = bench.line(bench.make_agent(**TEXT))

    async def talk() -> list[Any]:
        await line.open()
        await line.begin()
        for _ in range(3):
            await line.send({"user_audio_chunk": "AAAA"})
        await line.say("Hello?")
        seen = [await line.event(), await line.event("agent_response")]
        await line.hang_up()
        return seen

    error, response = virtual.run(talk())
    assert error["error_event"]["error_type"] == "voice_not_available"
    assert "held in text" in error["error_event"]["message"]
    assert response["agent_response_event"]["agent_response"] == "Still here."


def test_feedback_is_kept_with_the_turn_it_is_about(virtual: VirtualClock, virtual_bench: Make) -> None:
    bench = virtual_bench(FakeLLM(["One.", "Two."]))
    line = bench.line(bench.make_agent(**TEXT))

    async def talk() -> None:
        await line.open()
        await line.begin()
        await line.say("1")
        event_id = (await line.event("agent_response"))["agent_response_event"]["event_id"]
        await line.say("2")
        await line.reply()
        await line.send({"type": "feedback", "event_id": event_id, "score": "like"})
        await line.send({"type": "feedback", "event_id": 4711, "score": "dislike"})
        await line.hang_up()

    virtual.run(talk())
    turns = bench.only_conversation().turns
    assert turns[1].extra["feedback"]["score"] == "like"
    assert "feedback" not in turns[3].extra


def test_unknown_types_and_a_client_without_initiation_data_are_fine(
    virtual: VirtualClock, virtual_bench: Make
) -> None:
    bench = virtual_bench(FakeLLM(["Fine."]))
    line = bench.line(bench.make_agent(conversation_config__agent__first_message="Hi."))

    async def talk() -> list[str]:
        await line.open()
        await line.event()
        said = [await line.reply()]
        await line.send({"type": "from_the_future", "payload": [1, 2, 3]})
        await line.send({"no_type": True})
        await line.send({"type": 7})
        await line.say("ok?")
        said.append(await line.reply())
        await line.hang_up()
        return said

    assert virtual.run(talk()) == ["Hi.", "Fine."]
