"""A person talks with an agent in JupyterLab: the browser's microphone is a file, or the test itself."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import convai_lab
from convai_lab.voice.sound import Sound
from convai_lab.voice.wav import read_wav, write_wav

AUDIO = Path(convai_lab.__file__).parent.parent / "datasets" / "audio"
pytestmark = pytest.mark.browser

ORDER = "where is my order one two three four"
THANKS = "thank you"
SETUP = """%load_ext convai_lab
import json, threading
from convai_lab import tool
from IPython import get_ipython

@tool
def order_status(order_id: str) -> dict:
    "Look up an order by its number."
    print("looking up", order_id)
    return {"status": "shipped", "eta": "tomorrow"}
"""
AGENT = f"""%%agent support --llm offline --tool {{order_status}}
---
first_message: Hello.
expected_phrases: [{ORDER}, {THANKS}]
turn: {{timeout_secs: 30, eagerness: eager}}
speed: 1.2
---
You are Sam, a calm support agent.

Q: thank you
A: Gladly."""
TALK = "session = %talk support\nprint('the cell goes on')"
BUSY = (
    "import os, time\nwhile not os.path.exists('enough'): time.sleep(0.1)",
    "import os\nwhile not os.path.exists('enough'): sum(range(1000))",
    "import os, numpy\na = numpy.ones((400, 400))\nwhile not os.path.exists('enough'): a @ a",
)
BUSY_AT_TURN = {3: 4, 5: 5, 7: 6}
"""The cells, by the turn during which they run."""
TURNS = """from convai_lab.analysis.plots import STAGES as DRAWN
STAGES = [name for name, *_ in DRAWN]
print(json.dumps([
    {"role": t.role, "text": t.text, "heard": t.text_heard, "interrupted": t.interrupted,
     "tools": [r.value for r in t.tool_results], "wait": t.metrics.voice_to_voice_ms,
     "transport": t.metrics.transport_ms, "stages": [getattr(t.metrics, name) or 0 for name in STAGES]}
    for t in session.conversation.turns]))"""
STATE_HAS = "word => [...document.querySelectorAll('.convai-state')].at(-1)?.textContent.includes(word)"
SPOKE = """([role, many]) => document.querySelectorAll(`.convai-turn.convai-${role}`).length >= many"""
KNOWN_NOISE = (
    "Unsatisfied version",  # ipywebrtc declares an older @jupyter-widgets/base
    "stun:",  # ipywebrtc asks Google's STUN servers, which nobody reaches offline
    "Failed to load resource",  # JupyterLab asks for settings that a new server does not have
)
# by the cell's own star: the kernel seems idle whenever a message of the page was answered beside the cell
IS_BUSY = """index => document.querySelectorAll('.jp-Notebook .jp-Cell')[index]
    .querySelector('.jp-InputPrompt').textContent.includes('*')"""
IS_DONE = f"index => !({IS_BUSY})(index)"
SPEAK_OVER = """wav => {
    window.spokenOver = null;
    const isLoud = () => [...document.querySelectorAll('meter')]
        .some(meter => meter.getAttribute('aria-label').startsWith('The agent') && meter.value > 0.3);
    const timer = setInterval(async () => {
        if (!isLoud()) return;
        clearInterval(timer);
        window.wasHushed = false;
        window.spokenOver = await window.speak(wav);
    }, 20);
}"""
BREAK_CALLS = """() => {
    const kept = RTCPeerConnection.prototype.setRemoteDescription;
    RTCPeerConnection.prototype.setRemoteDescription = () => new Promise(() => {});
    window.mend = () => { RTCPeerConnection.prototype.setRemoteDescription = kept; };
}"""
LEFT = """import os, time
from ipywidgets.widgets.widget import _instances
def links():
    for name in os.listdir("/proc/self/fd"):
        try:
            yield os.readlink("/proc/self/fd/" + name)
        except OSError:
            pass
def alive():
    return sorted(type(widget).__name__ for widget in _instances.values())
for _ in range(50):
    if not any(name in alive() for name in ("PanelMedia", "CameraStream")):
        break
    time.sleep(0.1)
print(json.dumps({
    "threads": sorted(thread.name for thread in threading.enumerate()),
    "sockets": sum(link.startswith("socket:") for link in links()),
    "widgets": alive(),
}))"""
ATTACK = "<script>window.hit=1</script><img src=x onerror='window.hit=2'><b id=bold>bold</b>"
VIEW = "application/vnd.jupyter.widget-view+json"
LOUD = 0.01
VOICE_HZ = (60, 1500)
PATIENCE_MS = 30_000


class Talking:
    """A notebook with a voice panel, and somebody in front of it."""

    def __init__(self, notebook: Any, voices: dict[str, str], folder: Path) -> None:
        self.notebook, self.page, self._voices = notebook, notebook.page, voices
        self._enough = folder / "enough"
        for cell in range(3):
            assert "error" not in [output["output_type"] for output in notebook.run(cell)]

    def begin(self, kind: str = "webrtc") -> None:
        """Run the cell again and press Start; returns when the agent has said hello and listens."""
        self.open_panel()
        self.start(kind)
        self.until_turns("agent", 1)  # not "speaking": a busy machine may have said hello before it looks
        self.until("Listening")

    def open_panel(self) -> None:
        self.notebook.run(3)
        self.page.wait_for_function(STATE_HAS, arg="Ready", timeout=PATIENCE_MS)

    def start(self, kind: str = "webrtc") -> None:
        """Press Start; who wants a call and nothing else waits for it also on a busy machine."""
        self.page.get_by_label("How the sound travels").last.select_option(kind)
        self.press("Start talking")

    def press(self, label: str) -> None:
        self.page.get_by_role("button", name=label, exact=True).last.click()

    def until(self, word: str) -> None:
        """Wait until the panel says this of its state."""
        self.page.wait_for_function(STATE_HAS, arg=word, timeout=PATIENCE_MS)

    def until_turns(self, role: str, many: int) -> None:
        self.page.wait_for_function(SPOKE, arg=[role, many], timeout=PATIENCE_MS)

    def say(self, words: str) -> tuple[float, float]:
        """Say something into the page's microphone; returns when it began and when it ends."""
        begins, ends = self.page.evaluate("wav => window.speak(wav)", self._voices[words])
        return begins, ends

    def speak_over(self, words: str) -> float:
        """Let the page say something once it hears the agent, whenever this test gets to run; returns when it began."""
        self.page.evaluate(SPEAK_OVER, self._voices[words])
        self.page.wait_for_function("window.spokenOver", timeout=PATIENCE_MS)
        return float(self.page.evaluate("window.spokenOver[0]"))

    def end_cell(self, index: int) -> None:
        """Let a busy cell end."""
        self._enough.touch()
        self.page.wait_for_function(IS_DONE, arg=index, timeout=PATIENCE_MS)
        self._enough.unlink()

    def turns(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = json.loads(self.notebook.in_kernel(TURNS))
        return found

    def left(self) -> dict[str, Any]:
        """Return what lives in the kernel, once the page has given back what it had."""
        return dict(json.loads(self.notebook.in_kernel(LEFT)))

    def shows_in_a_saved_notebook(self) -> bool:
        """Return whether the notebook, as it would be saved now, shows a panel when it is opened again."""
        return any(VIEW in output.get("data", {}) for output in self.notebook.outputs(3))

    def heard(self, since: float) -> list[tuple[float, float, float]]:
        """Return what the page played since then, where it was loud."""
        return [sample for sample in self.page.evaluate("window.heard") if sample[0] >= since and sample[1] > LOUD]

    def text(self) -> str:
        return str(self.page.locator(".convai-panel").last.inner_text())

    def end(self) -> None:
        self.press("End")
        self.until("Ended")


@pytest.fixture(scope="module")
def talking(open_shared_notebook: Any, voices: dict[str, str], lab: Any) -> Talking:
    notebook = open_shared_notebook([SETUP, AGENT, "import numpy", TALK, *BUSY], permissions=("microphone",))
    return Talking(notebook, voices, lab.folder)


@pytest.fixture(autouse=True)
def _nobody_talks_any_more(talking: Talking) -> Iterator[None]:
    yield
    talking.page.evaluate("() => { window.refusal = null; window.speaksIntoPage = true; }")
    if talking.page.get_by_role("button", name="End", exact=True).locator("visible=true").count():
        talking.end()


def test_an_order_spoken_into_the_browsers_microphone_is_heard_and_the_answer_is_heard_in_the_page(
    talking: Talking, microphone: Path
) -> None:
    write_pause_before(AUDIO / "order.wav", microphone, secs=8)  # it is read from when the page opens it
    talking.page.evaluate("window.speaksIntoPage = false")
    talking.begin()
    listening_at = time.time()
    talking.until_turns("agent", 2)
    talking.until("Listening")
    hello, asked, answered = talking.turns()
    assert hello["text"] == "Hello."
    assert asked["text"] == ORDER
    assert answered["tools"] == ['{"status": "shipped", "eta": "tomorrow"}']
    assert "tomorrow" in answered["text"]
    assert answered["wait"] > 0
    played = talking.heard(since=listening_at)
    assert len(played) > 20, "more than half a second of the answer was loud in the page"
    in_voice = [sample for sample in played if VOICE_HZ[0] < sample[2] < VOICE_HZ[1]]
    assert len(in_voice) > 0.8 * len(played)
    assert talking.page.evaluate("window.received()") > 50
    shown = talking.text()
    assert "WebRTC" in shown
    assert ORDER in shown
    assert "order_status: looking up 1234" in shown
    assert "most of it" in shown


def test_ten_spoken_turns_in_a_row_are_answered_also_while_a_cell_is_busy(talking: Talking) -> None:
    talking.begin()
    answered_while_busy = []
    for turn in range(1, 11):
        if busy_cell := BUSY_AT_TURN.get(turn):
            talking.notebook.start(busy_cell)
        talking.say(THANKS)
        talking.until_turns("user", turn)
        talking.until_turns("agent", turn + 1)
        if busy_cell:
            answered_while_busy.append(talking.page.evaluate(IS_BUSY, busy_cell))
            talking.end_cell(busy_cell)
        talking.until("Listening")
    turns = talking.turns()
    assert [turn["role"] for turn in turns] == ["agent", *["user", "agent"] * 10], [turn["text"] for turn in turns]
    assert {turn["text"] for turn in turns if turn["role"] == "user"} == {THANKS}
    assert all(turn["heard"] in (None, turn["text"]) for turn in turns), "nobody was cut off"
    assert answered_while_busy == [True] * len(BUSY)
    waited = [turn for turn in turns if turn["wait"] is not None]
    assert all(sum(turn["stages"]) == turn["wait"] for turn in waited)
    measured = [turn for turn in waited if turn["transport"] is not None]
    assert len(measured) >= 5, "the page tells how long sound takes"
    assert all(0 < turn["transport"] < turn["wait"] for turn in measured)


def test_who_interrupts_the_agent_is_heard_and_the_agent_is_silent_in_the_page(talking: Talking) -> None:
    talking.begin()
    talking.say(ORDER)
    began = talking.speak_over(THANKS)
    talking.until_turns("user", 2)
    talking.until("Listening")
    turns = talking.turns()
    cut = turns[2]
    assert cut["interrupted"] is True
    assert len(cut["heard"]) < len(cut["text"])
    assert turns[3]["text"] == THANKS
    assert talking.page.locator(".convai-said del").last.inner_text().strip() in cut["text"]
    assert quiet_from(talking.heard(since=began)) - began < 1.5, "the page was silent long before the answer's end"


def test_where_no_call_connects_the_sound_goes_through_the_notebook(talking: Talking) -> None:
    talking.page.evaluate(BREAK_CALLS)
    try:
        talking.begin("auto")
        talking.say(ORDER)
        talking.speak_over(THANKS)
        talking.page.wait_for_function("window.wasHushed", timeout=PATIENCE_MS)
        talking.until_turns("user", 2)
        talking.until("Listening")
    finally:
        talking.page.evaluate("window.mend()")
    assert "through the notebook" in talking.text()
    assert talking.turns()[1]["text"] == ORDER
    assert "tomorrow" in talking.turns()[2]["text"]


def test_a_conversation_can_be_held_clip_by_clip(talking: Talking) -> None:
    talking.begin("push_to_talk")
    talking.page.locator(".convai-panel").last.focus()
    talking.page.keyboard.down(" ")
    talking.page.get_by_role("button", name="Release to send").wait_for()
    _, ends = talking.say(THANKS)
    talking.page.wait_for_function("ends => Date.now() / 1000 > ends + 0.3", arg=ends)
    talking.page.keyboard.up(" ")
    talking.until_turns("agent", 2)
    assert "push to talk" in talking.text()
    assert talking.turns()[1]["text"] == THANKS


@pytest.mark.parametrize(
    ("error", "sentence"),
    [
        ("NotAllowedError", "The browser did not let this page use the microphone."),
        ("NotFoundError", "There is no microphone."),
        ("NotReadableError", "Another program holds the microphone."),
    ],
)
def test_without_a_microphone_one_sentence_says_why_and_typing_goes_on(
    talking: Talking, error: str, sentence: str
) -> None:
    talking.page.evaluate("name => { window.refusal = name }", error)
    talking.open_panel()
    talking.press("Start talking")
    talking.page.locator(".convai-problem").last.wait_for()
    assert sentence in talking.text()
    talking.page.get_by_label("Type to the agent").last.fill(ATTACK)
    talking.press("Send")
    talking.until_turns("agent", 2)
    assert talking.turns()[1]["text"] == ATTACK
    assert ATTACK in talking.text()
    assert talking.page.evaluate("window.hit") is None
    assert talking.page.locator("#bold").count() == 0
    assert "typing only" in talking.text()


def test_keys_act_on_the_panel_only_when_it_has_the_focus(talking: Talking) -> None:
    talking.begin()
    talking.page.locator(".convai-panel").last.focus()
    talking.page.keyboard.press("m")
    talking.page.get_by_role("button", name="Unmute (you are muted)").wait_for()
    assert talking.page.evaluate("window.tracks.at(-1).enabled") is False
    assert talking.page.locator(".jp-MarkdownCell").count() == 0, "JupyterLab took the key for its own"


def test_sessions_opened_and_closed_leave_nothing_behind(talking: Talking) -> None:
    talking.begin()
    assert talking.shows_in_a_saved_notebook(), "a page that is loaded again finds it"
    talking.end()
    before = talking.left()
    assert not talking.shows_in_a_saved_notebook(), "it would say for ever that it loads"
    assert talking.page.locator(".convai-panel").last.is_visible()
    for _ in range(9):
        talking.open_panel()
        talking.start()
        talking.page.get_by_text("WebRTC, straight to the platform").locator("visible=true").wait_for()
        talking.end()
    assert talking.left() == before
    assert talking.page.evaluate("window.calls.every(call => call.connectionState === 'closed')")
    assert talking.page.evaluate("window.tracks.every(track => track.readyState === 'ended')")
    talking.press("Remove panel")
    talking.page.locator(".convai-panel").wait_for(state="detached")
    assert talking.left()["widgets"] == []
    assert "Transcript" not in talking.notebook.text(3)
    assert "Hello." in talking.notebook.text(3), "the transcript stays"


def test_the_console_shows_no_error_of_ours(talking: Talking) -> None:
    ours = [line for line in talking.notebook.console if not any(known in line for known in KNOWN_NOISE)]
    assert ours == []
    assert talking.notebook.problems == []


def quiet_from(loud: list[tuple[float, float, float]]) -> float:
    """Return when a pause begins in what the page played."""
    times = [at for at, _, _ in loud]
    return next(at for at, following in zip(times, [*times[1:], float("inf")], strict=True) if following - at > 0.3)


def write_pause_before(path: Path, to: Path, *, secs: int) -> None:
    """Write the WAV file with silence before what is said."""
    sound = read_wav(path)
    write_wav(to, Sound(bytes(2 * sound.rate_hz * secs) + sound.pcm, sound.rate_hz))
