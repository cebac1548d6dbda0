"""Simulated tools: who answers a tool call in a simulation, and what did tools do?

Mocks come first, then Python functions. Nothing outside is called: a webhook without a mock, or a transfer to a
telephone, is answered here.
"""

from __future__ import annotations

import asyncio
import contextvars
import json
from collections.abc import Awaitable, Callable, Mapping, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from convai_lab.agents.agent import Agent
from convai_lab.agents.plain_json import plain_json
from convai_lab.agents.tools import ClientTool, SystemTool, Tool, WebhookTool, registered_tool, run_tool
from convai_lab.clock import Clock
from convai_lab.conversations.turn import ToolCall, ToolResult
from convai_lab.dialogue.fault import ToolFault
from convai_lab.dialogue.system_tools import PHONE_TOOLS
from convai_lab.dialogue.tool_runner import ToolOutcome, ToolRunner
from convai_lab.errors import ToolError, ToolNotAvailableError
from convai_lab.providers.cassette import cassette_in_use
from convai_lab.simulation.scenario import Scenario
from convai_lab.simulation.tool_mocks import Mock

TRANSFERRED = "The caller is being transferred now."
DONE = "Done."

AnsweredBy = Literal["mock", "function", "platform", "nobody"]


@dataclass(frozen=True)
class ToolEntry:
    """One tool call of a simulated conversation, and who answered it."""

    name: str
    arguments: Mapping[str, Any]
    result: Any = None
    is_error: bool = False
    by: AnsweredBy = "mock"


@dataclass(frozen=True)
class ToolState:
    """What tools did: the calls that were answered, in order, and the invented world at the end."""

    calls: tuple[ToolEntry, ...] = ()
    state: Mapping[str, Any] = field(default_factory=dict)


class ToolDesk:
    """Answers the tools of one simulated conversation; `state` is its invented world.

    Args:
        mocks: What tools answer, by name; the first mock that fits.
        state: The world before the conversation.
        tools: Functions by the name of their tool, for those without mocks.
        executor: The threads they run in; those of the event loop, when None.
    """

    def __init__(
        self,
        *,
        mocks: Mapping[str, Sequence[Mock]],
        state: Mapping[str, Any],
        tools: Mapping[str, ClientTool] | None,
        executor: Executor | None,
        clock: Clock,
    ) -> None:
        self.state: dict[str, Any] = plain_json(state) if state else {}
        self.calls: list[ToolEntry] = []
        self.intended_errors: set[str] = set()
        self.transferred = False
        self._mocks, self._tools, self._executor, self._clock = mocks, tools or {}, executor, clock

    @classmethod
    def of(
        cls,
        agent: Agent,
        scenario: Scenario,
        *,
        tools: Mapping[str, ClientTool] | None,
        executor: Executor | None,
        clock: Clock,
    ) -> ToolDesk:
        """Return the desk of one conversation; functions that come with the agent's tools answer too."""
        own = {tool.name: tool for tool in agent.tools if isinstance(tool, ClientTool) and tool.function is not None}
        return cls(
            mocks=scenario.mocks, state=scenario.state, tools={**own, **(tools or {})}, executor=executor, clock=clock
        )

    def final(self) -> ToolState:
        """Return what tools did until now."""
        return ToolState(tuple(self.calls), plain_json(self.state))

    def has_mocks(self, name: str) -> bool:
        """Say whether a tool of that name is answered by mocks."""
        return name in self._mocks

    async def mocked(self, call: ToolCall) -> ToolResult:
        """Answer a call by the first mock that fits, and note what it changes."""
        mock = next((m for m in self._mocks[call.name] if m.fits(call.arguments, self.state)), None)
        if mock is None:
            raise self._refused(call, "no mock of it fits these arguments: end its mocks with one without `when`")
        if mock.delay_secs:
            await self._clock.sleep(mock.delay_secs)
        mock.change(self.state, call.arguments)
        if mock.error is not None:
            self.intended_errors.add(call.id)
            return self._noted(call, mock.error, is_error=True)
        return self._noted(call, mock.answer(call.arguments))

    async def phoned(self, tool: SystemTool, call: ToolCall) -> ToolResult:
        """Answer a system tool that needs a telephone as if there were one; a transfer ends the conversation."""
        if tool.kind == "transfer_to_number":
            self.transferred = True
            return self._noted(call, TRANSFERRED, by="platform")
        return self._noted(call, DONE, by="platform")

    async def by_function(self, call: ToolCall, timeout_secs: float) -> ToolResult:
        """Run the Python function of a client tool in a thread; its time is real, and invented time stands still."""
        tool = self._tools.get(call.name) or registered_tool(call.name)
        if tool is None:
            why = "it has no mock and no Python function here: give it `mocks`, or define its @tool"
            self._refused(call, why)
            raise ToolNotAvailableError(why, tool=call.name)
        try:
            value = await self._value_of(tool, call, timeout_secs)
        except (ToolError, TimeoutError) as error:
            self._noted(call, str(error) or "no answer in time", is_error=True, by="function")
            raise
        return self._noted(call, value, by="function")

    async def _value_of(self, tool: ClientTool, call: ToolCall, timeout_secs: float) -> Any:
        """Run the function, or replay what it answered when that was recorded."""

        async def run() -> str:
            return await self._clock.outside(lambda: self._run(tool, call, timeout_secs), took=0.0)

        cassette = cassette_in_use()
        return await (run() if cassette is None else cassette.tool(call.name, call.arguments, run))

    async def _run(self, tool: ClientTool, call: ToolCall, timeout_secs: float) -> str:
        context, arguments = contextvars.copy_context(), dict(call.arguments)
        async with asyncio.timeout(timeout_secs):
            loop = asyncio.get_running_loop()
            return await loop.run_in_executor(self._executor, lambda: context.run(run_tool, tool, arguments))

    def webhook(self, tool: WebhookTool, call: ToolCall) -> ToolFault:
        """Return the fault of a webhook that no mock stands in for."""
        return self._refused(call, f"a simulation does not call {tool.method} addresses: give the tool `mocks`")

    def _refused(self, call: ToolCall, why: str) -> ToolFault:
        self.calls.append(ToolEntry(call.name, plain_json(call.arguments), why, is_error=True, by="nobody"))
        return ToolFault(f"{call.name}: {why}", "tool_not_available")

    def _noted(self, call: ToolCall, value: Any, *, is_error: bool = False, by: AnsweredBy = "mock") -> ToolResult:
        self.calls.append(ToolEntry(call.name, plain_json(call.arguments), value, is_error=is_error, by=by))
        text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)
        return ToolResult(
            call_id=call.id,
            name=call.name,
            value=text,
            is_error=is_error,
            error_type="tool_error" if is_error else None,
        )


class SimulatedToolRunner(ToolRunner):
    """A `ToolRunner` whose tools are answered at a `ToolDesk`; arguments are checked as ever."""

    def __init__(self, agent: Agent, *, desk: ToolDesk, clock: Clock) -> None:
        super().__init__(agent, client_tool=desk.by_function, phone_tool=desk.phoned, clock=clock)
        self._desk = desk

    def for_agent(self, agent: Agent) -> SimulatedToolRunner:
        """Return a runner for another agent at the same desk."""
        other = SimulatedToolRunner(agent, desk=self._desk, clock=self._clock)
        other._unawaited = self._unawaited
        return other

    async def _taped(self, call: ToolCall, run: Callable[[], Awaitable[ToolResult]]) -> ToolResult:  # noqa: ARG002
        """Run a tool; the desk itself asks the cassette, and keeps its own record of what tools did."""
        return await run()

    async def _answered(self, tool: Tool, call: ToolCall, variables: Mapping[str, Any]) -> ToolOutcome:
        can_be_mocked = not isinstance(tool, SystemTool) or tool.kind in PHONE_TOOLS
        if can_be_mocked and self._desk.has_mocks(call.name):
            result = await self._desk.mocked(call)
            return ToolOutcome(replace(result, kind=call.kind))
        if isinstance(tool, WebhookTool):
            raise self._desk.webhook(tool, call)
        return await super()._answered(tool, call, variables)
