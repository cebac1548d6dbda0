"""Spending: what has this run cost so far, and may it go on?

Every request counts: of agents, simulated users and judges, answered, cut off or in vain.
"""

from __future__ import annotations

import functools
import threading
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import NamedTuple

from convai_lab.conversations.cost import dollars
from convai_lab.errors import ConvaiLabError, InvalidValueError
from convai_lab.providers.base import Usage


class CapReachedError(ConvaiLabError):
    """The run has spent what it may; what is under way is given up."""


class Bill(NamedTuple):
    """What was spent since the last bill, and all models so far whose price is not known."""

    usd: float
    calls: int
    unpriced: frozenset[str]


@dataclass
class Spending:
    """What a run has spent in USD, and the most that it may; any thread may count.

    Models whose price is not known are named in `unpriced`, and cannot be held to a limit.
    """

    max_cost: float | None = None
    usd: float = 0.0
    calls: int = 0
    unpriced: set[str] = field(default_factory=set)
    _billed_usd: float = field(default=0.0, init=False, repr=False)
    _billed_calls: int = field(default=0, init=False, repr=False)
    _lock: threading.Lock = field(default_factory=threading.Lock, init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        given = self.max_cost
        if given is not None and (isinstance(given, bool) or not isinstance(given, int | float) or not given >= 0):
            raise InvalidValueError(f"must be USD from 0, or None for no limit, got {given!r}", field="max_cost")

    def add(self, provider: str, model: str, usage: Usage) -> None:
        """Count one request."""
        usd = price(provider, model, usage)
        self.add_usd(usd or 0.0, calls=1, unpriced=(f"{provider}/{model}",) if usd is None else ())

    def add_usd(self, usd: float, *, calls: int = 0, unpriced: Iterable[str] = ()) -> None:
        """Count what somebody else has priced."""
        with self._lock:
            self.usd, self.calls = self.usd + usd, self.calls + calls
            self.unpriced.update(unpriced)

    def bill(self) -> Bill:
        """Return what no bill before this one held: together they come to what was spent, whoever asks for them."""
        with self._lock:
            due = Bill(self.usd - self._billed_usd, self.calls - self._billed_calls, frozenset(self.unpriced))
            self._billed_usd, self._billed_calls = self.usd, self.calls
            return due

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
            raise CapReachedError(f"max_cost of {dollars(self.max_cost or 0.0)} is reached")


@functools.lru_cache(maxsize=4096)
def price(provider: str, model: str, usage: Usage) -> float | None:
    """Return what a request costs in USD at today's list prices, None when that is not known."""
    from convai_lab.providers.prices import cost_usd

    cost = cost_usd(provider, model, usage)
    return None if cost is None else cost.usd
