"""IPython's traps: what it does to the text of a cell, and which failures a notebook's test would not see."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import nbformat
import pytest

from convai_lab import settings

VERBATIM = "Hi {{name}} and {nope}, it is $100, $HOME or $nope.\n# not a comment\n!ls\nWhat is it?\n%agents \\ 'open"

WRONG = (
    "%agent nobody_here",
    "%agent helper --temprature 1",
    "%agent 'open",
    "%agent helper --tool {no_such_name}",
    "%%agent helper",
    "%%agent helper\n---\nllm: [1\n---\nx",
    "x = 1\n%%agent helper\nYou are Sam.",
    "%chat",
    "%chat nobody_here Hello",
    "%%chat nobody_here\nHello",
    "%undo",
    "%transcripts --since yesterdayish",
    "%transcripts --last",
    "%lab --platform elevenlabs",
)


def test_the_body_of_a_cell_is_taken_as_it_stands(notebook: Any) -> None:
    agent = notebook.must(f"%%agent verbatim --llm offline --var name=Ada\n{VERBATIM}")
    assert agent.prompt == VERBATIM


def test_a_line_magic_may_go_on_behind_a_backslash(notebook: Any) -> None:
    agent = notebook.must("%agent broken --llm offline \\\n  --temperature 0.4 \\\n  --voice George")
    assert (agent.temperature, agent.voice) == (0.4, "George")


def test_the_value_of_a_line_magic_can_be_assigned(notebook: Any) -> None:
    notebook.must("rows = %agents")
    assert [row.name for row in notebook.shell.user_ns["rows"]]


def test_every_wrong_cell_fails_in_a_notebook_that_is_tested(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """nbval-lax lets a `UsageError` pass; what we raise must not."""
    cells = [nbformat.v4.new_code_cell(cell) for cell in ("%load_ext convai_lab", *WRONG, "%agents")]
    kernel = {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}}
    path = tmp_path / "wrong.ipynb"
    nbformat.write(nbformat.v4.new_notebook(cells=cells, metadata=kernel), path)
    command = [sys.executable, "-m", "pytest", "--nbval-lax", "-q", "-rfp", "-p", "no:cacheprovider", "-c", os.devnull]
    monkeypatch.setenv(settings.HOME_VARIABLE, str(tmp_path / "home"))
    said = subprocess.run([*command, str(path)], capture_output=True, text=True, check=False).stdout
    outcomes = {
        number: outcome for outcome, number in re.findall(r"^(PASSED|FAILED) \S*::Cell (\d+)", said, re.MULTILINE)
    }
    wanted = ["PASSED", *["FAILED"] * len(WRONG), "PASSED"]
    assert [outcomes[str(number)] for number in range(len(wanted))] == wanted, said
