"""Judge panel: what do several judges decide together, and how far do they agree?"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from convai_lab.agents.agent import DataItem, EvaluationCriterion
from convai_lab.conversations.conversation import Conversation, CriterionResult
from convai_lab.errors import InvalidValueError
from convai_lab.evaluation.criteria import check_ids
from convai_lab.evaluation.judge import AnyJudge, Grade, Questions
from convai_lab.evaluation.judge_request import side_by_side, total_spent


@dataclass(frozen=True)
class JudgePanel:
    """Several judges who vote: more than half of the whole panel decides, everything else is unknown.

    A judge who fails does not vote, and does not make the panel smaller: one of three cannot decide alone.
    """

    judges: tuple[AnyJudge, ...]

    def __init__(self, judges: Sequence[AnyJudge]) -> None:
        if len(judges) < 2:
            raise InvalidValueError(f"needs at least two judges, got {len(judges)}", field="panel")
        object.__setattr__(self, "judges", tuple(judges))

    @property
    def name(self) -> str:
        """The names of the judges."""
        return ", ".join(judge.name for judge in self.judges)

    @property
    def is_offline(self) -> bool:
        """Whether rules judge alone."""
        return all(judge.is_offline for judge in self.judges)

    async def grade(self, conversation: Conversation, criteria: Sequence[EvaluationCriterion]) -> Grade:
        """Judge a conversation by criteria.

        Raises:
            InvalidValueError: Two criteria have the same id.
        """
        check_ids(criteria, "the panel")
        return await self.answer(conversation, Questions(tuple(criteria)))

    async def collect(self, conversation: Conversation, items: Mapping[str, DataItem]) -> Grade:
        """Collect the values on which more than half of the panel agrees."""
        return await self.answer(conversation, Questions(data=items))

    async def answer(self, conversation: Conversation, questions: Questions) -> Grade:
        """Ask all judges at the same time and count their votes."""
        grades = await side_by_side(judge.answer(conversation, questions) for judge in self.judges)
        verdicts = {c.id: _vote(c.id, [(g, g.results[c.id]) for g in grades], "unknown") for c in questions.criteria}
        values = {name: _vote(name, [(g, g.data[name]) for g in grades], None) for name in questions.data}
        votes = {**verdicts, **values}
        unjudged = tuple(name for name, vote in votes.items() if vote.lost_by_faults)
        faults = tuple(fault for grade in grades for fault in grade.faults)
        return Grade(
            results={name: vote.result for name, vote in verdicts.items()},
            data={name: vote.result for name, vote in values.items()},
            summary=next((grade.summary for grade in grades if grade.summary and not grade.is_offline), None)
            or next((grade.summary for grade in grades if grade.summary), None),
            judge=self.name,
            is_offline=self.is_offline,
            spent=total_spent(grade.spent for grade in grades),
            faults=faults if unjudged else (),
            overcome=() if unjudged else faults,
            unjudged=unjudged,
            agreement={name: vote.agreement for name, vote in votes.items()},
        )


@dataclass(frozen=True)
class _Vote:
    """How a panel voted on one question; `lost_by_faults` when judges who failed could have decided it."""

    result: CriterionResult
    agreement: float
    lost_by_faults: bool


def _vote(name: str, ballots: Sequence[tuple[Grade, CriterionResult]], undecided: Any) -> _Vote:
    size = len(ballots)
    cast = [(grade, result) for grade, result in ballots if name not in grade.unjudged]
    counts = Counter(_key(result.value) for _, result in cast)
    winner, votes = counts.most_common(1)[0] if counts else ("", 0)
    decided = 2 * votes > size
    value = next(result.value for _, result in cast if _key(result.value) == winner) if decided else undecided
    missing = size - len(cast)
    return _Vote(
        CriterionResult(value=value, rationale=_rationale(ballots, votes if decided else 0)),
        votes / size,
        lost_by_faults=not decided and missing > 0 and 2 * (votes + missing) > size,
    )


def _key(value: Any) -> str:
    """Return what makes two answers the same; counting needs something that can be hashed."""
    return json.dumps(value, sort_keys=True, default=str)


def _rationale(ballots: Sequence[tuple[Grade, CriterionResult]], votes: int) -> str:
    lines = [f"{grade.judge}: {result.value} ({result.rationale or 'no reason given'})" for grade, result in ballots]
    head = f"{votes} of {len(ballots)} judges agree" if votes else f"no majority among {len(ballots)} judges"
    return "\n".join([head, *lines])
