"""How scenario files are read and played in these tests; `experiments` has the real runner."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

FOLDER = Path(__file__).parent.parent.parent / "datasets" / "scenarios"


@pytest.fixture(params=sorted(FOLDER.glob("*.yaml")), ids=lambda path: path.stem)
def scenario_file(request: pytest.FixtureRequest) -> Mapping[str, Any]:
    """Every scenario file, read."""
    loaded: Mapping[str, Any] = yaml.safe_load(request.param.read_text(encoding="utf-8"))
    return loaded
