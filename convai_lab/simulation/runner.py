"""Runner: how does a simulated user hold one conversation with an agent, and what came of it?"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from concurrent.futures import Executor
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import Literal

from convai_lab.agents.agent import Agent
from convai_lab.agents.tools import ClientTool
from convai_lab.clock import Clock
from convai_lab.conversations.conversation import Conversation
from convai_lab.dialogue.conversation_loop import OUT_OF_TIME, ConversationLoop
from convai_lab.dialogue.reply import ReplyDone
from convai_lab.errors import ProviderError
from convai_lab.providers.base import LLM, Usage
from convai_lab.simulation.caller_moves import CallerMoves
from convai_lab.simulation.faults import Fault, Party, fault_of, tool_faults
from convai_lab.simulation.scenario import Scenario
from convai_lab.simulation.simulated_tools import SimulatedToolRunner, ToolDesk, ToolEntry, ToolState
from convai_lab.simulation.simulated_user import SimulatedUser

__all__ = ["Ending", "Fault", "SimulatedConversation", "ToolEntry", "ToolState", "run_conversation"]

Ending = Literal[
    "goal_reached", "gave_up", "script_over", "agent", "max_turns", "max_duration", "silence",
    "agent_fault", "provider_fault", "simulator_fault",
]  # fmt: skip
"""Why a simulated conversation ended; ``agent`` is an end of the call or a transfer by the agent."""

_ENDED_BY_USER = ("goal_reached", "gave_up", "script_over")


@dataclass(frozen=True, kw_only=True)
class SimulatedConversation:
    """One simulated conversation and what is known about how it went.

    `simulator_cost_usd` is None when the price of the simulated user's model is not known.
    """

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
    """Hold one conversation in process and return its record; only cancellation is raised.

    On a `VirtualClock` the same agent, scenario, seed and answers of the models give the same record, byte for byte.

    Args:
        agent: Who answers.
        scenario: Who calls, and why.
        llm: The model that speaks for the agent.
        user: Who plays the caller.
        seed: What chance depends on; it is kept in the record and sent to the model.
        clock: What time it is.
        tools: Python functions of client tools that have no mocks.
        tool_executor: The threads these run in; those of the event loop, when None.
        conversation_id: The id of the record; a new one, when None.
    """
    desk = ToolDesk.of(agent, scenario, tools=tools, executor=tool_executor, clock=clock)
    loop = ConversationLoop(
        agent=agent,
        conversation=new_conversation(
            agent, scenario, seed=seed, conversation_id=conversation_id or clock.new_id("conv_")
        ),
        llm=llm,
        tools=SimulatedToolRunner(agent, desk=desk, clock=clock),
        clock=clock,
    )
    run = _Run(loop, scenario, user, desk, clock)
    try:
        ended_by = await run.talk()
    except asyncio.CancelledError:
        await loop.end("cancelled", by="system")
        raise
    return await run.result(ended_by)


def new_conversation(agent: Agent, scenario: Scenario, *, seed: int, conversation_id: str) -> Conversation:
    """Return the record of a simulated conversation before its first turn."""
    return Conversation(
        id=conversation_id,
        agent_id=agent.id or agent.name,
        agent_name=agent.name,
        source="simulated",
        status="initiated",
        scenario=scenario.id,
        seed=seed,
        turns=scenario.history,
        variables=scenario.variables,
        tags=scenario.tags,
    )


class _Run:
    """One conversation under way."""

    def __init__(
        self, loop: ConversationLoop, scenario: Scenario, user: SimulatedUser, desk: ToolDesk, clock: Clock
    ) -> None:
        self._loop, self._scenario, self._desk = loop, scenario, desk
        self._moves = CallerMoves(loop, scenario, user, clock)
        self._faults, self._expenses = self._moves.faults, self._moves.expenses

    async def talk(self) -> Ending:
        """Let both sides speak in turn until one of them ends it."""
        if not await self._opened():
            return "agent_fault"
        if self._is_agents_turn() and (ended := await self._answered()):
            return ended
        turns = 0
        while turns < self._scenario.max_turns:
            move = await self._moves.next()
            if move is None:
                return "simulator_fault"
            if move.text is None:
                return move.stop or "script_over"
            self._loop.user_said(move.text)
            turns += 2  # what the caller says is always answered
            if ended := await self._answered():
                return ended
            if move.stop:
                return move.stop
        return "max_turns"

    def _is_agents_turn(self) -> bool:
        """Say whether the history ends with words of the caller that wait for an answer."""
        history = self._scenario.history
        return bool(history) and history[-1].role == "user" and not self._scenario.opening

    async def result(self, ended_by: Ending) -> SimulatedConversation:
        """Close the record and return all that is known."""
        by = "agent" if ended_by == "agent" else "user" if ended_by in _ENDED_BY_USER else "system"
        reason = "transfer_to_number" if self._desk.transferred else ended_by
        conversation = await self._loop.end(reason, by=by, failed=ended_by.endswith("_fault"))
        return SimulatedConversation(
            conversation=conversation,
            tool_state=self._desk.final(),
            ended_by=ended_by,
            faults=tuple(self._faults),
            simulator_cost_usd=self._expenses.cost_usd,
            simulator_usage=self._expenses.usage,
        )

    async def _opened(self) -> bool:
        try:
            await self._loop.open()
        except Exception as error:  # the edge: one trial
            self._blame("agent", error)
            return False
        return True

    async def _answered(self) -> Ending | None:
        """Let the agent answer; returns why the conversation is over, or None when it goes on."""
        try:
            async with aclosing(self._loop.reply()) as events:
                async for event in events:
                    if isinstance(event, ReplyDone):
                        intended = frozenset(self._desk.intended_errors)
                        self._faults.extend(tool_faults(event.turn, intended=intended))
        except ProviderError as error:
            self._blame("provider", error)
            return "provider_fault"
        except Exception as error:  # the edge: one trial
            self._blame("provider", error)
            return "provider_fault"
        if self._loop.ended:
            return "max_duration" if self._loop.end_reason == OUT_OF_TIME else "agent"
        return "agent" if self._desk.transferred else None

    def _blame(self, party: Party, error: BaseException) -> None:
        self._faults.append(fault_of(error, party))
