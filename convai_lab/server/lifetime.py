"""Lifetime: when does the platform process end, and which processes are still alive?"""

from __future__ import annotations

import contextlib
import os
import secrets
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

from convai_lab.errors import StorageError

if sys.platform != "win32":
    import fcntl

LOCK_FOLDER = "processes"
PARENT_POLL_SECS = 0.2
GRACE_SECS = 1.3
"""How long a process whose parent is gone may take to end cleanly; the promise is two seconds in all."""
LOOK_SECS = 0.1
"""It is counted in such steps: a machine that was suspended meanwhile cuts nothing off."""


class OwnerLock:
    """Marks this process as alive: a locked file, which the system unlocks however the process ends.

    Process ids are used again, so they could not tell a dead owner from another program.
    """

    def __init__(self, home: Path) -> None:
        self._folder = home / LOCK_FOLDER
        self.owner = f"{os.getpid()}-{secrets.token_hex(8)}"
        try:
            self._folder.mkdir(mode=0o700, exist_ok=True)
            self._path = self._folder / self.owner
            self._file = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600)
        except OSError as error:
            raise StorageError(f"cannot write to {self._folder} ({error.strerror})") from None
        _lock(self._file)

    def is_alive(self, owner: str) -> bool:
        """Say whether the process with this owner name still runs; the files of dead ones are taken away."""
        if owner == self.owner:
            return True
        if not owner.replace("-", "").isalnum():
            return False
        try:
            file = os.open(self._folder / owner, os.O_RDWR)
        except FileNotFoundError:
            return False
        try:
            if not _lock(file):
                return True
            with contextlib.suppress(FileNotFoundError):
                (self._folder / owner).unlink()
            return False
        finally:
            os.close(file)

    def close(self) -> None:
        """Say that this process is done."""
        with contextlib.suppress(OSError):
            self._path.unlink()
        with contextlib.suppress(OSError):
            os.close(self._file)


def when_stdin_closes(stop: Callable[[], None]) -> None:
    """Call `stop` once standard input is at its end: whoever started this process is gone."""

    def watch() -> None:
        with contextlib.suppress(OSError, ValueError):
            while os.read(0, 4096):
                pass
        stop()

    threading.Thread(target=watch, name="convai-stdin", daemon=True).start()


def when_parent_ends(parent_pid: int, stop: Callable[[], None]) -> None:
    """Call `stop` once the process that started this one is gone."""

    def watch() -> None:
        is_child = os.getppid() == parent_pid
        while os.getppid() == parent_pid if is_child else _exists(parent_pid):
            time.sleep(PARENT_POLL_SECS)
        stop()

    threading.Thread(target=watch, name="convai-parent", daemon=True).start()


def end_at_the_latest(secs: float = GRACE_SECS) -> None:
    """End this process in `secs` seconds, whatever hangs by then; a time in which it stood still is none of them."""

    def wait() -> None:
        for _ in range(round(secs / LOOK_SECS)):
            time.sleep(LOOK_SECS)
        os._exit(1)

    threading.Thread(target=wait, name="convai-deadline", daemon=True).start()


def _lock(file: int) -> bool:
    """Lock an open file without waiting; say whether nobody else holds it."""
    if sys.platform == "win32":
        return False  # no such lock there: nobody is declared dead
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


def _exists(pid: int) -> bool:
    if sys.platform == "win32":
        return True  # there, signal 0 is no question but an interrupt; standard input tells
    try:
        os.kill(pid, 0)
    except PermissionError:
        return True
    except (OSError, OverflowError):
        return False
    return True
