"""Spoken text: in which pieces is a text given to the engine, and which of its words begins where?

The engine gets plain text without characters it would stumble over, as long as the original, so that its positions
are positions in the original. It reports words in its own way ("it's" as "it", a number many times, "of the" as
one): here every written word gets exactly one mark, in order.
"""

from __future__ import annotations

import bisect
import re
import unicodedata
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from convai_lab.providers.base import Mark

LONGEST_PIECE = 300
"""Characters given to the engine at once: about 20 seconds of speech, rendered in less than a tenth of one."""

_UNSPACED = "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff"
_WORD = re.compile(f"[{_UNSPACED}]|[^\\s{_UNSPACED}]+")
_SENTENCE_END = re.compile(r"[.!?…]+[\"'”’)\]]*\s|[。！？]|\n\s*\n")
_CLAUSE_END = re.compile(r"[,;:)–—、，；]\s*")
_ENDS_SENTENCE = re.compile(r"[.!?…。！？][\"'”’)\]]*\s*$")
_MARKDOWN = re.compile(r"[*_`~]+(?=\w)|(?<=\w)[*_`~]+")
_UNSPOKEN_KINDS = frozenset({"Cc", "Cs", "Cn", "Co"})


class Piece(NamedTuple):
    """A stretch of the text: where it starts, and what the engine is given for it (of the same length)."""

    start: int
    spoken: str

    @property
    def ends_sentence(self) -> bool:
        """Say whether a pause belongs after it."""
        return _ENDS_SENTENCE.search(self.spoken) is not None


def pieces(text: str, longest: int = LONGEST_PIECE) -> Iterator[Piece]:
    """Yield the pieces of a text that have anything to say, cut at sentences, else clauses, else words."""
    start = 0
    while start < len(text):
        end = _cut(text, start, longest)
        spoken = speakable(text[start:end])
        if any(c.isalnum() or unicodedata.category(c)[0] == "S" for c in spoken):
            yield Piece(start, spoken)
        start = end


def speakable(text: str) -> str:
    """Return the text with every character that is not for speaking replaced by a space."""
    plain = "".join(" " if _is_unspoken(c) else c for c in text)
    return _MARKDOWN.sub(lambda found: " " * len(found[0]), plain)


def _is_unspoken(c: str) -> bool:
    if c < "\x7f":
        return c < " "
    return unicodedata.category(c) in _UNSPOKEN_KINDS or _is_picture(ord(c))


def _is_picture(code: int) -> bool:
    """Say whether it is an emoji, a dingbat, or part of one: the engine would read out its name."""
    return 0x1F000 <= code <= 0x1FBFF or 0x2600 <= code <= 0x27BF or 0xFE00 <= code <= 0xFE0F or code == 0x20E3


def _cut(text: str, start: int, longest: int) -> int:
    if len(text) - start <= longest:
        return len(text)
    window = text[start : start + longest]
    for boundary in (_SENTENCE_END, _CLAUSE_END, re.compile(r"\s")):
        ends = [found.end() for found in boundary.finditer(window)]
        if ends:
            return start + ends[-1]
    return start + longest


class WordMarks:
    """Turns what the engine reports of one piece into marks: one for each word, in order, never behind its audio."""

    def __init__(self, piece: Piece, first_sample: int) -> None:
        self._piece, self._first_sample = piece, first_sample
        self._words = [found.span() for found in _WORD.finditer(piece.spoken)]
        self._starts = [start for start, _ in self._words]
        self._next = 0
        self._last_sample = first_sample

    def reported(self, char: int, sample: int, *, chunk_start: int) -> Iterator[Mark]:
        """Yield the marks of words that are known to have begun when the engine reports one.

        `char` counts in the piece, `sample` and `chunk_start` in the utterance.
        """
        index = bisect.bisect_right(self._starts, char) - 1
        if index >= self._next:
            sample = max(sample, self._last_sample)
            yield from self._silent_ones(index, max(chunk_start, self._last_sample), sample)
            yield from self._mark(index, sample)

    def rest(self, *, chunk_start: int, end: int) -> Iterator[Mark]:
        """Yield the marks of the last words, should the engine not have reported them."""
        yield from self._silent_ones(len(self._words), max(chunk_start, self._last_sample), end)

    def _silent_ones(self, until: int, low: int, high: int) -> Iterator[Mark]:
        """Yield marks for words that the engine spoke with their neighbours, at even distances."""
        silent = [i for i in range(self._next, until) if _has_sound(self._piece.spoken, self._words[i])]
        for position, index in enumerate(silent, start=1):
            yield from self._mark(index, low + (high - low) * position // (len(silent) + 1))
        self._next = max(self._next, until)

    def _mark(self, index: int, sample: int) -> Iterator[Mark]:
        start, end = self._words[index]
        self._next, self._last_sample = index + 1, sample
        yield Mark(self._piece.start + start, end - start, sample)


def _has_sound(text: str, word: Sequence[int]) -> bool:
    return any(c.isalnum() for c in text[word[0] : word[1]])
