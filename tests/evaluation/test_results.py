"""Results: how numbers read, how they are stored, and that the examples in the docstrings are true."""

from __future__ import annotations

import doctest
import importlib
import json
from math import inf, nan

import pytest

from convai_lab.errors import InvalidValueError
from convai_lab.evaluation.calibration import Confusion, agreement_of
from convai_lab.evaluation.results import Estimate, as_number, bracketed, p_text, require_count, require_share

MODULES = (
    "calibration", "paired", "power", "reliability", "results", "sequential", "statistics", "resampling", "verdict",
    "word_errors",
)  # fmt: skip


@pytest.mark.parametrize("name", MODULES)
def test_the_examples_are_true(name: str) -> None:
    done = doctest.testmod(importlib.import_module(f"convai_lab.evaluation.{name}"))
    assert done.attempted > 0
    assert done.failed == 0


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.12, "12"),
        (-0.034, "-3"),
        (0.004, "0.4"),
        (-0.0049, "-0.5"),
        (0.0, "0"),
        (-0.0, "0"),
        (0.0096, "1"),
        (nan, "?"),
    ],
)
def test_a_rate_is_read_in_hundredths_and_a_small_one_is_not_rounded_to_nothing(value: float, text: str) -> None:
    assert as_number(value, is_rate=True) == text


@pytest.mark.parametrize(("value", "text"), [(0.12, "+12"), (-0.12, "-12"), (0.0, "0")])
def test_a_difference_carries_its_sign(value: float, text: str) -> None:
    assert as_number(value, is_rate=True, signed=True) == text


@pytest.mark.parametrize(
    ("value", "text"), [(0.0104, "p = .010"), (0.0009, "p < .001"), (1.0, "p = 1.000"), (nan, "p not known")]
)
def test_p_values_read_as_in_papers(value: float, text: str) -> None:
    assert p_text(value) == text


def test_what_is_not_known_is_null_in_json_and_said_in_text() -> None:
    estimate = Estimate(estimate=nan, high=inf, reason="no scenario was tried")
    stored = json.loads(json.dumps(estimate.to_dict(), allow_nan=False))
    assert (stored["estimate"], stored["high"], stored["reason"]) == (None, None, "no scenario was tried")
    assert str(estimate) == "not known: no scenario was tried"
    assert bracketed(nan, 0.5, is_rate=True) == "[interval not known]"


def test_named_parts_keep_their_names_in_json() -> None:
    stored = agreement_of(Confusion(4, 3, 2, 1)).to_dict()
    assert stored["confusion"] == {"both_yes": 4, "judge_only": 3, "human_only": 2, "both_no": 1}


def test_limits_name_the_field() -> None:
    with pytest.raises(InvalidValueError, match=r"k: must be a whole number of at least 1, got 0"):
        require_count(0, "k", least=1)
    with pytest.raises(InvalidValueError, match="rate: must be between 0 and 1, got 2"):
        require_share(2, "rate")
