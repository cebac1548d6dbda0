"""Choices: which of the values that a tool allows are named in these words?"""

from __future__ import annotations

from typing import Any

from convai_lab.providers.offline import entities
from convai_lab.providers.offline.schemas import Parameter
from convai_lab.providers.offline.words import STOP_WORDS, related, stem, words


def chosen(parameter: Parameter, text: str) -> list[Any]:
    """Return the allowed values that the text names, in the order they were said."""
    said = [stem(w) for w in words(text)]
    numbers = {f.value for f in entities.numbers_in(text) if not f.negated}
    hits: list[tuple[int, Any]] = []
    for value in parameter.choices:
        if isinstance(value, (int, float)):
            at = next(
                (f.start for f in entities.numbers_in(text) if f.value == str(value) and str(value) in numbers), -1
            )
        else:
            at = where_said([stem(w) for w in words(value.replace("_", " ").replace("-", " "))], said)
        if at >= 0 and not _is_denied(said, at):
            hits.append((at, value))
    return [value for _, value in sorted(hits, key=lambda hit: hit[0])]


def where_said(wanted: list[str], said: list[str]) -> int:
    """Return the place of the last word of `wanted` in `said` when all of them are there, in any form, else -1."""
    places = []
    for word in wanted:
        same = [i for i, s in enumerate(said) if s == word] or [i for i, s in enumerate(said) if word in related(s)]
        if not same or (word in STOP_WORDS and len(wanted) == 1 and len(said) > 3):
            return -1
        places.append(same[-1])
    return max(places, default=-1)


def _is_denied(said: list[str], at: int) -> bool:
    before = said[max(0, at - 2) : at]
    while len(before) > 1 and before[-1] in STOP_WORDS - _DENIALS:
        before.pop()
    return bool(before) and before[-1] in _DENIALS


_DENIALS = frozenset(("not", "no", "without", "isn't", "don't"))
