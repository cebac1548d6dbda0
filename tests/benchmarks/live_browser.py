"""What does a person wait for, hear and leave behind who talks with an agent in JupyterLab, in a real Chromium?

The page says recorded words into its microphone, over WebRTC, with the embedded engines. A probe in the page follows
both sides' sound in steps of 3 ms: `silence_ms` is what it heard between a word's end and the answer, `waterfall_ms`
what the turn says of itself, and `apart_ms` the most in which the two differ, with the sound card's own delay counted.
`baseline` is the same run without what is measured: the gap of an idle kernel, what one open session keeps, and, for
the start and the interruption, how long the sound is on its way there and back. `load` is the machine's, then.

`python -m tests.benchmarks.live_browser [--runs 5] [--busy-secs 30] [--only turns busy]`, from the project's folder,
prints one line of JSON.
"""

from __future__ import annotations

import argparse
import base64
import itertools
import json
import os
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import nbformat
from playwright.sync_api import sync_playwright

from convai_lab.voice.audio import tone
from convai_lab.voice.sound import Sound
from convai_lab.voice.wav import wav_bytes
from tests.benchmarks.live_session import MARGIN_SECS, TONE_HZ, longest_gap_ms
from tests.browser.conftest import AUDIO, FLAGS, LabServer, OpenNotebook, _chromium
from tests.browser.test_talk import AGENT, ORDER, SETUP, TALK, Talking

TURNS = 10
SESSIONS = 10
PROBE = """async () => {
  const context = new AudioContext();
  const code = `registerProcessor("probe", class extends AudioWorkletProcessor {
    rows = [];
    process(inputs) {
      const power = (samples) => samples.reduce((sum, value) => sum + value * value, 0) / samples.length;
      this.rows.push([currentTime, ...inputs.map(([samples]) => (samples ? Math.sqrt(power(samples)) : 0))]);
      if (this.rows.length > 40) this.port.postMessage(this.rows.splice(0));
      return true;
    }
  });`;
  await context.audioWorklet.addModule(URL.createObjectURL(new Blob([code], { type: "text/javascript" })));
  const probe = new AudioWorkletNode(context, "probe", { numberOfInputs: 2, numberOfOutputs: 0 });
  const track = window.calls.at(-1).getReceivers().find((receiver) => receiver.track.kind === "audio").track;
  const streams = [window.throat.stream, new MediaStream([track])];
  streams.forEach((stream, side) => context.createMediaStreamSource(stream).connect(probe, 0, side));
  window.probed = [];
  window.volumeAt = [];
  probe.port.onmessage = ({ data }) => window.probed.push(...data);
  clearInterval(window.watching);
  window.watching = setInterval(() => {
    const { muted, volume } = window.sinks.at(-1);
    window.volumeAt.push([context.currentTime, muted ? 0 : volume]);
  }, 10);
  await context.resume();
  window.probing = context;
}"""
LOUD_ROWS = "side => window.probed.filter(row => row[side] > 0.01).map(row => row[0])"
OUT_MS = "1000 * (window.probing.baseLatency + window.probing.outputLatency)"
KEEP_SINKS = """() => {
  window.sinks = [];
  window.Audio = class extends window.Audio {
    constructor(...all) {
      super(...all);
      window.sinks.push(this);
    }
  };
}"""
METRICS = (
    "print(json.dumps([t.metrics.voice_to_voice_ms for t in session.conversation.turns if t.role == 'agent'][1:]))"
)
HEARD_WORDS = "print(json.dumps([t.text for t in session.conversation.turns if t.role == 'user']))"
WAY = "print(json.dumps([t.metrics.transport_ms for t in session.conversation.turns if t.metrics.transport_ms]))"
SAVE_AUDIO = "_ = session.conversation.audio.save('gap.wav')"  # beside the notebook
PROCESSES = """from convai_lab.workspace.local_process import local_process
def kept(pid):
    tree = [one for one in os.listdir('/proc') if one.isdigit()]
    def parent(one):
        try:
            return open(f'/proc/{one}/stat').read().rsplit(')', 1)[1].split()[1]
        except OSError:
            return ''
    open_files = [f'/proc/{pid}/fd/{number}' for number in os.listdir(f'/proc/{pid}/fd')]
    fds = [os.readlink(file) for file in open_files if os.path.islink(file)]
    return {'threads': len(os.listdir(f'/proc/{pid}/task')), 'sockets': sum(f.startswith('socket:') for f in fds),
            'children': sum(parent(one) == str(pid) for one in tree)}
import os
print(json.dumps({'kernel': kept(os.getpid()), 'platform': kept(local_process().pid)}))"""


class Probed(Talking):
    """A notebook with a voice panel, and what its page heard and said, to 3 ms."""

    def __init__(self, notebook: Any, voices: dict[str, str], folder: Path) -> None:
        super().__init__(notebook, voices, folder)
        self.folder = folder

    def begin(self, kind: str = "webrtc") -> None:
        """Talk over WebRTC, with the probe."""
        super().begin(kind)
        self.page.evaluate(PROBE)

    def json(self, code: str) -> Any:
        """Return what the kernel prints."""
        return json.loads(self.notebook.in_kernel(code))

    def said(self) -> list[float]:
        """Return when the user was loud."""
        return list(self.page.evaluate(LOUD_ROWS, 1))

    def played(self) -> list[float]:
        """Return when the agent was loud."""
        return list(self.page.evaluate(LOUD_ROWS, 2))

    def pause(self, secs: float) -> None:
        """Let the page go on for a while."""
        self.page.wait_for_timeout(secs * 1000)


def spoken_turns(talking: Probed) -> dict[str, Any]:
    """Hold a conversation, and compare each wait with the silence in the page."""
    talking.begin()
    silences = []
    for turn in range(1, TURNS + 1):
        talking.pause(0.5)
        before = talking.said()
        talking.say(ORDER)
        talking.until_turns("user", turn)
        talking.until("speaking")
        talking.until_turns("agent", turn + 1)
        talking.until("Listening")
        talking.pause(0.3)
        ends = max(set(talking.said()) - set(before))
        silences.append((min(at for at in talking.played() if at > ends) - ends) * 1000)
    out_ms, waits, words = talking.page.evaluate(OUT_MS), talking.json(METRICS), talking.json(HEARD_WORDS)
    way = talking.json(WAY)
    talking.end()
    apart = [silence + out_ms - wait for silence, wait in zip(silences, waits, strict=True)]
    return {
        "answered": len(waits),
        "understood": sum(text == ORDER for text in words),
        "silence_ms": spread(silences),
        "waterfall_ms": spread(waits),
        "apart_ms": {**spread([abs(ms) for ms in apart]), "mean": round(statistics.mean(apart))},
        "baseline": {"way_ms": spread(way), "sound_card_ms": round(out_ms)},
        "load": load(),
    }


def interruptions(talking: Probed, runs: int) -> dict[str, Any]:
    """Interrupt the agent, and see how soon after the first sound the page is silent."""
    talking.begin()
    softer, silent = [], []
    for turn in range(1, 2 * runs, 2):
        talking.pause(0.5)
        talking.say(ORDER)
        talking.until_turns("user", turn)
        talking.until("speaking")
        talking.pause(0.9)
        before = set(talking.said())
        talking.say(ORDER)
        talking.until_turns("user", turn + 1)
        talking.until("speaking")
        talking.until_turns("agent", 1 + turn + 1)
        talking.until("Listening")
        onset = min(set(talking.said()) - before)
        played = [at for at in talking.played() if at > onset - 0.5]
        volumes = talking.page.evaluate("window.volumeAt")
        last = next(a for a, b in itertools.pairwise([*played, float("inf")]) if b - a > 0.4)
        muted = min([at for at, volume in volumes if at > onset and volume == 0] or [float("inf")])
        quiet = min([at for at, volume in volumes if at > onset and volume < 0.5] or [float("inf")])
        softer.append((min(quiet, last) - onset) * 1000)
        silent.append((min(muted, last) - onset) * 1000)
    way = talking.json(WAY)
    talking.end()
    return {
        "softer_ms": spread(softer),
        "silent_ms": spread(silent),
        "baseline": {"way_ms": spread(way)},
        "load": load(),
    }


def starts(talking: Probed, runs: int) -> dict[str, Any]:
    """Click, and wait for the agent's first sound."""
    took = []
    for _ in range(runs + 1):  # what is loaded once is loaded by the first
        talking.open_panel()
        talking.pause(1)
        talking.page.get_by_label("How the sound travels").last.select_option("webrtc")
        talking.page.evaluate("window.heard = []")
        clicked = time.time()
        talking.press("Start talking")
        talking.page.wait_for_function("window.heard.some(([, loud]) => loud > 0.01)", polling=20)
        took.append((talking.page.evaluate("window.heard.find(([, loud]) => loud > 0.01)[0]") - clicked) * 1000)
        talking.end()
    return {"click_to_sound_ms": spread(took[1:]), "baseline": {"first_ms": round(took[0])}, "load": load()}


def gap(talking: Probed, secs: float, *, busy_cell: int | None) -> int:
    """Return the longest gap in what the platform recorded of a steady tone."""
    talking.begin()
    talking.say("tone")
    talking.pause(MARGIN_SECS)
    if busy_cell is None:
        talking.pause(secs)
    else:
        talking.notebook.run(busy_cell)
    talking.pause(MARGIN_SECS / 2)
    talking.end()
    talking.pause(0.5)
    talking.notebook.in_kernel(SAVE_AUDIO)
    return round(longest_gap_ms((talking.folder / "gap.wav").read_bytes()))


def gaps(talking: Probed, secs: float) -> dict[str, Any]:
    """Compare the gaps of a busy kernel with those of an idle one."""
    busy = {"secs": secs, "gap_ms": gap(talking, secs, busy_cell=4), "load": load()}
    return {**busy, "baseline": {"idle_gap_ms": gap(talking, secs, busy_cell=None), "load": load()}}


def left_behind(talking: Probed) -> dict[str, Any]:
    """Open and close sessions, and count what lives before and after."""

    def kept() -> dict[str, Any]:
        found = talking.left()
        page = "({calls: window.calls.filter(c => c.connectionState !== 'closed').length, "
        page += "tracks: window.tracks.filter(t => t.readyState !== 'ended').length})"
        counts = {"kernel_threads": found["threads"], "kernel_widgets": found["widgets"], "sockets": found["sockets"]}
        return {**counts, **talking.json(PROCESSES), "page": talking.page.evaluate(page)}

    talking.open_panel()
    talking.press("Start talking")
    talking.until("Listening")
    talking.end()
    before = kept()
    for _ in range(SESSIONS):
        talking.open_panel()
        talking.press("Start talking")
        talking.until("Listening")
        talking.end()
    after = kept()
    changed = {name: [before[name], after[name]] for name in before if before[name] != after[name]}
    return {"sessions": SESSIONS, "changed": changed, "baseline": before, "load": load()}


def spread(values: list[float]) -> dict[str, int]:
    """Return the middle and the largest of some milliseconds."""
    return (
        {"p50": round(statistics.median(values)), "max": round(max(values)), "n": len(values)} if values else {"n": 0}
    )


def load() -> float:
    """Return how busy the machine is: the load average of the last minute."""
    return round(os.getloadavg()[0], 2)


@contextmanager
def notebook_in_chromium(cells: list[str]) -> Iterator[tuple[OpenNotebook, Path]]:
    """Open these cells in a JupyterLab and a Chromium of its own; also the folder in which its kernel works."""
    with tempfile.TemporaryDirectory() as home, sync_playwright() as playwright:
        server = LabServer(Path(home))
        process = server.start()
        kernel = {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}}
        made = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell) for cell in cells], metadata=kernel)
        nbformat.write(made, Path(home) / "talk.ipynb")
        browser = playwright.chromium.launch(executable_path=_chromium(), headless=True, args=[*FLAGS])
        try:
            notebook = OpenNotebook(browser, server, "talk.ipynb", permissions=("microphone",))
            notebook.page.evaluate(KEEP_SINKS)
            yield notebook, Path(home)
        finally:
            browser.close()
            process.terminate()
            process.wait(20)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--busy-secs", type=float, default=30)
    parser.add_argument("--only", nargs="*", help="start, turns, barge_in, left, busy")
    options = parser.parse_args()
    secs = options.busy_secs
    busy = f"import time\nend = time.time() + {secs}\nwhile time.time() < end: sum(n * n for n in range(10_000))"
    sound = Sound(tone(TONE_HZ, secs + 3 * MARGIN_SECS), 16_000)
    voices = {name: base64.b64encode(wav).decode() for name, wav in {
        ORDER: (AUDIO / "order.wav").read_bytes(), "tone": wav_bytes(sound)}.items()}  # fmt: skip
    with notebook_in_chromium([SETUP, AGENT, "import numpy", TALK, busy]) as (notebook, folder):
        talking = Probed(notebook, voices, folder)
        parts: dict[str, Callable[[], dict[str, Any]]] = {
            "start": lambda: starts(talking, options.runs),
            "turns": lambda: spoken_turns(talking),
            "barge_in": lambda: interruptions(talking, options.runs),
            "left": lambda: left_behind(talking),
            "busy": lambda: gaps(talking, secs),
        }
        found = {name: measure() for name, measure in parts.items() if name in (options.only or parts)}
    print(json.dumps(found))


if __name__ == "__main__":
    main()
