"""The README is pasted, cell by cell, into a notebook and runs; its commands are real commands."""

from __future__ import annotations

import re
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

import convai_lab

README = Path(convai_lab.__file__).parent.parent / "README.md"
FENCE = re.compile(r"^```(\w+)\n(.*?)^```", re.MULTILINE | re.DOTALL)


def _blocks(language: str) -> list[str]:
    return [body for name, body in FENCE.findall(README.read_text(encoding="utf-8")) if name == language]


def test_every_python_example_runs_when_pasted_in_order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path))
    monkeypatch.setenv("MPLBACKEND", "agg")
    cells = [nbformat.v4.new_code_cell(block) for block in _blocks("python")]  # type: ignore[no-untyped-call]
    notebook = nbformat.v4.new_notebook(cells=cells)  # type: ignore[no-untyped-call]
    NotebookClient(notebook, timeout=120, kernel_name="python3").execute(cwd=str(README.parent))
    assert len(cells) > 10
    assert all(cell.execution_count for cell in notebook.cells)


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
