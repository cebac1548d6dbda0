"""Tool runner: who runs a tool that the model asked for, and what does the model get back?

Whatever goes wrong with a tool goes back to the model as an error result. Nothing is raised but cancellation.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Collection, Mapping
from dataclasses import replace
from typing import Any, NamedTuple

from convai_lab import settings
from convai_lab.agents.agent import Agent
from convai_lab.agents.tools import DEFAULT_TIMEOUT_SECS, ClientTool, SystemTool, Tool, WebhookTool
from convai_lab.clock import Clock
from convai_lab.conversations.turn import ToolCall, ToolResult
from convai_lab.dialogue.assignments import assign
from convai_lab.dialogue.fault import ToolFault
from convai_lab.dialogue.outside_text import MAX_ERROR_CHARS, MAX_RESULT_CHARS, as_text, cut
from convai_lab.dialogue.parameters import check_arguments, completed
from convai_lab.dialogue.system_tools import PHONE_TOOLS, Effect, FindAgent, answer_system_tool
from convai_lab.dialogue.taped_tools import taped
from convai_lab.dialogue.toolbox import Toolbox
from convai_lab.dialogue.validator import load_validator
from convai_lab.dialogue.webhook import call_webhook
from convai_lab.errors import (
    ForbiddenAddressError,
    InvalidValueError,
    MissingVariableError,
    ToolError,
    ToolNotAvailableError,
    ToolTimeoutError,
)

CLOSING_SECS = 1.0
"""How long calls that nobody waits for may go on when the conversation ends."""

ClientToolCall = Callable[[ToolCall, float], Awaitable[ToolResult]]
"""Runs a client tool where the conversation was started; the number is the tool's time-out in seconds."""

PhoneToolCall = Callable[[SystemTool, ToolCall], Awaitable[ToolResult]]
"""Does what only a driver with a telephone can do: transfer to a number, press keys, leave a voicemail."""


class ToolOutcome(NamedTuple):
    """What a call came to: the result for the model, variables to set, and a system tool's effect."""

    result: ToolResult
    variables: Mapping[str, Any] = {}
    effect: Effect | None = None


class ToolRunner:
    """Runs the tools of one agent.

    `client_tool` runs client tools, `phone_tool` the system tools that need a telephone, and `find_agent` finds
    the agent that a transfer names; a driver gives those it can do. `own_ports` are ports of this platform, which
    webhooks must not call.
    """

    def __init__(
        self,
        agent: Agent,
        *,
        client_tool: ClientToolCall | None = None,
        clock: Clock,
        own_ports: Collection[int] = (),
        phone_tool: PhoneToolCall | None = None,
        find_agent: FindAgent | None = None,
    ) -> None:
        self.agent, self.toolbox = agent, Toolbox(agent)
        self._client_tool, self._phone_tool, self._find_agent = client_tool, phone_tool, find_agent
        self._clock, self._own_ports = clock, tuple(own_ports)
        self._unawaited: set[asyncio.Task[ToolResult]] = set()
        if agent.tools:
            load_validator()

    def for_agent(self, agent: Agent) -> ToolRunner:
        """Return a runner for another agent that runs its tools in the same places."""
        other = ToolRunner(
            agent,
            client_tool=self._client_tool,
            clock=self._clock,
            own_ports=self._own_ports,
            phone_tool=self._phone_tool,
            find_agent=self._find_agent,
        )
        other._unawaited = self._unawaited
        return other

    async def run(self, call: ToolCall, *, variables: Mapping[str, Any] | None = None) -> ToolResult:
        """Run one call and return its result; never raises for a tool's fault."""
        return (await self.perform(call, variables=variables)).result

    async def perform(self, call: ToolCall, *, variables: Mapping[str, Any] | None = None) -> ToolOutcome:
        """Run one call and return all that it came to; never raises for a tool's fault."""
        started, call = self._clock.now(), self.toolbox.recognised(call)
        try:
            outcome = await self._performed(call, variables or {})
        except ToolFault as fault:
            outcome = ToolOutcome(error_result(call, str(fault), fault.error_type))
        kept = cut(outcome.result.value, MAX_RESULT_CHARS)
        result = replace(outcome.result, value=kept, latency_secs=self._clock.now() - started)
        return outcome._replace(result=result)

    async def close(self) -> None:
        """Give calls that nobody waits for a moment to finish, then cancel them."""
        if not self._unawaited:
            return
        waiting = asyncio.gather(*self._unawaited, return_exceptions=True)
        try:
            async with self._clock.timeout(CLOSING_SECS):
                await waiting
        except TimeoutError:
            pass
        self._unawaited.clear()

    async def _performed(self, call: ToolCall, variables: Mapping[str, Any]) -> ToolOutcome:
        tool = self._runnable(call, variables)
        if isinstance(tool, ClientTool) and not tool.expects_response:
            return ToolOutcome(self._start(tool, call, variables))
        try:
            async with self._clock.timeout(_time_out(tool)):
                outcome = await self._answered(tool, call, variables)
        except TimeoutError:
            raise ToolFault(f"{tool.name} did not answer within {_time_out(tool):g} seconds", "timeout") from None
        return outcome if outcome.result.is_error else _assigned(tool, outcome)

    def _runnable(self, call: ToolCall, variables: Mapping[str, Any]) -> Tool:
        """Return the tool of a call whose arguments fit it."""
        tool = self.toolbox.find(call.name)
        if tool is None:
            known = ", ".join(self.toolbox.names()) or "none"
            raise ToolFault(f"there is no tool {call.name[:80]!r}; the tools are: {known}", "unknown_tool")
        if "raw_arguments" in call.extra:
            raw = cut(str(call.extra["raw_arguments"]), 200)
            raise ToolFault(f"the arguments are not a JSON object: {raw}", "bad_arguments")
        try:
            check_arguments(self.toolbox.parameters(tool, variables), call.arguments)
        except RecursionError:
            raise ToolFault("the arguments are nested too deeply", "bad_arguments") from None
        return tool

    async def _answered(self, tool: Tool, call: ToolCall, variables: Mapping[str, Any]) -> ToolOutcome:
        if isinstance(tool, SystemTool):
            return await self._answered_by_system(tool, call)
        if isinstance(tool, ClientTool):
            return ToolOutcome(await self._taped(call, lambda: self._answered_by_client(tool, call, variables)))
        return ToolOutcome(await self._taped(call, lambda: self._answered_by_webhook(tool, call, variables)))

    async def _taped(self, call: ToolCall, run: Callable[[], Awaitable[ToolResult]]) -> ToolResult:
        """Run a tool that does something outside, on the cassette where one is in use."""
        return await taped(call, run)

    async def _answered_by_system(self, tool: SystemTool, call: ToolCall) -> ToolOutcome:
        if self._phone_tool is not None and tool.kind in PHONE_TOOLS:
            return ToolOutcome(await self._guarded(self._phone_tool(tool, call), call))
        answer = await answer_system_tool(tool, call, agent=self.agent, find_agent=self._find_agent)
        return ToolOutcome(_result(call, answer.value), effect=answer.effect)

    async def _answered_by_client(self, tool: ClientTool, call: ToolCall, variables: Mapping[str, Any]) -> ToolResult:
        if self._client_tool is None:
            raise ToolFault(f"nobody in this conversation can run {tool.name}", "tool_not_available")
        whole = replace(call, arguments=completed(tool.parameters, call.arguments, variables))
        return await self._guarded(self._client_tool(whole, _time_out(tool)), call)

    async def _answered_by_webhook(self, tool: WebhookTool, call: ToolCall, variables: Mapping[str, Any]) -> ToolResult:
        try:
            value = await self._clock.outside(
                lambda: call_webhook(tool, call.arguments, variables, own_ports=self._own_ports)
            )
        except ForbiddenAddressError as error:
            raise ToolFault(str(error), "forbidden_address") from error
        except (MissingVariableError, InvalidValueError) as error:
            raise ToolFault(str(error), "missing_variable") from error
        return _result(call, value)

    async def _guarded(self, answering: Awaitable[ToolResult], call: ToolCall) -> ToolResult:
        """Await the code behind a tool, which belongs to the user: whatever it raises is the tool's error."""
        try:
            return _from_outside(await answering, call)
        except (TimeoutError, ToolTimeoutError) as error:
            raise ToolFault(_told(error) or f"{call.name} did not answer in time", "timeout") from error
        except ToolNotAvailableError as error:
            raise ToolFault(_told(error), "tool_not_available") from error
        except Exception as error:  # the edge: one tool call
            named = _told(error) if isinstance(error, ToolError) else f"{type(error).__name__}: {_told(error)}"
            raise ToolFault(named, "refused" if _is_refusal(error) else "tool_error") from error

    def _start(self, tool: ClientTool, call: ToolCall, variables: Mapping[str, Any]) -> ToolResult:
        """Start a call that nobody waits for; `close` ends it."""
        if self._client_tool is None:
            raise ToolFault(f"nobody in this conversation can run {tool.name}", "tool_not_available")
        task = asyncio.ensure_future(self._unwatched(tool, call, variables))
        self._unawaited.add(task)
        task.add_done_callback(self._unawaited.discard)
        return _result(call, "The tool was started; it gives no answer.")

    async def _unwatched(self, tool: ClientTool, call: ToolCall, variables: Mapping[str, Any]) -> ToolResult:
        try:
            async with self._clock.timeout(_time_out(tool)):
                return await self._answered_by_client(tool, call, variables)
        except (ToolFault, TimeoutError) as fault:
            return error_result(call, str(fault), "tool_error")


def error_result(call: ToolCall, message: str, error_type: str) -> ToolResult:
    """Return the result that tells the model why its call failed."""
    text = cut(settings.scrub(as_text(message)), MAX_ERROR_CHARS * 4)
    return _result(call, text, is_error=True, error_type=error_type)


def _result(call: ToolCall, value: str, *, is_error: bool = False, error_type: str | None = None) -> ToolResult:
    return ToolResult(
        call_id=call.id, name=call.name, value=as_text(value), is_error=is_error, kind=call.kind, error_type=error_type
    )


def _from_outside(result: ToolResult, call: ToolCall) -> ToolResult:
    """Return a driver's result as the result of this call, whatever the driver wrote into it."""
    error_type = (result.error_type or "tool_error") if result.is_error else None
    made = _result(call, as_text(result.value), is_error=bool(result.is_error), error_type=error_type)
    return replace(made, extra=dict(result.extra))


def _is_refusal(error: BaseException) -> bool:
    """Say whether a function refused its arguments, as Python functions do, rather than broke."""
    return isinstance(error.__cause__ if isinstance(error, ToolError) else error, ValueError | LookupError)


def _assigned(tool: Tool, outcome: ToolOutcome) -> ToolOutcome:
    assigned = assign(tool, outcome.result.value)
    return outcome._replace(result=replace(outcome.result, value=assigned.value), variables=assigned.variables)


def _time_out(tool: Tool) -> float:
    secs = getattr(tool, "response_timeout_secs", None) or tool.extra.get("response_timeout_secs")
    return float(secs) if isinstance(secs, (int, float)) and secs > 0 else DEFAULT_TIMEOUT_SECS


def _told(error: BaseException) -> str:
    return cut(str(error), MAX_ERROR_CHARS)
