"""Judge: was the conversation a success, by the criteria of its author, and why?"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal, Protocol, runtime_checkable

from convai_lab.agents.agent import DataItem, EvaluationCriterion
from convai_lab.clock import Clock, SystemClock
from convai_lab.conversations.conversation import Analysis, Conversation, CriterionResult, Outcome
from convai_lab.errors import NotSupportedError
from convai_lab.evaluation.criteria import check_ids, overall
from convai_lab.evaluation.judge_answer import AnswerSheet
from convai_lab.evaluation.judge_prompt import Questions, messages_for
from convai_lab.evaluation.judge_request import (
    DEFAULT_TIMEOUT_SECS,
    JudgeFault,
    JudgeLine,
    Spent,
    side_by_side,
    total_spent,
)
from convai_lab.evaluation.judged_transcript import MAX_CHARS, is_empty
from convai_lab.providers.base import LLM, Usage

__all__ = ["AnyJudge", "Grade", "Judge", "JudgeFault", "Questions", "Spent"]

Asking = Literal["together", "separately"]
NOTHING_SAID = "nothing was said or done in this conversation"


@dataclass(frozen=True, kw_only=True)
class Grade:
    """What a judge found in one conversation, what that used, and where the judge failed.

    `results` has every criterion and `data` every item that was asked for. `unjudged` names those of them whose
    answer is missing because the judge failed: their verdict is ``unknown``, and that says nothing about the agent.
    `overcome` are failures in a panel that changed nothing, because the others decided.
    `agreement` is the share of a panel that gave the verdict, by criterion; empty when there was one judge.
    """

    results: Mapping[str, CriterionResult] = field(default_factory=dict)
    data: Mapping[str, CriterionResult] = field(default_factory=dict)
    summary: str | None = None
    judge: str = ""
    is_offline: bool = False
    spent: Spent = field(default_factory=Spent)
    faults: tuple[JudgeFault, ...] = ()
    overcome: tuple[JudgeFault, ...] = ()
    unjudged: tuple[str, ...] = ()
    agreement: Mapping[str, float] = field(default_factory=dict)

    @property
    def success(self) -> Outcome | None:
        """What the verdicts come to: one failure fails, unknown is no success; None when there are no criteria."""
        return overall(self.results)

    @property
    def cost_usd(self) -> float | None:
        """What all requests cost together, those that had to be repeated too; None when that is not known."""
        return self.spent.cost_usd

    @property
    def usage(self) -> Usage:
        """The tokens of all requests together."""
        return self.spent.usage

    @property
    def models_served(self) -> tuple[str, ...]:
        """The models that answered."""
        return self.spent.models_served

    def analysis(self) -> Analysis:
        """Return what was found as it is kept with the conversation."""
        return Analysis(success=self.success, summary=self.summary, criteria=self.results, data=self.data)


@runtime_checkable
class AnyJudge(Protocol):
    """A model, a panel of models, or rules: anything that answers questions about a conversation."""

    @property
    def name(self) -> str:
        """Who judges."""

    @property
    def is_offline(self) -> bool:
        """Whether rules judge, and no language model."""

    async def answer(self, conversation: Conversation, questions: Questions) -> Grade:
        """Answer all questions; what cannot be answered is unknown. Failures of the judge are faults, not raised."""


@dataclass(frozen=True)
class Judge:
    """A language model as a judge, at temperature 0, that treats the transcript as material and nothing else.

    Args:
        llm: The model; not the offline rules, which judge nothing.
        asking: ``together`` puts all criteria into one request: the transcript, which is most of the cost, is paid
            for once. ``separately`` makes a request of each, so that no verdict colours another.
        timeout_secs: How long one answer may take.
        seed: Sent to vendors that take one.
        max_chars: How much of a transcript is shown; a longer one is cut in the middle, its tool calls kept.

    Raises:
        NotSupportedError: The model is the offline stand-in.
    """

    llm: LLM
    asking: Asking = field(default="together", kw_only=True)
    clock: Clock = field(default_factory=SystemClock, kw_only=True)
    timeout_secs: float = field(default=DEFAULT_TIMEOUT_SECS, kw_only=True)
    seed: int | None = field(default=None, kw_only=True)
    max_chars: int = field(default=MAX_CHARS, kw_only=True)

    def __post_init__(self) -> None:
        if self.llm.is_offline:
            raise NotSupportedError(
                "the offline rules are not a language model and cannot judge a goal in free words: name a model "
                "(judge='gpt-4o-mini', judge='ollama/llama3.2'), write checks, or take judge='offline', which "
                "answers unknown to all but the plainest goals"
            )

    @property
    def name(self) -> str:
        """The provider and the model."""
        return self._line.name

    @property
    def is_offline(self) -> bool:
        """Return False: a model judges."""
        return False

    async def grade(self, conversation: Conversation, criteria: Sequence[EvaluationCriterion]) -> Grade:
        """Judge a conversation by criteria.

        Raises:
            InvalidValueError: Two criteria have the same id.
        """
        check_ids(criteria, "the judge")
        return await self.answer(conversation, Questions(tuple(criteria)))

    async def collect(self, conversation: Conversation, items: Mapping[str, DataItem]) -> Grade:
        """Collect values from a conversation."""
        return await self.answer(conversation, Questions(data=items))

    async def answer(self, conversation: Conversation, questions: Questions) -> Grade:
        """Answer all questions; a failure of this judge leaves them unknown and is told in `faults`."""
        if not questions or is_empty(conversation):
            return nothing_to_judge(questions, judge=self.name)
        if self.asking == "together":
            return await self._ask(conversation, questions)
        return merged(await side_by_side(self._ask(conversation, part) for part in questions.each()))

    async def _ask(self, conversation: Conversation, questions: Questions) -> Grade:
        sheet = AnswerSheet(questions)
        messages = messages_for(questions, conversation, max_chars=self.max_chars)
        spent, fault = await self._line.interview(messages, sheet)
        return _graded(sheet, self.name, spent, fault)

    @property
    def _line(self) -> JudgeLine:
        return JudgeLine(llm=self.llm, clock=self.clock, timeout_secs=self.timeout_secs, seed=self.seed)


def nothing_to_judge(questions: Questions, *, judge: str, is_offline: bool = False) -> Grade:
    """Return the grade of a conversation in which nothing was said; nobody needs to be asked."""
    silent = CriterionResult(value="unknown", rationale=NOTHING_SAID)
    return Grade(
        results={criterion.id: silent for criterion in questions.criteria},
        data={name: CriterionResult(value=None, rationale=NOTHING_SAID) for name in questions.data},
        summary="Nothing was said." if questions.summary else None,
        judge=judge,
        is_offline=is_offline,
    )


def merged(grades: Iterable[Grade]) -> Grade:
    """Return the answers to different questions as one grade."""
    first, *others = grades
    for other in others:
        first = replace(
            first,
            results={**first.results, **other.results},
            data={**first.data, **other.data},
            summary=first.summary or other.summary,
            spent=total_spent((first.spent, other.spent)),
            faults=(*first.faults, *other.faults),
            unjudged=(*first.unjudged, *other.unjudged),
        )
    return first


def _graded(sheet: AnswerSheet, judge: str, spent: Spent, fault: JudgeFault | None) -> Grade:
    """Return what was answered; what was not is unknown, and it says that the judge failed."""
    left = sheet.left
    why = f"the judge failed: {fault.detail}" if fault else None
    unknown, none = CriterionResult(value="unknown", rationale=why), CriterionResult(value=None, rationale=why)
    asked = sheet.questions
    return Grade(
        results={c.id: sheet.criteria.get(c.id, unknown) for c in asked.criteria},
        data={name: sheet.data.get(name, none) for name in asked.data},
        summary=sheet.summary,
        judge=judge,
        spent=spent,
        faults=() if fault is None else (fault,),
        unjudged=(*(c.id for c in left.criteria), *left.data),
    )
