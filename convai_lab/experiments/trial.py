"""Trial: what came of one conversation of one variant in one scenario?

A trial whose conversation failed through no fault of the agent (its vendor, the simulated user, the judge or a tool
broke) has neither succeeded nor failed: `success` is None, and `failed_party` names who failed.
"""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from convai_lab.conversations.conversation import Conversation, CriterionResult

if TYPE_CHECKING:
    from convai_lab.evaluation.checks import CheckResult
    from convai_lab.simulation.faults import Fault

FailedParty = Literal["provider", "simulator", "judge", "tool"]


class TrialId(NamedTuple):
    """Which trial: names, not positions, so that it means the same in every run."""

    variant: str
    scenario: str
    trial: int


@dataclass(frozen=True, kw_only=True, slots=True)
class TrialResult:
    """One finished trial.

    `trial` counts from 0; `seed` is the same for all variants, so that they can be compared pair by pair. `key` is
    its address in the journal. Times are in milliseconds, one for each reply of the agent where it was measured:
    to the first token, to the end of the reply's text, and (voice only) from the caller's last sound to the agent's
    first. They are empty where time is virtual. Costs are in USD; None means not known, never zero.

    `conversation` is there while the trial is being finished; a `Comparison` leaves it in the journal and reads it
    when asked for.
    """

    variant: str
    scenario_id: str
    trial: int
    seed: int
    key: str
    success: bool | None = None
    failed_party: FailedParty | None = None
    checks: tuple[CheckResult, ...] = ()
    criteria: Mapping[str, CriterionResult] = field(default_factory=dict)
    faults: tuple[Fault, ...] = ()
    conversation_id: str = ""
    ended_by: str | None = None
    turns: int = 0
    ttft_ms: tuple[float, ...] = ()
    reply_ms: tuple[float, ...] = ()
    voice_to_voice_ms: tuple[float, ...] = ()
    input_tokens: int | None = None
    output_tokens: int | None = None
    cost_usd: float | None = None
    simulator_cost_usd: float | None = None
    judge_cost_usd: float | None = None
    model_served: str | None = None
    is_cached: bool = field(default=False, compare=False)
    conversation: Conversation | None = field(default=None, compare=False, repr=False)
    state: Mapping[str, Any] | None = field(default=None, compare=False, repr=False)
    """The invented world that the tools left, for checks; like the conversation it stays in the journal."""
    talk: str = field(default="", compare=False, repr=False)
    """What trials with the same conversation share; they differ in their checks alone."""

    @property
    def id(self) -> TrialId:
        """Which trial this is."""
        return TrialId(self.variant, self.scenario_id, self.trial)

    @property
    def is_graded(self) -> bool:
        """Say whether it counts: it ended, and something said whether the agent succeeded."""
        return self.success is not None

    @property
    def reason(self) -> str | None:
        """Why it did not succeed, in one line; None when it did, or was not graded."""
        if self.success:
            return None
        if self.failed_party is not None:
            return next((_told(f) for f in self.faults if f.party == self.failed_party), f"the {self.failed_party}")
        checks = [c.why or c.name for c in self.checks if not c.passed]
        criteria = [f"{name}: {c.rationale or c.value}" for name, c in self.criteria.items() if c.value != "success"]
        agent = [_told(f) for f in self.faults if f.party == "agent"]
        return "; ".join([*checks, *criteria, *agent]) or None

    @property
    def total_cost_usd(self) -> float | None:
        """What agent, simulated user and judge cost together; None when a part is not known."""
        parts = (self.cost_usd, self.simulator_cost_usd, self.judge_cost_usd)
        known = [part for part in parts if part is not None]
        return sum(known) if len(known) == len(parts) else None

    def light(self) -> TrialResult:
        """Return it without what stays in the journal: its conversation, and what the tools left."""
        return self if self.conversation is None else self.with_changes(conversation=None, state=None)

    def with_changes(self, **changes: Any) -> TrialResult:
        """Return a copy with some fields changed."""
        if unknown := changes.keys() - set(_FIELDS):
            raise TypeError(f"a trial has no field {', '.join(sorted(unknown))}")
        copy = object.__new__(TrialResult)
        for name in _FIELDS:  # a third of the time that `dataclasses.replace` takes
            object.__setattr__(copy, name, changes[name] if name in changes else getattr(self, name))
        return copy

    def to_dict(self) -> dict[str, Any]:
        """Return it as plain JSON values, without what is kept elsewhere or only this run knows: see `_APART`."""
        values = {name: getattr(self, name) for name in _PLAIN}
        values["checks"] = [{"name": c.name, "passed": c.passed, "why": c.why, "kind": c.kind} for c in self.checks]
        values["criteria"] = {
            name: {"value": c.value, "rationale": c.rationale, "extra": dict(c.extra)}
            for name, c in self.criteria.items()
        }
        values["faults"] = [{"party": f.party, "reason": f.reason, "detail": f.detail} for f in self.faults]
        return values

    @staticmethod
    def from_dict(values: Mapping[str, Any]) -> TrialResult:
        """Read what `to_dict` wrote; fields of a later version are left out.

        Raises:
            KeyError, TypeError: It is something else.
        """
        from convai_lab.evaluation.checks import CheckResult
        from convai_lab.simulation.faults import Fault

        given: dict[str, Any] = {name: values[name] for name in _PLAIN if name in values}
        for name in _TIMES:
            given[name] = tuple(given.get(name, ()))
        given["checks"] = tuple(CheckResult(**check) for check in values.get("checks", ()))
        given["criteria"] = {name: CriterionResult(**c) for name, c in values.get("criteria", {}).items()}
        given["faults"] = tuple(Fault(**fault) for fault in values.get("faults", ()))
        return TrialResult(**given)


_TIMES = ("ttft_ms", "reply_ms", "voice_to_voice_ms")
_APART = ("checks", "criteria", "faults", "conversation", "state", "talk", "is_cached")
_FIELDS = tuple(f.name for f in fields(TrialResult))
_PLAIN = tuple(f.name for f in fields(TrialResult) if f.name not in _APART)


def decide(
    checks: Sequence[CheckResult], criteria: Mapping[str, CriterionResult], faults: Sequence[Fault]
) -> tuple[bool | None, FailedParty | None]:
    """Return whether the agent succeeded, and who failed when that cannot be said.

    Every check must hold and every criterion be met; what is ``unknown`` is never a success. With nothing to grade
    by, the answer is None.
    """
    if (party := failed_party(faults)) is not None:
        return None, party
    if any(fault.party == "agent" for fault in faults):
        return False, None
    verdicts = [check.passed is True for check in checks]
    verdicts += [criterion.value == "success" for criterion in criteria.values()]
    return (all(verdicts) if verdicts else None), None


def failed_party(faults: Sequence[Fault]) -> FailedParty | None:
    """Return who other than the agent failed first, or None."""
    first = next((fault.party for fault in faults if fault.party != "agent"), None)
    return first if first in ("provider", "simulator", "judge", "tool") else None


def median(values: Sequence[float]) -> float | None:
    """Return the median of the times of one trial, None when nothing was measured."""
    return round(statistics.median(values), 3) if values else None


def _told(fault: Fault) -> str:
    return f"{fault.reason}: {fault.detail}" if fault.detail else fault.reason
