"""Simulating: how does one simulated conversation with an agent go?"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal

from convai_lab import background
from convai_lab.agents.agent import Agent
from convai_lab.clock import SystemClock, VirtualClock
from convai_lab.conversations.conversation import Conversation
from convai_lab.conversations.turn import Turn
from convai_lab.errors import InvalidValueError, NotFoundError
from convai_lab.evaluation.checks import CheckResult, parse_checks, run_checks
from convai_lab.experiments.caller_variables import require_variables, with_variables
from convai_lab.experiments.contenders import find_agent
from convai_lab.experiments.interrupts import in_one_line
from convai_lab.experiments.invented_times import has_real_times, without_dates, without_times
from convai_lab.experiments.outside import from_outside
from convai_lab.experiments.plan import agent_mark
from convai_lab.experiments.progress import OnWaitingThread
from convai_lab.experiments.roles import SCRIPTED, UserSpec, model_ref
from convai_lab.experiments.variant import OFFLINE
from convai_lab.experiments.world import in_own_world
from convai_lab.providers.base import LLM, ChatRequest, LLMEvent
from convai_lab.providers.registry import find_llm
from convai_lab.simulation.faults import Fault
from convai_lab.simulation.persona import Persona, find_persona
from convai_lab.simulation.runner import Ending, SimulatedConversation, run_conversation
from convai_lab.simulation.scenario import Scenario, ScenarioSet, load_scenarios
from convai_lab.simulation.simulated_user import Move, SimulatedUser, find_user

if TYPE_CHECKING:
    from convai_lab.workspace.workspace import Workspace

OnTurn = Callable[[Conversation], object]
"""Is told the conversation whenever somebody has spoken."""


@dataclass(frozen=True, kw_only=True)
class Simulation:
    """One simulated conversation, with what is known about how it went."""

    conversation: Conversation
    scenario: Scenario
    user: str
    ended_by: Ending
    checks: tuple[CheckResult, ...] = ()
    faults: tuple[Fault, ...] = ()
    cost_usd: float | None = None
    """What the agent and the simulated user cost together; None when that is not known."""

    @property
    def success(self) -> bool | None:
        """Say whether every check held; None when somebody else failed, or there is nothing to grade by."""
        if any(fault.party != "agent" for fault in self.faults):
            return None
        return all(check.passed is True for check in self.checks) if self.checks else None


@dataclass(frozen=True, kw_only=True)
class Casting:
    """Who talks with whom, about what and how: everything that one simulated conversation needs."""

    agent: Agent
    scenario: Scenario
    user: Any = None
    llm: Any = None
    seed: int = 0
    mode: Literal["text", "voice"] = "text"

    def __post_init__(self) -> None:
        if self.mode not in ("text", "voice"):
            raise InvalidValueError(f"must be text or voice, got {self.mode!r}", field="mode")
        if isinstance(self.seed, bool) or not isinstance(self.seed, int):
            raise InvalidValueError(f"must be a whole number, got {self.seed!r}", field="seed")

    @property
    def speaks_for(self) -> LLM:
        """The model that speaks for the agent, by its name alone where it is not at hand."""
        return self.llm if isinstance(self.llm, LLM) else model_ref(self.llm or self.agent.llm or OFFLINE)

    @property
    def is_invented(self) -> bool:
        """Say whether rules talk with rules, so that time is invented and all repeats exactly."""
        return self.speaks_for.is_offline and (self.user is None or self.user in (OFFLINE, SCRIPTED))

    @property
    def is_virtual(self) -> bool:
        """Say whether it has a clock of its own, on which waiting takes no time and which knows no date."""
        return self.mode == "voice" or self.is_invented

    @property
    def mark(self) -> str:
        """The id of a conversation that goes the same way whenever it is held."""
        told = repr((agent_mark(self.agent), self.scenario.key, self.user, self.llm, self.seed, self.mode))
        return f"conv_{hashlib.blake2b(told.encode(errors='surrogatepass'), digest_size=16).hexdigest()}"


def simulate(
    agent: Agent | str,
    scenario: Any,
    *,
    scenarios: Any = None,
    persona: Persona | Mapping[str, Any] | str | None = None,
    user: Any = None,
    llm: LLM | str | None = None,
    seed: int = 0,
    mode: Literal["text", "voice"] = "text",
    variables: Mapping[str, Any] | None = None,
    workspace: Workspace | None = None,
    on_turn: OnTurn | None = None,
) -> Conversation:
    """Hold one conversation of a simulated user with an agent, in this process, and return it.

    With a `workspace` on the local platform the conversation is stored there, apart from those that people held.

    Args:
        agent: An `Agent`, or the name of one.
        scenario: A `Scenario`, a mapping of its fields, an opening, or the id of one of `scenarios`.
        scenarios: Where `scenario` is looked up: a file, a list or a DataFrame.
        persona: How the caller talks, instead of the scenario's own persona.
        user: Who plays the caller: ``offline`` (rules, the default), ``scripted``, a model, or a `SimulatedUser`.
        llm: The model that speaks for the agent, instead of its own.
        seed: What chance depends on.
        mode: ``voice`` holds it as a call, in virtual time.
        variables: Values for the agent's `{{variables}}`, where the scenario gives none of its own.
        on_turn: Is told the conversation as it grows, on the calling thread.

    Raises:
        ConvaiLabError: Something asked for is wrong, or the model needs a key that is not set.

    Example:
        >>> said = simulate(Agent(name="Pat", prompt="We open at nine."), "When do you open?")
        >>> said.turns[0].text, said.source
        ('When do you open?', 'simulated')
    """
    return simulation(**locals()).conversation


def simulation(agent: Agent | str, scenario: Any, *, on_turn: OnTurn | None = None, **options: Any) -> Simulation:
    """Do what `simulate` does, and return what is known about how it went.

    An interrupt carries the conversation as far as it got as `conversation`.
    """
    calls, last = background.MainThreadCalls(), Last(on_turn)
    last.tell = OnWaitingThread(calls)
    try:
        return background.run(asimulation(agent, scenario, on_turn=last, **options), calls=calls)
    except BaseException as error:
        error.__dict__.setdefault("conversation", last.conversation)
        if isinstance(error, KeyboardInterrupt):
            raise in_one_line(error, "of this conversation nothing is stored, and the same call begins anew") from None
        raise


class Last:
    """Keeps the newest state of a conversation, and shows it on the thread that waits."""

    tell: OnWaitingThread

    def __init__(self, on_turn: OnTurn | None) -> None:
        self.conversation: Conversation | None = None
        self._on_turn = on_turn

    def __call__(self, conversation: Conversation) -> None:
        """Somebody has spoken."""
        self.conversation, on_turn = conversation, self._on_turn
        if on_turn is not None:
            background.loop().call_soon_threadsafe(self.tell, lambda: on_turn(conversation))


async def asimulate(agent: Agent | str, scenario: Any, **options: Any) -> Conversation:
    """Do what `simulate` does, awaited."""
    from convai_lab.workspace.listing import background_twin

    return (await background_twin(asimulation(agent, scenario, **options))).conversation


async def asimulation(
    agent: Agent | str,
    scenario: Any,
    *,
    scenarios: Any = None,
    persona: Any = None,
    user: Any = None,
    llm: LLM | str | None = None,
    seed: int = 0,
    mode: Literal["text", "voice"] = "text",
    variables: Mapping[str, Any] | None = None,
    workspace: Workspace | None = None,
    on_turn: OnTurn | None = None,
) -> Simulation:
    """Do what `simulate` does, and return what is known about how it went; on the background loop."""
    found = await asyncio.to_thread(find_scenario, scenario, scenarios)
    found = found if persona is None else replace(found, persona=find_persona(persona))
    found = with_variables(ScenarioSet((found,)), variables)[0]
    checks = parse_checks(found.checks, f"scenario {found.id}")
    casting = Casting(agent=await _agent(agent, workspace), scenario=found, user=user, llm=llm, seed=seed, mode=mode)
    require_variables({casting.agent.name: casting.agent}, [found])
    held = await _held(casting, on_turn)
    is_timed = has_real_times(casting.mode, is_invented=casting.is_invented)
    if casting.is_virtual:
        held = replace(held, conversation=without_dates(held.conversation))
    if not is_timed:
        held = replace(held, conversation=without_times(held.conversation))
    if workspace is not None and workspace.platform == "local":
        await workspace.conversations.akeep([held.conversation])
    costs = (held.conversation.cost_usd, held.simulator_cost_usd)
    return Simulation(
        conversation=held.conversation,
        scenario=found,
        user=UserSpec(user).name,
        ended_by=held.ended_by,
        checks=run_checks(checks, held.conversation, tool_state=held.tool_state.state, has_real_times=is_timed),
        faults=held.faults,
        cost_usd=None if None in costs else sum(filter(None, costs)),
    )


def find_scenario(scenario: Any, scenarios: Any = None) -> Scenario:
    """Return the scenario that is meant: itself, by its id in `scenarios`, or made from its fields or its opening.

    Raises:
        NotFoundError: `scenarios` has none of that id; names those that are close.
        InvalidValueError: It is none.
    """
    if isinstance(scenario, Scenario):
        return scenario
    if scenarios is None:
        return load_scenarios([scenario])[0]
    found = load_scenarios(scenarios)
    try:
        return found[scenario]
    except (KeyError, IndexError):
        import difflib

        ids = [one.id for one in found]
        close = difflib.get_close_matches(str(scenario), ids, n=1)
        hint = f"did you mean {close[0]}?" if close else f"it has {', '.join(ids[:10])}{', …' * (len(ids) > 10)}"
        raise NotFoundError(f"{found.source} has no scenario {str(scenario)[:80]!r}; {hint}") from None


async def _agent(given: Agent | str, workspace: Workspace | None) -> Agent:
    if isinstance(given, Agent):
        return given
    if workspace is None:
        from convai_lab.workspace.connect import connect

        workspace = connect()
    at_home = workspace
    return await asyncio.to_thread(lambda: find_agent(given, at_home))


async def _held(casting: Casting, on_turn: OnTurn | None) -> SimulatedConversation:
    llm = _llm(casting)
    find_user(casting.user, seed=casting.seed, find_llm=model_ref)  # says early what is wrong with it
    conversation_id = casting.mark if casting.is_invented else SystemClock().new_id("conv_")
    if casting.is_virtual:
        world = VirtualClock(seed=casting.seed)
        return await in_own_world(world, lambda: _on(world, casting, llm, on_turn, conversation_id))
    return await run_conversation(
        casting.agent,
        casting.scenario,
        llm=llm,
        user=_user(casting, on_turn, find_llm),
        seed=casting.seed,
        clock=SystemClock(),
        conversation_id=conversation_id,
    )


async def _on(
    clock: VirtualClock, casting: Casting, llm: LLM, on_turn: OnTurn | None, conversation_id: str
) -> SimulatedConversation:
    """Hold the conversation on a clock of its own, where waiting takes no time."""
    from convai_lab.simulation.voice_runner import run_voice_conversation

    hold = run_voice_conversation if casting.mode == "voice" else run_conversation
    user = _user(casting, on_turn, lambda name: _Outside(find_llm(name), clock))
    speaking = llm if llm.is_offline else _Outside(llm, clock)
    options: dict[str, Any] = {"seed": casting.seed, "clock": clock, "conversation_id": conversation_id}
    return await hold(casting.agent, casting.scenario, llm=speaking, user=user, **options)


def _llm(casting: Casting) -> LLM:
    if isinstance(casting.llm, LLM):
        return casting.llm
    return find_llm(casting.llm or casting.agent.llm or "offline", custom=casting.agent.custom_llm)


def _user(casting: Casting, on_turn: OnTurn | None, find: Callable[[str], LLM]) -> SimulatedUser:
    user = find_user(casting.user, seed=casting.seed, find_llm=find)
    if on_turn is None:
        return user
    return _Watched(user, (lambda said: on_turn(without_dates(said))) if casting.is_virtual else on_turn)


class _Outside:
    """A real model in a world where time is virtual."""

    is_offline = False

    def __init__(self, llm: LLM, clock: VirtualClock) -> None:
        self._llm, self._clock = llm, clock
        self.provider, self.model = llm.provider, llm.model

    def stream(self, request: ChatRequest) -> AsyncIterator[LLMEvent]:
        """Stream an answer at the times that it really took."""
        return from_outside(self._clock, lambda: self._llm.stream(request))


class _Watched:
    """A simulated user who tells how the conversation stands."""

    def __init__(self, inner: SimulatedUser, tell: OnTurn) -> None:
        self._inner, self._tell, self.name = inner, tell, inner.name

    async def next_move(self, conversation: Conversation, scenario: Scenario) -> Move:
        """Return the move of the user inside."""
        self._tell(conversation)
        move = await self._inner.next_move(conversation, scenario)
        if move.text is not None:
            said = Turn(role="user", text=move.text)
            self._tell(conversation.with_changes(turns=(*conversation.turns, said)))
        return move
