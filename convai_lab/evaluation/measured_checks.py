"""Measured checks: was the conversation short, fast and cheap enough?

What was not measured is unknown: it neither holds nor fails, unless what is known decides it already.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

from convai_lab.conversations.cost import cost_of_turn, dollars
from convai_lab.conversations.turn import Turn
from convai_lab.evaluation.check import HISTORY, Check, Found, Scene
from convai_lab.evaluation.check_fields import fields_in, number_in

STAGES = (
    "endpointing",
    "asr",
    "llm_ttft",
    "llm_total",
    "first_sentence",
    "tts_ttfb",
    "playout",
    "transport",
    "voice_to_voice",
    "tool",
    "total",
)
"""The stages of a reply that have a time in `TurnMetrics`."""

SIDES = ("agent", "user", "both")
P95 = 0.95
Measure = Literal["p95_ms", "max_ms"]
MEASURES: tuple[Measure, ...] = ("p95_ms", "max_ms")


@dataclass(frozen=True)
class TurnCount:
    """There are at least and at most so many turns."""

    at_least: int | None
    at_most: int | None
    by: str = "both"
    kind: ClassVar[str] = "turns"

    @property
    def name(self) -> str:
        """How many turns there may be."""
        least = f"at least {self.at_least}" if self.at_least is not None else ""
        most = f"at most {self.at_most}" if self.at_most is not None else ""
        return f"{' and '.join(part for part in (least, most) if part)} turns{self._of()}"

    def run(self, scene: Scene) -> Found:
        """Count the turns."""
        turns = [turn for turn in scene.conversation.turns if HISTORY not in turn.marks]
        count = sum(self.by in ("both", turn.role) for turn in turns)
        enough = self.at_least is None or count >= self.at_least
        passed = enough and (self.at_most is None or count <= self.at_most)
        return Found(passed, f"there were {count} turns{self._of()}")

    def _of(self) -> str:
        return "" if self.by == "both" else f" of the {self.by}"


@dataclass(frozen=True)
class Latency:
    """The largest, or the 95th percentile, of a stage over the agent's turns is at most so many milliseconds."""

    stage: str
    measure: Measure
    limit_ms: float
    kind: ClassVar[str] = "latency"

    @property
    def name(self) -> str:
        """Which time must stay below which limit."""
        return f"{self._what()} at most {self.limit_ms:g} ms"

    def run(self, scene: Scene) -> Found:
        """Compare what was measured; turns that should have a time and have none leave it open."""
        if not scene.has_real_times:
            return Found(None, "time was invented in this run")
        times = list(_times(scene.agent_turns, self.stage))
        measured = [time for time in times if time is not None]
        if not measured:
            return Found(None, f"{self.stage} was not measured")
        least, most = (self._of([bound if t is None else t for t in times]) for bound in (0.0, math.inf))
        missing = len(times) - len(measured)
        if least <= self.limit_ms < most:
            return Found(None, f"{self.stage} was not measured in {missing} of {len(times)} turns")
        if least > self.limit_ms:
            return Found(False, f"{self._what()} was {_ms(self._of(measured))} over {len(measured)} turns")
        return Found(True, f"{self._what()} was {_ms(self._of(measured))} over {len(measured)} turns")

    def _of(self, times: Sequence[float]) -> float:
        return max(times) if self.measure == "max_ms" else percentile(times, P95)

    def _what(self) -> str:
        return f"{'p95' if self.measure == 'p95_ms' else 'largest'} {self.stage}"


@dataclass(frozen=True)
class Cost:
    """All turns together cost at most so much."""

    at_most_usd: float
    kind: ClassVar[str] = "cost_usd"

    @property
    def name(self) -> str:
        """What it may cost."""
        return f"cost at most {dollars(self.at_most_usd)}"

    def run(self, scene: Scene) -> Found:
        """Add up what is known; an unknown cost is no cost of zero."""
        costs = [cost_of_turn(turn) for turn in scene.conversation.turns]
        known = sum(cost.usd for cost in costs if cost.usd is not None)
        unknown = sum(cost.used_model and cost.usd is None for cost in costs)
        if known > self.at_most_usd:
            return Found(False, f"it cost {'at least ' if unknown else ''}{dollars(known)}")
        if unknown:
            return Found(None, f"the cost of {unknown} turns is not known")
        if not any(cost.usd is not None for cost in costs):
            return Found(None, "no turn says what it cost")
        return Found(True, f"it cost {dollars(known)}")


def turns(raw: Any, where: str) -> Check:
    """Read a `turns` check; a number alone is `at_most`."""
    fields = fields_in({"at_most": raw} if isinstance(raw, int) else raw, where)
    fields.only(("at_least", "at_most", "by"))
    at_least, at_most = fields.count("at_least"), fields.count("at_most")
    if at_least is None and at_most is None:
        fields.fail("give at_least, at_most or both")
    if at_least is not None and at_most is not None and at_least > at_most:
        fields.fail(f"at_least ({at_least}) is more than at_most ({at_most})")
    return TurnCount(at_least, at_most, fields.choice("by", SIDES, "both"))


def latency(raw: Any, where: str) -> Check:
    """Read a `latency` check: a stage and its limit as `p95_ms` or `max_ms`."""
    fields = fields_in(raw, where)
    fields.only(("stage", *MEASURES))
    stage = fields.choice("stage", STAGES)
    given = fields.one_of(MEASURES)
    return Latency(stage, next(m for m in MEASURES if m == given), fields.number(given))


def cost_usd(raw: Any, where: str) -> Check:
    """Read a `cost_usd` check; a number alone is `at_most`."""
    if isinstance(raw, (int, float)):
        return Cost(number_in(raw, where, least=0))
    fields = fields_in(raw, where)
    fields.only(("at_most",))
    fields.one_of(("at_most",))
    return Cost(fields.number("at_most"))


def percentile(values: Sequence[float], share: float) -> float:
    """Return a percentile with linear interpolation, as in the dataframes.

    Example:
        >>> percentile([100.0, 200.0, 300.0], 0.95)
        290.0
    """
    ordered = sorted(values)
    place = (len(ordered) - 1) * share
    below = math.floor(place)
    rest = place - below
    if rest < 1e-12:  # also keeps infinity times zero away
        return ordered[below]
    return ordered[below] + rest * (ordered[below + 1] - ordered[below]) if ordered[below] < math.inf else math.inf


def _times(agent_turns: Sequence[Turn], stage: str) -> Iterator[float | None]:
    """Yield the time of every turn that has one, and None for every other that should have."""
    for turn in agent_turns:
        time = getattr(turn.metrics, f"{stage}_ms")
        expected = bool(turn.tool_calls) if stage == "tool" else cost_of_turn(turn).used_model
        if time is not None or expected:
            yield time


def _ms(value: float) -> str:
    return f"{value:,.0f} ms"
