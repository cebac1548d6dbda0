"""Panel transcript: what of a voice session stays in the notebook, when its widgets are gone?

Script-free HTML under a display id of its own. While the panel shows the same turns it is folded; when the session is
over, or no panel appeared, it is all there is to see.
"""

from __future__ import annotations

import threading
from typing import Any

from markupsafe import Markup

from convai_lab.conversations.conversation import Conversation
from convai_lab.conversations.session_view import Trouble
from convai_lab.conversations.transcript import transcript_html, transcript_text
from convai_lab.notebook.display import Picture

_SUMMARY = "cursor:pointer;font-size:85%;color:var(--jp-ui-font-color2,#767676)"


class LastingTranscript:
    """The transcript below a panel; `show` may be called from any thread."""

    def __init__(self, conversation: Conversation) -> None:
        from IPython.display import display

        self._lock = threading.Lock()
        self._trouble: Trouble | None = None
        self._conversation, self._is_final = conversation, False
        self._handle: Any = display(self._picture(), display_id=True)

    def show(self, conversation: Conversation, *, final: bool = False) -> None:
        """Show what was said so far; `final` when the session is over."""
        with self._lock:
            self._conversation, self._is_final = conversation, self._is_final or final
            self._update()

    def explain(self, trouble: Trouble | None) -> None:
        """Say why there is no panel, or no longer."""
        with self._lock:
            self._trouble = trouble
            self._update()

    def _update(self) -> None:
        if self._handle is not None:
            self._handle.update(self._picture())

    def _picture(self) -> Picture:
        said = self._conversation
        text = transcript_text(said)
        html = Markup(transcript_html(said))  # noqa: S704 (escaped where it is made)
        if not self._is_final:
            turns = "1 turn" if len(said) == 1 else f"{len(said)} turns"
            label = f"Transcript so far ({turns}); it stays in the notebook"
            html = Markup('<details><summary style="{}">{}</summary>{}</details>').format(_SUMMARY, label, html)
        if self._trouble is not None:
            html = Markup("<p><strong>⚠ {}</strong> {}</p>").format(*self._trouble) + html
            text = f"{self._trouble.what} {self._trouble.instead}\n{text}"
        return Picture(html, text)
