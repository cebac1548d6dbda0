"""Child process: how does this process talk to an engine that lives in another?

Why another: espeak-ng has global state and a licence of its own, and pocketsphinx holds Python's lock for 90 to 130
ms (measured) when an utterance ends, which on a thread would stop the event loop and every other session with it.
A process starts on first use, is shared by all sessions, is started again after it died, and ends with its parent.
Nothing here blocks the caller: one thread writes to the pipe, another reads from it and calls the listeners.
"""

from __future__ import annotations

import atexit
import contextlib
import io
import os
import queue
import signal
import site
import subprocess
import sys
import threading
from collections.abc import Mapping
from itertools import count
from pathlib import Path
from typing import Any, Protocol

from convai_lab import settings
from convai_lab.providers.offline_speech.child_frames import BrokenFrameError, Frame, packed, read_frame

DIED_LIMIT_SECS = 1.0

new_stream_id = count(1).__next__
"""Returns the next number by which a stream is known to every speech process."""


class Listener(Protocol):
    """Whoever waits for frames of one stream; called on the reading thread, and must be quick."""

    def on_frame(self, frame: Frame) -> None:
        """Take a frame."""

    def on_loss(self, reason: str) -> None:
        """Learn that the process is gone, in words; nothing more will come."""


class Connection:
    """One run of a speech process, from its start to its death; `module` is what it runs, by its full name."""

    def __init__(self, module: str) -> None:
        self.module = module
        self.known: set[str] = set()
        """What its owner has already sent to this run (models)."""
        self.process: subprocess.Popen[bytes] | None = None
        self._outbox: queue.SimpleQueue[bytes | None] = queue.SimpleQueue()
        self._listeners: dict[int, Listener] = {}
        self._lock = threading.Lock()
        self._last_words = ""
        self._dead = False
        self._thread = f"convai-{module.rpartition('.')[2]}"
        threading.Thread(target=self._write, name=f"{self._thread}-in", daemon=True).start()

    @property
    def alive(self) -> bool:
        """Say whether it may still answer."""
        return not self._dead

    @property
    def streams(self) -> int:
        """Return how many streams it is serving, the owner's own (0) not counted."""
        return len(self._listeners) - (0 in self._listeners)

    def listen(self, stream: int, listener: Listener) -> bool:
        """Give the frames of a stream to `listener` from now on; false when the process is already gone."""
        with self._lock:
            if not self._dead:
                self._listeners[stream] = listener
            return not self._dead

    def forget(self, stream: int) -> None:
        """Let the frames of a stream go nowhere from now on."""
        with self._lock:
            self._listeners.pop(stream, None)

    def send(self, head: Mapping[str, Any], body: bytes = b"") -> None:
        """Send a frame; never blocks, and is harmless after the end."""
        self._outbox.put(packed(head, body))

    def stop(self) -> None:
        """End the process at once."""
        self._outbox.put(None)
        if (process := self.process) is not None:
            with contextlib.suppress(OSError):
                process.kill()
            process.wait()

    def _write(self) -> None:
        try:
            self.process = process = _spawn(self.module)
        except OSError as error:
            self._die(f"it could not be started ({error})")
            return
        assert process.stdin is not None
        threading.Thread(target=self._read, args=(process,), name=f"{self._thread}-out", daemon=True).start()
        with contextlib.suppress(OSError), process.stdin as pipe:
            while (frame := self._outbox.get()) is not None:
                rest = memoryview(frame)
                while rest:
                    rest = rest[pipe.write(rest) or 0 :]

    def _read(self, process: subprocess.Popen[bytes]) -> None:
        assert process.stdout is not None
        try:
            with contextlib.suppress(OSError):
                self._take_frames(process.stdout)
        except BrokenFrameError as error:
            self._last_words = f"what it answered cannot be read ({error})"
            with contextlib.suppress(OSError):
                process.kill()
        ending = _ending(process)
        self._die(self._last_words or ending)
        self._outbox.put(None)

    def _take_frames(self, source: Any) -> None:
        with io.BufferedReader(source) as pipe:
            while (frame := read_frame(pipe)) is not None:
                if frame.head.get("op") == "fatal":
                    self._last_words = str(frame.head.get("message", ""))
                self._deliver(frame)

    def _deliver(self, frame: Frame) -> None:
        """Give a frame to whoever waits for it.

        Raises:
            BrokenFrameError: It is not what it should be.
        """
        if not isinstance(stream := frame.head.get("id", 0), int):
            raise BrokenFrameError("a frame is for no stream")
        with self._lock:
            listener = self._listeners.get(stream)
        if listener is not None:
            try:
                listener.on_frame(frame)
            except BrokenFrameError:
                raise
            except (KeyError, TypeError, ValueError, AttributeError, RecursionError) as error:
                raise BrokenFrameError(f"{type(error).__name__} in {str(frame.head)[:80]}") from error

    def _die(self, reason: str) -> None:
        with self._lock:
            self._dead, lost = True, list(self._listeners.values())
            self._listeners.clear()
        for listener in lost:
            listener.on_loss(reason)


class SpeechProcess:
    """A speech process that is there when it is needed: `connection` gives its present run."""

    def __init__(self, module: str) -> None:
        self.module = module
        self._connection: Connection | None = None
        self._owner_pid = os.getpid()
        self._lock = threading.Lock()
        _processes.append(self)

    def connection(self) -> Connection:
        """Return the present run, a new one when there is none or it has died."""
        with self._lock:
            if self._connection is None or not self._connection.alive or self._owner_pid != os.getpid():
                self._connection, self._owner_pid = Connection(self.module), os.getpid()
            return self._connection

    @property
    def streams(self) -> int:
        """Return how many streams the present run is serving."""
        with self._lock:
            alive = self._connection is not None and self._connection.alive and self._owner_pid == os.getpid()
            return self._connection.streams if alive and self._connection is not None else 0

    def stop(self) -> None:
        """End the present run, if there is one; the next use starts another."""
        with self._lock:
            connection, self._connection = self._connection, None
        if connection is not None and self._owner_pid == os.getpid():
            connection.stop()

    def after_fork(self) -> None:
        """Be usable in a forked child: the threads stayed in the parent, and one may have held the lock."""
        self._lock = threading.Lock()


class ProcessPool:
    """Several processes of one kind: a stream goes to the one with the least to do."""

    def __init__(self, module: str, most: int) -> None:
        self.module, self.most = module, most
        self._processes = [SpeechProcess(module)]
        self._lock = threading.Lock()
        _pools.append(self)

    def after_fork(self) -> None:
        """Be usable in a forked child."""
        self._lock = threading.Lock()

    def connection(self) -> Connection:
        """Return a run with nothing to do, or a new one up to the limit, or the least busy one."""
        with self._lock:
            idlest = min(self._processes, key=lambda process: process.streams)
            if idlest.streams and len(self._processes) < self.most:
                idlest = SpeechProcess(self.module)
                self._processes.append(idlest)
        return idlest.connection()


def stop_speech_processes() -> None:
    """End every speech process of this Python process; the next use starts them again."""
    for process in list(_processes):
        process.stop()


def _spawn(module: str) -> subprocess.Popen[bytes]:
    return subprocess.Popen(  # noqa: S603 - our own interpreter and module
        [sys.executable, "-P", "-m", module, str(os.getpid())],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        bufsize=0,
        env=_environment(),
        start_new_session=True,  # an interrupt of the kernel's group is not for it
    )


def _environment() -> dict[str, str]:
    """Return the child's environment: it needs no keys."""
    kept = {name: value for name, value in os.environ.items() if name not in settings.KEY_VARIABLES}
    root = str(Path(__file__).resolve().parents[3])
    if root not in {*site.getsitepackages(), site.getusersitepackages()}:
        kept["PYTHONPATH"] = os.pathsep.join(filter(None, (root, kept.get("PYTHONPATH"))))
    return kept


def _ending(process: subprocess.Popen[bytes]) -> str:
    """Make sure that a process is over, and say how it ended."""
    with contextlib.suppress(subprocess.TimeoutExpired):
        code = process.wait(DIED_LIMIT_SECS)
        if code < 0:
            with contextlib.suppress(ValueError):
                return f"its process was ended by {signal.Signals(-code).name}"
        return f"its process ended with code {code}"
    process.kill()
    process.wait()
    return "its process closed the pipe"


_processes: list[SpeechProcess] = []
_pools: list[ProcessPool] = []


def _after_fork() -> None:
    for process in _processes:
        process.after_fork()
    for pool in _pools:
        pool.after_fork()


atexit.register(stop_speech_processes)
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
