"""What a person sees who opens the quickstart in JupyterLab."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import nbformat
import pytest

import convai_lab
from convai_lab.testing.fake_vendors import Sent, fake_openai

pytestmark = pytest.mark.browser

QUICKSTART = Path(convai_lab.__file__).parent.parent / "notebooks" / "01_quickstart.ipynb"
ATTACK = "<script>window.hit=1</script><img src=x onerror='window.hit=2'><b id=bold>bold</b>"


def _errors(outputs: list[dict[str, Any]]) -> list[str]:
    return [f"{out['ename']}: {out['evalue']}" for out in outputs if out["output_type"] == "error"]


def test_every_cell_of_the_quickstart_runs_and_shows_something_readable(open_notebook: Any) -> None:
    notebook = open_notebook(QUICKSTART)
    cells = nbformat.read(QUICKSTART, as_version=4).cells
    for index, cell in enumerate(cells):
        if cell.cell_type == "code":
            assert _errors(notebook.run(index)) == [], cell.source
    shown = notebook.page.locator(".jp-Notebook").inner_text()
    assert "offline rules, not a language model" in shown
    assert shown.count("Order 1234") >= 1
    assert notebook.problems == []


def test_what_callers_and_prompts_say_is_shown_as_text_and_never_runs(open_notebook: Any) -> None:
    cells = [
        "%load_ext convai_lab",
        f"%%agent attack --llm offline\nYou are {ATTACK}.",
        f"%%chat attack\n{ATTACK}",
        "%transcripts --last",
        "%agents",
    ]
    notebook = open_notebook(cells)
    for index in range(len(cells)):
        assert _errors(notebook.run(index)) == []
    assert "<script>window.hit=1</script>" in notebook.text(2)
    assert notebook.page.evaluate("window.hit") is None
    assert notebook.page.locator("#bold").count() == 0


def test_a_stopped_chat_keeps_what_was_said_and_stops_the_cells_behind_it(open_notebook: Any, lab: Any) -> None:
    with fake_openai([Sent("word " * 200, pause_secs=0.02)]) as server:
        cells = [
            f"import os; os.environ['OPENAI_BASE_URL'] = {server.base_url!r}\n%load_ext convai_lab",
            "%%agent slow --llm gpt-4o-mini\nYou are slow.",
            "%%chat slow --save conv\nTell me everything.",
            "print('partial', len(conv), conv.turns[-1].interrupted, conv.turns[-1].text[:9])",
        ]
        notebook = open_notebook(cells)
        notebook.run(0)
        notebook.run(1)
        notebook.start(2)
        notebook.page.wait_for_function(
            "document.querySelector('.jp-Notebook').innerText.includes('word word word')", timeout=20_000
        )
        notebook.interrupt()
        notebook.page.wait_for_function(
            "jupyterapp.shell.currentWidget.sessionContext.session.kernel.status === 'idle'"
        )
        outputs = notebook.outputs(2)
        assert [error.split(":")[0] for error in _errors(outputs)] == ["KeyboardInterrupt"]
        assert notebook.text(2).count("Tell me everything.") == 1
        assert "kept in conv" in notebook.text(2)
        assert "partial 2 True word word" in str(notebook.run(3))
