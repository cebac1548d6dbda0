"""One limit says of any recogniser whether the agent should doubt the words."""

from __future__ import annotations

import math

import pytest

from convai_lab.voice.answering import LOW_CONFIDENCE, likelihood


@pytest.mark.parametrize("said", [None, True, False, math.nan, math.inf, -math.inf, -0.01, 1.01, 87, "0.9", [0.9]])
def test_what_is_no_likelihood_says_nothing(said: object) -> None:
    assert likelihood(said) is None


@pytest.mark.parametrize("said", [0, 0.0, 0.2, LOW_CONFIDENCE, 1, 1.0])
def test_a_likelihood_is_taken_as_it_is(said: float) -> None:
    assert likelihood(said) == said
