"""The bar of a run says what it has cost, in figures that can be read."""

from __future__ import annotations

import pytest

from convai_lab.experiments.progress import BarProgress, NoProgress, WarningsAlone, warn


def told(cost_usd: float, max_cost: float | None) -> str:
    bar = BarProgress(lambda show: show())
    bar.start(4, done=1, max_cost=max_cost)
    bar.advance(1, cost_usd=cost_usd)
    bar.close("")
    return str(bar._bar.postfix)


def test_what_must_be_known_before_the_first_trial_is_said_with_and_without_a_bar(
    capsys: pytest.CaptureFixture[str],
) -> None:
    for progress in (BarProgress(lambda show: show()), WarningsAlone(), NoProgress()):
        warn(progress, "tools are real")
    assert capsys.readouterr().err == "Note: tools are real\n" * 2


def test_what_was_spent_and_what_may_be_is_written_as_dollars() -> None:
    assert told(7.3e-06, 1.0) == "$0.0000073 of $1.00"
    assert told(1.5, None) == "$1.50"
