"""Meter: how long did a reply take, where, and what did it use and cost?

What was not measured stays None. Tokens and cost are known only when every request of the reply is known.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeVar

from convai_lab.conversations.turn import TurnMetrics
from convai_lab.providers.base import LLM, Done, Usage

if TYPE_CHECKING:
    from convai_lab.providers.prices import Cost

N = TypeVar("N", int, float)


@dataclass
class RequestMeter:
    """One request to a model: seconds spent waiting for it, to its first token and in all, and what it used."""

    secs: float = 0.0
    first_token_secs: float | None = None
    done: Done | None = None
    _provider: str = ""
    _model: str = ""
    _at: float = 0.0

    def waited(self, secs: float, *, for_token: bool) -> None:
        """Count time spent waiting for the model; `for_token` when text or a tool call came of it."""
        self.secs += secs
        if for_token and self.first_token_secs is None:
            self.first_token_secs = self.secs

    def finish(self, done: Done, llm: LLM, *, at: float) -> None:
        """Take in what the model says it used; `at` is the instant that decides the price."""
        self.done, self._at = done, at
        self._provider, self._model = llm.provider, done.model_served or llm.model

    def cost(self) -> Cost | None:
        """Return what the request cost, or None when it is not known (the first time, a price list is read)."""
        from convai_lab.providers.prices import cost_usd

        return cost_usd(self._provider, self._model, self.done.usage, at=self._at) if self.done else None


@dataclass
class ReplyMeter:
    """All requests and tool rounds of one reply."""

    requests: list[RequestMeter] = field(default_factory=list)
    tool_secs: float | None = None

    def new_request(self) -> RequestMeter:
        """Start measuring one more request."""
        self.requests.append(RequestMeter())
        return self.requests[-1]

    def tools_took(self, secs: float) -> None:
        """Count a round of tools; tools that ran at the same time count once."""
        self.tool_secs = (self.tool_secs or 0.0) + secs

    @property
    def models_served(self) -> str | None:
        """Return the model that served; several in the order in which they first did."""
        names = dict.fromkeys(r.done.model_served for r in self.requests if r.done and r.done.model_served)
        return ", ".join(names) or None

    def metrics(self, *, total_secs: float | None) -> TurnMetrics:
        """Return what was measured; `total_secs` is from the end of the user's turn to the end of the reply."""
        first = self.requests[0].first_token_secs if self.requests else None
        costs = [request.cost() for request in self.requests]
        cost_usd = _total([None if cost is None else cost.usd for cost in costs])
        usages = [request.done.usage if request.done else Usage() for request in self.requests]
        return TurnMetrics(
            llm_ttft_ms=_millis(first),
            llm_total_ms=_millis(sum(request.secs for request in self.requests)) if self.requests else None,
            tool_ms=_millis(self.tool_secs),
            total_ms=_millis(total_secs),
            input_tokens=_total([usage.input for usage in usages]),
            output_tokens=_total([usage.output for usage in usages]),
            cached_tokens=_total([usage.cached_input for usage in usages]),
            cost_usd=cost_usd,
            cost_is_estimate=None if cost_usd is None else any(cost is not None and cost.is_estimate for cost in costs),
        )


def _total(parts: Sequence[N | None]) -> N | None:
    known = [part for part in parts if part is not None]
    return sum(known) if known and len(known) == len(parts) else None


def _millis(secs: float | None) -> float | None:
    return None if secs is None else round(secs * 1000, 3)
