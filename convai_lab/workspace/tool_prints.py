"""Tool prints: what does a function print that runs in a thread, while others print elsewhere?"""

from __future__ import annotations

import contextlib
import sys
import threading
from collections.abc import Callable, Iterator
from contextvars import ContextVar
from typing import Any

_heard_by: ContextVar[Callable[[str], None] | None] = ContextVar("convai_lab_prints", default=None)
_lock = threading.Lock()
_listening = 0


class _Prints:
    """Standard output: what a listened-to function prints goes to its listener, all else to the real one."""

    def __init__(self, real: Any) -> None:
        self.real = real

    def write(self, text: str) -> int:
        listener = _heard_by.get()
        if listener is None:
            return int(self.real.write(text) or 0)
        listener(text)
        return len(text)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.real, name)


@contextlib.contextmanager
def prints_heard_by(listener: Callable[[str], None]) -> Iterator[None]:
    """Give what the body prints to `listener`; what other threads print meanwhile goes where it always goes."""
    token = _heard_by.set(listener)
    _begin()
    try:
        yield
    finally:
        _end()
        _heard_by.reset(token)


def _begin() -> None:
    global _listening
    with _lock:
        _listening += 1
        if not isinstance(sys.stdout, _Prints):
            sys.stdout = _Prints(sys.stdout)


def _end() -> None:
    global _listening
    with _lock:
        _listening -= 1
        if not _listening and isinstance(sys.stdout, _Prints):
            sys.stdout = sys.stdout.real
