"""Holding: how is one trial held, graded and measured?

Where nothing real is involved (rules instead of models, here and at the other end), time is virtual and the trial
repeats exactly. Everything else runs in real time on one event loop.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Literal, Protocol

from convai_lab.agents.agent import EvaluationCriterion
from convai_lab.clock import Clock, VirtualClock
from convai_lab.conversations.conversation import Conversation, CriterionResult
from convai_lab.evaluation.checks import CheckResult, parse_checks, run_checks
from convai_lab.evaluation.judge_prompt import Questions
from convai_lab.experiments.invented_times import has_real_times, without_dates, without_times
from convai_lab.experiments.outside import WORLD_CLOCK
from convai_lab.experiments.plan import PlannedTrial
from convai_lab.experiments.pool import Pool, PooledLLM
from convai_lab.experiments.precedence import BEGUN
from convai_lab.experiments.spending import CapReachedError, Spending
from convai_lab.experiments.taping import is_replay, taped
from convai_lab.experiments.tool_threads import LimitedThreads
from convai_lab.experiments.trial import TrialResult, decide
from convai_lab.experiments.trial_clock import TRIAL_CLOCK, TrialClock
from convai_lab.experiments.variant import Variant
from convai_lab.experiments.world import in_own_world
from convai_lab.providers.base import LLM
from convai_lab.providers.cassette import Cassette
from convai_lab.simulation.faults import Fault, fault_of
from convai_lab.simulation.runner import SimulatedConversation, run_conversation
from convai_lab.simulation.simulated_user import SimulatedUser

if TYPE_CHECKING:
    from convai_lab.evaluation.checks import Check
    from convai_lab.evaluation.judge import AnyJudge, Grade
    from convai_lab.simulation.scenario import Scenario

OUTCOME = "expected_outcome"


class RemoteHolder(Protocol):
    """Holds conversations with agents that live on another platform."""

    async def hold(self, planned: PlannedTrial, user: SimulatedUser) -> SimulatedConversation:
        """Hold one conversation and return its record."""


@dataclass
class Holder:
    """Holds trials: one object for all trials of a run.

    `find_llm` gives the model of a variant by its name in `llms`; `tool_threads` runs Python tools, `world_threads`
    the conversations in virtual time.
    """

    llms: Mapping[str, LLM]
    user: SimulatedUser
    judge: AnyJudge | None = None
    mode: Literal["text", "voice"] = "text"
    pool: Pool = field(default_factory=Pool)
    spending: Spending = field(default_factory=Spending)
    tool_threads: Executor | None = None
    world_threads: Executor | None = None
    remote: RemoteHolder | None = None
    user_is_real: bool = False
    cassette: Cassette | None = None
    variants: Mapping[str, Variant] = field(default_factory=dict)
    """The variants by name, where trials come by the names alone: on a cluster."""
    checks: dict[str, tuple[Check, ...]] = field(default_factory=dict)
    """The checks of the scenarios that were read already, by the scenario's key."""
    _begun: Iterator[int] = field(default_factory=lambda: itertools.count(1), repr=False)

    async def hold(self, planned: PlannedTrial) -> TrialResult:
        """Hold one trial and grade it.

        Raises:
            CapReachedError: The run may not spend more; the trial is not done.
            CassetteMissError: It asks for something that was not recorded.
        """
        BEGUN.set(next(self._begun))
        with taped(self.cassette, planned):
            result = await self._taped(planned)
        if self.cassette is not None and self.cassette.missed is not None:
            raise self.cassette.missed
        return result

    async def _taped(self, planned: PlannedTrial) -> TrialResult:
        held = await self._held(planned)
        self._require_uncapped(held.faults)
        conversation = held.conversation.with_changes(
            variant=planned.variant.name, scenario=planned.scenario.id, seed=planned.seed, source="simulated"
        )
        if self.cassette is not None:
            conversation = conversation.with_changes(cassette=self.cassette.name)
        if self._has_own_clock(planned):
            conversation = without_dates(conversation)
        if not self.has_real_times(planned):
            conversation = without_times(conversation)
        graded = await self._graded(planned, held, conversation)
        self._require_uncapped(graded.faults)
        return result_of(planned, held, graded, is_virtual=self.is_virtual(planned))

    def is_virtual(self, planned: PlannedTrial) -> bool:
        """Say whether time is invented in this trial, so that it takes none and its models' latencies mean nothing."""
        variant = planned.variant
        return not variant.is_remote and self.llms[variant.name].is_offline and not self.user_is_real

    def has_real_times(self, planned: PlannedTrial) -> bool:
        """Say whether checks may look at the latencies of this trial."""
        return has_real_times(self.mode, is_invented=self.is_virtual(planned))

    async def _held(self, planned: PlannedTrial) -> SimulatedConversation:
        if planned.variant.is_remote:
            assert self.remote is not None
            return await self.remote.hold(planned, self.user)
        if self._has_own_clock(planned):
            world = VirtualClock(seed=planned.seed)
            return await in_own_world(world, lambda: self._on(world, planned), self.world_threads)
        clock = TrialClock()
        TRIAL_CLOCK.set(clock)
        return await run_conversation(planned.variant.agent, planned.scenario, **self._options(planned, clock))

    def _has_own_clock(self, planned: PlannedTrial) -> bool:
        """Say whether a trial is held on a clock that jumps, and that knows no date."""
        is_jumping = self.mode == "voice" or self.is_virtual(planned) or self._is_replayed
        return is_jumping and not planned.variant.is_remote

    @property
    def _is_replayed(self) -> bool:
        """Say whether all that takes time was recorded, so that a clock of its own can let it pass."""
        return is_replay(self.cassette) and not self.user_is_real

    async def _on(self, clock: VirtualClock, planned: PlannedTrial) -> SimulatedConversation:
        """Hold the conversation on a clock of its own."""
        WORLD_CLOCK.set(clock)
        hold = _voice_runner() if self.mode == "voice" else run_conversation
        held: SimulatedConversation = await hold(
            planned.variant.agent, planned.scenario, **self._options(planned, clock)
        )
        return held

    def _options(self, planned: PlannedTrial, clock: Clock) -> dict[str, Any]:
        """Return what every conversation is held with."""
        inner = self.llms[planned.variant.name]
        return {
            "llm": self._speaking(inner, clock),
            "user": self.user,
            "seed": planned.seed,
            "clock": clock,
            "tools": planned.variant.functions,
            "tool_executor": self._tool_threads(planned.variant, clock),
            "conversation_id": conversation_id(planned),
        }

    def _tool_threads(self, variant: Variant, clock: Clock) -> Executor | None:
        """Return the threads for Python tools; where time is virtual, real seconds must end a tool that hangs."""
        if self.tool_threads is None or not variant.functions or not isinstance(clock, VirtualClock):
            return self.tool_threads
        return LimitedThreads(self.tool_threads, max(t.response_timeout_secs for t in variant.functions.values()))

    def _speaking(self, llm: LLM, clock: Clock) -> LLM:
        """Return a model that waits for its turn and is counted; on a cassette where there is one."""
        if llm.is_offline:
            return llm
        if is_replay(self.cassette):
            assert self.cassette is not None
            return self.cassette.llm(llm)
        pooled = PooledLLM(llm, self.pool.gate(llm), self.spending)
        if self.cassette is None:
            return pooled
        return self.cassette.llm(pooled, now=clock.now)

    async def _graded(self, planned: PlannedTrial, held: SimulatedConversation, conversation: Conversation) -> Graded:
        """Have the judge answer first: checks may look at what was collected."""
        if any(fault.party != "agent" for fault in held.faults):
            return Graded(conversation, faults=held.faults)
        judged = await self._judged(planned, Graded(conversation, faults=held.faults))
        checks = run_checks(
            self.checks_of(planned.scenario),
            judged.conversation,
            tool_state=held.tool_state.state,
            has_real_times=self.has_real_times(planned),
        )
        return replace(judged, checks=checks)

    async def _judged(self, planned: PlannedTrial, graded: Graded) -> Graded:
        """Return what the judge found, by the criteria and the items to collect of the agent and the scenario."""
        agent = planned.variant.agent
        questions = Questions(criteria_of(agent.criteria, planned.scenario), agent.data_collection)
        if self.judge is None or not questions:
            return graded
        try:
            grade = await self.judge.answer(graded.conversation, questions)
        except CapReachedError:
            raise
        except Exception as error:  # the edge: one trial
            return replace(graded, faults=(*graded.faults, fault_of(error, "judge")), judge_cost_usd=None)
        return Graded(
            analysed(graded.conversation, grade),
            criteria=grade.results,
            faults=(*graded.faults, *(Fault("judge", fault.reason, fault.detail) for fault in grade.faults)),
            judge_cost_usd=grade.cost_usd,
        )

    def _require_uncapped(self, faults: Sequence[Fault]) -> None:
        """Give up a trial that broke because nothing more may be spent."""
        if self.spending.is_spent and any(fault.party != "agent" for fault in faults):
            self.spending.require_left()

    def checks_of(self, scenario: Scenario) -> tuple[Check, ...]:
        """Return the checks of a scenario, read once."""
        if (found := self.checks.get(scenario.key)) is None:
            found = self.checks[scenario.key] = parse_checks(scenario.checks, f"scenario {scenario.id}")
        return found


@dataclass(frozen=True)
class Graded:
    """How a conversation was graded; it carries what the judge found out."""

    conversation: Conversation
    checks: tuple[CheckResult, ...] = ()
    criteria: Mapping[str, CriterionResult] = field(default_factory=dict)
    faults: tuple[Fault, ...] = ()
    judge_cost_usd: float | None = 0.0


def criteria_of(own: Sequence[EvaluationCriterion], scenario: Scenario) -> tuple[EvaluationCriterion, ...]:
    """Return what a judge decides: the agent's criteria, and the outcome that the scenario expects."""
    if not scenario.expected_outcome:
        return tuple(own)
    return (*own, EvaluationCriterion(id=OUTCOME, goal=scenario.expected_outcome))


def analysed(conversation: Conversation, grade: Grade) -> Conversation:
    """Return a conversation with what a judge found out, beside what its platform did; rules collect nothing."""
    known, data = conversation.analysis, {} if grade.is_offline else grade.data
    return conversation.with_changes(
        analysis=replace(
            known,
            success=grade.success or known.success,
            criteria={**known.criteria, **grade.results},
            data={**known.data, **data},
        )
    )


def conversation_id(planned: PlannedTrial) -> str:
    """Return the id of a trial's conversation, the same whenever it is held."""
    return f"conv_{planned.key}"


def result_of(
    planned: PlannedTrial,
    held: SimulatedConversation,
    graded: Graded,
    *,
    is_virtual: bool = False,
) -> TrialResult:
    """Return a finished trial with what was measured in it."""
    conversation = graded.conversation
    success, party = decide(graded.checks, graded.criteria, graded.faults)
    spoken = [turn for turn in conversation.turns if turn.role == "agent" and turn.llm_requested]
    measured = [] if is_virtual else [turn.metrics for turn in spoken]
    return TrialResult(
        variant=planned.variant.name,
        scenario_id=planned.scenario.id,
        trial=planned.trial,
        seed=planned.seed,
        key=planned.key,
        success=success,
        failed_party=party,
        checks=graded.checks,
        criteria=graded.criteria,
        faults=graded.faults,
        conversation_id=conversation.id,
        ended_by=held.ended_by,
        turns=len(conversation.turns),
        ttft_ms=_known(m.llm_ttft_ms for m in measured),
        reply_ms=_known(m.total_ms for m in measured),
        voice_to_voice_ms=_known(turn.metrics.voice_to_voice_ms for turn in spoken),
        input_tokens=_total(turn.metrics.input_tokens for turn in spoken),
        output_tokens=_total(turn.metrics.output_tokens for turn in spoken),
        cost_usd=conversation.cost_usd if spoken or graded.faults or planned.variant.is_remote else 0.0,
        simulator_cost_usd=held.simulator_cost_usd,
        judge_cost_usd=graded.judge_cost_usd,
        model_served=_served(turn.llm_served for turn in spoken),
        conversation=conversation,
        state=held.tool_state.state,
        talk=planned.talk,
    )


def _voice_runner() -> Callable[..., Any]:
    from convai_lab.simulation.voice_runner import run_voice_conversation

    return run_voice_conversation


def _known(values: Any) -> tuple[float, ...]:
    return tuple(value for value in values if value is not None)


def _total(values: Any) -> int | None:
    counted = list(values)
    return None if not counted or None in counted else sum(counted)


def _served(names: Any) -> str | None:
    return ", ".join(dict.fromkeys(name for name in names if name)) or None
