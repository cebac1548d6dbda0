"""Toolbox: which tools does the model see, and which tool does a call mean?"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from convai_lab.agents.agent import Agent
from convai_lab.agents.tools import SystemTool, Tool, WebhookTool
from convai_lab.conversations.turn import ToolCall, ToolKind
from convai_lab.dialogue.parameters import schema_for_model
from convai_lab.dialogue.system_tools import system_tool_spec
from convai_lab.dialogue.webhook_request import webhook_parameters
from convai_lab.providers.base import ToolSpec

_NO_PARAMETERS: Mapping[str, Any] = {"type": "object", "properties": {}}


class Toolbox:
    """The tools of one agent by name; of two tools with one name the first counts.

    Names go to the model as they are stored; fitting them to what a vendor accepts is the adapter's work.
    """

    def __init__(self, agent: Agent) -> None:
        self._agent = agent
        self._tools: dict[str, Tool] = {}
        for tool in agent.tools:
            self._tools.setdefault(tool.name, tool)

    def specs(self, variables: Mapping[str, Any]) -> tuple[ToolSpec, ...]:
        """Return the tools as the model sees them."""
        return tuple(self._spec(tool, variables) for tool in self._tools.values())

    def parameters(self, tool: Tool, variables: Mapping[str, Any]) -> Mapping[str, Any]:
        """Return the JSON schema of the arguments that the model gives."""
        return self._spec(tool, variables).parameters

    def find(self, name: str) -> Tool | None:
        """Return the tool of that name, or None."""
        return self._tools.get(name)

    def names(self) -> list[str]:
        """List the names of the tools."""
        return list(self._tools)

    def recognised(self, call: ToolCall) -> ToolCall:
        """Return the model's call with its kind, which a model does not know."""
        tool = self.find(call.name)
        return call if tool is None else replace(call, kind=kind_of(tool))

    def _spec(self, tool: Tool, variables: Mapping[str, Any]) -> ToolSpec:
        if isinstance(tool, SystemTool):
            return system_tool_spec(tool, self._agent)
        if isinstance(tool, WebhookTool):
            parameters = webhook_parameters(tool, variables)
        else:
            parameters = {**_NO_PARAMETERS, **schema_for_model(tool.parameters, variables)}
        return ToolSpec(name=tool.name, description=tool.description, parameters=parameters)


def kind_of(tool: Tool) -> ToolKind:
    """Return the kind of a tool, as it is written into the transcript."""
    if isinstance(tool, WebhookTool):
        return "webhook"
    return "system" if isinstance(tool, SystemTool) else "client"
