"""Knowledge: which of the agent's documents does the model read for this turn?

Documents of usage ``prompt`` always; the others whole while they are small, and by the passages that share words
with what the user said (BM25) when they are large. The same words always find the same passages.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from functools import lru_cache
from typing import NamedTuple

from convai_lab.agents.agent import Knowledge

WHOLE_CHARS = 8_000
"""Documents of usage ``auto`` are given whole up to this size together."""

RETRIEVED_CHARS = 6_000
PASSAGE_CHARS = 800
SATURATION, LENGTH_WEIGHT = 1.2, 0.75
"""The two constants of BM25, at their usual values."""

_WORD = re.compile(r"[\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af]|[^\W_]+")


class Passage(NamedTuple):
    """A piece of a document, and where it stands among all of them."""

    document: str
    text: str
    order: int


def knowledge_section(knowledge: Sequence[Knowledge], query: str) -> str:
    """Return the part of the system prompt that holds the documents; empty when there are none."""
    always = [document for document in knowledge if document.usage == "prompt" and document.text.strip()]
    auto = [document for document in knowledge if document.usage != "prompt" and document.text.strip()]
    parts = [(document.name, document.text.strip()) for document in always]
    if sum(len(document.text) for document in auto) <= WHOLE_CHARS:
        parts += [(document.name, document.text.strip()) for document in auto]
    else:
        parts += _joined(find_passages(auto, query))
    sections = [f"## {name}\n{text}" for name, text in parts]
    return "\n\n".join(["# Knowledge", *sections]) if sections else ""


def find_passages(knowledge: Sequence[Knowledge], query: str, *, limit_chars: int = RETRIEVED_CHARS) -> list[Passage]:
    """Return the passages that fit the query best, up to `limit_chars`, in the order of the documents."""
    index = _index(tuple((document.name, document.text) for document in knowledge))
    terms = set(_words(query))
    scored = sorted(((index.score(number, terms), -number) for number in range(len(index.passages))), reverse=True)
    chosen: list[Passage] = []
    for score, number in scored:
        passage = index.passages[-number]
        if score <= 0 or sum(len(kept.text) for kept in chosen) + len(passage.text) > limit_chars:
            break
        chosen.append(passage)
    return sorted(chosen, key=lambda passage: passage.order)


class _Index:
    """The words of every passage, counted."""

    def __init__(self, passages: Sequence[Passage]) -> None:
        self.passages = passages
        self._counts = [Counter(_words(f"{passage.document} {passage.text}")) for passage in passages]
        self._lengths = [counts.total() for counts in self._counts]
        self._mean_length = sum(self._lengths) / len(passages) if passages else 0.0
        self._found_in = Counter(word for counts in self._counts for word in counts)

    def score(self, number: int, terms: set[str]) -> float:
        """Return how well a passage fits the terms, by BM25."""
        counts = self._counts[number]
        weight = 1 - LENGTH_WEIGHT + LENGTH_WEIGHT * self._lengths[number] / (self._mean_length or 1)
        return math.fsum(
            self._rarity(term) * counts[term] * (SATURATION + 1) / (counts[term] + SATURATION * weight)
            for term in terms
            if counts[term]
        )

    def _rarity(self, term: str) -> float:
        found, total = self._found_in[term], len(self.passages)
        return math.log(1 + (total - found + 0.5) / (found + 0.5))


@lru_cache(maxsize=16)
def _index(documents: tuple[tuple[str, str], ...]) -> _Index:
    pieces = ((name, piece) for name, text in documents for piece in _pieces(text))
    return _Index([Passage(name, piece, order) for order, (name, piece) in enumerate(pieces)])


def _pieces(text: str) -> Iterator[str]:
    """Cut a document at its empty lines, joining short paragraphs and cutting long ones."""
    waiting = ""
    for paragraph in re.split(r"\n\s*\n", text):
        for piece in _cut(paragraph.strip()):
            if waiting and len(waiting) + len(piece) + 2 > PASSAGE_CHARS:
                yield waiting
                waiting = ""
            waiting = f"{waiting}\n\n{piece}" if waiting else piece
    if waiting:
        yield waiting


def _cut(paragraph: str) -> Iterator[str]:
    """Cut a long paragraph after a sentence or a line, or else anywhere."""
    start = 0
    while len(paragraph) - start > PASSAGE_CHARS:
        reach = start + PASSAGE_CHARS
        end = max(paragraph.rfind(". ", start, reach), paragraph.rfind("\n", start, reach)) + 1
        end = end if end > start + PASSAGE_CHARS // 2 else reach
        yield paragraph[start:end].strip()
        start = end
    yield paragraph[start:].strip()


def _joined(passages: Sequence[Passage]) -> list[tuple[str, str]]:
    """Put the passages of one document together again."""
    by_document: dict[str, list[str]] = {}
    for passage in passages:
        by_document.setdefault(passage.document, []).append(passage.text)
    return [(name, "\n\n".join(texts)) for name, texts in by_document.items()]


def _words(text: str) -> list[str]:
    return _WORD.findall(text.casefold())
