"""Judge answer: what did the judge answer, and what is still missing or wrong?

Reading is strict: the whole answer is one JSON object, verdicts are the three words as they stand, values have their
types. Whatever is not, is asked again; nothing is guessed.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NoReturn

from convai_lab.conversations.conversation import CriterionResult
from convai_lab.dialogue.outside_text import well_formed
from convai_lab.evaluation.argument_match import shown_json
from convai_lab.evaluation.criteria import OUTCOMES
from convai_lab.evaluation.data_collection import problem_with, settled
from convai_lab.evaluation.judge_prompt import Questions

MAX_RATIONALE_CHARS = 2_000
SHOWN_COMPLAINTS = 10

REQUEST = "Your answer cannot be used: {complaints}. Answer again, with one JSON object and nothing else, only for:\n\n"


class AnswerSheet:
    """The questions to a judge and what was answered so far; what is settled is not asked again."""

    def __init__(self, questions: Questions) -> None:
        self.questions = questions
        self.criteria: dict[str, CriterionResult] = {}
        self.data: dict[str, CriterionResult] = {}
        self.summary: str | None = None

    def read(self, text: str) -> str:
        """Take in an answer; return the request to answer the rest again, or an empty text when all is answered."""
        try:
            complaints = list(self._read(json_object(text)))
        except ValueError as error:
            complaints = [str(error)]
        left = self.left
        if not left:
            return ""
        shown = "; ".join(complaints[:SHOWN_COMPLAINTS])
        return f"{REQUEST.format(complaints=shown)}{left.text}\n\nin this form:\n{left.form}"

    @property
    def left(self) -> Questions:
        """The questions without an answer."""
        return Questions(
            tuple(c for c in self.questions.criteria if c.id not in self.criteria),
            {name: item for name, item in self.questions.data.items() if name not in self.data},
            self.questions.summary and self.summary is None,
        )

    def _read(self, answer: Mapping[str, Any]) -> Iterator[str]:
        left = self.left
        yield from _entries(answer, "criteria", [c.id for c in left.criteria], self._verdict)
        yield from _entries(answer, "data", list(left.data), self._value)
        if left.summary:
            said = answer.get("summary")
            if isinstance(said, str) and said.strip():
                self.summary = well_formed(said.strip())[:MAX_RATIONALE_CHARS]
            else:
                yield "the summary is missing or no text"

    def _verdict(self, name: str, entry: Mapping[str, Any]) -> str:
        if entry.get("result") not in OUTCOMES:
            return f"the result of {name} must be one of {', '.join(OUTCOMES)}, got {shown_json(entry.get('result'))}"
        self.criteria[name] = CriterionResult(value=entry["result"], rationale=_reason(entry))
        return ""

    def _value(self, name: str, entry: Mapping[str, Any]) -> str:
        item = self.questions.data[name]
        if "value" not in entry:
            return f"the value of {name} is missing"
        if problem := problem_with(item, entry["value"]):
            return f"the value of {name} {problem}"
        value = settled(item, entry["value"])
        self.data[name] = CriterionResult(
            value=well_formed(value) if isinstance(value, str) else value, rationale=_reason(entry)
        )
        return ""


def json_object(text: str) -> dict[str, Any]:
    """Return the one JSON object that an answer is; a code fence around all of it is taken off.

    Raises:
        ValueError: It is anything else; the message says what.
    """
    try:
        found = json.loads(_without_fence(text.strip()), object_pairs_hook=_unique, parse_constant=_no_number)
    except json.JSONDecodeError as error:
        raise ValueError(f"it is not one JSON object ({error.msg} at character {error.pos})") from None
    except RecursionError:
        raise ValueError("it is nested too deeply") from None
    if not isinstance(found, dict):
        raise ValueError("it is JSON, but not an object")
    return found


def _without_fence(text: str) -> str:
    """Take off a code fence around all of the text."""
    opening, _, rest = text.partition("\n")
    fenced = opening.startswith("```") and (opening[3:].strip() or "json").isalpha() and rest.endswith("```")
    return rest.removesuffix("```") if fenced else text


def _entries(
    answer: Mapping[str, Any], key: str, names: list[str], settle: Callable[[str, Mapping[str, Any]], str]
) -> Iterator[str]:
    """Settle every entry that was asked for; yield what is wrong. Entries that nobody asked for are left out."""
    if not names:
        return
    raw = answer.get(key)
    if not isinstance(raw, list):
        yield f"the list {key} is missing"
        return
    for name in names:
        found = [entry for entry in raw if isinstance(entry, Mapping) and entry.get("id") == name]
        if len(found) != 1:
            yield f"{name} is missing from {key}" if not found else f"{name} is answered {len(found)} times in {key}"
        elif complaint := settle(name, found[0]):
            yield complaint


def _reason(entry: Mapping[str, Any]) -> str | None:
    reason = entry.get("reason")
    return well_formed(reason.strip())[:MAX_RATIONALE_CHARS] or None if isinstance(reason, str) else None


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError("an object in it has the same key twice")
    return found


def _no_number(name: str) -> NoReturn:
    raise ValueError(f"{name} is no number of JSON")
