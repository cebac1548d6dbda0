"""Confidence: how likely are the recognised words to be right?"""

from __future__ import annotations

import math
from typing import NamedTuple

LOW_CONFIDENCE = 0.5
"""Below this, a caller should be asked again.

Calibrated on ten short recordings of real speakers, each recognised with a domain that contains its sentence (10 of
10 right, lowest confidence 0.72) and with one that does not (6 wrong, highest confidence 0.37; the 4 that were right
all the same at least 0.89). So few recordings are an anecdote, not a study.
"""

POSTERIOR_WEIGHT = 2.0
USUAL_ACOUSTIC_SCORE = -3.0
"""The recordings that fit their words score above this for a frame; what does not fit scores down to -6."""
DOUBTFUL_POSTERIOR = -0.15
"""A misfit counts in full from here on; when nothing else fits nearly as well, an unusual voice is the likelier cause.
(Synthetic callers are unsure nearly always, also when their words are right: they sound like nobody.)"""
EVEN_AT = -1.1
STEEPNESS = 2.0


class Evidence(NamedTuple):
    """What the decoder says about the words of one section; logarithms, each for a word or a frame."""

    words: int
    language_score: float
    posterior: float
    worst_posterior: float
    acoustic_score: float
    worst_acoustic_score: float


def confidence(evidence: Evidence) -> float:
    """Return how likely the words of a section are to be right, from 0 to 1.

    The posterior says how much better they fit than other words of the domain, the acoustic score how well they fit
    at all: a sentence from outside the domain is forced into it, with a good posterior and a bad fit.
    """
    doubt = min(1.0, evidence.posterior / DOUBTFUL_POSTERIOR)
    misfit = doubt * min(0.0, evidence.acoustic_score - USUAL_ACOUSTIC_SCORE)
    score = POSTERIOR_WEIGHT * evidence.posterior + misfit
    return 1 / (1 + math.exp(-STEEPNESS * (score - EVEN_AT)))
