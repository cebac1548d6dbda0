"""Spending: what has this run cost so far, and may it go on?

Every request counts: of agents, simulated users and judges, answered, cut off or in vain.
"""

from __future__ import annotations

import functools
from collections.abc import Iterable
from dataclasses import dataclass, field

from convai_lab.errors import ConvaiLabError, InvalidValueError
from convai_lab.providers.base import Usage


class CapReachedError(ConvaiLabError):
    """The run has spent what it may; what is under way is given up."""


@dataclass
class Spending:
    """What a run has spent in USD, and the most that it may.

    Models whose price is not known are named in `unpriced`, and cannot be held to a limit.
    """

    max_cost: float | None = None
    usd: float = 0.0
    calls: int = 0
    unpriced: set[str] = field(default_factory=set)

    def __post_init__(self) -> None:
        given = self.max_cost
        if given is not None and (isinstance(given, bool) or not isinstance(given, int | float) or not given >= 0):
            raise InvalidValueError(f"must be USD from 0, or None for no limit, got {given!r}", field="max_cost")

    def add(self, provider: str, model: str, usage: Usage) -> None:
        """Count one request."""
        self.calls += 1
        usd = price(provider, model, usage)
        if usd is None:
            self.unpriced.add(f"{provider}/{model}")
        else:
            self.usd += usd

    def add_usd(self, usd: float, *, calls: int = 0, unpriced: Iterable[str] = ()) -> None:
        """Count what somebody else has priced."""
        self.usd, self.calls = self.usd + usd, self.calls + calls
        self.unpriced.update(unpriced)

    @property
    def left(self) -> float:
        """USD that may still be spent."""
        return float("inf") if self.max_cost is None else self.max_cost - self.usd

    @property
    def is_spent(self) -> bool:
        """Say whether nothing is left, of a run that costs something."""
        return self.usd > 0 and self.left <= 0

    def require_left(self) -> None:
        """Raise CapReachedError when nothing is left."""
        if self.is_spent:
            raise CapReachedError(f"max_cost of {self.max_cost:g} USD is reached")


@functools.lru_cache(maxsize=4096)
def price(provider: str, model: str, usage: Usage) -> float | None:
    """Return what a request costs in USD at today's list prices, None when that is not known."""
    from convai_lab.providers.prices import cost_usd

    cost = cost_usd(provider, model, usage)
    return None if cost is None else cost.usd
