"""Simulated user: what does the invented caller say next, and when do they stop?"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol, runtime_checkable

from convai_lab.conversations.conversation import Conversation
from convai_lab.errors import InvalidValueError
from convai_lab.providers.base import LLM, Usage
from convai_lab.simulation.scenario import Scenario

Stop = Literal["goal_reached", "gave_up", "script_over"]


@dataclass(frozen=True, kw_only=True)
class Move:
    """What a simulated user does next.

    With a `text` and a `stop` the text is said and answered before the conversation ends. `fault` says that the
    simulated user, not the agent, did something wrong.
    """

    text: str | None = None
    stop: Stop | None = None
    fault: str | None = None
    detail: str = ""
    usage: Usage | None = None
    cost_usd: float | None = 0.0


@runtime_checkable
class SimulatedUser(Protocol):
    """Somebody who talks to the agent.

    It keeps no state of its own: what comes next follows from the conversation, its seed and the scenario, so that
    one object can hold many conversations at once and go on with a conversation that it did not begin.
    """

    @property
    def name(self) -> str:
        """What tables call it."""

    async def next_move(self, conversation: Conversation, scenario: Scenario) -> Move:
        """Return what the user does after the last turn."""


class ScriptedUser:
    """Says its lines in order, whatever is answered."""

    name = "scripted"

    def __init__(self, lines: Sequence[str] = ()) -> None:
        self.lines = tuple(lines)

    async def next_move(self, conversation: Conversation, scenario: Scenario) -> Move:
        """Return the next line; without lines of its own it says those of the scenario, the opening first."""
        lines = self.lines or tuple(text for text in (scenario.opening, *scenario.lines) if text)
        said = user_turns(conversation, scenario)
        return Move(text=lines[said]) if said < len(lines) else Move(stop="script_over")


def user_turns(conversation: Conversation, scenario: Scenario) -> int:
    """Count what the simulated user has said so far; turns of the scenario's history do not count."""
    return sum(turn.role == "user" for turn in conversation.turns[len(scenario.history) :])


def find_user(
    spec: SimulatedUser | LLM | str | Sequence[str] | None = None,
    *,
    seed: int = 0,
    find_llm: Callable[[str], LLM] | None = None,
) -> SimulatedUser:
    """Return the simulated user that is meant.

    Args:
        spec: None or ``"offline"`` for the rules that need no model, ``"scripted"``, a list of lines, the name of a
            model, a model, or a simulated user.
        seed: What chance depends on, together with the seed of the conversation.
        find_llm: Finds a model by its name; the registry's, when None.

    Raises:
        InvalidValueError: It is none of these.
    """
    from convai_lab.simulation.llm_user import LLMUser
    from convai_lab.simulation.offline_user import OfflineUser

    if spec is None or spec == "offline":
        return OfflineUser(seed=seed)
    if spec == "scripted":
        return ScriptedUser()
    if isinstance(spec, str):
        return LLMUser((find_llm or _registered)(spec), seed=seed)
    if isinstance(spec, SimulatedUser):
        return spec
    if isinstance(spec, LLM):
        return LLMUser(spec, seed=seed)
    if isinstance(spec, Sequence) and all(isinstance(line, str) for line in spec):
        return ScriptedUser(spec)
    raise InvalidValueError(
        f"must be offline, scripted, a model's name or a simulated user, got {type(spec).__name__}",
        field="simulated_user",
    )


def _registered(name: str) -> LLM:
    from convai_lab.providers.registry import find_llm

    return find_llm(name)
