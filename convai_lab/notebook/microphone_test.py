"""Microphone test: does this notebook's page hear its user?"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import anywidget
import traitlets
from ipywidgets import widget_serialization

from convai_lab.conversations.session_view import TYPE_ON
from convai_lab.notebook import panel_words
from convai_lab.notebook.panel_media import FOLDER, PanelMedia, close_widget
from convai_lab.workspace.live_events import MediaKind
from convai_lab.workspace.media_line import MediaLine

_last: list[MicrophoneTest] = []


class NoSession:
    """Where the sound of a test goes: nowhere."""

    media_kind: MediaKind = "text"

    def post(self, frame: Mapping[str, Any]) -> None:
        """Send nothing."""


class MicrophoneTest(anywidget.AnyWidget):
    """A button that listens for a few seconds and says whether anybody was heard; the sound stays in the page."""

    _esm = FOLDER / "microphone_test.js"
    _css = FOLDER / "session_panel.css"
    problem = traitlets.Dict().tag(sync=True)
    media = traitlets.Instance(PanelMedia).tag(sync=True, **widget_serialization)

    def __init__(self) -> None:
        super().__init__(media=PanelMedia(MediaLine(NoSession()), self._page_told))

    def remove(self) -> None:
        """Take it away, with all that it opened in the page."""
        self.media.shut()
        close_widget(self)

    def _page_told(self, event: str, content: Mapping[str, Any]) -> None:
        if event == "problem":
            told = panel_words.problem(str(content.get("code")), str(content.get("detail") or ""))
            self.problem = {**told, "instead": told["instead"].removesuffix(TYPE_ON).strip()}


def show_microphone_test() -> MicrophoneTest:
    """Show a test in the running cell; the one that was shown before is gone."""
    from IPython.display import display

    while _last:
        _last.pop().remove()
    test = MicrophoneTest()
    _last.append(test)
    display(test)
    return test
