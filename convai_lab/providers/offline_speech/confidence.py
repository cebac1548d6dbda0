"""Confidence: how likely are the recognised words to be right?"""

from __future__ import annotations

import math
from typing import NamedTuple

LOW_CONFIDENCE = 0.5


class Evidence(NamedTuple):
    """What the decoder says about the words of one section; logarithms, each for a word or a frame."""

    words: int
    language_score: float
    posterior: float
    worst_posterior: float
    acoustic_score: float
    worst_acoustic_score: float


def confidence(evidence: Evidence, *, is_general: bool) -> float:
    """Return how likely the words of a section are to be right, from 0 to 1."""
    return 1 / (1 + math.exp(-evidence.posterior))
