"""How conversations are interrupted and how they end, and what is recorded of it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from convai_lab.clock import VirtualClock
from convai_lab.errors import (
    MissingKeyError,
    ModelNotFoundError,
    ProviderAuthError,
    ProviderConnectionError,
    ProviderRateLimitError,
)
from convai_lab.testing.fake_llm import FakeLLM, Reply, call

Make = Callable[..., Any]

TEXT = {"conversation_config__conversation__text_only": True}
END_CALL = {"type": "system", "name": "end_call", "description": "", "params": {"system_tool_type": "end_call"}}
SLOW = Reply(["One ", "two ", "three."], piece_secs=1.0)


def test_a_new_message_interrupts_the_reply_and_is_answered(virtual: VirtualClock, virtual_bench: Make) -> None:
    bench = virtual_bench(FakeLLM([SLOW, "Of course."], clock=virtual))
    line = bench.line(bench.make_agent(**TEXT))

    async def talk() -> list[Any]:
        await line.open()
        await line.begin()
        await line.say("Count to three.")
        await virtual.sleep(1.5)
        await line.say("Stop, please.")
        seen = [await line.event()]
        while seen[-1]["type"] != "agent_response":
            seen.append(await line.event())
        await line.hang_up()
        return seen

    seen = virtual.run(talk())
    kinds = [e["text_response_part"]["type"] if "text_response_part" in e else e["type"] for e in seen]
    expected = ["start", "delta", "delta", "stop", "interruption", "agent_response_correction"]
    assert kinds == [*expected, "start", "delta", "delta", "stop", "agent_response"]
    corrected = seen[5]["agent_response_correction_event"]
    assert corrected["corrected_agent_response"] == "One two "
    assert seen[4]["interruption_event"]["event_id"] == corrected["event_id"] == 1
    assert seen[-1]["agent_response_event"] == {"agent_response": "Of course.", "event_id": 2}
    turns = bench.only_conversation().turns
    assert [(turn.role, turn.interrupted) for turn in turns] == [
        ("user", False),
        ("agent", True),
        ("user", False),
        ("agent", False),
    ]


def test_a_burst_of_messages_ends_with_an_answer_to_the_last(virtual: VirtualClock, virtual_bench: Make) -> None:
    bench = virtual_bench(FakeLLM(lambda request: Reply(f"re: {request.messages[-1].content}", delay_secs=1)))
    bench.llm = FakeLLM(lambda request: Reply(f"re: {request.messages[-1].content}", delay_secs=1), clock=virtual)
    line = bench.line(bench.make_agent(**TEXT))

    async def talk() -> str:
        await line.open()
        await line.begin()
        for number in range(20):
            await line.say(f"message {number}")
        said = await line.reply()
        await line.hang_up()
        return said

    assert "message 19" in virtual.run(talk())
    turns = bench.only_conversation().turns
    assert [turn.text for turn in turns if turn.role == "user"] == [f"message {n}" for n in range(20)]


def test_a_disconnect_in_the_middle_of_a_reply_records_the_partial_turn(
    virtual: VirtualClock, virtual_bench: Make
) -> None:
    bench = virtual_bench(FakeLLM([SLOW], clock=virtual))
    line = bench.line(bench.make_agent(**TEXT))

    async def talk() -> None:
        await line.open()
        await line.begin()
        await line.say("Count.")
        await virtual.sleep(1.5)
        await line.hang_up(code=1006)

    virtual.run(talk())
    conversation = bench.only_conversation()
    assert conversation.turns[-1].interrupted
    assert conversation.turns[-1].text.startswith("One")
    assert (conversation.status, conversation.end_reason, conversation.ended_by) == (
        "done",
        "client disconnected",
        "user",
    )


def test_end_call_sends_the_last_response_before_the_tools_and_closes_normally(
    virtual: VirtualClock, virtual_bench: Make
) -> None:
    wanted = ["agent_response", "agent_tool_request", "agent_tool_response"]
    bench = virtual_bench(FakeLLM([call("end_call", reason="done", message="Goodbye!")]))
    agent_id = bench.make_agent(
        conversation_config__conversation__client_events=wanted,
        conversation_config__agent__prompt__tools=[END_CALL],
    )
    line = bench.line(agent_id)

    async def talk() -> list[Any]:
        await line.open()
        await line.begin()
        await line.say("That is all, bye.")
        seen = await line.rest()
        await line.over()
        return seen

    *events, closed = virtual.run(talk())
    assert [event["type"] for event in events] == ["agent_tool_request", "agent_response", "agent_tool_response"]
    assert events[1]["agent_response_event"]["agent_response"] == "Goodbye!"
    assert closed.code == 1000
    conversation = bench.only_conversation()
    assert (conversation.status, conversation.end_reason, conversation.ended_by) == ("done", "end_call", "agent")


@pytest.mark.parametrize(
    ("error", "kind", "said"),
    [
        (MissingKeyError("OPENAI_API_KEY", needed_for="gpt-4o"), "missing_key", "OPENAI_API_KEY"),
        (
            ModelNotFoundError("no model gpt-9", provider="openai", model="gpt-9", suggestions=["gpt-4o"]),
            "model_not_found",
            "gpt-4o",
        ),
    ],
)
def test_a_model_that_cannot_be_had_closes_1002_with_the_sentence(
    virtual: VirtualClock, virtual_bench: Make, error: Exception, kind: str, said: str
) -> None:
    def refuse(*_: Any, **__: Any) -> Any:
        raise error

    bench = virtual_bench(refuse)
    line = bench.line(bench.make_agent(conversation_config__agent__prompt__llm="gpt-4o"))

    async def talk() -> list[Any]:
        await line.open()
        await line.begin()
        return await line.rest()

    event, closed = virtual.run(talk())
    assert event["error_event"]["error_type"] == kind
    assert event["error_event"]["code"] == closed.code == 1002
    assert said in event["error_event"]["message"]
    assert closed.reason
    assert len(closed.reason.encode()) <= 123
    conversation = bench.only_conversation()
    assert conversation.status == "failed"
    assert said in conversation.end_reason


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (ProviderAuthError("refused the key", provider="openai"), "provider_auth_error"),
        (ProviderConnectionError("could not be reached", provider="openai"), "provider_error"),
        (ProviderRateLimitError("too many", provider="openai", retry_after=3), "provider_rate_limit"),
    ],
)
def test_a_vendors_failure_is_told_recorded_and_closes_1002(
    virtual: VirtualClock, virtual_bench: Make, error: Exception, kind: str
) -> None:
    bench = virtual_bench(FakeLLM([Reply(["Let me ", "see"], error=error)]))
    line = bench.line(bench.make_agent(**TEXT))

    async def talk() -> list[Any]:
        await line.open()
        await line.begin()
        await line.say("Hi")
        return await line.rest()

    *_, event, closed = virtual.run(talk())
    assert event["error_event"]["error_type"] == kind
    assert event["error_event"]["details"]["provider"] == "openai"
    assert closed.code == 1002
    conversation = bench.only_conversation()
    assert conversation.status == "failed"
    assert conversation.turns[-1].text == "Let me see"
    assert conversation.turns[-1].error


def test_a_model_that_does_not_answer_in_20_seconds_closes_1002(virtual: VirtualClock, virtual_bench: Make) -> None:
    bench = virtual_bench(FakeLLM([Reply("Too late.", delay_secs=60)], clock=virtual))
    line = bench.line(bench.make_agent(**TEXT))

    async def talk() -> list[Any]:
        await line.open()
        await line.begin()
        await line.say("Hi")
        return await line.rest()

    event, closed = virtual.run(talk())
    assert event["error_event"]["error_type"] == "llm_timeout"
    assert closed.code == 1002
    assert 20 <= virtual.now() < 21


def test_a_conversation_ends_at_its_longest_duration(virtual: VirtualClock, virtual_bench: Make) -> None:
    bench = virtual_bench()
    line = bench.line(bench.make_agent(**TEXT, conversation_config__conversation__max_duration_seconds=30))

    async def talk() -> list[Any]:
        await line.open()
        await line.begin()
        return await line.rest()

    event, closed = virtual.run(talk())
    assert event["error_event"]["error_type"] == "max_duration_exceeded"
    assert closed.code == 1000
    assert 30 <= virtual.now() < 32
    assert bench.only_conversation().status == "done"


def test_a_reply_that_runs_past_the_longest_duration_is_cut_and_kept(
    virtual: VirtualClock, virtual_bench: Make
) -> None:
    bench = virtual_bench(FakeLLM([Reply(["a "] * 60, piece_secs=1)], clock=virtual))
    line = bench.line(bench.make_agent(**TEXT, conversation_config__conversation__max_duration_seconds=10))

    async def talk() -> list[Any]:
        await line.open()
        await line.begin()
        await line.say("Talk.")
        return await line.rest()

    closed = virtual.run(talk())[-1]
    assert closed.code == 1000
    assert 10 <= virtual.now() < 12
    assert bench.only_conversation().turns[-1].text.startswith("a a a")


@pytest.mark.parametrize("said", [None, "Talk."])
def test_the_farewell_is_sent_before_a_conversation_ends_at_its_longest_duration(
    virtual: VirtualClock, virtual_bench: Make, said: str | None
) -> None:
    bench = virtual_bench(FakeLLM([Reply(["a "] * 60, piece_secs=1)], clock=virtual))
    settings = {
        "conversation_config__conversation__max_duration_seconds": 10,
        "conversation_config__agent__max_conversation_duration_message": "Time is up!",
    }
    line = bench.line(bench.make_agent(**TEXT, **settings))

    async def talk() -> list[Any]:
        await line.open()
        await line.begin()
        if said is not None:
            await line.say(said)
        return await line.rest()

    *before, error, closed = virtual.run(talk())
    responses = [event["agent_response_event"]["agent_response"] for event in before if "agent_response_event" in event]
    assert len(responses) == 1
    assert responses[0].endswith("Time is up!")
    assert error["error_event"]["error_type"] == "max_duration_exceeded"
    assert closed.code == 1000
    assert 10 <= virtual.now() < 12
    assert bench.only_conversation().turns[-1].text == "Time is up!"


def test_a_user_who_says_nothing_for_ten_minutes_is_let_go(virtual: VirtualClock, virtual_bench: Make) -> None:
    bench = virtual_bench()
    line = bench.line(bench.make_agent(**TEXT, conversation_config__conversation__max_duration_seconds=86_400))

    async def talk() -> list[Any]:
        await line.open()
        await line.begin()
        await virtual.sleep(500)
        await line.send({"type": "user_activity"})
        return await line.rest()

    event, closed = virtual.run(talk())
    assert event["error_event"]["error_type"] == "no_user_input"
    assert closed.code == 1002
    assert 1100 <= virtual.now() < 1102


def test_an_agent_may_end_the_conversation_after_a_silence_of_its_own(
    virtual: VirtualClock, virtual_bench: Make
) -> None:
    bench = virtual_bench()
    line = bench.line(bench.make_agent(**TEXT, conversation_config__turn__silence_end_call_timeout=20))

    async def talk() -> list[Any]:
        await line.open()
        await line.begin()
        return await line.rest()

    assert [closed.code for closed in virtual.run(talk())] == [1000]
    assert 20 <= virtual.now() < 22
    assert bench.only_conversation().end_reason == "silence"


def test_a_conversation_with_the_key_goes_on_where_it_was(virtual: VirtualClock, virtual_bench: Make) -> None:
    llm = FakeLLM(["First.", "Second."])
    bench = virtual_bench(llm)
    agent_id = bench.make_agent(**TEXT, conversation_config__agent__first_message="Hello.")
    key = bench.platform.door.api_key.reveal()

    async def session(**query: str) -> str:
        line = bench.line(agent_id, key=key, **query)
        await line.open()
        event = await line.begin()
        await line.say("go")
        while await line.reply() == "Hello.":
            pass
        await line.hang_up()
        return str(event["conversation_initiation_metadata_event"]["conversation_id"])

    async def both() -> tuple[str, str]:
        first = await session()
        return first, await session(continue_=first)

    first, second = virtual.run(both())
    assert first == second
    assert [turn.text for turn in bench.only_conversation()] == ["Hello.", "go", "First.", "go", "Second."]
    assert [message.content for message in llm.requests[1].messages[-3:]] == ["go", "First.", "go"]


def test_an_unexpected_fault_closes_1011_with_an_id_and_without_a_stack_trace(
    virtual: VirtualClock, virtual_bench: Make, caplog: pytest.LogCaptureFixture
) -> None:
    bench = virtual_bench(FakeLLM([RuntimeError("a fault of ours at /some/path")]))
    line = bench.line(bench.make_agent())

    async def talk() -> list[Any]:
        await line.open()
        await line.begin()
        await line.say("Hi")
        return await line.rest()

    event, closed = virtual.run(talk())
    assert closed.code == 1011
    assert "/some/path" not in str(event)
    incident = event["error_event"]["message"].split("log: ")[1].rstrip(")")
    assert incident in caplog.text
    assert bench.only_conversation().status == "failed"


def test_a_transfer_gives_the_client_one_response(virtual: VirtualClock, virtual_bench: Make) -> None:
    bench = virtual_bench(FakeLLM([call("transfer_to_agent", agent_number=0), "Billing here, how can I help?"]))
    billing = bench.make_agent(name="Billing", conversation_config__agent__prompt__prompt="You do bills.")
    transfer = {"agent_id": billing, "condition": "about bills", "transfer_message": "One moment."}
    tool = {
        "type": "system",
        "name": "transfer_to_agent",
        "description": "",
        "params": {"system_tool_type": "transfer_to_agent", "transfers": [transfer]},
    }
    line = bench.line(bench.make_agent(**TEXT, conversation_config__agent__prompt__tools=[tool]))

    async def talk() -> list[Any]:
        await line.open()
        await line.begin()
        await line.say("My bill is wrong.")
        seen = [await line.event()]
        while seen[-1]["type"] != "agent_response":
            seen.append(await line.event())
        await line.hang_up()
        return seen

    seen = virtual.run(talk())
    parts = [event["text_response_part"] for event in seen if "text_response_part" in event]
    assert [part["type"] for part in parts if part["type"] != "delta"] == ["start", "stop"]
    whole = "One moment. Billing here, how can I help?"
    assert "".join(part["text"] for part in parts) == whole
    assert seen[-1]["agent_response_event"]["agent_response"] == whole
    assert [turn.text for turn in bench.only_conversation() if turn.role == "agent"] == [
        "One moment.",
        "Billing here, how can I help?",
    ]


def test_a_session_may_be_continued_the_moment_it_was_closed(virtual: VirtualClock, virtual_bench: Make) -> None:
    bench = virtual_bench(FakeLLM(lambda _: "ok"))
    agent_id = bench.make_agent()
    key = bench.platform.door.api_key.reveal()

    async def both() -> str:
        first = bench.line(agent_id, key=key)
        await first.open()
        conversation_id = (await first.begin())["conversation_initiation_metadata_event"]["conversation_id"]
        second = bench.line(key=key, continue_=conversation_id)
        await second.open()
        await virtual.sleep(0.1)
        await first.hang_up()
        await second.begin()
        await second.say("Still there?")
        said = await second.reply()
        await second.hang_up()
        return said

    assert virtual.run(both()) == "ok"
