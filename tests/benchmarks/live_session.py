"""How soon does a live session speak, how long after an interruption is it silent, and does a busy kernel hurt it?

The page is another process, as a browser is. The baseline of the first two is the way in pieces through this process;
that of the last is the same session while this process is idle. A gap is the longest silence in what the platform
recorded of a page that says one long tone; `page_halt_ms` is how long the page's own process did not run meanwhile
(20 is no halt), which a browser's sound does not do. The platform is a real one with the embedded engines.

`python tests/benchmarks/live_session.py [--runs 5] [--busy-secs 30]` prints one line of JSON.
"""

from __future__ import annotations

import argparse
import io
import itertools
import json
import multiprocessing
import os
import statistics
import tempfile
import threading
import time
import wave
from multiprocessing.connection import Connection
from typing import Any

import numpy as np

from convai_lab.agents.agent import Agent
from convai_lab.testing.fake_page import FakePage
from convai_lab.testing.live_watcher import LiveWatcher
from convai_lab.voice.audio import rms_dbfs, tone
from convai_lab.workspace import live_events as live
from convai_lab.workspace.connect import connect
from convai_lab.workspace.live_session import LiveSession
from convai_lab.workspace.workspace import Workspace

HELLO = "Hello there, this is the agent."
TONE_HZ, MARGIN_SECS = 440.0, 3.0
WINDOW_SECS = 0.01
LOUD_DBFS = -45.0


def page_process(pipe: Connection) -> None:
    """Be a page: take signals and orders from the pipe, and send signals and answers."""
    lock, taken = threading.Lock(), list[float]()

    def send(kind: str, value: Any) -> None:
        with lock:
            pipe.send((kind, value))

    with FakePage(lambda message: send("signal", message)) as page:
        frame = page._microphone.frame
        page._microphone.frame = lambda: (taken.append(time.monotonic()), frame())[1]  # type: ignore[method-assign]
        while (order := pipe.recv())[0] != "stop":
            if order[0] == "signal":
                page.signal(order[1])
            elif order[0] == "say":
                page.say(tone(TONE_HZ, order[1]))
            elif order[0] == "forget":
                page.heard.clear()
                taken.clear()
            elif order[0] == "halt":
                send("halt", max((b - a for a, b in itertools.pairwise(taken)), default=0.0))
            elif order[0] == "first":
                threading.Thread(target=lambda: send("first", first_heard(page)), daemon=True).start()


def first_heard(page: FakePage) -> float:
    """Return when the page heard something first."""
    deadline = time.monotonic() + 10
    while not page.loud_secs() and time.monotonic() < deadline:
        time.sleep(0.002)
    return min((at for at, pcm in page.heard if rms_dbfs(pcm) > LOUD_DBFS), default=float("nan"))


class Page:
    """The page's process, seen from here."""

    def __init__(self) -> None:
        self._here, there = multiprocessing.get_context("spawn").Pipe()
        self._process = multiprocessing.get_context("spawn").Process(target=page_process, args=(there,), daemon=True)
        self._process.start()
        self._session: LiveSession | None = None
        self._lock = threading.Lock()
        self.first: Any = None
        self._asked = threading.Event()
        threading.Thread(target=self._pass_on, daemon=True).start()

    def attach(self, session: LiveSession) -> None:
        """Signal for this session from now on."""
        self._session, self.first = session, None
        self._asked.clear()
        self.order("forget")
        session.subscribe(lambda one: self.order("signal", one.message) if isinstance(one, live.Signal) else None)

    def order(self, kind: str, value: Any = None) -> None:
        """Tell the page what to do."""
        with self._lock:
            self._here.send((kind, value))

    def answer(self, kind: str) -> float:
        """Return what the page says: when it heard the agent first, or how long it halted itself."""
        self._asked.clear()
        self.order(kind)
        self._asked.wait(20)
        return float(self.first)

    def stop(self) -> None:
        """End the page."""
        self.order("stop")
        self._process.join(10)

    def _pass_on(self) -> None:
        while True:
            try:
                kind, value = self._here.recv()
            except EOFError:
                return
            if kind == "signal" and self._session is not None:
                self._session.media.signal(value)
            else:
                self.first = value
                self._asked.set()


def start_ms(ws: Workspace, agent: Agent, page: Page | None) -> float:
    """Return how long after `start_session` the page, or this process, has the agent's first sound."""
    watcher = LiveWatcher()
    began = time.monotonic()
    session = ws.start_session(agent, voice=True, on_event=watcher.watch)
    if page is not None:
        page.attach(session)
        session.media.choose("webrtc")
        heard_at = page.answer("first")
    else:
        session.media.choose("comm")
        watcher.wait_for(live.AgentAudio)
        heard_at = time.monotonic()
    session.end()
    session.wait(20)
    return (heard_at - began) * 1000


def gap_ms(ws: Workspace, agent: Agent, page: Page, secs: float, *, is_busy: bool) -> dict[str, int]:
    """Return the longest gap in what the platform recorded of a steady tone, and the longest halt of the page."""
    watcher = LiveWatcher()
    session = ws.start_session(agent, voice=True, on_event=watcher.watch)
    page.attach(session)
    session.media.choose("webrtc")
    watcher.wait_for(live.MediaChanged, lambda event: event.is_connected)
    page.order("say", secs + 2 * MARGIN_SECS)
    time.sleep(MARGIN_SECS)
    until = time.monotonic() + secs
    while is_busy and time.monotonic() < until:
        sum(number * number for number in range(10_000))
    time.sleep(max(0.0, until - time.monotonic()))
    page_halt = page.answer("halt")
    session.end()
    record = session.wait(30)
    return {"gap_ms": round(longest_gap_ms(record.audio.data)), "page_halt_ms": round(page_halt * 1000)}


def longest_gap_ms(wav: bytes) -> float:
    """Return the longest silence of the user, on the left, between the first and the last sound."""
    with wave.open(io.BytesIO(wav)) as file:
        rate_hz, frames = file.getframerate(), file.readframes(file.getnframes())
    pcm = np.frombuffer(frames, dtype="<i2")[::2].tobytes()
    size = round(WINDOW_SECS * rate_hz) * 2
    loud = [rms_dbfs(pcm[at : at + size]) > LOUD_DBFS for at in range(0, len(pcm) - size, size)]
    first, last = loud.index(True), len(loud) - loud[::-1].index(True)
    longest = run = 0
    for is_loud in loud[first:last]:
        run = 0 if is_loud else run + 1
        longest = max(longest, run)
    return longest * WINDOW_SECS * 1000


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--busy-secs", type=float, default=30)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as home:
        os.environ["CONVAI_LAB_HOME"] = home
        ws = connect()
        agent = ws.agents.create(Agent(name="support", first_message=HELLO))
        quiet = ws.agents.create(Agent(name="quiet"))
        page = Page()
        ways = (None, page)
        for way in ways:  # what is loaded once is loaded now
            start_ms(ws, agent, way)
        pieces, webrtc = ([start_ms(ws, agent, way) for _ in range(options.runs)] for way in ways)
        idle, busy = (gap_ms(ws, quiet, page, options.busy_secs, is_busy=is_busy) for is_busy in (False, True))
        page.stop()
    print(
        json.dumps(
            {
                "start_webrtc_ms": {
                    "p50": round(statistics.median(webrtc)),
                    "max": round(max(webrtc)),
                    "n": len(webrtc),
                },
                "start_pieces_ms": {
                    "p50": round(statistics.median(pieces)),
                    "max": round(max(pieces)),
                    "n": len(pieces),
                },
                "start_ratio": round(statistics.median(webrtc) / statistics.median(pieces), 2),
                "busy": busy,
                "idle": idle,
                "busy_secs": options.busy_secs,
            }
        )
    )


if __name__ == "__main__":
    main()
