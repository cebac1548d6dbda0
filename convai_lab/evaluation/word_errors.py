"""Word errors: how much of what was said did the speech recognition get wrong?

The normaliser, applied to both sides before words are counted: Unicode NFKC and case folding; English number words
become digits ("twenty one", "21") and numbers are split into single digits ("order 1234" and "order one two three
four" are the same); apostrophes go ("don't" is "dont"), all other punctuation parts words.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from math import nan

import numpy as np
from numpy.typing import NDArray

from convai_lab.errors import InvalidValueError
from convai_lab.evaluation.results import NOT_KNOWN, Result, as_number, counted

UNITS = {
    "zero": 0, "one": 1, "two": 2, "three": 3, "four": 4, "five": 5, "six": 6, "seven": 7, "eight": 8, "nine": 9,
    "ten": 10, "eleven": 11, "twelve": 12, "thirteen": 13, "fourteen": 14, "fifteen": 15, "sixteen": 16,
    "seventeen": 17, "eighteen": 18, "nineteen": 19,
}  # fmt: skip
TENS = {
    "twenty": 20, "thirty": 30, "forty": 40, "fifty": 50, "sixty": 60, "seventy": 70, "eighty": 80, "ninety": 90,
}  # fmt: skip
SCALES = {"hundred": 100, "thousand": 1_000, "million": 1_000_000}
MAX_WORDS = 20_000
_STEP = 1 << 32
"""One error weighs this much and a substitution one more: fewest errors first, then fewest substitutions."""


@dataclass(frozen=True, kw_only=True)
class WordErrors(Result):
    """Substitutions, deletions and insertions against `n_words` reference words."""

    substitutions: int = 0
    deletions: int = 0
    insertions: int = 0
    n_words: int = 0

    @property
    def rate(self) -> float:
        """Return the word error rate, (S + D + I) / N; it may exceed 1, and is NaN without a reference word."""
        errors = self.substitutions + self.deletions + self.insertions
        return errors / self.n_words if self.n_words else nan

    def __add__(self, other: WordErrors) -> WordErrors:
        return WordErrors(
            substitutions=self.substitutions + other.substitutions,
            deletions=self.deletions + other.deletions,
            insertions=self.insertions + other.insertions,
            n_words=self.n_words + other.n_words,
        )

    def __str__(self) -> str:
        parts = f"{self.substitutions:,} S, {self.deletions:,} D, {self.insertions:,} I"
        if not self.n_words:
            return f"WER {NOT_KNOWN}: no reference words ({parts})"
        return f"WER {as_number(self.rate, is_rate=True)}% ({parts} in {counted(self.n_words, 'word')})"


def normalised_words(text: str) -> tuple[str, ...]:
    """Return the words of a text as they are compared.

    Example:
        >>> normalised_words("Order #1234, twenty-one; don't!")
        ('order', '1', '2', '3', '4', '2', '1', 'dont')
    """
    folded = unicodedata.normalize("NFKC", text).casefold()
    kept = "".join("" if c in "'’" else c if unicodedata.category(c)[0] in "LMN" else " " for c in folded)
    return tuple(part for word in _with_digits(kept.split()) for part in (word if _is_number(word) else (word,)))


def _is_number(word: str) -> bool:
    return word.isascii() and word.isdigit()


def _with_digits(words: Sequence[str]) -> list[str]:
    """Replace runs of number words by their value; words that make no one number stay apart ("two one" is 2, 1)."""
    found: list[str] = []
    position = 0
    while position < len(words):
        length, value = _number_at(words, position)
        found.append(str(value) if length else words[position])
        position += length or 1
    return found


def _number_at(words: Sequence[str], start: int) -> tuple[int, int]:
    """Return how many words from `start` make one number, and its value."""
    total, group, limit, position = 0, 0, SCALES["million"] * 1_000, start
    room = 1_000
    while position < len(words):
        word = words[position]
        if word in UNITS and UNITS[word] < room and (UNITS[word] > 0 or position == start):
            group, room = group + UNITS[word], 0
        elif word in TENS and room > 10:
            group, room = group + TENS[word], 10
        elif word == "hundred" and 0 < group < 100:
            group, room = group * 100, 100
        elif word in SCALES and SCALES[word] >= 1_000 and group > 0 and SCALES[word] < limit:
            total, group, limit, room = total + group * SCALES[word], 0, SCALES[word], 1_000
        elif not (word == "and" and position - start > 0 and room >= 100 and _goes_on(words, position + 1)):
            break
        position += 1
    return position - start, total + group


def _goes_on(words: Sequence[str], position: int) -> bool:
    """Tell whether a number continues after "and", as in "two hundred and five"."""
    word = words[position] if position < len(words) else ""
    return word in TENS or UNITS.get(word, 0) > 0


def word_errors(reference: str, heard: str) -> WordErrors:
    """Count the word errors between what was said and what was heard, both normalised.

    Source: the fewest edits, V. I. Levenshtein, Soviet Physics Doklady 10 (1966), 707-710, counted in words.

    Example:
        >>> print(word_errors("I want order 1 2 3 4.", "i want order one two three for"))
        WER 14% (1 S, 0 D, 0 I in 7 words)
    """
    said, got = normalised_words(reference), normalised_words(heard)
    for field, words in (("reference", said), ("heard", got)):
        if len(words) > MAX_WORDS:
            raise InvalidValueError(
                f"has {len(words):,} words, more than {MAX_WORDS:,}: compare turn by turn", field=field
            )
    cost = _least_cost(*_numbered(said, got))
    errors, substitutions = divmod(cost, _STEP)
    apart = errors - substitutions
    surplus = len(got) - len(said)
    return WordErrors(
        substitutions=substitutions,
        deletions=(apart - surplus) // 2,
        insertions=(apart + surplus) // 2,
        n_words=len(said),
    )


Codes = NDArray[np.int64]


def _numbered(said: Sequence[str], got: Sequence[str]) -> tuple[Codes, Codes]:
    codes: dict[str, int] = {}
    return (
        np.array([codes.setdefault(word, len(codes)) for word in said], dtype=np.int64),
        np.array([codes.setdefault(word, len(codes)) for word in got], dtype=np.int64),
    )


def _least_cost(said: Codes, got: Codes) -> int:
    """Return the cost of the best alignment, one row of the table at a time."""
    ramp = np.arange(len(got) + 1, dtype=np.int64) * _STEP
    row = ramp.copy()
    for word in said:
        step = row + _STEP
        step[1:] = np.minimum(step[1:], row[:-1] + np.where(got == word, 0, _STEP + 1))
        row = np.minimum.accumulate(step - ramp) + ramp
    return int(row[-1])


def total_word_errors(pairs: Iterable[tuple[str, str]]) -> WordErrors:
    """Return the word errors of many (reference, heard) pairs together: every word has the same weight."""
    return sum((word_errors(reference, heard) for reference, heard in pairs), WordErrors())


@dataclass(frozen=True, kw_only=True)
class EntityAccuracy(Result):
    """How many of the entities that matter (numbers, names) were heard right; `missed` names the others."""

    found: int
    n_entities: int
    missed: tuple[str, ...] = ()

    @property
    def rate(self) -> float:
        """Return the share that was heard; NaN without an entity."""
        return self.found / self.n_entities if self.n_entities else nan

    def __str__(self) -> str:
        if not self.n_entities:
            return f"entity accuracy {NOT_KNOWN}: no entities named"
        missed = f", missed {', '.join(self.missed)}" if self.missed else ""
        return f"entity accuracy {as_number(self.rate, is_rate=True)}% of {self.n_entities:,}{missed}"


def entity_accuracy(entities: Iterable[str], heard: str) -> EntityAccuracy:
    """Look for each entity as a whole in what was heard, both normalised; part of a longer number is no hit.

    Example:
        >>> entity_accuracy(["1234", "Ada"], "order twelve thirty four for adam").missed
        ('Ada',)
    """
    words = normalised_words(heard)
    named = tuple(entities)
    for index, entity in enumerate(named):
        if not normalised_words(entity):
            raise InvalidValueError(f"must hold a word or a number, got {entity[:80]!r}", field=f"entities[{index}]")
    missed = tuple(entity for entity in named if not _is_in(normalised_words(entity), words))
    return EntityAccuracy(found=len(named) - len(missed), n_entities=len(named), missed=missed)


def _is_in(entity: Sequence[str], words: Sequence[str]) -> bool:
    length = len(entity)
    for start in range(len(words) - length + 1):
        if words[start : start + length] != entity:
            continue
        before = words[start - 1] if start else ""
        after = words[start + length] if start + length < len(words) else ""
        if not (_is_number(entity[0]) and _is_number(before)) and not (_is_number(entity[-1]) and _is_number(after)):
            return True
    return False
