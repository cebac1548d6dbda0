"""Python tools in a conversation over a real socket."""

from __future__ import annotations

import asyncio
import threading
from typing import Any

import pytest

from convai_lab.agents.tools import ClientTool, tool
from convai_lab.errors import (
    ToolNotAvailableError,
)
from convai_lab.workspace.chat import partial_conversation
from convai_lab.workspace.session import ToolAnswered, ToolCalled
from convai_lab.workspace.workspace import Workspace

SECRET = "key-of-the-recording-platform-0123456789"


def scripted(recording: Any, *steps: Any) -> None:
    """Answer the first message with these steps: coroutine functions of the talk."""

    async def script(talk: Any) -> None:
        await talk.metadata()
        await talk.message()
        for step in steps:
            await step(talk)
        await talk.frame("nothing more")

    recording.script = script


async def ask_status(talk: Any) -> None:
    await talk.call_tool("order_status_in_chat", order_id="1234")
    result = await talk.frame("client_tool_result")
    await talk.reply(f"{result['is_error']}: {result['result']}")


def test_python_tools_run_on_the_calling_thread_with_their_newest_definition(ws: Workspace, recording: Any) -> None:
    ran: list[Any] = []

    global order_status_in_chat  # as a cell defines it

    @tool
    def order_status_in_chat(order_id: str) -> str:
        """Look up an order."""
        return "old"

    agent = ws.agents.create(name="Support", tools=[order_status_in_chat])

    @tool  # type: ignore[no-redef]
    def order_status_in_chat(order_id: str) -> dict[str, str]:
        """Look up an order."""
        ran.append(threading.current_thread())
        return {"status": "shipped", "id": order_id}

    scripted(recording, ask_status)
    events: list[Any] = []
    conversation = ws.chat(agent, "Where?", on_event=events.append)
    assert conversation.turns[-1].text == 'False: {"status": "shipped", "id": "1234"}'
    assert ran == [threading.current_thread()]
    assert [e for e in events if isinstance(e, ToolCalled | ToolAnswered)] == [
        ToolCalled("order_status_in_chat", {"order_id": "1234"}),
        ToolAnswered("order_status_in_chat", '{"status": "shipped", "id": "1234"}'),
    ]
    asyncio.run(ws.achat(agent, "Where?"))
    assert ran[-1] is not threading.current_thread()


def test_two_agents_with_tools_of_one_name_each_call_their_own(ws: Workspace, recording: Any) -> None:
    def shop(answer: str) -> ClientTool:
        @tool
        def order_status_in_chat(order_id: str) -> str:
            """Look up an order."""
            return answer

        return order_status_in_chat

    agents = [ws.agents.create(name=name, tools=[shop(name)]) for name in ("books", "shoes")]
    scripted(recording, ask_status)
    assert [ws.chat(agent, "Where?").turns[-1].text for agent in agents] == ["False: books", "False: shoes"]


def test_a_tool_that_fails_is_an_error_for_the_model_alone(ws: Workspace, recording: Any) -> None:
    @tool
    def order_status_in_chat(order_id: str) -> str:
        """Look up an order."""
        raise KeyError(f"no order {order_id}, and my key is {SECRET}")

    ws.agents.create(name="Support", tools=[order_status_in_chat])
    scripted(recording, ask_status)
    conversation = ws.chat("support", "Where?")
    assert conversation.turns[-1].text.startswith("True: ")
    assert "no order 1234" in conversation.turns[-1].text
    assert SECRET not in conversation.turns[-1].text


def test_a_tool_without_a_function_here_is_named_after_the_turn(ws: Workspace, recording: Any) -> None:
    ws.agents.create(name="Support", tools=[ClientTool(name="nowhere_defined")])

    async def ask(talk: Any) -> None:
        await talk.call_tool("nowhere_defined")
        await talk.reply(str((await talk.frame("client_tool_result"))["is_error"]))

    scripted(recording, ask)
    with pytest.raises(ToolNotAvailableError, match=r"tool nowhere_defined: .* run the cell") as raised:
        ws.chat("support", "Where?")
    partial = partial_conversation(raised.value)
    assert partial is not None
    assert partial.turns[-1].text == "True"


def test_a_tool_whose_definition_changed_is_stored_before_the_chat(ws: Workspace, recording: Any) -> None:
    global order_status_in_chat  # as a cell defines it

    @tool
    def order_status_in_chat(order_id: str) -> str:
        """Look up an order."""
        return "old"

    agent = ws.agents.create(name="Support", tools=[order_status_in_chat])
    ws.chat(agent, "one")
    assert ws.agents.get(agent).version == 1

    @tool  # type: ignore[no-redef]
    def order_status_in_chat(order_id: str, country: str = "NL") -> str:
        """Look up an order in a country."""
        return "new"

    ws.chat(agent, "two")
    stored = ws.agents.get(agent)
    assert stored.version == 2
    assert isinstance(stored.tools[0], ClientTool)
    assert "country" in stored.tools[0].parameters["properties"]
    ws.chat(agent, "three")
    assert ws.agents.get(agent).version == 2
