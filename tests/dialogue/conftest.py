"""A conversation to drive: a scripted model, a virtual clock, and a recorder that keeps what was written when."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Coroutine, Sequence
from dataclasses import dataclass, field
from typing import Any

import pytest

from convai_lab.agents.agent import Agent
from convai_lab.agents.tools import ClientTool
from convai_lab.clock import VirtualClock
from convai_lab.conversations.conversation import Conversation
from convai_lab.conversations.turn import ToolCall, ToolResult, Turn
from convai_lab.dialogue.conversation_loop import ConversationLoop
from convai_lab.dialogue.reply import ReplyDone, ReplyEvent, ReplyText
from convai_lab.dialogue.tool_runner import ToolRunner
from convai_lab.testing.fake_llm import FakeLLM

ORDER_STATUS = ClientTool(
    name="order_status",
    description="Look up an order by its number.",
    parameters={"type": "object", "properties": {"order_id": {"type": "string"}}, "required": ["order_id"]},
)


@dataclass
class KeepingRecorder:
    """A recorder in memory; `log` is what happened in order."""

    turns: list[Turn] = field(default_factory=list)
    headers: list[Conversation] = field(default_factory=list)
    log: list[str] = field(default_factory=list)

    def add_turn(self, conversation_id: str, turn: Turn, *, index: int) -> None:
        assert index == len(self.turns)
        self.turns.append(turn)
        self.log.append(f"add {turn.role}")

    def replace_turn(self, conversation_id: str, index: int, turn: Turn) -> None:
        self.turns[index] = turn
        self.log.append(f"replace {index}")

    def update(self, conversation: Conversation) -> None:
        self.headers.append(conversation)


@dataclass
class Bench:
    """Everything one test needs: make a loop with `loop`, run coroutines with `run`."""

    clock: VirtualClock = field(default_factory=lambda: VirtualClock(seed=1))
    recorder: KeepingRecorder = field(default_factory=KeepingRecorder)
    llm: Any = None
    calls: list[ToolCall] = field(default_factory=list)

    def loop(
        self,
        script: Any = (),
        *,
        agent: Agent | None = None,
        tool: Callable[[ToolCall], Any] | None = None,
        conversation: Conversation | None = None,
        runner: dict[str, Any] | None = None,
        llm: Any = None,
        **more: Any,
    ) -> ConversationLoop:
        """Make a loop around a scripted model; `tool` answers the client tools."""
        agent = agent or Agent(name="Support", prompt="You are Sam.", tools=(ORDER_STATUS,), id="agent_1", version=3)
        self.llm = llm or FakeLLM(script, clock=self.clock)
        client_tool = None if tool is None else self._client_tool(tool)
        return ConversationLoop(
            agent=agent,
            conversation=Conversation(id="conv_1", agent_id="agent_1") if conversation is None else conversation,
            llm=self.llm,
            tools=ToolRunner(agent, client_tool=client_tool, clock=self.clock, **(runner or {})),
            clock=self.clock,
            recorder=self.recorder,
            **more,
        )

    def run(self, work: Coroutine[Any, Any, Any]) -> Any:
        """Run a coroutine under the virtual clock."""
        return self.clock.run(work)

    def exchange(self, loop: ConversationLoop, *said: str) -> list[list[ReplyEvent]]:
        """Say something and collect the reply's events, for each thing said."""

        async def talk() -> list[list[ReplyEvent]]:
            await loop.open()
            return [await self.say(loop, text) for text in said]

        result: list[list[ReplyEvent]] = self.run(talk())
        return result

    async def say(self, loop: ConversationLoop, text: str) -> list[ReplyEvent]:
        """Say one thing and collect the reply's events."""
        loop.user_said(text)
        return [event async for event in loop.reply()]

    def _client_tool(self, tool: Callable[[ToolCall], Any]) -> Callable[[ToolCall, float], Awaitable[ToolResult]]:
        async def run(call: ToolCall, timeout_secs: float) -> ToolResult:
            self.calls.append(call)
            answer = tool(call)
            if isinstance(answer, Coroutine):
                answer = await answer
            if isinstance(answer, ToolResult):
                return answer
            return ToolResult(call_id=call.id, name=call.name, value=answer)

        return run


@pytest.fixture
def bench() -> Bench:
    return Bench()


@pytest.fixture
def new_bench() -> Callable[[], Bench]:
    """Make benches of which each has its own clock and recorder."""
    return Bench


@pytest.fixture
def order_status() -> ClientTool:
    return ORDER_STATUS


@pytest.fixture
def text_of() -> Callable[[Sequence[ReplyEvent]], str]:
    """Join the text that a reply streamed."""
    return lambda events: "".join(event.text for event in events if isinstance(event, ReplyText))


@pytest.fixture
def turn_of() -> Callable[[Sequence[ReplyEvent]], Turn]:
    """Return the turn that a reply ended with."""

    def turn(events: Sequence[ReplyEvent]) -> Turn:
        assert isinstance(events[-1], ReplyDone)
        return events[-1].turn

    return turn
