"""Cost: what did the turns of a conversation cost together, is that known, and how is it written?"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import NamedTuple

from convai_lab.conversations.turn import Turn

LEAST_SHOWN_USD = 1e-7


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


def dollars(amount: float) -> str:
    """Return dollars as everything here writes them: to the cent, small ones with two digits, and never as a power.

    Example:
        >>> [dollars(amount) for amount in (1234.5, 0.0123, 0.00021, 0.0000073, 0)]
        ['$1,234.50', '$0.0123', '$0.00021', '$0.0000073', '$0.00']
    """
    size = abs(amount)
    if 0 < size < LEAST_SHOWN_USD:
        return f"under ${LEAST_SHOWN_USD:.7f}"
    if size == 0 or size >= 0.0995:
        return f"${amount:,.2f}"
    return f"${amount:.{max(4, 1 - math.floor(math.log10(size)))}f}"
