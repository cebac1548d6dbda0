"""Criteria: what is a conversation judged by, and what do the verdicts come to?"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from convai_lab.agents.agent import EvaluationCriterion
from convai_lab.conversations.conversation import CriterionResult, Outcome
from convai_lab.evaluation.check_fields import Fields, fields_in, refuse, shown, text_in

OUTCOMES: tuple[Outcome, ...] = ("success", "failure", "unknown")
MAX_GOAL_CHARS = 2_000


def parse_criteria(raw: object, where: str) -> tuple[EvaluationCriterion, ...]:
    """Read criteria: goals as texts, mappings with `goal` (and `id`, `name`), goals by id, or criteria as they are.

    Example:
        >>> [c.id for c in parse_criteria(["The agent was polite.", {"id": "found", "goal": "Found it."}], "agent")]
        ['criterion_1', 'found']

    Raises:
        InvalidValueError: One is wrong, or two have the same id; names it.
    """
    if raw is None:
        return ()
    if isinstance(raw, Mapping) and "goal" not in raw:
        raw = [{"id": name, "goal": goal} for name, goal in raw.items()]
    if isinstance(raw, (str, Mapping, EvaluationCriterion)):
        raw = [raw]
    if not isinstance(raw, Sequence):
        refuse(f"{where}, criteria", f"must be a list of goals, got {shown(raw)}")
    found = tuple(_criterion(item, number, f"{where}, criterion {number}") for number, item in enumerate(raw, start=1))
    check_ids(found, where)
    return found


def check_ids(criteria: Iterable[EvaluationCriterion], where: str) -> None:
    """Refuse two criteria with one id, because verdicts are told apart by it."""
    seen: set[str] = set()
    for criterion in criteria:
        if criterion.id in seen:
            refuse(f"{where}, criteria", f"two of them have the id {shown(criterion.id)}")
        seen.add(criterion.id)


def overall(results: Mapping[str, CriterionResult]) -> Outcome | None:
    """Return what the verdicts come to: one failure fails, all must succeed; None when there is none at all.

    Example:
        >>> overall({"a": CriterionResult(value="success"), "b": CriterionResult(value="unknown")})
        'unknown'
    """
    values = [result.value for result in results.values()]
    if not values:
        return None
    if "failure" in values:
        return "failure"
    return "success" if all(value == "success" for value in values) else "unknown"


def _criterion(raw: Any, number: int, where: str) -> EvaluationCriterion:
    if isinstance(raw, EvaluationCriterion):
        return raw
    fields = fields_in({"goal": raw} if isinstance(raw, str) else raw, where)
    fields.only(("id", "goal", "name"))
    goal = fields.text("goal")
    if len(goal) > MAX_GOAL_CHARS:
        refuse(f"{where}.goal", f"must have at most {MAX_GOAL_CHARS:,} characters, got {len(goal):,}")
    return EvaluationCriterion(id=_id(fields, number), goal=goal, name=fields.text("name") if "name" in fields else "")


def _id(fields: Fields, number: int) -> str:
    return text_in(fields.values["id"], f"{fields.where}.id") if "id" in fields else f"criterion_{number}"
