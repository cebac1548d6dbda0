"""Retrieval: which sentence of the prompt answers this question, if any does?

BM25 over stems with light synonyms. A passage is an answer only when it covers enough of what was asked, so that
nonsense and questions about other things find nothing.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from functools import lru_cache
from typing import NamedTuple

from convai_lab.providers.offline.brief import Brief, Passage, narrowed, read_brief
from convai_lab.providers.offline.words import content_stems, likeness, listed, related, stem, words

K1, B = 1.2, 0.6
MIN_COVERAGE = 0.5
"""The share of the question's meaning that a passage must cover to be an answer."""
CUE_WEIGHT, HEADING_WEIGHT = 1.0, 0.7
MAX_ANSWER_CHARS = 320

_MONEY = re.compile(r"[$€£¥]|\b(?:euros?|dollars?|pounds?|free|cents?|usd|eur|gbp|percent|%)\b|\d", re.I)
_CURRENCY = re.compile(r"[$€£¥]|\b(?:euros?|dollars?|pounds?|free|cents?|usd|eur|gbp)\b", re.I)
_TIME = re.compile(
    r"\b\d{1,2}(?::\d{2})?\s*(?:am|pm|o'clock|h)\b|\b(?:one|two|three|four) (?:am|pm|o'clock)\b|"
    r"\d:\d{2}|\b(?:at|from|until|till|to|by) \d{1,2}\b(?! [A-Z])|"
    r"\b(?:day|week|month|hour|minute|monday|tuesday|wednesday|thursday|friday|saturday|sunday|noon|midnight|daily|weekend|"
    r"morning|evening|five|six|seven|eight|nine|ten|eleven|twelve)s?\b",
    re.I,
)
_PLACE = re.compile(r"\b(?:street|road|avenue|square|lane|at|in|near|next to|opposite|floor|station|city)\b", re.I)
_KINDS = (
    (frozenset(("cost", "pric", "charg", "fee", "expensiv", "cheap")), _CURRENCY),
    (frozenset(("tim", "duration", "hour")), _TIME),
)
_ACTIONS = frozenset(
    stem(w)
    for w in listed(
        """
    change modify update cancel refund return exchange repair upgrade downgrade pause delete transfer
    reschedule move split book reserve buy borrow rent
"""
    )
)


class Answer(NamedTuple):
    """What the prompt says on a question, and how much of the question it covers (0 to 1)."""

    text: str
    coverage: float
    heading: str = ""


class _Indexed(NamedTuple):
    passage: Passage
    stems: frozenset[str]
    cue: frozenset[str]
    heading: frozenset[str]
    length: int


def answer_from(prompt: str, question: str, *, min_coverage: float = MIN_COVERAGE) -> Answer | None:
    """Return the passage of the prompt that answers the question, or None."""
    wanted = content_stems(question)[:24]
    if not wanted:
        return None
    brief = brief_for(prompt, wanted)
    best = _best(index_of(brief), wanted, question, min_coverage)
    return Answer(_shortened(best[0].text), best[1], best[0].heading) if best else None


def limit_on(prompt: str, request: str) -> str | None:
    """Return what the prompt forbids (``promise refunds``) when the request is about that, or None."""
    wanted = content_stems(request)[:24]
    best, found = 0.0, None
    for act, _, _ in brief_for(prompt, wanted).limits:
        stems = content_stems(act)[:12]
        if stems:
            share = sum(likeness(s, wanted) for s in stems) / min(len(stems), 2)
            if share > best:
                best, found = share, act
    return found if best >= 0.5 else None


def brief_for(prompt: str, wanted: Sequence[str] = ()) -> Brief:
    """Return the brief of a prompt; of a very long one, of the part that can matter for the `wanted` stems."""
    needles = frozenset(n for s in wanted for n in (s, *related(s)) if len(n) > 2)
    return read_brief(narrowed(prompt, needles))


def index_of(brief: Brief) -> tuple[_Indexed, ...]:
    """Return the facts of a brief, ready to be searched."""
    return _indexed(tuple(brief.facts))


@lru_cache(maxsize=64)
def _indexed(facts: tuple[Passage, ...]) -> tuple[_Indexed, ...]:
    return tuple(
        _Indexed(
            passage,
            frozenset(stems := content_stems(passage.text)),
            frozenset(content_stems(passage.cue)),
            frozenset(content_stems(passage.heading)),
            len(stems),
        )
        for passage in facts
    )


def _best(
    indexed: Sequence[_Indexed], wanted: list[str], question: str, min_coverage: float
) -> tuple[Passage, float] | None:
    weights = _weights(indexed, wanted)
    total = sum(weights.values())
    average = sum(i.length for i in indexed) / len(indexed) if indexed else 1.0
    actions = {s for s in wanted if s in _ACTIONS}
    best: tuple[float, Passage, float] | None = None
    for item in indexed:
        hits = {s: _hit(s, item) for s in wanted}
        coverage = sum(weights[s] * hit for s, hit in hits.items()) / total
        if coverage < min_coverage or any(not hits[s] for s in actions):
            continue
        length = K1 * (1 - B + B * item.length / max(average, 1.0))
        score = sum(weights[s] * hit * (K1 + 1) / (hit + length) for s, hit in hits.items()) * _fits(question, item)
        if best is None or score > best[0]:
            best = (score, item.passage, coverage)
    return (best[1], best[2]) if best else None


def _hit(wanted: str, item: _Indexed) -> float:
    by_kind = any(wanted in asked and kind.search(item.passage.text) for asked, kind in _KINDS)
    return max(
        0.6 * by_kind,
        likeness(wanted, item.stems),
        CUE_WEIGHT * likeness(wanted, item.cue),
        HEADING_WEIGHT * likeness(wanted, item.heading),
    )


def _weights(indexed: Sequence[_Indexed], wanted: list[str]) -> dict[str, float]:
    """Weigh the stems of a question by how rare they are; one that occurs nowhere counts in full."""
    n = len(indexed) + 1
    found = {s: sum(1 for i in indexed if s in i.stems or s in i.cue) for s in wanted}
    return {s: 1.0 + math.log((n + 0.5) / (df + 0.5)) * 0.35 for s, df in found.items()}


def _fits(question: str, item: _Indexed) -> float:
    """Favour a passage that holds the kind of thing that was asked for: a time, an amount, a place."""
    said, text = " ".join(words(question)), item.passage.text
    asked = (
        (r"\b(?:when|how long|hours|what time|until)\b", _TIME),
        (r"\b(?:how much|price|cost|fee)\b|how expensive", _MONEY),
        (r"\b(?:where|located|address)\b", _PLACE),
    )
    return 1.0 + 0.5 * sum(bool(re.search(cue, said) and kind.search(text)) for cue, kind in asked)


def _shortened(text: str) -> str:
    """Return the first one or two sentences of a passage, as they are said on the phone."""
    if len(text) <= MAX_ANSWER_CHARS:
        return text
    cut = max(text.rfind(end, 0, MAX_ANSWER_CHARS) for end in (". ", "! ", "? "))
    return text[: cut + 1] if cut > 40 else text[: text.rfind(" ", 0, MAX_ANSWER_CHARS)].rstrip(",;:") + "."
