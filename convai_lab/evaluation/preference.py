"""Preference: which of two conversations is better, whichever is read first?"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal, NamedTuple

from convai_lab.conversations.conversation import Conversation
from convai_lab.evaluation.argument_match import shown_json
from convai_lab.evaluation.judge import Judge
from convai_lab.evaluation.judge_answer import MAX_RATIONALE_CHARS, json_object
from convai_lab.evaluation.judge_prompt import SYSTEM, fenced
from convai_lab.evaluation.judge_request import JudgeFault, JudgeLine, Spent, side_by_side, total_spent
from convai_lab.evaluation.judged_transcript import is_empty, safe_json, transcript_of
from convai_lab.providers.base import ChatMessage

DEFAULT_QUESTION = "Which conversation serves the user better: the user's wish met, correctly, without needless turns?"
PLACES = ("first", "second", "tie")
FORM = '{"reason": "one or two sentences", "better": "first|second|tie"}'
RULES = SYSTEM.replace(
    "between <transcript> and </transcript>", "between <first> and </first> and between <second> and </second>"
)

Winner = Literal["a", "b", "tie"]


@dataclass(frozen=True, kw_only=True)
class Preference:
    """Which of two conversations a judge prefers; `winner` is None when the judge failed.

    `is_consistent` is False when the judge changed its mind with the order: it then prefers a place, not a
    conversation, and the winner is ``tie``. `rationales` are the reasons with `a` read first, then with `b` first.
    """

    winner: Winner | None
    is_consistent: bool
    rationales: tuple[str, ...] = ()
    judge: str = ""
    spent: Spent = field(default_factory=Spent)
    faults: tuple[JudgeFault, ...] = ()

    @property
    def cost_usd(self) -> float | None:
        """What all requests cost; None when that is not known."""
        return self.spent.cost_usd


async def prefer(a: Conversation, b: Conversation, judge: Judge, *, question: str = DEFAULT_QUESTION) -> Preference:
    """Ask a judge which of two conversations is better, in both orders at the same time."""
    if is_empty(a) and is_empty(b):
        return Preference(
            winner="tie", is_consistent=True, rationales=("nothing was said in either",), judge=judge.name
        )
    forward, backward = await side_by_side([_ask(judge, a, b, question), _ask(judge, b, a, question)])
    winners = (_winner(forward.better, "a", "b"), _winner(backward.better, "b", "a"))
    faults = tuple(asked.fault for asked in (forward, backward) if asked.fault is not None)
    known = not faults and None not in winners
    consistent = known and winners[0] == winners[1]
    return Preference(
        winner=None if not known else winners[0] if consistent else "tie",
        is_consistent=consistent,
        rationales=(forward.reason, backward.reason),
        judge=judge.name,
        spent=total_spent((forward.spent, backward.spent)),
        faults=faults,
    )


class _Asked(NamedTuple):
    better: str
    reason: str
    spent: Spent
    fault: JudgeFault | None


class _Sheet:
    """The one question of a preference and its answer."""

    def __init__(self) -> None:
        self.better = self.reason = ""

    def read(self, text: str) -> str:
        """Take in an answer; return what to say when it cannot be used."""
        try:
            answer = json_object(text)
        except ValueError as error:
            return self._again(str(error))
        if answer.get("better") not in PLACES:
            return self._again(f"better must be one of {', '.join(PLACES)}, got {shown_json(answer.get('better'))}")
        self.better, self.reason = answer["better"], str(answer.get("reason") or "")[:MAX_RATIONALE_CHARS]
        return ""

    def _again(self, complaint: str) -> str:
        return f"Your answer cannot be used: {complaint}. Answer again, with one JSON object in this form:\n{FORM}"


async def _ask(judge: Judge, first: Conversation, second: Conversation, question: str) -> _Asked:
    sheet = _Sheet()
    line = JudgeLine(llm=judge.llm, clock=judge.clock, timeout_secs=judge.timeout_secs, seed=judge.seed)
    spent, fault = await line.interview(_messages(first, second, question, judge.max_chars // 2), sheet)
    return _Asked(sheet.better, sheet.reason, spent, fault)


def _messages(first: Conversation, second: Conversation, question: str, max_chars: int) -> tuple[ChatMessage, ...]:
    texts = [
        fenced(transcript_of(conversation, max_chars=max_chars).text, place)
        for place, conversation in (("first", first), ("second", second))
    ]
    asked = "\n\n".join([*texts, f"Question: {safe_json(question)}", f"Answer in this form:\n{FORM}"])
    return (ChatMessage(role="system", content=RULES), ChatMessage(role="user", content=asked))


def _winner(better: str, first: Winner, second: Winner) -> Winner | None:
    places: dict[str, Winner] = {"first": first, "second": second, "tie": "tie"}
    return places.get(better)
