"""People's labels of some trials say how far the judged success is to be believed."""

from __future__ import annotations

from typing import Any

import pandas as pd
import pytest

from convai_lab.errors import InvalidValueError, NotFoundError

from .conftest import invented

JUDGED = invented({"a": {f"s{n}": [n < 60] for n in range(100)}, "b": {f"s{n}": [n < 80] for n in range(100)}})
PEOPLE = {("a", f"s{n}", 0): n < 50 for n in range(100)}
"""The judge is too kind: of 50 failures it calls 10 a success."""


def test_a_kind_judge_is_seen_and_every_rate_corrected() -> None:
    agreed = JUDGED.agreement(PEOPLE)
    assert (agreed.n, agreed.sensitivity, agreed.specificity) == (100, 1.0, 0.8)
    table = JUDGED.corrected(PEOPLE).set_index("variant")
    assert list(table["judged"]) == [0.6, 0.8]
    assert list(table["corrected"]) == pytest.approx([0.5, 0.75])
    assert (table["low"] < table["corrected"]).all()
    assert (table["corrected"] < table["high"]).all()
    assert table.attrs["agreement"] == str(agreed)


def test_an_interval_that_is_not_known_is_not_shown() -> None:
    assert str(JUDGED.agreement({("a", "s0", 0): True, ("a", "s99", 0): False})).startswith(
        "kappa 1.00, agreement 100%"
    )


def test_labels_may_be_a_table_with_gaps() -> None:
    rows = [(*key, value) for key, value in PEOPLE.items()]
    table = pd.DataFrame(rows, columns=["variant", "scenario", "trial", "human"]).astype({"human": "boolean"})
    table.loc[0, "human"] = pd.NA
    agreed = JUDGED.agreement(table)
    assert (agreed.n, agreed.n_unknown) == (99, 1)


@pytest.mark.parametrize(
    ("labels", "error", "said"),
    [
        ([1, 2], InvalidValueError, "variant is missing"),
        (pd.DataFrame({"variant": ["a"], "scenario": ["s0"], "trial": [0]}), InvalidValueError, "human is missing"),
        ({"a": True}, InvalidValueError, r"must be \(variant, scenario, trial\), got 'a'"),
        ({("a", "s0", 0): "maybe"}, InvalidValueError, "must be True, False or missing, got 'maybe'"),
        ({("c", "s0", 0): True}, NotFoundError, "variants are a, b"),
    ],
)
def test_what_is_no_label_is_named(labels: Any, error: type[Exception], said: str) -> None:
    with pytest.raises(error, match=said):
        JUDGED.agreement(labels)


def test_without_any_label_nothing_is_corrected() -> None:
    table = JUDGED.corrected({})
    assert table["corrected"].isna().all()
    assert "no human labels" in table["reason"][0]
