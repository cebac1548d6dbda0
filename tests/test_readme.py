"""The README is pasted, cell by cell, into a real IPython shell and runs; its commands are real commands."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

import convai_lab

README = Path(convai_lab.__file__).parent.parent / "README.md"
FENCE = re.compile(r"^```(\w+)\n(.*?)^```", re.MULTILINE | re.DOTALL)
PASTE = """
import matplotlib; matplotlib.use("Agg")
from IPython.core.interactiveshell import InteractiveShell
import json, sys
shell = InteractiveShell.instance()
for cell in json.load(sys.stdin):
    done = shell.run_cell(cell)
    if not done.success:
        sys.exit("failed:\\n" + cell)
print("all cells ran")
"""


def _blocks(language: str) -> list[str]:
    return [body for name, body in FENCE.findall(README.read_text(encoding="utf-8")) if name == language]


def test_every_python_example_runs_when_pasted_in_order(tmp_path: Path) -> None:
    import json

    done = subprocess.run(
        [sys.executable, "-c", PASTE],
        input=json.dumps(_blocks("python")),
        env={**os.environ, "IPYTHONDIR": str(tmp_path)},
        cwd=README.parent,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-4000:]
    assert "all cells ran" in done.stdout


@pytest.mark.parametrize("block", _blocks("python"))
def test_an_example_is_short(block: str) -> None:
    assert len(block.strip().splitlines()) <= 8


def test_every_convai_command_it_shows_exists() -> None:
    from convai_lab.cli.main import PARTS

    shown = {name for block in _blocks("sh") for name in re.findall(r"\bconvai (\w+)", block)}
    assert shown <= set(PARTS)


def test_the_two_commands_of_the_design_are_there() -> None:
    text = README.read_text(encoding="utf-8")
    assert "pip install -e '.[all]' && .venv/bin/convai lab" in text
    assert "pip install -e '.[all,dev]' && .venv/bin/python -m pytest" in text


def test_nothing_it_says_names_a_machine() -> None:
    assert not re.search(r"/(?:home|root|work|tmp|Users)/", README.read_text(encoding="utf-8"))
