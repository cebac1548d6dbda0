"""Panel media: what of the sound lives in the page, and how does it reach the session?

ipywebrtc owns the microphone (`CameraStream`), the browser's call (`WebRTCRoom`) and clips (`AudioRecorder`). One
small widget of ours, which is never displayed, carries the call's signalling, and the sound itself where no call can
be made. What it does there lies beside this file, in JavaScript.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import anywidget
import ipywebrtc
import traitlets
from ipywidgets import Widget, widget_serialization

from convai_lab import background
from convai_lab.errors import InvalidValueError
from convai_lab.workspace.live_events import AgentAudio, Flush, MediaChanged, MediaKind, Muted, Signal, SoundTimed
from convai_lab.workspace.media_line import MAX_CLIP_BYTES, MediaLine

FOLDER = Path(__file__).parent
PARTS = ("measures", "paths", "media")
CONSTRAINTS = {
    "audio": {"echoCancellation": True, "noiseSuppression": True, "autoGainControl": True},
    "video": False,
}
PAGE_CLOSES_WITHIN_SECS = 5.0
MAX_FRAME_BYTES = 200_000
KINDS: Mapping[str, MediaKind] = {
    "webrtc": "webrtc",
    "comm": "comm",
    "push_to_talk": "push_to_talk",
    "text": "text",
}

OnPage = Callable[[str, Mapping[str, Any]], None]
"""Is told what happens in the page: ``ready``, ``open`` (with its kind) and ``problem`` (with code and detail)."""


class PanelMedia(anywidget.AnyWidget):
    """The page's end of the sound of one session; `shut` takes everything away that was made for it."""

    _esm = "\n".join((FOLDER / f"panel_{part}.js").read_text(encoding="utf-8") for part in PARTS)
    camera = traitlets.Instance(ipywebrtc.CameraStream).tag(sync=True, **widget_serialization)
    room = traitlets.Instance(ipywebrtc.WebRTCRoom).tag(sync=True, **widget_serialization)
    recorder = traitlets.Instance(ipywebrtc.AudioRecorder).tag(sync=True, **widget_serialization)
    constraints = traitlets.Dict().tag(sync=True)
    worklet = traitlets.Unicode().tag(sync=True)

    def __init__(self, line: MediaLine, on_page: OnPage) -> None:
        camera = ipywebrtc.CameraStream(constraints=CONSTRAINTS)
        super().__init__(
            camera=camera,
            room=ipywebrtc.WebRTCRoom(room="convai", stream=camera, nickname="notebook"),
            recorder=ipywebrtc.AudioRecorder(stream=camera),
            constraints=CONSTRAINTS,
            worklet=(FOLDER / "panel_worklet.js").read_text(encoding="utf-8"),
        )
        self.is_pausing = False
        """Whether a busy cell keeps the page's sound from us: messages come on the thread on which cells run."""
        self._line, self._on_page = line, on_page
        self._is_shut = self._is_closed = False
        self.recorder.audio.observe(self._recorded, "value")
        self.on_msg(self._arrived)
        hear_beside_cells(self)
        hear_beside_cells(self.recorder.audio)

    def hear(self, event: object) -> None:
        """Pass an event of the session on to the page, if it is one about the sound."""
        if self._is_shut:
            return
        if isinstance(event, Signal):
            self.send({"do": "signal", "message": event.message})
        elif isinstance(event, AgentAudio):
            self.send({"do": "audio", "rate": event.rate_hz, "event_id": event.event_id}, [event.pcm])
        elif isinstance(event, Flush):
            self.send({"do": "flush", "event_id": event.event_id})
        elif isinstance(event, SoundTimed):
            self.send({"do": "timed", "number": event.number, "at": event.at})
        elif isinstance(event, Muted):
            self.send({"do": "mute", "on": event.on})
        elif isinstance(event, MediaChanged) and event.kind == "webrtc" and event.reason:
            self.send({"do": "refused", "reason": event.reason})

    def shut(self) -> None:
        """Close the microphone, the call and every widget of it; harmless when repeated.

        The page closes its own side first, and says what it had made; a page that is gone is not waited for.
        """
        if self._is_shut:
            return
        self._is_shut = True
        self.recorder.audio.unobserve_all()
        self.send({"do": "close"})
        loop = background.loop()
        loop.call_soon_threadsafe(lambda: loop.call_later(PAGE_CLOSES_WITHIN_SECS, self._close_widgets))

    def _close_widgets(self, made: Sequence[Any] = ()) -> None:
        if self._is_closed:
            return
        self._is_closed = True
        parts = [*map(_widget, made), *self.room.peers, *self.room.streams, self.recorder.audio]
        for widget in dict.fromkeys([*parts, self.recorder, self.room, self.camera, self]):
            if isinstance(widget, Widget):
                close_widget(widget)

    def _arrived(self, _widget: Any, content: Any, buffers: Sequence[Any]) -> None:
        """Take a message of the page; one that is not as we send it is passed over."""
        event = content.get("event") if isinstance(content, Mapping) else None
        if event == "closed" and self._is_shut:
            self._close_widgets(content.get("made") or ())
        if self._is_shut or not isinstance(event, str):
            return
        if event == "pcm":
            self._said(content, buffers)
        elif event == "signal" and isinstance(content.get("message"), Mapping):
            self._line.signal(content["message"])
        elif event == "takes":
            self._measured(content)
        elif event == "choose" and content.get("kind") in KINDS:
            self._line.choose(KINDS[content["kind"]])
        elif event in ("ready", "open", "problem"):
            self._on_page(event, content)

    def _said(self, content: Mapping[str, Any], buffers: Sequence[Any]) -> None:
        rate = content.get("rate")
        if not buffers or not isinstance(rate, (int, float)) or not 8_000 <= rate <= 192_000:
            return
        frame = bytes(buffers[0])
        if 0 < len(frame) <= MAX_FRAME_BYTES and len(frame) % 2 == 0:
            self.is_pausing = threading.current_thread() is threading.main_thread()
            self._line.push(frame, round(rate))

    def _measured(self, content: Mapping[str, Any]) -> None:
        ways, number = (content.get("to_agent_ms"), content.get("to_user_ms")), content.get("number")
        is_at_start, heard_at = content.get("is_at_start") is True, content.get("heard_at")
        with contextlib.suppress(InvalidValueError):  # a page that was asleep: the next measurement is right
            if type(number) is int and number >= 0:
                self._line.sound_takes(*ways, number=number, is_at_start=is_at_start, heard_at=heard_at)

    def _recorded(self, change: Mapping[str, Any]) -> None:
        clip = bytes(change["new"] or b"")
        if clip and not self._is_shut:
            if len(clip) > MAX_CLIP_BYTES:
                return self._on_page("problem", {"code": "platform", "detail": "the clip is too long: speak shorter"})
            self._line.push_clip(clip, f"audio/{self.recorder.format}")
        return None


def hear_beside_cells(widget: Widget) -> None:
    """Let the page's messages to `widget` be handled while a cell runs, where the front end asks for that.

    JupyterLab sends them to a thread of their own (a subshell), but the kernel sends answers back to where the last
    message came from, which for us is never a subshell (ipykernel 7.4; earlier ones do not ask, and take them there).
    """
    if hasattr(widget.comm, "_reply_subshell_for"):
        widget.comm._reply_subshell_for = lambda _data, asked: asked


def _widget(model_id: Any) -> Any:
    """Return the widget of this id; what is none comes back as it is."""
    return widget_serialization["from_json"](f"IPY_MODEL_{model_id}", None)


def close_widget(widget: Widget) -> None:
    """Close a widget and what belongs to it alone."""
    layout = getattr(widget, "layout", None)
    widget.close()
    if isinstance(layout, Widget):
        layout.close()
