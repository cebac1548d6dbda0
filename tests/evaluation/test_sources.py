"""Every estimator and test says where its formula comes from."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from convai_lab.evaluation import (
    calibration,
    distributions,
    paired,
    power,
    reliability,
    resampling,
    sequential,
    statistics,
    word_errors,
)

FORMULAS: list[Any] = [
    statistics.wilson,
    statistics.shares_interval,
    statistics.clustered_standard_error,
    statistics.binomial_p,
    statistics.holm,
    resampling.unseen_share,
    resampling.bootstrap_interval,
    resampling.sign_flip_p,
    reliability.pass_hat_k,
    reliability.pass_at_k,
    calibration.agreement,
    calibration.corrected_rate,
    paired.mcnemar_exact,
    word_errors.word_errors,
    power,
    sequential,
    distributions,
]


@pytest.mark.parametrize("formula", FORMULAS, ids=lambda formula: formula.__name__)
def test_a_formula_names_its_source(formula: Callable[..., Any]) -> None:
    assert "Source: " in (formula.__doc__ or "")
