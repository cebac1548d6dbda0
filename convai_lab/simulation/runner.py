"""Runner: how does a simulated user hold one conversation with an agent, and what came of it?"""

from __future__ import annotations

from collections.abc import Mapping
from concurrent.futures import Executor
from dataclasses import dataclass, field
from typing import Any, Literal

from convai_lab.agents.agent import Agent
from convai_lab.agents.tools import ClientTool
from convai_lab.clock import Clock
from convai_lab.conversations.conversation import Conversation
from convai_lab.providers.base import LLM, Usage
from convai_lab.simulation.faults import Fault
from convai_lab.simulation.scenario import Scenario
from convai_lab.simulation.simulated_user import SimulatedUser

Ending = Literal[
    "goal_reached", "gave_up", "script_over", "agent", "max_turns", "max_duration", "agent_fault", "provider_fault",
    "simulator_fault",
]  # fmt: skip
"""Why a simulated conversation ended; ``agent`` is an end of the call or a transfer by the agent."""


@dataclass(frozen=True)
class ToolEntry:
    """One tool call of a simulated conversation: `by` says who answered, a mock, a function or nobody."""

    name: str
    arguments: Mapping[str, Any]
    result: Any = None
    is_error: bool = False
    by: Literal["mock", "function", "none"] = "mock"


@dataclass(frozen=True)
class ToolState:
    """What tools did: the calls in order, and the invented world at the end."""

    calls: tuple[ToolEntry, ...] = ()
    state: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class SimulatedConversation:
    """One simulated conversation and what is known about how it went."""

    conversation: Conversation
    tool_state: ToolState
    ended_by: Ending
    faults: tuple[Fault, ...] = ()
    simulator_cost_usd: float | None = 0.0
    simulator_usage: Usage = field(default_factory=Usage)


async def run_conversation(
    agent: Agent,
    scenario: Scenario,
    *,
    llm: LLM,
    user: SimulatedUser,
    seed: int = 0,
    clock: Clock,
    tools: Mapping[str, ClientTool] | None = None,
    tool_executor: Executor | None = None,
    conversation_id: str | None = None,
) -> SimulatedConversation:
    """Hold one conversation in process and return its record; only cancellation is raised."""
    raise NotImplementedError
