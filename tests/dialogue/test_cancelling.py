"""Leaving a reply early: cancelled, closed, forgotten, ended."""

from __future__ import annotations

import asyncio
from contextlib import aclosing
from typing import Any

import pytest

from convai_lab.agents.agent import Agent
from convai_lab.conversations.turn import ToolCall
from convai_lab.dialogue.reply import ToolFinished, ToolStarted
from convai_lab.testing.fake_llm import Reply, call


def test_a_cancelled_reply_is_recorded_as_far_as_it_got_and_the_cancellation_goes_on(bench: Any) -> None:
    loop = bench.loop([Reply(["One", " two", " three"], piece_secs=1)])

    async def talk() -> None:
        loop.user_said("Count")
        task = asyncio.ensure_future(_consume(loop))
        await bench.clock.sleep(1.5)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    bench.run(talk())
    turn = bench.recorder.turns[-1]
    assert (turn.text, turn.interrupted, turn.interrupted_at_secs) == ("One two", True, 1.5)
    assert turn.finish_reason is None
    assert turn.metrics.llm_ttft_ms == 0
    assert turn.metrics.total_ms is None
    assert turn.metrics.output_tokens is None
    assert bench.llm.cancelled == 1


def test_a_reply_cancelled_before_its_first_word_is_no_turn(bench: Any) -> None:
    loop = bench.loop([Reply("late", delay_secs=10), "Now."])
    agent = loop.agent

    async def talk() -> None:
        loop.user_said("Hi")
        loop.add_context("The user is in a hurry.")
        loop.use_agent(agent, bench.llm)
        task = asyncio.ensure_future(_consume(loop))
        await bench.clock.sleep(1)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        await bench.say(loop, "Still there?")

    bench.run(talk())
    assert [(t.role, t.text, t.interrupted) for t in loop.conversation] == [
        ("user", "Hi", False),
        ("user", "Still there?", False),
        ("agent", "Now.", False),
    ]
    assert bench.recorder.turns == list(loop.conversation.turns)
    assert loop.conversation.turns[-1].marks == ("live_edit",)
    asked = [(m.role, m.content) for m in bench.llm.requests[1].messages]
    assert asked[-3:] == [
        ("user", "Hi"),
        ("system", "For your information: The user is in a hurry."),
        ("user", "Still there?"),
    ]


def test_a_reply_cancelled_before_its_first_word_but_after_a_call_is_kept(bench: Any, order_status: Any) -> None:
    loop = bench.loop(
        [Reply("", [call("order_status", order_id="1")]), "Now."],
        agent=Agent(prompt="p", tools=(order_status,)),
        tool=lambda c: bench.clock.sleep(15),
    )

    async def talk() -> None:
        loop.user_said("Hi")
        task = asyncio.ensure_future(_consume(loop))
        await bench.clock.sleep(1)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    bench.run(talk())
    turn = loop.conversation.turns[-1]
    assert (turn.role, turn.text, turn.interrupted) == ("agent", "", True)
    assert [one.name for one in turn.tool_calls] == ["order_status"]


def test_a_closed_reply_is_recorded_and_the_conversation_goes_on(bench: Any) -> None:
    loop = bench.loop(["One two three", "Yes?"])

    async def talk() -> None:
        loop.user_said("Count")
        async with aclosing(loop.reply()) as events:
            async for _ in events:
                break
        await bench.say(loop, "Stop")

    bench.run(talk())
    assert [(t.text, t.interrupted) for t in loop.conversation][1] == ("One", True)
    assert bench.llm.requests[1].messages[-2].role == "system"


def test_a_reply_cancelled_during_tools_keeps_the_answers_that_came(bench: Any) -> None:
    async def slow(asked: ToolCall) -> str:
        await bench.clock.sleep(float(asked.arguments["order_id"]))
        return f"order {asked.arguments['order_id']}"

    calls = [ToolCall(id=f"c{n}", name="order_status", arguments={"order_id": str(n)}) for n in (5, 1)]
    loop = bench.loop([Reply("Hm.", calls), "Well."], tool=slow)

    async def talk() -> None:
        loop.user_said("Go")
        task = asyncio.ensure_future(_consume(loop))
        await bench.clock.sleep(2)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        await bench.say(loop, "And?")

    bench.run(talk())
    turn = bench.recorder.turns[1]
    assert [c.id for c in turn.tool_calls] == ["c5", "c1"]
    assert [r.value for r in turn.tool_results] == ["order 1"]
    tools = [m for m in bench.llm.requests[1].messages if m.role == "tool"]
    assert [(m.tool_call_id, m.is_error) for m in tools] == [("c5", True), ("c1", False)]
    assert "may have taken effect" in tools[0].content


def test_a_reply_closed_while_tools_are_announced_runs_none_of_them(bench: Any) -> None:
    loop = bench.loop([Reply("", [call("order_status", order_id="1")])], tool=lambda c: "ok")

    async def talk() -> None:
        loop.user_said("Go")
        async with aclosing(loop.reply()) as events:
            assert isinstance(await anext(events), ToolStarted)

    bench.run(talk())
    assert bench.calls == []
    assert bench.recorder.turns[-1].interrupted


def test_a_reply_closed_between_two_answers_keeps_the_first(bench: Any) -> None:
    calls = [ToolCall(id=f"c{n}", name="order_status", arguments={"order_id": "1"}) for n in (1, 2)]
    loop = bench.loop([Reply("", calls)], tool=lambda c: "ok")

    async def talk() -> None:
        loop.user_said("Go")
        async with aclosing(loop.reply()) as events:
            async for event in events:
                if isinstance(event, ToolFinished):
                    return

    bench.run(talk())
    assert [r.call_id for r in bench.recorder.turns[-1].tool_results] == ["c1", "c2"]


def test_ending_during_a_reply_records_what_there_is_and_nothing_twice(bench: Any) -> None:
    loop = bench.loop(["One two three"])

    async def talk() -> None:
        loop.user_said("Count")
        events = loop.reply()
        await anext(events)
        await loop.end("hung_up", by="user")
        await events.aclose()

    bench.run(talk())
    assert [t.text for t in bench.recorder.turns] == ["Count", "One"]
    assert bench.recorder.turns[-1].interrupted
    assert loop.conversation.end_reason == "hung_up"


def test_an_error_in_our_own_code_is_recorded_and_raised(bench: Any) -> None:
    loop = bench.loop([ZeroDivisionError("oops")])
    with pytest.raises(ZeroDivisionError):
        bench.exchange(loop, "Hi")
    assert bench.recorder.turns[-1].error == "oops"


def test_a_turn_that_cannot_be_recorded_is_an_error_and_is_not_pretended(bench: Any) -> None:
    loop = bench.loop(["Hi."])

    def full(conversation_id: str, turn: Any, *, index: int) -> None:
        raise OSError("disk full")

    async def talk() -> None:
        loop.user_said("Hello")
        bench.recorder.add_turn = full
        with pytest.raises(OSError, match="disk full"):
            await _consume(loop)
        del bench.recorder.add_turn

    bench.run(talk())
    assert [t.role for t in loop.conversation] == ["user"]
    assert not loop.ended


async def _consume(loop: Any) -> None:
    async for _ in loop.reply():
        pass
