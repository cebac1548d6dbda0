"""Tools: which Python function answers a tool call, and what does the model hear when none does?

Tools are bound late, so that rerunning a cell takes effect at once: an agent that was given a function calls its
newest definition, one that came without calls the newest function of that name. Only tools that the agent really has
are run, whatever the platform asks for.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, NamedTuple

from convai_lab.agents.agent import Agent
from convai_lab.agents.tools import ClientTool, Tool, newest_definition, registered_tool, run_tool
from convai_lab.errors import ConvaiLabError, ToolNotAvailableError
from convai_lab.settings import scrub
from convai_lab.workspace.caller import Caller

MAX_ERROR_CHARS = 2_000


class BoundTools:
    """Remembers the functions of agents that were given to this workspace."""

    def __init__(self) -> None:
        self._functions: dict[tuple[str, str], ClientTool] = {}

    def remember(self, agent_id: str, agent: Agent) -> None:
        """Keep the functions that `agent` brings along."""
        for tool in agent.tools:
            if isinstance(tool, ClientTool) and tool.function is not None:
                self._functions[agent_id, tool.name] = tool

    def find(self, agent_id: str, name: str) -> ClientTool | None:
        """Return the tool whose function answers for that agent, or None."""
        own = self._functions.get((agent_id, name))
        return newest_definition(own) if own is not None else registered_tool(name)

    def rebound(self, agent: Agent) -> Agent:
        """Return the agent with the functions that this process has for its tools."""
        return replace(agent, tools=tuple(self._with_function(agent.id or "", tool) for tool in agent.tools))

    def renewed(self, agent: Agent) -> Agent:
        """Return the agent with the newest definitions of its tools (description and parameters)."""
        return replace(agent, tools=tuple(self._newest(agent.id or "", tool) for tool in agent.tools))

    def _with_function(self, agent_id: str, tool: Tool) -> Tool:
        bound = self.find(agent_id, tool.name) if isinstance(tool, ClientTool) else None
        return replace(tool, function=bound.function) if bound and isinstance(tool, ClientTool) else tool

    def _newest(self, agent_id: str, tool: Tool) -> Tool:
        bound = self.find(agent_id, tool.name) if isinstance(tool, ClientTool) else None
        if bound is None or not isinstance(tool, ClientTool) or _seen(bound) == _seen(tool):
            return tool
        return replace(
            tool,
            description=bound.description,
            parameters=bound.parameters,
            response_timeout_secs=bound.response_timeout_secs,
            function=bound.function,
        )


class Outcome(NamedTuple):
    """What a tool answered, as the model sees it."""

    value: str
    is_error: bool = False


class ToolDesk:
    """Answers the tool calls of one conversation."""

    def __init__(self, agent: Agent, bound: BoundTools) -> None:
        self._agent_id = agent.id or ""
        self._tools = {tool.name: tool for tool in agent.tools if isinstance(tool, ClientTool)}
        self._bound = bound
        self.missing: list[str] = []
        """Tools that were called and that nobody here can run."""

    def use(self, agent: Agent) -> None:
        """Answer the tool calls of another agent from now on."""
        self._tools = {tool.name: tool for tool in agent.tools if isinstance(tool, ClientTool)}

    def is_answered(self, name: str) -> bool:
        """Say whether the model waits for the result of that tool."""
        tool = self._tools.get(name)
        return tool is None or tool.expects_response

    async def run(self, name: str, arguments: Mapping[str, Any], caller: Caller) -> Outcome:
        """Run a tool where the caller's code runs; every failure becomes an outcome for the model."""
        if name not in self._tools:
            return Outcome(f"{name} is not a tool of this agent", is_error=True)
        tool = self._bound.find(self._agent_id, name)
        if tool is None:
            self.missing.append(name)
            return Outcome(f"the tool {name} is not available right now", is_error=True)
        try:
            return Outcome(await caller.work(lambda: run_tool(tool, arguments)))
        except ConvaiLabError as error:
            return Outcome(scrub(str(error))[:MAX_ERROR_CHARS], is_error=True)
        except Exception as error:  # the user's function: whatever it raises is the model's to hear
            return Outcome(scrub(f"{type(error).__name__}: {error}")[:MAX_ERROR_CHARS], is_error=True)

    def raise_if_missing(self) -> None:
        """Raise ToolNotAvailableError when a call went unanswered since this was asked last."""
        names, self.missing = list(dict.fromkeys(self.missing)), []
        if names:
            raise ToolNotAvailableError(
                "the agent called it, but no function of that name is defined here (after a restart, for example): "
                f"run the cell that defines it with @tool again{_also(names[1:])}; the model was told that it failed",
                tool=names[0],
            )


def _also(names: list[str]) -> str:
    return f" (also missing: {', '.join(names)})" if names else ""


def _seen(tool: ClientTool) -> tuple[Any, ...]:
    """Return what a model and the platform see of a tool."""
    return (tool.description, dict(tool.parameters), tool.response_timeout_secs)
