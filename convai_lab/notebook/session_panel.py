"""Session panel: what does a person see of a live voice session, and what can they do?"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping
from typing import Any

import anywidget
import traitlets
from ipywidgets import widget_serialization
from markupsafe import Markup

from convai_lab import background
from convai_lab.conversations.conversation import Conversation
from convai_lab.conversations.session_view import why_ended, with_printed
from convai_lab.conversations.turn_view import newest_turns
from convai_lab.errors import ConvaiLabError
from convai_lab.notebook import panel_words
from convai_lab.notebook.display import Picture
from convai_lab.notebook.panel_media import FOLDER, PanelMedia, close_widget, hear_beside_cells
from convai_lab.notebook.panel_transcript import LastingTranscript
from convai_lab.workspace import events, live_events
from convai_lab.workspace.live_session import LiveSession

PANEL_APPEARS_WITHIN_SECS = 20.0
VIEW = "application/vnd.jupyter.widget-view+json"
MAX_TEXT_CHARS = 20_000


class SessionPanel(anywidget.AnyWidget):
    """The panel of one session; it follows the session, and passes on what the person does.

    Events come on the background thread, the person's doings on a thread of the kernel. Both only hand something on.
    """

    _esm = "\n".join(
        (FOLDER / f"{part}.js").read_text(encoding="utf-8") for part in ("panel_notebook", "session_panel")
    )
    _css = FOLDER / "session_panel.css"
    view_id = traitlets.Unicode().tag(sync=True)
    agent = traitlets.Unicode().tag(sync=True)
    status = traitlets.Dict().tag(sync=True)
    facts: traitlets.List[Any] = traitlets.List().tag(sync=True)
    turns: traitlets.List[Any] = traitlets.List().tag(sync=True)
    partial = traitlets.Unicode().tag(sync=True)
    printed = traitlets.Unicode().tag(sync=True)
    problem = traitlets.Dict().tag(sync=True)
    finished = traitlets.Dict().tag(sync=True)
    elapsed = traitlets.Dict().tag(sync=True)
    media = traitlets.Instance(PanelMedia, allow_none=True).tag(sync=True, **widget_serialization)

    def __init__(self, session: LiveSession, *, keep: Callable[[Conversation], object]) -> None:
        self.session, self._keep = session, keep
        self._kind = self._generated = ""
        self._began_at: float | None = None
        self._has_appeared = self._is_over = False
        self._transcript: LastingTranscript | None = None
        self._last_work: Any = None
        self._shown: Any = None
        super().__init__(
            agent=panel_words.agent_label(session.agent),
            media=PanelMedia(session.media, self._page_told),
            status={"state": "ready", "words": panel_words.state("ready")},
            elapsed={"secs": 0, "running": False},
        )
        self.view_id = self.model_id
        self.on_msg(self._asked)
        hear_beside_cells(self)
        self._unsubscribe = session.subscribe(self._happened)
        if session.state == "ended":  # it was refused before anybody listened
            background.loop().call_soon_threadsafe(self._over, session.end_reason)
        self._show_facts()

    def show(self) -> None:
        """Show the panel and, below it, the transcript that lasts, in the running cell."""
        from IPython.display import display

        self._shown = display(self, display_id=True)
        self._transcript = LastingTranscript(self.session.conversation)
        loop = background.loop()
        loop.call_soon_threadsafe(loop.call_later, PANEL_APPEARS_WITHIN_SECS, self._look_whether_it_appeared)

    def _repr_mimebundle_(self, **_: Any) -> tuple[dict[str, Any], dict[str, Any]]:
        """Return the panel, and a line for where no widget is drawn: a saved notebook on GitHub, or one not trusted."""
        line = f"The voice panel of {self.agent} shows only while its kernel runs; what was said is below."
        view = {"version_major": 2, "version_minor": 0, "model_id": self.model_id}
        return {VIEW: view, "text/html": Markup("<small>{}</small>").format(line), "text/plain": line}, {}

    def replace(self) -> None:
        """End the session and take the panel away: its cell shows a new one."""
        self.session.end()
        self.remove()

    def remove(self) -> None:
        """Take the panel away, also from the saved notebook; the transcript stays."""
        self._is_over = True
        self._unsubscribe()
        if self.media is not None:
            self.media.shut()
        close_widget(self)
        if self._shown is not None:
            self._shown.update(Picture("", ""))

    # What happens in the session

    def _happened(self, event: live_events.LiveEvent) -> None:
        if self.media is not None:
            self.media.hear(event)
        match event:
            case live_events.StateChanged(state="ended", reason=reason):
                self._over(reason)
            case live_events.StateChanged(state=state):
                if state != "connecting":
                    self._begin()  # somebody spoke through `session.say`
                self._show_state()
            case live_events.UserPartial(text=text):
                self.partial = f"you: {text}"[:MAX_TEXT_CHARS] if text else ""
            case events.UserTurn():
                self._generated = self.partial = ""
                self._show_turns()
            case events.AgentText(text=text):
                self._generated += text
                self.partial = f"agent: {self._generated}"[:MAX_TEXT_CHARS]
            case events.AgentTurn() | events.AgentCutShort() | live_events.TurnStored():
                self._generated = self.partial = ""
                self._show_turns()
            case events.ToolCalled() | events.ToolAnswered():
                self._show_turns()
            case live_events.EnginesKnown():
                self._show_facts()
            case live_events.MediaChanged(kind=kind, is_connected=is_connected, reason=reason):
                self._sound_goes(kind, is_connected=is_connected)
                if reason:
                    self.problem = panel_words.problem("no_webrtc", reason)
            case live_events.ToolPrinted(name=name, text=text):
                self.printed = with_printed(self.printed, name, text)
            case live_events.Refused(message=message):
                self.problem = panel_words.problem("platform", message)

    def _sound_goes(self, kind: str, *, is_connected: bool) -> None:
        if is_connected:
            self._kind = kind
            self._show_facts()

    def _show_state(self) -> None:
        name = self.session.state if self._began_at is not None else "ready"
        self.status = {"state": name, "words": panel_words.state(name, self.session.end_reason)}

    def _show_facts(self) -> None:
        self.facts = panel_words.facts(
            platform=self.session.platform,
            engines=self.session.engines,
            kind=self._kind,
            is_pausing=self._kind == "comm" and self.media is not None and self.media.is_pausing,
            conversation=self.session.conversation,
        )

    def _show_turns(self, conversation: Conversation | None = None, *, final: bool = False) -> None:
        said = conversation or self.session.conversation
        self.turns = newest_turns(said)
        self.agent = panel_words.agent_label(self.session.agent)
        self._show_facts()
        if self._transcript is not None:
            self._transcript.show(said, final=final)

    # What the person does

    def _asked(self, _widget: Any, content: Any, _buffers: Any) -> None:
        if not isinstance(content, Mapping):
            return
        try:
            self._do(content)
        except ConvaiLabError as error:
            self.problem = panel_words.problem("platform", str(error))

    def _do(self, asked: Mapping[str, Any]) -> None:
        match asked.get("do"):
            case "shown":
                self._appeared()
            case "start":
                self.problem = {}
                self._begin()
            case "say":
                self._say(asked.get("text"))
            case "mute":
                self.session.mute(asked.get("on") is True)
            case "end":
                self.session.end()
            case "play":
                self._last_work = background.submit(self._play())
            case "remove":
                self.remove()

    def _begin(self) -> None:
        if self._began_at is None and not self._is_over:
            self._began_at = time.monotonic()
            self.elapsed = {"secs": 0, "running": True}
            self._show_state()

    def _say(self, text: Any) -> None:
        if not isinstance(text, str) or not text.strip() or self._is_over:
            return
        if self._began_at is None:
            self._begin()
            self.session.media.choose("text")
        self.session.say(text.strip()[:MAX_TEXT_CHARS])

    def _page_told(self, event: str, content: Mapping[str, Any]) -> None:
        """Hear what happened in the page; where there is no microphone, the conversation goes on in writing."""
        if event == "ready":
            self._appeared()
        elif event == "open":
            self._begin()
            self._sound_goes(str(content.get("kind")), is_connected=True)
        elif event == "problem":
            code = str(content.get("code"))
            self.problem = panel_words.problem(code, str(content.get("detail") or ""))
            if code != "extension" and self._began_at is not None and not self._kind:
                self.session.media.choose("text")

    def _appeared(self) -> None:
        if not self._has_appeared:
            self._has_appeared = True
            if self._transcript is not None:
                self._transcript.explain(None)

    def _look_whether_it_appeared(self) -> None:
        if not self._has_appeared and not self._is_over and self._transcript is not None:
            self._transcript.explain(panel_words.PROBLEMS["no_panel"])

    # When it is over

    def _over(self, reason: str | None) -> None:
        if self._is_over:
            return
        self._is_over = True
        secs = 0.0 if self._began_at is None else time.monotonic() - self._began_at
        self.elapsed = {"secs": secs, "running": False}
        self.partial, self.problem = "", why_ended(reason)
        self.status = {"state": "ended", "words": panel_words.state("ended", reason)}
        self._last_work = asyncio.ensure_future(self._conclude())

    async def _conclude(self) -> None:
        """Show the record as the platform stored it, and give everything back."""
        self._unsubscribe()
        try:
            conversation = await self.session.ended()
        except ConvaiLabError:
            conversation = self.session.conversation
            self.problem = panel_words.problem("gone")
        media, self.media = self.media, None
        if media is not None:
            media.shut()
        if self._began_at is not None or conversation.turns:
            self._keep(conversation)
            self.finished = panel_words.finished(conversation)
        self._show_turns(conversation, final=True)

    async def _play(self) -> None:
        try:
            audio = await asyncio.to_thread(lambda: self.session.conversation.audio)
        except ConvaiLabError as error:
            self.problem = panel_words.problem("platform", str(error))
            return
        self.send({"do": "play", "mime": audio.mime}, [audio.data])
