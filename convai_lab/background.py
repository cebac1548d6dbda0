"""Background: the one thread with an event loop, on which everything asynchronous in this process runs.

Blocking calls work in a script and in a running kernel alike: they hand a coroutine to this loop and wait. While a
call waits, the loop may ask the waiting thread to run something for it (`MainThreadCalls`), which is how the
Python tools of a chat run where the user's own code runs.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import os
import queue
import threading
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

T = TypeVar("T")

THREAD_NAME = "convai-background"

_lock = threading.Lock()
_loop: asyncio.AbstractEventLoop | None = None
_owner_pid = 0


class MainThreadCalls:
    """Functions that the background loop wants the waiting thread to run."""

    def __init__(self) -> None:
        self.waiting: queue.SimpleQueue[Callable[[], None] | None] = queue.SimpleQueue()

    async def call(self, function: Callable[[], T]) -> T:
        """Run `function()` on the thread that waits in `run`, and return its result or raise its error."""
        answer: concurrent.futures.Future[T] = concurrent.futures.Future()

        def work() -> None:
            if not answer.set_running_or_notify_cancel():
                return
            try:
                answer.set_result(function())
            except Exception as error:
                answer.set_exception(error)
            except BaseException:  # an interrupt belongs to the waiting thread; it would kill the loop's
                answer.set_exception(concurrent.futures.CancelledError())
                raise

        self.waiting.put(work)
        return await asyncio.wrap_future(answer)

    def serve(self) -> None:
        """Run what the loop asks for until it says that the work is done."""
        while (call := self.waiting.get()) is not None:
            call()


def loop() -> asyncio.AbstractEventLoop:
    """Return the background loop, started on first use (and again after a fork)."""
    global _loop, _owner_pid
    with _lock:
        if _loop is None or _loop.is_closed() or _owner_pid != os.getpid():
            _loop, _owner_pid = asyncio.new_event_loop(), os.getpid()
            threading.Thread(target=_loop.run_forever, name=THREAD_NAME, daemon=True).start()
        return _loop


def submit(work: Coroutine[Any, Any, T]) -> concurrent.futures.Future[T]:
    """Start `work` on the background loop; the future gives its result."""
    return asyncio.run_coroutine_threadsafe(work, loop())


def run(work: Coroutine[Any, Any, T], *, calls: MainThreadCalls | None = None) -> T:
    """Run `work` on the background loop and wait for it, running `calls` on this thread meanwhile.

    An interrupt (Ctrl-C, the stop button) cancels `work`, waits until it has cleaned up, and is raised again.

    Raises:
        RuntimeError: Called on the background thread itself, where waiting would stop everything.
    """
    if threading.current_thread().name == THREAD_NAME:
        work.close()
        raise RuntimeError("a blocking call inside a tool or callback would wait for itself; use the async twin")
    calls = calls or MainThreadCalls()
    task = _start(work, when_done=lambda: calls.waiting.put(None))
    try:
        calls.serve()
    except BaseException:
        loop().call_soon_threadsafe(task.cancel)
        calls.serve()
        raise
    return task.result()


def _start(work: Coroutine[Any, Any, T], *, when_done: Callable[[], None]) -> asyncio.Task[T]:
    started: concurrent.futures.Future[asyncio.Task[T]] = concurrent.futures.Future()
    running = loop()

    def start() -> None:
        task = running.create_task(work)
        task.add_done_callback(lambda _: when_done())
        started.set_result(task)

    running.call_soon_threadsafe(start)
    return started.result()
