"""The page's end of the sound, with a microphone, a recorder and a call that the test plays."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

import convai_lab

NOTEBOOK = Path(convai_lab.__file__).parent / "notebook"
PARTS = ("panel_measures.js", "panel_paths.js", "panel_media.js")
STAGE = """async (code) => {
  const widget = (await import(URL.createObjectURL(new Blob([code], { type: "text/javascript" })))).default;
  window.sent = [];
  window.tracks = [];
  const values = { camera: "IPY_MODEL_camera", room: "IPY_MODEL_room", recorder: "IPY_MODEL_recorder", worklet: "" };
  const listeners = {};
  const sound = () => {
    const stream = new AudioContext().createMediaStreamDestination().stream;
    tracks.push(...stream.getTracks());
    return stream;
  };
  window.recorder = {
    values: {},
    set(name, value) {
      this.values[name] = value;
      if (name === "recording" && value) this.runs = () => (this.mediaRecorder = { state: "recording" });
    },
  };
  const widgets = {
    camera: { captureStream: () => new Promise((allow) => (window.allow = () => allow(sound()))) },
    room: { on_room_msg() {}, peers: { other: new Promise(() => {}) }, save_changes() {} },
    recorder,
  };
  window.model = {
    get: (name) => values[name],
    set: (name, value) => (values[name] = value),
    send: (content) => sent.push(content),
    on: (name, react) => (listeners[name] = react),
    widget_manager: { get_model: async (name) => widgets[name] },
  };
  widget.initialize({ model });
  window.order = (order) => void (window.obeyed = listeners.order(order));
  window.told = () => sent.map(({ event, kind }) => (kind ? `${event} ${kind}` : event));
}"""
HAS_OPENED = "told().some(event => event.startsWith('open'))"
pytestmark = pytest.mark.browser


@pytest.fixture
def page(browser: Any, workspace: Any) -> Iterator[Any]:
    context = browser.new_context(permissions=["microphone"])
    page = context.new_page()
    page.goto(f"{workspace}/nothing-here")  # microphones are for pages of this machine
    page.evaluate(STAGE, "\n".join((NOTEBOOK / part).read_text(encoding="utf-8") for part in PARTS))
    yield page
    context.close()


@pytest.fixture(scope="module")
def workspace() -> Iterator[str]:
    """The address of a server on this machine."""
    import http.server
    import threading

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), http.server.BaseHTTPRequestHandler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


@pytest.mark.parametrize("order", ["start", "test"])
def test_who_ends_while_the_browser_asks_for_the_microphone_has_none_open_afterwards(page: Any, order: str) -> None:
    page.evaluate("what => order({ do: what, kind: 'auto' })", order)
    page.wait_for_function("Boolean(window.allow)")
    page.evaluate("order({ do: 'close' })")
    page.wait_for_function("told().includes('closed')")
    page.evaluate("allow()")
    page.wait_for_function("tracks.length && tracks.every(track => track.readyState === 'ended')")
    assert page.evaluate("told()") == ["ready", "closed"]
    assert page.evaluate("model.get('line')")["phase"] == "closed"


def test_a_tap_that_is_over_before_the_recorder_runs_leaves_none_running(page: Any) -> None:
    page.evaluate("order({ do: 'clip', on: true }), window.tap = obeyed, 0")
    page.evaluate("order({ do: 'clip', on: false })")
    page.wait_for_function("Boolean(recorder.runs)")
    assert page.evaluate("model.get('line').recording") is False
    page.evaluate("recorder.runs()")
    page.evaluate("tap")
    assert page.evaluate("recorder.values.recording") is False


def test_where_the_platform_makes_no_calls_the_sound_goes_through_the_notebook_at_once(page: Any) -> None:
    page.evaluate("order({ do: 'start', kind: 'auto' })")
    page.wait_for_function("Boolean(window.allow)")
    page.evaluate("allow()")
    page.wait_for_function("told().includes('choose webrtc')")
    page.evaluate("order({ do: 'refused', reason: 'WebRTC needs aiortc' })")
    page.wait_for_function(HAS_OPENED, timeout=5_000)
    assert page.evaluate("told()")[-2:] in (["choose comm", "open comm"], ["choose push_to_talk", "open push_to_talk"])


@pytest.mark.parametrize(("kind", "is_patient"), [("auto", False), ("webrtc", True)])
def test_who_wants_a_call_and_nothing_else_waits_for_it_on_a_busy_machine(
    page: Any, kind: str, is_patient: bool
) -> None:
    page.evaluate("kind => order({ do: 'start', kind })", kind)
    page.wait_for_function("Boolean(window.allow)")
    page.evaluate("allow()")
    page.wait_for_function("told().includes('choose webrtc')")
    page.clock.install(time=datetime(2026, 1, 1, tzinfo=UTC))
    page.clock.pause_at(datetime(2026, 1, 2, tzinfo=UTC))
    page.evaluate("order({ do: 'signal', message: { type: 'join', room_id: 'other' } })")
    page.clock.run_for(5_000)
    assert page.evaluate(HAS_OPENED) is not is_patient
    page.clock.run_for(11_000)
    assert page.evaluate(HAS_OPENED)


def test_muted_from_a_cell_the_page_says_so(page: Any) -> None:
    page.evaluate("order({ do: 'mute', on: true })")
    assert page.evaluate("model.get('muted')") is True
