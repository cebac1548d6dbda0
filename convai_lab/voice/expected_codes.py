"""Expected codes: how long are the numbers that this agent is told?

A number that is spelled out may go on, and waiting for it costs a second. What the agent expects to hear tells more:
where its phrases hold "order one two three four", an order of four digits is complete. So is a whole phrase.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import groupby

LEAST_LENGTH = 3
"""What is shorter is a quantity, or an hour, as likely as a number of something."""
_WORDS = re.compile(r"\d+|[^\W\d_]+(?:'[^\W\d_]+)*")
_KINDS = frozenset(
    """
    order phone telephone mobile account card pin zip postcode code id reference ref customer member booking
    reservation ticket invoice tracking serial policy case flight room extension email
    """.split()  # noqa: SIM905 - a list of words reads best as words
)
"""What a number may be the number of: those of another kind may be of another length."""


@dataclass(frozen=True)
class ExpectedCodes:
    """What the phrases of an agent say: themselves as words, and the longest number of each kind ("" when unnamed)."""

    phrases: frozenset[tuple[str, ...]] = frozenset()
    longest: tuple[tuple[str, int], ...] = ()

    @property
    def most(self) -> int:
        """Return how long the longest number is."""
        return max((length for _, length in self.longest), default=0)

    def is_complete(self, text: str, is_coded: Callable[[str], bool]) -> bool:
        """Say whether nothing is missing: it is a phrase, or ends in a number as long as those of its kind.

        A number that is longer than any is of a kind that nobody knows, and may go on.
        """
        if not (words := words_of(text)) or not self.phrases:
            return False
        if tuple(words) in self.phrases:
            return not any(len(phrase) > len(words) and phrase[: len(words)] == tuple(words) for phrase in self.phrases)
        length = next((n for n, word in enumerate(reversed(words)) if not is_coded(word)), len(words))
        return length >= LEAST_LENGTH and length == self._expected(_kind(words))

    def _expected(self, kind: str) -> int:
        known = dict(self.longest)
        return known.get(kind, known.get("", 0)) if kind else self.most


@functools.lru_cache(maxsize=64)
def expected_codes(phrases: tuple[str, ...], is_coded: Callable[[str], bool]) -> ExpectedCodes:
    """Return what phrases say about numbers; `is_coded` tells the words that digits and letters are said with."""
    said = [tuple(words_of(phrase)) for phrase in phrases]
    longest: dict[str, int] = {}
    for words in said:
        length = max(_lengths(words, is_coded), default=0)
        if length >= LEAST_LENGTH:
            kind = _kind(words)
            longest[kind] = max(longest.get(kind, 0), length)
    return ExpectedCodes(frozenset(said), tuple(longest.items()))


def words_of(text: str) -> list[str]:
    """Return the words of a text in lower case, every digit for itself."""
    found = _WORDS.findall(text.lower().replace("’", "'"))
    return [piece for word in found for piece in (word if word.isdigit() else [word])]


def _lengths(words: Iterable[str], is_coded: Callable[[str], bool]) -> list[int]:
    """Return how long the numbers in a phrase are; letters alone are initials, or a unit."""
    runs = [list(run) for coded, run in groupby(words, key=is_coded) if coded]
    return [len(run) for run in runs if any(len(word) > 1 or word.isdigit() for word in run)]


def _kind(words: Sequence[str]) -> str:
    """Return what the last number is the number of, as far as the words say."""
    return next((word for word in reversed(words) if word in _KINDS), "")
