"""Tool threads: how long may a Python tool take where time is virtual?

A world whose time jumps stands still while a thread works, so that its own time-outs never end a tool that hangs.
Here real seconds do.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable
from concurrent.futures import Executor, Future, InvalidStateError
from typing import Any, TypeVar

T = TypeVar("T")


class LimitedThreads(Executor):
    """Runs functions on other threads, and gives up waiting for one after so many real seconds."""

    def __init__(self, threads: Executor, secs: float) -> None:
        self._threads, self._secs = threads, secs

    def submit(self, fn: Callable[..., T], /, *args: Any, **kwargs: Any) -> Future[T]:
        """Start `fn`; its future fails with TimeoutError when it takes too long, and the thread is left behind."""
        answer: Future[T] = Future()
        timer = threading.Timer(self._secs, lambda: _fail(answer, TimeoutError(f"no answer in {self._secs:g} seconds")))
        timer.daemon = True
        timer.start()
        running = self._threads.submit(fn, *args, **kwargs)
        running.add_done_callback(lambda done: _pass_on(done, answer, timer))
        return answer


def _pass_on(done: Future[T], answer: Future[T], timer: threading.Timer) -> None:
    timer.cancel()
    if done.cancelled():
        answer.cancel()
    elif (error := done.exception()) is not None:
        _fail(answer, error)
    else:
        with contextlib.suppress(InvalidStateError):  # it came too late
            answer.set_result(done.result())


def _fail(answer: Future[T], error: BaseException) -> None:
    with contextlib.suppress(InvalidStateError):
        answer.set_exception(error)
