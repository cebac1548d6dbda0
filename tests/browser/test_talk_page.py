"""What a page holds is given back: the microphone after its test, and when the kernel that heard it is gone."""

from __future__ import annotations

import base64
from pathlib import Path
from typing import Any

import pytest

import convai_lab

ORDER = Path(convai_lab.__file__).parent.parent / "datasets" / "audio" / "order.wav"
pytestmark = pytest.mark.browser

SETUP = "%load_ext convai_lab"
AGENT = """%%agent support --llm offline
---
first_message: Hello.
---
You are Sam."""
PATIENCE_MS = 30_000
MICROPHONES = "(window.tracks ?? []).map(track => track.readyState)"
CALLS = "window.calls.map(call => call.connectionState)"
KERNEL = "jupyterapp.shell.currentWidget.sessionContext.session.kernel"
RESTART = f"() => {{ {KERNEL}.restart(); }}"
CRASH = f"() => {{ {KERNEL}.requestExecute({{code: 'import os; os._exit(1)'}}); }}"


@pytest.mark.parametrize("fate", [RESTART, CRASH], ids=["restart", "crash"])
def test_a_panel_whose_kernel_is_gone_says_so_and_lets_go_of_the_microphone(open_notebook: Any, fate: str) -> None:
    notebook = open_notebook([SETUP, AGENT, "%talk support"], permissions=("microphone",))
    for cell in range(3):
        notebook.run(cell)
    panel = notebook.page.locator(".convai-panel")
    panel.get_by_role("button", name="Start talking", exact=True).click()
    panel.get_by_text("Listening to you").wait_for(timeout=PATIENCE_MS)
    assert notebook.page.evaluate(MICROPHONES) == ["live"]
    notebook.page.evaluate(fate)
    panel.get_by_text("the kernel was restarted or is gone").wait_for(timeout=PATIENCE_MS)
    assert notebook.page.evaluate(MICROPHONES) == ["ended"]
    assert set(notebook.page.evaluate(CALLS)) == {"closed"}
    assert "Hello." in panel.inner_text(), "what was said is still there"
    assert panel.get_by_role("button").locator("visible=true").count() == 0
    assert notebook.problems == []
    notebook.page.wait_for_function(f"{KERNEL}.status === 'idle'", timeout=PATIENCE_MS)


def test_the_microphone_test_hears_a_voice_and_tells_silence_and_a_refusal(open_notebook: Any) -> None:
    notebook = open_notebook([f"{SETUP}\n%lab --microphone"], permissions=("microphone",))
    notebook.run(0)
    page = notebook.page
    assert "Microphone" in notebook.text(0)
    page.get_by_role("button", name="Test microphone").click()
    page.get_by_text("Say something").wait_for()
    page.evaluate("wav => window.speak(wav)", base64.b64encode(ORDER.read_bytes()).decode())
    page.get_by_text("We hear you").wait_for(timeout=PATIENCE_MS)
    page.wait_for_function(f"{MICROPHONES}.every(state => state === 'ended')")
    other = page.get_by_label("Microphone", exact=True).select_option(index=1)
    page.get_by_role("button", name="Test again").click()
    page.get_by_text("Nothing heard").wait_for(timeout=PATIENCE_MS)
    assert other[0] in page.evaluate("JSON.stringify(window.asked)")  # however the page words it
    page.evaluate("window.refusal = 'NotAllowedError'")
    page.get_by_role("button", name="Test again").click()
    page.get_by_text("did not let this page use the microphone").wait_for(timeout=PATIENCE_MS)
    assert notebook.problems == []


def test_a_notebook_saved_in_mid_session_and_opened_without_its_kernel_shows_the_words_and_no_dead_panel(
    open_notebook: Any, lab: Any
) -> None:
    notebook = open_notebook([SETUP, AGENT, "%talk support"], permissions=("microphone",))
    for cell in range(3):
        notebook.run(cell)
    panel = notebook.page.locator(".convai-panel")
    panel.get_by_label("Type to the agent").fill("<b id=bold>hello</b>")
    panel.get_by_role("button", name="Send").click()
    notebook.page.get_by_text("Transcript so far (3 turns)").wait_for(timeout=PATIENCE_MS)
    notebook.page.evaluate("jupyterapp.commands.execute('docmanager:save')")
    again = open_notebook(lab.folder / notebook.page.evaluate("jupyterapp.shell.currentWidget.context.path"))
    again.page.get_by_text("shows only while its kernel runs").wait_for(timeout=PATIENCE_MS)
    assert "widget" not in again.text(2), "neither that it loads nor that it is not found"
    again.page.get_by_text("Transcript so far (3 turns)").click()
    assert "<b id=bold>hello</b>" in again.text(2)
    assert again.page.locator(".convai-panel").count() == 0
    panel.get_by_role("button", name="End", exact=True).click()
    panel.get_by_text("Ended by you").wait_for(timeout=PATIENCE_MS)
    saved = notebook.page.evaluate("jupyterapp.shell.currentWidget.content.model.toJSON()")
    assert "widgets" not in saved["metadata"], "nothing stands in for a panel that is over"
