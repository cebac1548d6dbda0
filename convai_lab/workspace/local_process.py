"""Local process: where is this kernel's own platform, and is it still alive?

The platform is a child process, started on first use, one per Python process and data folder. It ends when its
standard input closes or its parent is gone; here it is closed at exit, started again when it died, and never used
by a forked child, which starts its own.
"""

from __future__ import annotations

import asyncio
import atexit
import contextlib
import importlib
import json
import os
import site
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from urllib.parse import urlsplit

from convai_lab import settings
from convai_lab.errors import PlatformProcessError
from convai_lab.settings import Secret, scrub
from convai_lab.workspace.transport import Place

START_LIMIT_SECS = 30.0
CLOSE_LIMIT_SECS = 3.0
DIED_LIMIT_SECS = 1.0
"""How long after a refused connection a killed process may take to be gone for good."""
MAX_FIRST_LINE_BYTES = 64 * 1024
TAIL_LINES = 12
KEPT_LOGS = 10
KEY_FILE = "api_key"
LOOPBACK = frozenset({"127.0.0.1", "localhost", "::1"})


class LocalProcess:
    """The local platform of this Python process for one data folder."""

    name = "local"

    def __init__(
        self, folder: Path, *, command: Sequence[str] | None = None, start_limit_secs: float = START_LIMIT_SECS
    ) -> None:
        self.folder = folder
        self.starts = 0
        """How often a process was started, to see restarts."""
        self.start_secs: float | None = None
        """How long the last start took."""
        self._command = tuple(command or (sys.executable, "-P", "-m", "convai_lab.server"))
        self._start_limit_secs = start_limit_secs
        self._lock = threading.Lock()
        self._owner_pid = os.getpid()
        self._process: subprocess.Popen[bytes] | None = None
        self._place_of_process: Place | None = None
        self._told: dict[str, str] | None = None

    @property
    def pid(self) -> int | None:
        """Return the id of the running process, or None."""
        return self._process.pid if self._process is not None and self._is_alive() else None

    @property
    def log_file(self) -> Path:
        """Return the file that holds what the process wrote to its standard error."""
        return self.folder / "logs" / f"platform-{os.getpid()}.log"

    async def locate(self) -> Place:
        """Return where the platform answers, starting it when it is not running."""
        return self._place() if self._is_alive() else await asyncio.to_thread(self._started)

    async def lost(self, place: Place) -> bool:
        """Say whether the process behind `place` is gone, so that `locate` will start another."""
        if self._place_of_process is None or place.url != self._place_of_process.url:
            return True
        return await asyncio.to_thread(self._is_gone)

    def told(self, settings: Mapping[str, str]) -> None:
        """Hear that the process has received `settings`."""
        self._told = dict(settings)

    def close(self) -> None:
        """End the process: its input closes, and it has a moment to leave before it is killed."""
        with self._lock:
            process = self._process
            if process is None or self._owner_pid != os.getpid():
                return
            self._process = self._place_of_process = None
        with contextlib.suppress(OSError):
            if process.stdin is not None:
                process.stdin.close()
        for more_firmly in (process.terminate, process.kill, None):
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(CLOSE_LIMIT_SECS)
                return
            if more_firmly is not None:
                more_firmly()

    def after_fork(self) -> None:
        """Let go of the parent's process: close our copies of its pipes, so that it still ends with its parent."""
        process = self._process
        if process is not None:
            for pipe in (process.stdin, process.stdout):
                if pipe is not None:
                    with contextlib.suppress(OSError):
                        pipe.close()
            process.returncode = 0  # it is not our child: nothing to wait for
        self._lock, self._owner_pid = threading.Lock(), os.getpid()
        self._process = self._place_of_process = self._told = None

    def _is_alive(self) -> bool:
        return self._owner_pid == os.getpid() and self._process is not None and self._process.poll() is None

    def _is_gone(self) -> bool:
        process = self._process
        if process is None:
            return True
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(DIED_LIMIT_SECS)
            return True
        return False

    def _place(self) -> Place:
        if self._place_of_process is None:
            raise PlatformProcessError("the local platform has been closed; ask again to start it")
        wanted = settings.provider_settings()
        return self._place_of_process._replace(settings=None if wanted == self._told else wanted)

    def _started(self) -> Place:
        with self._lock:
            if not self._is_alive():
                self._start()
        return self._place()

    def _start(self) -> None:
        started = time.monotonic()
        self._let_go_of_the_dead()
        process = self._spawn()
        answer = _FirstLine(process)
        _load_meanwhile()
        line = answer.wait(self._start_limit_secs)
        try:
            self._place_of_process = Place(_address(line), self._api_key())
        except _NotStarted as reason:
            code = _end_code(process)
            raise PlatformProcessError(
                f"the local platform did not start{code}: {reason}; the end of {self.log_file}:\n{self._tail()}"
            ) from None
        self._process, self._told = process, None
        self.starts += 1
        self.start_secs = time.monotonic() - started

    def _let_go_of_the_dead(self) -> None:
        process, self._process, self._place_of_process = self._process, None, None
        if process is not None and process.stdin is not None:
            with contextlib.suppress(OSError):
                process.stdin.close()

    def _spawn(self) -> subprocess.Popen[bytes]:
        command = [*self._command, "--port", "0", "--watch-stdin", "--parent-pid", str(os.getpid())]
        try:
            self.log_file.parent.mkdir(mode=0o700, exist_ok=True)
            _drop_old_logs(self.log_file.parent)
            with open(self.log_file, "wb", opener=_private) as log:
                return subprocess.Popen(  # noqa: S603 - our own interpreter and module
                    command,
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    stderr=log,
                    bufsize=0,
                    env=_environment(self.folder),
                    start_new_session=True,  # an interrupt of the kernel's group is not for it
                )
        except OSError as error:
            raise PlatformProcessError(f"the local platform could not be started: {error}") from None

    def _api_key(self) -> Secret:
        try:
            key = (self.folder / KEY_FILE).read_text(encoding="utf-8").strip()
        except (OSError, UnicodeDecodeError) as error:
            raise _NotStarted(f"its key {self.folder / KEY_FILE} cannot be read ({type(error).__name__})") from None
        if not key:
            raise _NotStarted(f"its key file {self.folder / KEY_FILE} is empty")
        return Secret(key)

    def _tail(self) -> str:
        try:
            with open(self.log_file, "rb") as log:
                log.seek(max(0, log.seek(0, os.SEEK_END) - 16_384))
                text = log.read().decode("utf-8", "replace")
        except OSError:
            return "(no log)"
        return scrub("\n".join(text.splitlines()[-TAIL_LINES:])) or "(the log is empty)"


def _load_meanwhile() -> None:
    """Do what the first request would wait for: the keyring takes 0.1 s to find, the client 0.2 s to load."""
    settings.provider_settings()
    importlib.import_module("convai_lab.http.transport")


def _end_code(process: subprocess.Popen[bytes]) -> str:
    """Make sure that a process is over, and say with which code it ended if it did so by itself."""
    with contextlib.suppress(subprocess.TimeoutExpired):
        # whoever printed nothing is about to be gone; whoever keeps its output open is not waited for
        return f" (it ended with code {process.wait(DIED_LIMIT_SECS)})"
    process.kill()
    process.wait()
    return ""


class _NotStarted(Exception):
    """Why a process is not the platform."""


class _FirstLine:
    """Reads the first line that a process prints, and throws away the rest so that it never blocks."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        assert process.stdout is not None
        self._stdout = process.stdout
        self._line = b""
        self._complete = threading.Event()
        threading.Thread(target=self._read, name="convai-platform-output", daemon=True).start()

    def wait(self, limit_secs: float) -> bytes | None:
        """Return the line, what there was of it when the output ended, or None when time ran out."""
        return self._line if self._complete.wait(limit_secs) else None

    def _read(self) -> None:
        with contextlib.suppress(OSError, ValueError), self._stdout as stdout:
            while part := stdout.read(4096):
                if not self._complete.is_set():
                    self._line += part
                    if b"\n" in part or len(self._line) > MAX_FIRST_LINE_BYTES:
                        self._complete.set()
        self._complete.set()


def _address(line: bytes | None) -> str:
    """Return the address in the line that a platform prints when it answers."""
    if line is None:
        raise _NotStarted("it did not answer in time")
    try:
        said = json.loads(line.partition(b"\n")[0])
    except (ValueError, RecursionError):
        raise _NotStarted("it did not say where it answers") from None
    url = said.get("url") if isinstance(said, dict) else None
    if not isinstance(url, str) or not is_loopback(url):
        raise _NotStarted("it named an address that is not on this machine")
    return url.rstrip("/")


def is_loopback(url: str) -> bool:
    """Say whether an http or websocket URL points at this machine."""
    try:
        parts = urlsplit(url)
        return parts.scheme in ("http", "https", "ws", "wss") and parts.hostname in LOOPBACK and bool(parts.port)
    except ValueError:
        return False


def _environment(folder: Path) -> dict[str, str]:
    """Return the child's environment: keys travel over the private socket instead, so that they can be withdrawn."""
    kept = {name: value for name, value in os.environ.items() if name not in settings.SENT_SETTINGS}
    kept[settings.HOME_VARIABLE] = str(folder.absolute())
    kept["PYTHONUNBUFFERED"] = "1"
    root = str(Path(__file__).resolve().parents[2])
    if root not in {*site.getsitepackages(), site.getusersitepackages()}:
        kept["PYTHONPATH"] = os.pathsep.join(filter(None, (root, kept.get("PYTHONPATH"))))
    return kept


def _private(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)


def _drop_old_logs(folder: Path) -> None:
    logs = sorted(folder.glob("platform-*.log"), key=lambda file: file.stat().st_mtime, reverse=True)
    for file in logs[KEPT_LOGS:]:
        with contextlib.suppress(OSError):
            file.unlink()


_processes: dict[str, LocalProcess] = {}
_registry_lock = threading.Lock()


def local_process(folder: Path | None = None) -> LocalProcess:
    """Return this Python process's platform for a data folder (the current one); nothing is started yet."""
    folder = (folder or settings.home()).absolute()
    with _registry_lock:
        return _processes.setdefault(str(folder), LocalProcess(folder))


@atexit.register
def _close_all() -> None:
    for process in list(_processes.values()):
        process.close()


def _after_fork() -> None:
    global _registry_lock
    _registry_lock = threading.Lock()
    for process in _processes.values():
        process.after_fork()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
