"""Plots of a comparison answer one question each, with units, in words, and not by colour alone."""

from __future__ import annotations

from collections.abc import Iterator

import matplotlib as mpl
import pytest

mpl.use("Agg")

from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.colors import to_hex

from convai_lab.analysis.plots import description
from convai_lab.errors import InvalidValueError

from .conftest import invented

RESULTS = {
    "a": {f"s{i:02}": [i < 6] for i in range(24)},
    "b": {f"s{i:02}": [i < 20] for i in range(24)},
    "c": {f"s{i:02}": [4 < i < 8] for i in range(24)},
}


@pytest.fixture(autouse=True)
def _close_figures() -> Iterator[None]:
    yield
    plt.close("all")


def _texts(ax: Axes) -> str:
    return " ".join(text.get_text() for text in ax.texts)


def test_the_forest_shows_every_difference_with_its_corrected_p() -> None:
    comparison = invented(RESULTS)
    ax = comparison.plot_forest()
    assert [label.get_text() for label in ax.get_yticklabels()] == ["c", "b"]
    assert "percentage points" in ax.get_xlabel()
    adjusted = comparison.differences().set_index("variant")["p_adjusted"]["c"]
    assert f"p = {adjusted:.3f}".replace("0.", ".") in _texts(ax)
    assert "better" in _texts(ax)
    assert "b: +58 [" in description(ax)


def test_outcomes_differ_by_shape() -> None:
    ax = invented(RESULTS).plot_forest()
    markers = {line.get_marker() for line in ax.lines} - {"None", "|", None, ""}
    assert {"^", "o"} <= markers


def test_flips_count_what_was_gained_and_lost() -> None:
    ax = invented(RESULTS).plot_flips(variant="c")
    assert description(ax).endswith("2 gained, 5 lost, 17 the same.")
    assert "%" in ax.get_ylabel()
    styles = {line.get_linestyle() for line in ax.lines}
    assert {"-", "--", ":"} <= styles
    assert max(line.get_linewidth() for line in ax.lines) == 2
    numbers = [int(text.get_text()) for text in ax.texts]
    assert numbers
    assert min(numbers) > 1


def test_flips_are_of_the_challenger_that_the_verdict_is_about() -> None:
    ax = invented(RESULTS).plot_flips()
    assert [label.get_text() for label in ax.get_xticklabels()] == ["a", "b"]


def test_quality_against_latency_names_the_latency_and_its_unit() -> None:
    ax = invented(RESULTS, trial={"ttft_ms": (200.0, 400.0)}).plot_quality()
    assert ax.get_xlabel().startswith("first token (ms")
    assert "a: 25% [12, 45] at a median of 300 ms, 95th percentile 400 ms over 48 replies" in description(ax)


def test_quality_against_cost_is_in_dollars_and_says_what_is_not_known() -> None:
    from dataclasses import replace

    comparison = invented(RESULTS)
    trials = tuple(t.with_changes(cost_usd=None) if t.variant == "c" else t for t in comparison.trials)
    ax = replace(comparison, trials=trials).plot_quality("cost")
    assert "USD" in ax.get_xlabel()
    assert "Not known of c." in description(ax)


def test_a_plot_of_what_was_not_measured_is_refused_in_words() -> None:
    with pytest.raises(InvalidValueError, match="no latency was measured"):
        invented(RESULTS).plot_quality("latency")
    with pytest.raises(InvalidValueError, match="no cost is known"):
        invented(RESULTS, trial={"cost_usd": None}).plot_quality("cost")
    with pytest.raises(InvalidValueError, match="must be 'latency' or 'cost'"):
        invented(RESULTS).plot_quality("price")  # type: ignore[arg-type]
    with pytest.raises(InvalidValueError, match="no variant has a pair"):
        invented({"a": {"s": [True]}}).plot_forest()
    with pytest.raises(InvalidValueError, match="'z' is no challenger; they are b, c"):
        invented(RESULTS).plot_flips(variant="z")


def test_a_dark_style_gives_a_dark_plot() -> None:
    with plt.style.context("dark_background"):
        ax = invented(RESULTS).plot_forest()
        assert to_hex(ax.figure.get_facecolor()) == "#000000"
        assert to_hex(ax.lines[0].get_color()) == "#ffffff"


def test_a_plot_draws_where_it_is_told() -> None:
    _, ax = plt.subplots()
    assert invented(RESULTS).plot_forest(ax=ax) is ax


def test_dollar_signs_in_names_are_no_formula() -> None:
    ax = invented({"a": RESULTS["a"], "$\\frac$": RESULTS["b"]}).plot_forest()
    ax.figure.canvas.draw()
    assert ax.get_yticklabels()[0].get_text() == r"\$\frac\$"
