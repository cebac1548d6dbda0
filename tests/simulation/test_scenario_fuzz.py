"""Whatever is given as scenarios is read or refused in one sentence; nothing else ever comes out."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from convai_lab.errors import InvalidValueError
from convai_lab.simulation.scenario import ScenarioSet, load_scenarios
from convai_lab.simulation.scenario_fields import FIELD_NAMES

QUICK = settings(max_examples=50, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
PLAIN = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20) | st.binary(max_size=4)
VALUES = st.recursive(
    PLAIN,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8) | st.integers(), inner, max_size=3),
)
ROWS = st.dictionaries(st.sampled_from(FIELD_NAMES) | st.text(max_size=6), VALUES, max_size=5)
PIECES = st.sampled_from(
    [
        "- ",
        "opening",
        ": ",
        "{",
        "}",
        "[",
        "]",
        "\n",
        "  ",
        "&a",
        "*a",
        "<<",
        "!!",
        "'",
        '"',
        "#",
        "|",
        "\t",
        "?",
        "%",
        "é",
        ",",
    ]
)


def read(source: Any) -> ScenarioSet | str:
    """Return the scenarios, or the one sentence why there are none."""
    try:
        return load_scenarios(source)
    except InvalidValueError as error:
        return str(error)


def assert_told_in_one_line(read: ScenarioSet | str) -> None:
    assert read
    assert isinstance(read, ScenarioSet) or ("\n" not in read and len(read) < 1000)


@QUICK
@given(st.lists(ROWS, max_size=3) | VALUES)
def test_any_value(source: Any) -> None:
    if not isinstance(source, str):
        assert_told_in_one_line(read(source))


@QUICK
@given(st.lists(ROWS.map(lambda row: {**row, "opening": "Hello"}), min_size=1, max_size=1))
def test_what_was_read_is_read_again_from_what_it_tells(source: Any) -> None:
    loaded = read(source)
    if isinstance(loaded, ScenarioSet):
        assert load_scenarios([scenario.to_dict() for scenario in loaded]).scenarios == loaded.scenarios


@pytest.mark.parametrize("suffix", [".yaml", ".json", ".jsonl", ".csv"])
@QUICK
@given(text=st.lists(PIECES, max_size=30).map("".join))
def test_any_text(text: str, suffix: str, tmp_path: Path) -> None:
    file = tmp_path / f"s{suffix}"
    file.write_text(text, encoding="utf-8")
    assert_told_in_one_line(read(file))


@QUICK
@given(data=st.binary(max_size=60))
def test_any_bytes(data: bytes, tmp_path: Path) -> None:
    for suffix in (".yaml", ".json", ".jsonl", ".csv", ".parquet"):
        file = tmp_path / f"s{suffix}"
        file.write_bytes(data)
        assert_told_in_one_line(read(file))
