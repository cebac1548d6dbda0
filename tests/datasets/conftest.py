"""The scenario files, read as users read them, and as they are written."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from convai_lab.simulation.scenario import ScenarioSet, load_scenarios
from convai_lab.simulation.scenario_text import read_rows

FOLDER = Path(__file__).parent.parent.parent / "datasets" / "scenarios"


@pytest.fixture(params=sorted(FOLDER.glob("*.yaml")), ids=lambda path: path.stem)
def path(request: pytest.FixtureRequest) -> Path:
    """Every scenario file."""
    found: Path = request.param
    return found


@pytest.fixture
def scenarios(path: Path) -> ScenarioSet:
    """Every scenario file as users load it."""
    return load_scenarios(path)


@pytest.fixture
def scenario_file(path: Path) -> Mapping[str, Any]:
    """Every scenario file as it is written."""
    written: Mapping[str, Any] = read_rows(path)
    return written
