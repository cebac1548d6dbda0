"""Cost: what did the turns of a conversation cost together, and is that known?"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from convai_lab.conversations.turn import Turn


class TurnCost(NamedTuple):
    """Whether a turn used a model, and what it cost in USD when that is known."""

    used_model: bool
    usd: float | None


def cost_of_turn(turn: Turn) -> TurnCost:
    """Return what one turn cost."""
    return TurnCost(bool(turn.llm_served or turn.llm_requested), turn.metrics.cost_usd)


def total_cost(costs: Iterable[TurnCost]) -> float | None:
    """Add up costs in USD; None when no turn has one, or a turn that used a model does not say."""
    charged = [cost.usd for cost in costs if cost.used_model or cost.usd is not None]
    known = [usd for usd in charged if usd is not None]
    return sum(known) if charged and len(known) == len(charged) else None
