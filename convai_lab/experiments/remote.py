"""Remote: how is a trial held with an agent that lives on another platform?

The simulated user is played here and types into the platform's own conversation; what the platform recorded is what
counts. Tools answer there, or by their `@tool` functions here: mocks do not reach that far.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from convai_lab.agents.prompt import fill
from convai_lab.clock import Clock, SystemClock
from convai_lab.conversations.conversation import Conversation
from convai_lab.conversations.turn import Turn
from convai_lab.errors import ConvaiLabError, NotSupportedError, RateLimitError, ToolError
from convai_lab.evaluation.results import counted
from convai_lab.experiments.plan import PlannedTrial
from convai_lab.experiments.variant import Variant
from convai_lab.providers.retry import RetryPolicy
from convai_lab.simulation.faults import Fault, fault_of
from convai_lab.simulation.runner import Ending, SimulatedConversation, ToolEntry, ToolState, new_conversation
from convai_lab.simulation.simulated_user import Move, SimulatedUser

if TYPE_CHECKING:
    from convai_lab.simulation.scenario import Scenario
    from convai_lab.workspace.session import Session
    from convai_lab.workspace.workspace import Workspace

PATIENCE = RetryPolicy(attempts=6, first_wait_secs=1.0, longest_wait_secs=20.0, total_secs=90.0)
"""How long a platform that is busy is asked again for a conversation."""


def check_remote(variants: Sequence[Variant], scenarios: Sequence[Scenario], *, mode: str) -> list[str]:
    """Refuse what another platform cannot do; return notes about what it does differently.

    Raises:
        NotSupportedError: Voice was asked for, a conversation that has begun already, or a state that only mocks have.
    """
    remote = [variant for variant in variants if variant.is_remote]
    if not remote:
        return []
    where = remote[0].platform
    if mode == "voice":
        raise NotSupportedError(f"agents on {where} are compared in text; mode='voice' is for agents that run here")
    if (begun := next((s for s in scenarios if s.history), None)) is not None:
        raise NotSupportedError(
            f"scenario {begun.id} begins with a `history`, which {where} cannot take up: leave it out, or run the "
            "agent here (without `workspace`)"
        )
    if (checked := next((s for s in scenarios if any("state" in check for check in s.checks)), None)) is not None:
        raise NotSupportedError(
            f"scenario {checked.id} checks the `state` that mocked tools leave, and on {where} the agent's own tools "
            "answer: leave the check out, or run the agent here (without `workspace`)"
        )
    mocked = sum(bool(scenario.mocks) for scenario in scenarios)
    if not mocked:
        return []
    of = f"of {counted(mocked, 'scenario')} are"
    return [f"the mocks {of} not used on {where}: the agent's own tools answer, and do what they do"]


class WorkspaceHolder:
    """Holds conversations on a workspace's platform."""

    def __init__(self, workspace: Workspace, *, clock: Clock | None = None, patience: RetryPolicy = PATIENCE) -> None:
        self._workspace, self._clock, self._patience = workspace, clock or SystemClock(), patience

    async def hold(self, planned: PlannedTrial, user: SimulatedUser) -> SimulatedConversation:
        """Hold one conversation and return its record; only cancellation is raised."""
        draft = _Draft(planned)
        try:
            session = await self._opened(planned)
        except ConvaiLabError as error:
            return draft.failed(fault_of(error, "provider"))
        try:
            async with session:  # whatever happens, nobody pays for a line that stays open
                ended_by = await self._talk(session, draft, user)
                return draft.held(await session.aend(), ended_by)
        except ToolError as error:
            return draft.failed(fault_of(error, "tool"))
        except ConvaiLabError as error:
            return draft.failed(fault_of(error, "provider"))

    async def _opened(self, planned: PlannedTrial) -> Session:
        """Open a conversation; a platform that has no room for it now is asked again."""
        rng, attempt, ends_at = random.Random(planned.seed), 0, self._clock.now() + self._patience.total_secs  # noqa: S311
        while True:
            attempt += 1
            try:
                return await self._workspace.astart_session(
                    planned.variant.agent, variables=dict(planned.scenario.variables)
                )
            except RateLimitError as busy:
                wait = self._patience.wait_secs(attempt, rng, asked_for=busy.retry_after)
                if attempt >= self._patience.attempts or self._clock.now() + wait > ends_at:
                    raise
            await self._clock.sleep(wait)

    async def _talk(self, session: Session, draft: _Draft, user: SimulatedUser) -> Ending:
        while draft.said < draft.scenario.max_turns:
            move = await draft.next_move(user)
            if move is None:
                return "simulator_fault"
            if move.text is None:
                return move.stop or "script_over"
            draft.add("user", move.text)
            draft.add("agent", await session.asay(move.text))
            if not session.is_open:
                return "agent"
            if move.stop:
                return move.stop
        return "max_turns"


class _Draft:
    """A conversation as the simulated user sees it, while the platform keeps the record."""

    def __init__(self, planned: PlannedTrial) -> None:
        agent, self.scenario = planned.variant.agent, planned.scenario
        self.said, self.cost_usd = 0, 0.0
        self.faults: list[Fault] = []
        draft = new_conversation(agent, self.scenario, seed=planned.seed, conversation_id=f"conv_{planned.key}")
        greeting = _filled(lambda: fill(agent.first_message, {**agent.variables, **self.scenario.variables}))
        turns = (Turn(role="agent", text=greeting, marks=("first_message",)),) if greeting.strip() else ()
        self.conversation = draft.with_changes(turns=turns)

    def add(self, role: str, text: str) -> None:
        turn = Turn(role="user" if role == "user" else "agent", text=text)
        self.conversation = self.conversation.with_changes(turns=(*self.conversation.turns, turn))
        self.said += 1

    async def next_move(self, user: SimulatedUser) -> Move | None:
        """Ask the simulated user; None when it failed, which is noted."""
        try:
            move = await user.next_move(self.conversation, self.scenario)
        except Exception as error:  # the edge: one trial
            self.faults.append(fault_of(error, "simulator"))
            return None
        self.cost_usd += move.cost_usd or 0.0
        if move.fault is not None:
            self.faults.append(Fault("simulator", move.fault, move.detail))
            return None
        return move

    def held(self, record: Conversation, ended_by: Ending) -> SimulatedConversation:
        """Return the platform's record, with what was seen of it here."""
        return SimulatedConversation(
            conversation=record.with_changes(tags=self.scenario.tags),
            tool_state=ToolState(calls=tuple(_entries(record))),
            ended_by=ended_by,
            faults=tuple(self.faults),
            simulator_cost_usd=self.cost_usd,
        )

    def failed(self, fault: Fault) -> SimulatedConversation:
        """Return what was said before it broke."""
        self.faults.append(fault)
        return self.held(self.conversation.with_changes(status="failed"), "provider_fault")


def _entries(record: Conversation) -> list[ToolEntry]:
    results = {result.call_id: result for turn in record.turns for result in turn.tool_results}
    entries = []
    for call in (call for turn in record.turns for call in turn.tool_calls):
        result = results.get(call.id)
        value, failed = (result.value, result.is_error) if result else (None, False)
        entries.append(ToolEntry(call.name, call.arguments, value, failed, "function"))
    return entries


def _filled(text: Callable[[], str]) -> str:
    """Return a greeting; what its variables are is for the platform to know."""
    try:
        return text()
    except ConvaiLabError:
        return ""
