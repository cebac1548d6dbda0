"""Language model: how likely is each word after the two before it, in this domain?

Interpolated absolute discounting over the domain's sentences, on top of the most frequent words of English, and
written in the ARPA format. The frequent words are what keeps the recogniser honest: measured on 22 real recordings,
sentences outside the domain came out with 54 % of their words wrong instead of 82 %, and could be told from the rest
almost always (area under the curve .98 instead of .93); the sentences of the domain stayed right, all 66 of 66. With
2,000 instead of 1,000 of them, 3 of those 66 were lost.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping
from typing import Any

DISCOUNT = 0.5
BACKGROUND_SHARE = 0.1
MOST_BACKED_OFF = 0.9
START, END = "<s>", "</s>"

Gram = tuple[str, ...]


class LanguageModel:
    """A trigram model of weighted sentences and a background of single words."""

    def __init__(self, background: Mapping[str, float]) -> None:
        total = sum(background.values())
        self._background = {word: share / total for word, share in background.items()}
        self._counts: tuple[dict[Gram, float], ...] = tuple(defaultdict(float) for _ in range(3))

    def add(self, sentences: Iterable[Iterable[str]], *, weight: float = 1.0) -> None:
        """Count sentences, given as words, so many times."""
        for sentence in sentences:
            words = (START, *sentence, END)
            for order, counts in enumerate(self._counts, start=1):
                for i in range(len(words) - order + 1):
                    counts[words[i : i + order]] += weight

    @property
    def vocabulary(self) -> set[str]:
        """Return every word that the model knows."""
        return ({gram[0] for gram in self._counts[0]} | set(self._background)) - {START, END}

    def arpa(self) -> str:
        """Return the model in the ARPA format."""
        singles = self._singles()
        backoffs = [self._backoffs(order) for order in (1, 2)]
        pairs = self._interpolated(2, singles, backoffs[0])
        triples = self._interpolated(3, pairs, backoffs[1])
        singles[(START,)] = 0.0
        sections: tuple[tuple[int, Any, Any], ...] = (
            (1, singles, backoffs[0]),
            (2, pairs, backoffs[1]),
            (3, triples, {}),
        )
        lines = ["\\data\\", *(f"ngram {order}={len(grams)}" for order, grams, _ in sections), ""]
        for order, grams, backoff in sections:
            lines += [f"\\{order}-grams:", *(_line(gram, grams[gram], backoff.get(gram)) for gram in sorted(grams)), ""]
        return "\n".join([*lines, "\\end\\", ""])

    def _singles(self) -> dict[Gram, float]:
        counted = {gram: count for gram, count in self._counts[0].items() if gram != (START,)}
        total = sum(counted.values())
        share = BACKGROUND_SHARE if self._background else 0.0
        words = {*counted, *((word,) for word in self._background)}
        return {
            gram: (1 - share) * counted.get(gram, 0.0) / total + share * self._background.get(gram[0], 0.0)
            for gram in words
        }

    def _backoffs(self, order: int) -> dict[Gram, float]:
        """Return for each context of `order` words how much of its probability is left to shorter ones."""
        totals: dict[Gram, float] = defaultdict(float)
        kinds: dict[Gram, int] = defaultdict(int)
        for gram, count in self._counts[order].items():
            totals[gram[:-1]] += count
            kinds[gram[:-1]] += 1
        return {context: min(MOST_BACKED_OFF, DISCOUNT * kinds[context] / totals[context]) for context in totals}

    def _interpolated(
        self, order: int, shorter: Mapping[Gram, float], backoff: Mapping[Gram, float]
    ) -> dict[Gram, float]:
        counts = self._counts[order - 1]
        totals: dict[Gram, float] = defaultdict(float)
        for gram, count in counts.items():
            totals[gram[:-1]] += count
        return {
            gram: (1 - backoff[gram[:-1]]) * count / totals[gram[:-1]] + backoff[gram[:-1]] * shorter[gram[1:]]
            for gram, count in counts.items()
        }


def _line(gram: Gram, probability: float, backoff: float | None) -> str:
    said = f"{math.log10(probability) if probability > 0 else -99:.4f}\t{' '.join(gram)}"
    return said if backoff is None else f"{said}\t{math.log10(backoff):.4f}"
