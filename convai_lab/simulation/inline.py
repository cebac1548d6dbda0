"""Inline: how does the body of a cell become scenarios?"""

from __future__ import annotations

import re
from dataclasses import replace

from convai_lab.errors import InvalidValueError
from convai_lab.simulation.scenario import ScenarioSet, load_scenarios
from convai_lab.simulation.scenario_text import read_yaml

NAME = "the cell"
LOOKS_LIKE_YAML = re.compile(r"-(\s|$)|(agent|scenarios)\s*:|[\[{]|---\s*$")
MAX_CHARS = 2_000_000


def inline_scenarios(text: str) -> ScenarioSet:
    """Read scenarios that are written in a cell: YAML as in a file, or one opening a line.

    Empty lines, and lines that begin with ``# ``, are left out.

    Raises:
        InvalidValueError: Something in it is wrong; one sentence names the scenario and the field.

    Example:
        >>> [scenario.opening for scenario in inline_scenarios("Are you open?\\nCan I pay by card?")]
        ['Are you open?', 'Can I pay by card?']
    """
    if len(text) > MAX_CHARS:
        raise InvalidValueError(f"holds more than {MAX_CHARS:,} characters: put the scenarios into a file", field=NAME)
    lines = [line.strip() for line in text.splitlines() if line.strip() and not re.match(r"#(\s|$)", line.strip())]
    if not lines:
        raise InvalidValueError("holds no scenario: write one opening a line, or a list as in a file", field=NAME)
    if LOOKS_LIKE_YAML.match(lines[0]):
        return replace(load_scenarios(read_yaml(text, NAME)), source=NAME)
    if (mapping := re.match(r"(id|opening|goal)\s*:", lines[0])) is not None:
        raise InvalidValueError(
            f"begins with {mapping.group()}, which is a field: begin each scenario with a dash, as in - {lines[0]}",
            field=NAME,
        )
    return replace(load_scenarios(lines), source=NAME)
