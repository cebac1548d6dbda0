"""The storyboard's Sam, without a key: the offline model, the real loop and the real store."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from convai_lab.agents.agent import Agent, Knowledge
from convai_lab.agents.tools import ClientTool, SystemTool, run_tool, tool
from convai_lab.clock import Clock, SystemClock, VirtualClock
from convai_lab.conversations.conversation import Conversation
from convai_lab.conversations.store import ConversationStore
from convai_lab.conversations.turn import ToolCall, ToolResult
from convai_lab.dialogue.conversation_loop import ConversationLoop
from convai_lab.dialogue.record import Recorder
from convai_lab.dialogue.tool_runner import ToolRunner
from convai_lab.providers.offline_llm import OfflineLLM
from convai_lab.storage import open_database

PROMPT = """# Personality
You are Sam, a calm support agent.
# Goal
1. Find the order. 2. Say when it arrives."""


@tool
def order_status(order_id: str) -> dict[str, str]:
    """Look up an order by its number."""
    assert order_id == "1234"
    return {"status": "shipped", "eta": "tomorrow"}


async def in_this_process(call: ToolCall, timeout_secs: float) -> ToolResult:
    """Run the tool's own function, as a driver in the kernel does."""
    found = order_status
    assert isinstance(found, ClientTool)
    return ToolResult(call_id=call.id, name=call.name, value=run_tool(found, call.arguments))


def sam(**more: Any) -> Agent:
    return Agent(
        name="Support",
        prompt=PROMPT,
        first_message="Hi {{name}}, how can I help?",
        tools=(order_status, SystemTool(name="end_call")),
        id="agent_1",
        version=1,
        **more,
    )


def loop_for(agent: Agent, clock: Clock, recorder: Recorder | None, conversation: Conversation) -> ConversationLoop:
    return ConversationLoop(
        agent=agent,
        conversation=conversation,
        llm=OfflineLLM(clock=clock),
        tools=ToolRunner(agent, client_tool=in_this_process, clock=clock),
        clock=clock,
        recorder=recorder,
    )


async def talk(loop: ConversationLoop, *said: str) -> Conversation:
    await loop.open()
    for text in said:
        loop.user_said(text)
        async for _ in loop.reply():
            pass
        if loop.ended:
            break
    return await loop.end("done", by="user")


def ada(clock: Clock) -> Conversation:
    return Conversation(
        id=clock.new_id("conv_"),
        agent_id="agent_1",
        started_at=clock.wall(),
        status="in-progress",
        variables={"name": "Ada"},
    )


def test_sam_finds_the_order_and_says_when_it_arrives() -> None:
    clock = VirtualClock(seed=3)
    conversation = clock.run(talk(loop_for(sam(), clock, None, ada(clock)), "Where is my order 1234?"))
    greeting, user, answer = conversation.turns
    assert greeting.text == "Hi Ada, how can I help?"
    assert user.text == "Where is my order 1234?"
    assert [(c.name, dict(c.arguments)) for c in answer.tool_calls] == [("order_status", {"order_id": "1234"})]
    assert answer.tool_results[0].value == '{"status": "shipped", "eta": "tomorrow"}'
    assert "tomorrow" in answer.text
    assert "offline" in answer.marks
    assert answer.llm_served == "offline"
    assert answer.metrics.cost_usd in (0, None)


def test_two_offline_runs_are_identical() -> None:
    def run() -> Conversation:
        clock = VirtualClock(seed=3)
        said = ("Where is my order 1234?", "Can I change the address?", "Thanks, bye")
        return clock.run(talk(loop_for(sam(), clock, None, ada(clock)), *said))

    assert run() == run()


def test_every_turn_is_in_the_store_and_the_conversation_can_be_resumed(tmp_path: Path) -> None:
    clock = SystemClock()
    store = ConversationStore(open_database(tmp_path), clock)
    begun = ada(clock)
    store.start(begun, owner="test")

    async def first() -> Conversation:
        return await talk(loop_for(sam(), clock, store, begun), "Where is my order 1234?")

    import asyncio

    asyncio.run(first())
    stored = store.get(begun.id)
    assert [turn.role for turn in stored] == ["agent", "user", "agent"]
    assert (stored.status, stored.end_reason, stored.first_version) == ("done", "done", 1)
    assert stored.turns[2].tool_results[0].value == '{"status": "shipped", "eta": "tomorrow"}'

    async def second() -> Conversation:
        return await talk(loop_for(sam(), clock, store, stored), "And order 1234 again?")

    asyncio.run(second())
    again = store.get(begun.id)
    assert [turn.role for turn in again] == ["agent", "user", "agent", "user", "agent"]
    assert again.turns[:3] == stored.turns
    assert again.turns[3].start_secs >= stored.turns[2].end_secs  # type: ignore[operator]


def test_an_interruption_reaches_the_store(tmp_path: Path) -> None:
    clock = VirtualClock()
    store = ConversationStore(open_database(tmp_path), clock)
    begun = ada(clock)
    store.start(begun)
    loop = loop_for(sam(), clock, store, begun)

    async def run() -> None:
        await loop.open()
        loop.interrupt("Hi Ada, how")

    clock.run(run())
    turn = store.get(begun.id).turns[0]
    assert (turn.text_heard, turn.interrupted) == ("Hi Ada, how", True)


@pytest.mark.parametrize("knowledge", [(), (Knowledge(name="Returns", text="You can return anything in 30 days."),)])
def test_the_offline_agent_answers_from_the_knowledge_it_is_given(knowledge: Any) -> None:
    clock = VirtualClock()
    loop = loop_for(sam(knowledge=knowledge), clock, None, ada(clock))
    conversation = clock.run(talk(loop, "How many days do I have to return something?"))
    assert ("30 days" in conversation.turns[-1].text) == bool(knowledge)
