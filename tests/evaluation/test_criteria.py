"""Criteria are read in every shape that is plain, and unknown never becomes a success."""

from __future__ import annotations

from typing import Any

import pytest

from convai_lab.agents.agent import EvaluationCriterion
from convai_lab.conversations.conversation import CriterionResult
from convai_lab.errors import InvalidValueError
from convai_lab.evaluation.criteria import overall, parse_criteria

POLITE = EvaluationCriterion(id="polite", goal="Be polite.")


@pytest.mark.parametrize(
    ("raw", "ids"),
    [
        (None, []),
        ("Be polite.", ["criterion_1"]),
        (["a", {"goal": "b"}, POLITE], ["criterion_1", "criterion_2", "polite"]),
        ({"polite": "Be polite.", "short": "Be short."}, ["polite", "short"]),
        ({"id": "x", "goal": "y"}, ["x"]),
        (POLITE, ["polite"]),
    ],
)
def test_criteria_may_be_texts_mappings_or_values(raw: Any, ids: list[str]) -> None:
    assert [criterion.id for criterion in parse_criteria(raw, "agent")] == ids


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        (5, "agent, criteria: must be a list of goals, got 5"),
        ([""], "criterion 1.goal: must not be an empty text"),
        ([{"goul": "x"}], "did you mean goal?"),
        ([{"goal": "x" * 2_001}], "at most 2,000 characters, got 2,001"),
        ([POLITE, {"id": "polite", "goal": "x"}], "two of them have the id 'polite'"),
        ([{"id": 1, "goal": "x"}], "criterion 1.id: must be a text"),
    ],
)
def test_a_wrong_criterion_is_one_sentence_that_names_it(raw: Any, expected: str) -> None:
    with pytest.raises(InvalidValueError) as caught:
        parse_criteria(raw, "agent")
    assert expected in str(caught.value)


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([], None),
        (["success"], "success"),
        (["success", "unknown"], "unknown"),
        (["unknown", "failure"], "failure"),
        (["success", "Success!"], "unknown"),
    ],
)
def test_one_failure_fails_and_only_success_succeeds(values: list[str], expected: str | None) -> None:
    assert overall({str(i): CriterionResult(value=v) for i, v in enumerate(values)}) == expected
