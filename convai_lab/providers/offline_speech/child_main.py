"""Child main: what does a speech process do besides its work?

It takes frames on one thread and works on the main one, so that a cancellation is seen while the engine is busy. It
ends when its pipe closes or its parent is gone, whichever shows first: a forked sibling may hold the pipe open.
"""

from __future__ import annotations

import os
import queue
import sys
import threading
import time
from collections.abc import Callable, Mapping
from typing import Any, Protocol

from convai_lab.providers.offline_speech.child_frames import BrokenFrameError, Frame, packed, read_frame

PARENT_POLL_SECS = 0.5

Send = Callable[..., None]


class Worker(Protocol):
    """An engine inside a speech process."""

    def take(self, frame: Frame) -> None:
        """Accept a message; called on the main thread, between two pieces of work."""

    def work(self) -> bool:
        """Do one short piece of work; false when there was none."""

    def cancel(self, stream: int) -> None:
        """Note at once that a stream is given up; called on the reading thread."""


class Outlet:
    """The way back to the parent. Whatever else prints goes to standard error instead."""

    def __init__(self) -> None:
        self._pipe = os.fdopen(os.dup(1), "wb", buffering=0)
        os.dup2(2, 1)
        self._lock = threading.Lock()

    def send(self, head: Mapping[str, Any], body: bytes = b"") -> None:
        """Send a frame; waits while the pipe is full, and ends the process when nobody reads any more."""
        rest = memoryview(packed(head, body))
        with self._lock:
            try:
                while rest:
                    rest = rest[self._pipe.write(rest) or 0 :]
            except OSError:
                os._exit(0)


def serve(new_worker: Callable[[Send], Worker]) -> None:
    """Work for the parent until it is gone; a fault is told to it in words before the process ends."""
    outlet = Outlet()
    inbox: queue.SimpleQueue[Frame] = queue.SimpleQueue()
    threading.Thread(target=_watch_parent, daemon=True).start()
    try:
        worker = new_worker(outlet.send)
        threading.Thread(target=_read, args=(inbox, worker), daemon=True).start()
        outlet.send({"op": "ready"})
        _work(inbox, worker)
    except Exception as error:  # the edge of the process: the parent turns this into a ProviderError
        outlet.send({"op": "fatal", "message": f"{type(error).__name__}: {error}"[:2000]})
        os._exit(1)


def _work(inbox: queue.SimpleQueue[Frame], worker: Worker) -> None:
    while True:
        worker.take(inbox.get())
        busy = True
        while busy:
            while not inbox.empty():
                worker.take(inbox.get())
            busy = worker.work()


def _read(inbox: queue.SimpleQueue[Frame], worker: Worker) -> None:
    try:
        while (frame := read_frame(sys.stdin.buffer)) is not None:
            if frame.head.get("op") == "cancel":
                worker.cancel(int(frame.head["id"]))
            inbox.put(frame)
    except (BrokenFrameError, OSError, KeyError, TypeError, ValueError):
        os._exit(2)
    os._exit(0)


def _watch_parent() -> None:
    """End the process when it has been handed to another parent."""
    parent = int(sys.argv[1]) if len(sys.argv) > 1 else os.getppid()
    while os.name != "posix" or os.getppid() == parent:
        time.sleep(PARENT_POLL_SECS)
    os._exit(0)
