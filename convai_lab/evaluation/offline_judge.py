"""Offline judge: which goals can be judged without a language model?

Only those that name the words or the tool: ``The agent said "shipped"``, ``The agent never called cancel_order``,
and several of them joined by ``and``. To everything else the answer is unknown, and says why.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from convai_lab.agents.agent import DataItem, EvaluationCriterion
from convai_lab.conversations.conversation import Conversation, CriterionResult
from convai_lab.evaluation.check import Check
from convai_lab.evaluation.check_fields import shown
from convai_lab.evaluation.checks import all_passed, parse_checks, run_checks
from convai_lab.evaluation.criteria import MAX_GOAL_CHARS
from convai_lab.evaluation.judge import Grade, nothing_to_judge
from convai_lab.evaluation.judge_prompt import Questions
from convai_lab.evaluation.judged_transcript import is_empty

NAME = "offline"
BADGE = "offline rules, not a language model"
CANNOT_KNOW = f"{BADGE}: they cannot judge this goal"
CANNOT_COLLECT = f"{BADGE}: they cannot collect values"

_QUOTED = re.compile(r"\"[^\"]*\"|“[^”]*”")
_JOINT = re.compile(r",? and ")
_NOT = r"(?P<not>never |did not |does not |must not |should not )?"
_SUBJECT = r"(?:the agent )?(?:must |should |has )?"
_SAID = re.compile(
    rf"{_SUBJECT}{_NOT}(?:said|says|say|mentioned|mentions|mention) [\"“'](?P<what>[^\"“”']+)[\"”']", re.IGNORECASE
)
_CALLED = re.compile(
    rf"{_SUBJECT}{_NOT}(?:called|calls|call|used|uses|use) (?:the tool )?(?P<mark>[`\"“']?)(?P<what>[\w-]+)[`\"”']?",
    re.IGNORECASE,
)


@dataclass(frozen=True)
class OfflineJudge:
    """Judges by rules, without a model, a key or a network; the same conversation always gets the same grade.

    Example:
        >>> OfflineJudge().badge
        'offline rules, not a language model'
    """

    @property
    def name(self) -> str:
        """Return ``offline``."""
        return NAME

    @property
    def badge(self) -> str:
        """What must be shown wherever its verdicts are."""
        return BADGE

    @property
    def is_offline(self) -> bool:
        """Return True: no model judges."""
        return True

    async def grade(self, conversation: Conversation, criteria: Sequence[EvaluationCriterion]) -> Grade:
        """Judge a conversation by those criteria that name the words or the tool."""
        return await self.answer(conversation, Questions(tuple(criteria)))

    async def collect(self, conversation: Conversation, items: Mapping[str, DataItem]) -> Grade:
        """Collect nothing, and say so."""
        return await self.answer(conversation, Questions(data=items))

    async def answer(self, conversation: Conversation, questions: Questions) -> Grade:
        """Answer what can be known by rules; the rest is unknown."""
        if is_empty(conversation):
            return nothing_to_judge(questions, judge=NAME, is_offline=True)
        return Grade(
            results={criterion.id: _verdict(criterion.goal, conversation) for criterion in questions.criteria},
            data={name: CriterionResult(value=None, rationale=CANNOT_COLLECT) for name in questions.data},
            summary=_summary(conversation) if questions.summary else None,
            judge=NAME,
            is_offline=True,
        )


def checks_of(goal: str) -> tuple[Check, ...]:
    """Return the checks that a goal comes to; nothing when any part of it is in free words.

    Example:
        >>> [check.name for check in checks_of('The agent said "shipped" and never called `cancel_order`.')]
        ["said 'shipped'", 'never called cancel_order']
    """
    parts = [] if len(goal) > MAX_GOAL_CHARS else _parts(goal.strip().rstrip("."))
    raw = [check for part in parts if (check := _check_of(part.strip())) is not None]
    return parse_checks(raw, "the goal") if len(raw) == len(parts) else ()


def _parts(goal: str) -> list[str]:
    """Split a goal at every "and" that does not stand in quotes."""
    unquoted = _QUOTED.sub(lambda quoted: "x" * len(quoted[0]), goal)
    parts, start = [], 0
    for joint in _JOINT.finditer(unquoted):
        parts.append(goal[start : joint.start()])
        start = joint.end()
    return [*parts, goal[start:]]


def _check_of(part: str) -> dict[str, str] | None:
    for kind, pattern in (("said", _SAID), ("called", _CALLED)):
        if found := pattern.fullmatch(part):
            if kind == "called" and not (found["mark"] or "_" in found["what"]):
                return None  # a plain word may be no tool at all
            return {f"never_{kind}" if found["not"] else kind: found["what"]} if found["what"].strip() else None
    return None


def _verdict(goal: str, conversation: Conversation) -> CriterionResult:
    results = run_checks(checks_of(goal), conversation)
    passed = all_passed(results)
    if not results:
        return CriterionResult(value="unknown", rationale=CANNOT_KNOW)
    deciding = [result.why for result in results if result.passed is passed] or [result.why for result in results]
    value = {True: "success", False: "failure", None: "unknown"}[passed]
    return CriterionResult(value=value, rationale=f"{BADGE}: {'; '.join(deciding)}")


def _summary(conversation: Conversation) -> str:
    asked = next((turn.text for turn in conversation.turns if turn.role == "user" and turn.text.strip()), None)
    calls = sum(len(turn.tool_calls) for turn in conversation.turns)
    first = f"the user first said {shown(asked)}" if asked else "the user said nothing"
    return f"{len(conversation.turns)} turns, {calls} tool calls; {first} ({BADGE})"
