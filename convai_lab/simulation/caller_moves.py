"""Caller moves: what does the simulated user do next, what did asking it cost, and did it fail?"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from convai_lab.clock import Clock
from convai_lab.dialogue.conversation_loop import ConversationLoop
from convai_lab.dialogue.user_turn import user_text
from convai_lab.errors import InvalidValueError
from convai_lab.providers.base import Usage
from convai_lab.simulation.faults import Fault, fault_of
from convai_lab.simulation.scenario import Scenario
from convai_lab.simulation.simulated_user import Move, SimulatedUser

MOVE_SECS = 120.0
"""A simulated user may think so long."""


@dataclass
class Expenses:
    """What a simulated user used and cost; a cost that is not known once makes the whole unknown."""

    usage: Usage = field(default_factory=Usage)
    cost_usd: float | None = 0.0

    def add(self, move: Move) -> None:
        """Count one move."""
        if move.usage is not None:
            self.usage = Usage(*(_sum(a, b) for a, b in zip(self.usage, move.usage, strict=True)))
        self.cost_usd = None if self.cost_usd is None or move.cost_usd is None else self.cost_usd + move.cost_usd


class CallerMoves:
    """Asks the simulated user of one conversation for its moves; `faults` are those of the conversation so far."""

    def __init__(self, loop: ConversationLoop, scenario: Scenario, user: SimulatedUser, clock: Clock) -> None:
        self.scenario = scenario
        self.faults: list[Fault] = []
        self.expenses = Expenses()
        self._loop, self._user, self._clock = loop, user, clock

    async def next(self) -> Move | None:
        """Return the next move; None when the simulated user failed, which is noted."""
        try:
            async with self._clock.timeout(MOVE_SECS):
                move = _checked(await self._user.next_move(self._loop.conversation, self.scenario))
        except TimeoutError:
            self.faults.append(Fault("simulator", "timeout", f"no next turn within {MOVE_SECS:g} seconds"))
            return None
        except Exception as error:  # the edge: one trial
            self.faults.append(fault_of(error, "simulator"))
            return None
        self.expenses.add(move)
        if move.fault is not None:
            self.faults.append(Fault("simulator", move.fault, move.detail))
            return None
        return move


def _checked(move: Move) -> Move:
    """Return a move that can be made.

    Raises:
        InvalidValueError: It is none, or says what nobody can say.
    """
    if not isinstance(move, Move):
        raise InvalidValueError(f"a simulated user returns a Move, not {type(move).__name__}", field="next_move")
    if move.text is not None and not user_text(move.text).strip():
        return replace(move, text=None, fault=move.fault or "empty_reply")
    return move


def _sum(one: int | None, other: int | None) -> int | None:
    return other if one is None else one if other is None else one + other
