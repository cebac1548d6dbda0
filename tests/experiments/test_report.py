"""The report: everything about a comparison in one page, without scripts and without the network."""

from __future__ import annotations

import base64
import re
from pathlib import Path

import matplotlib as mpl
import pytest

mpl.use("Agg")

from matplotlib import pyplot as plt

from convai_lab.errors import InvalidValueError
from convai_lab.experiments.report import write_report

from .conftest import invented

RESULTS = {
    "a": {**{f"s{i}": [False, True] for i in range(9)}, "odd": [True, "provider"]},
    "b": {**{f"s{i}": [True, True] for i in range(9)}, "odd": [True, True]},
}


def _page(folder: Path, **facts: object) -> str:
    made = invented(RESULTS, trial={"ttft_ms": (100.0, 300.0)}, **facts)
    return write_report(made, folder / "x").read_text("utf-8")


def test_everything_is_in_one_page(tmp_path: Path) -> None:
    page = _page(tmp_path, judge="openai/gpt-4o")
    assert [path.name for path in tmp_path.iterdir()] == ["x.html"]
    for told in ("b beats a", "openai/gpt-4o", "<h2>Differences", "<h2>More flips", "<h2>Scenarios", "429", "1 of 2"):
        assert told in page
    assert page.count("<details") == 9
    assert page.count("a says nothing") == 9


def test_the_page_runs_nothing_and_fetches_nothing(tmp_path: Path) -> None:
    page = _page(tmp_path, notes=("<script>alert(1)</script>",))
    assert "<script" not in page
    assert "default-src &#39;none&#39;" in page or "default-src 'none'" in page
    assert not re.search(r"""(?:src|href|srcset)=["'](?!data:)""", page)


def test_plots_come_for_light_and_dark_pages_with_their_words(tmp_path: Path) -> None:
    page = _page(tmp_path)
    images = re.findall(r'(?:src|srcset)="data:image/png;base64,([^"]+)"', page)
    assert len(images) == 8
    assert all(base64.b64decode(image).startswith(b"\x89PNG") for image in images)
    assert 'alt="Differences to a. b: ' in page
    assert plt.get_fignums() == []


def test_what_cannot_be_plotted_is_said(tmp_path: Path) -> None:
    page = write_report(invented({"a": {"s": [True]}}), tmp_path / "one.html").read_text("utf-8")
    assert "No plot of latency: " in page
    assert "no latency was measured" in page
    assert "There is only one variant." in page


def test_a_page_that_cannot_be_written_is_refused_and_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(InvalidValueError, match="name a file in a folder that exists"):
        write_report(invented(RESULTS), tmp_path / "no" / "x.html")
    with pytest.raises(InvalidValueError, match="name a file in a folder that exists"):
        write_report(invented(RESULTS), tmp_path)
    assert list(tmp_path.iterdir()) == []
