"""How a conversation ends, goes on later, and repeats."""

from __future__ import annotations

from typing import Any

import pytest

from convai_lab.agents.agent import Agent
from convai_lab.conversations.conversation import Conversation
from convai_lab.conversations.turn import ToolCall
from convai_lab.dialogue.reply import ReplyDone, ReplyText
from convai_lab.errors import (
    ConversationClosedError,
    MissingVariableError,
    ProviderRateLimitError,
)
from convai_lab.testing.fake_llm import FakeLLM, Reply, call

LIMITED = ProviderRateLimitError("too many requests", provider="fake")


def test_the_end_is_recorded_once_and_nothing_can_be_said_after_it(bench: Any) -> None:
    loop = bench.loop(["Hi."])

    async def talk() -> None:
        await bench.say(loop, "Hello")
        await bench.clock.sleep(3)
        await loop.end("user_left", by="user")
        await bench.clock.sleep(2)
        await loop.end("again", by="agent")

    bench.run(talk())
    ended = loop.conversation
    assert (ended.status, ended.end_reason, ended.ended_by, ended.duration_secs) == ("done", "user_left", "user", 5)
    assert (loop.ended, loop.end_reason) == (True, "user_left")
    for late in (lambda: loop.user_said("x"), lambda: bench.run(anext(loop.reply())), lambda: bench.run(loop.open())):
        with pytest.raises(ConversationClosedError, match="has ended"):
            late()


def test_the_longest_duration_ends_the_conversation_in_the_middle_of_a_reply(bench: Any) -> None:
    agent = Agent(prompt="p", max_duration_secs=30)
    loop = bench.loop([Reply(["one "] * 50, piece_secs=2)], agent=agent)
    (events,) = bench.exchange(loop, "Tell me everything")
    assert bench.clock.now() == 30
    turn = events[-1].turn
    assert (turn.interrupted, turn.finish_reason, turn.error) == (True, "max_duration", None)
    assert (loop.ended, loop.end_reason) == (True, "max_duration_exceeded")
    assert loop.conversation.ended_by == "system"
    assert loop.seconds_left == 0


def test_the_longest_duration_also_stops_a_tool(bench: Any, order_status: Any) -> None:
    loop = bench.loop(
        [Reply("Hm", [call("order_status", order_id="1")])],
        agent=Agent(prompt="p", max_duration_secs=10, tools=(order_status,)),
        tool=lambda c: bench.clock.sleep(15),
    )
    (events,) = bench.exchange(loop, "Go")
    assert bench.clock.now() == 10
    assert events[-1].turn.tool_results == ()


def leaving(message: str = "Time is up, {{name}}. Goodbye!", **changes: Any) -> Agent:
    config = {"conversation_config": {"agent": {"max_conversation_duration_message": message}}}
    return Agent(prompt="p", max_duration_secs=30, variables={"name": "Ada"}, extra=config).with_changes(**changes)


def test_a_reply_that_is_cut_at_the_longest_duration_is_followed_by_the_farewell(bench: Any) -> None:
    loop = bench.loop([Reply(["one "] * 50, piece_secs=2)], agent=leaving())
    (events,) = bench.exchange(loop, "Tell me everything")
    cut, text, farewell = events[-3:]
    assert (cut.turn.interrupted, cut.turn.finish_reason) == (True, "max_duration")
    assert text == ReplyText("Time is up, Ada. Goodbye!")
    assert (farewell.turn.text, farewell.turn.marks) == (text.text, ("farewell",))
    assert list(loop.conversation.turns)[1:] == [cut.turn, farewell.turn]
    assert bench.recorder.turns == list(loop.conversation.turns)
    assert (loop.end_reason, loop.conversation.ended_by) == ("max_duration_exceeded", "system")


def test_an_agent_that_has_not_begun_at_the_longest_duration_only_takes_leave(bench: Any) -> None:
    loop = bench.loop([Reply("late", delay_secs=60)], agent=leaving(max_duration_secs=5))
    (events,) = bench.exchange(loop, "Hello?")
    assert [type(event) for event in events] == [ReplyText, ReplyDone]
    assert [turn.text for turn in loop.conversation] == ["Hello?", "Time is up, Ada. Goodbye!"]


def test_time_that_is_up_ends_the_conversation_once_with_the_farewell(bench: Any) -> None:
    loop = bench.loop(agent=leaving())
    turn = loop.time_is_up()
    assert (turn.text, turn.role, loop.ended) == ("Time is up, Ada. Goodbye!", "agent", True)
    assert loop.time_is_up() is None
    assert len(loop.conversation) == 1
    silent = bench.loop(agent=leaving(""))
    assert (silent.time_is_up(), silent.ended, len(silent.conversation)) == (None, True, 0)


def test_a_farewell_with_an_unknown_variable_is_told_at_the_start_and_kept_back_at_the_end(bench: Any) -> None:
    loop = bench.loop(agent=leaving("Bye {{who}}."))
    with pytest.raises(MissingVariableError, match=r"who"):
        bench.run(loop.open())
    assert (loop.time_is_up(), loop.end_reason) == (None, "max_duration_exceeded")


def test_a_reply_after_the_longest_duration_ends_the_conversation(bench: Any) -> None:
    loop = bench.loop(["x"], agent=Agent(prompt="p", max_duration_secs=30))

    async def talk() -> None:
        loop.user_said("Hi")
        await bench.clock.sleep(31)
        await anext(loop.reply())

    with pytest.raises(ConversationClosedError, match="max_duration_exceeded"):
        bench.run(talk())
    assert loop.conversation.end_reason == "max_duration_exceeded"


def test_a_stored_conversation_goes_on_with_its_history_variables_and_times(bench: Any, new_bench: Any) -> None:
    agent = Agent(prompt="You help {{name}}.", first_message="Hi {{name}}!")
    conversation = Conversation(id="c", agent_id="a", variables={"name": "Ada"})
    loop = bench.loop([Reply("One.", delay_secs=4)], agent=agent, conversation=conversation)
    bench.exchange(loop, "Hello")
    stored = bench.run(loop.end("done", by="user"))

    later = new_bench()
    later.recorder.turns = list(stored.turns)
    loop = later.loop(["Two."], agent=agent, conversation=stored)
    (events,) = later.exchange(loop, "And now?")
    assert [m.content for m in later.llm.requests[0].messages] == [
        "You help Ada.",
        "Hi Ada!",
        "Hello",
        "One.",
        "And now?",
    ]
    assert events[-1].turn.start_secs == 4
    assert loop.conversation.started_at == stored.started_at
    assert [turn.text for turn in loop.conversation][:3] == ["Hi Ada!", "Hello", "One."]
    assert (loop.conversation.status, loop.conversation.end_reason) == ("in-progress", None)


def test_two_runs_with_the_same_seed_leave_identical_records(new_bench: Any) -> None:
    def run() -> Any:
        bench = new_bench()

        async def slow(asked: ToolCall) -> str:
            await bench.clock.sleep(0.37)
            return "shipped"

        calls = [ToolCall(id="", name="order_status", arguments={"order_id": n}) for n in "12"]
        script = [Reply("Hm.", calls, delay_secs=0.123), Reply(["It", " shipped"], piece_secs=0.1), "Bye."]
        loop = bench.loop(script, tool=slow)
        bench.exchange(loop, "Where?", "Thanks")
        bench.run(loop.end("done", by="user"))
        return loop.conversation, bench.recorder.turns

    assert run() == run()


def test_it_runs_equally_on_the_wall_clock() -> None:
    import asyncio

    from convai_lab.clock import SystemClock
    from convai_lab.dialogue.conversation_loop import ConversationLoop
    from convai_lab.dialogue.tool_runner import ToolRunner

    agent, clock = Agent(prompt="p", first_message="Hi!"), SystemClock()

    async def talk() -> Conversation:
        loop = ConversationLoop(
            agent=agent,
            conversation=Conversation(id="c", agent_id="a"),
            llm=FakeLLM(["Hello."]),
            tools=ToolRunner(agent, clock=clock),
            clock=clock,
        )
        await loop.open()
        loop.user_said("Hi")
        assert [type(event) async for event in loop.reply()] == [ReplyText, ReplyDone]
        return await loop.end("done", by="user")

    conversation = asyncio.run(talk())
    assert [turn.text for turn in conversation] == ["Hi!", "Hi", "Hello."]
    assert conversation.turns[-1].metrics.llm_ttft_ms is not None
