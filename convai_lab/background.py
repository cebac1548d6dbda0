"""Background: the one thread with an event loop, on which everything asynchronous in this process runs.

Blocking calls work in a script and in a running kernel alike: they hand a coroutine to this loop and wait. While a
call waits, the loop may ask the waiting thread to run something for it (`MainThreadCalls`), which is how the
Python tools of a chat run where the user's own code runs.
"""

from __future__ import annotations

import asyncio
import atexit
import concurrent.futures
import contextlib
import os
import queue
import threading
from collections.abc import Callable, Coroutine
from typing import Any, Generic, TypeVar

T = TypeVar("T")

THREAD_NAME = "convai-background"
LAST_SECS = 2.0
"""How long unfinished work may clean up when the process ends."""

_lock = threading.Lock()
_loop: asyncio.AbstractEventLoop | None = None


class MainThreadCalls:
    """Functions that the background loop wants the waiting thread to run."""

    def __init__(self) -> None:
        self._waiting: queue.SimpleQueue[_Call[Any] | None] = queue.SimpleQueue()
        self._interrupted: list[_Call[Any]] = []

    async def call(self, function: Callable[[], T]) -> T:
        """Run `function()` on the thread that waits in `run`, and return its result or raise its error.

        Raises:
            RuntimeError: The thread went on before it could run it.
        """
        call = _Call(function)
        self._waiting.put(call)
        return await asyncio.wrap_future(call.answer)

    def serve(self, done: threading.Event) -> None:
        """Run what the loop asks for until the work is done."""
        while not done.is_set():
            if (call := self._waiting.get()) is not None:
                try:
                    call.make()
                except BaseException:
                    self._interrupted.append(call)
                    raise

    def wake(self) -> None:
        """Let `serve` look again whether the work is done."""
        self._waiting.put(None)

    def leave(self) -> None:
        """Answer what was interrupted or never run, so that nothing on the loop waits for a thread that has gone on."""
        while self._interrupted:
            self._interrupted.pop().fail(concurrent.futures.CancelledError())
        with contextlib.suppress(queue.Empty):
            while True:
                if (call := self._waiting.get_nowait()) is not None:
                    call.fail(RuntimeError("the thread that should have run this has gone on"))


class _Call(Generic[T]):
    """One function to run on the waiting thread, and its answer."""

    def __init__(self, function: Callable[[], T]) -> None:
        self.answer: concurrent.futures.Future[T] = concurrent.futures.Future()
        self._function = function

    def make(self) -> None:
        """Run it; an interrupt is not an answer: it belongs to this thread, and would kill the loop's."""
        if not self.answer.set_running_or_notify_cancel():
            return
        try:
            self.answer.set_result(self._function())
        except Exception as error:
            self.answer.set_exception(error)

    def fail(self, error: BaseException) -> None:
        if not self.answer.done():
            self.answer.set_exception(error)


def loop() -> asyncio.AbstractEventLoop:
    """Return the background loop, started on first use (and again after a fork)."""
    global _loop
    with _lock:
        if _loop is None or _loop.is_closed():
            _loop = asyncio.new_event_loop()
            threading.Thread(target=_loop.run_forever, name=THREAD_NAME, daemon=True).start()
            atexit.register(_end, _loop, os.getpid())
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
    running = _Running(work, loop(), calls)
    try:
        running.start()
        calls.serve(running.done)
    except BaseException:
        running.cancel()
        calls.serve(running.done)
        raise
    finally:
        calls.leave()
    return running.result()


class _Running(Generic[T]):
    """Work on the background loop that another thread waits for."""

    def __init__(self, work: Coroutine[Any, Any, T], on: asyncio.AbstractEventLoop, calls: MainThreadCalls) -> None:
        self.done = threading.Event()
        self._work, self._loop, self._calls = work, on, calls
        self._task: asyncio.Task[T] | None = None

    def start(self) -> None:
        self._loop.call_soon_threadsafe(self._start)

    def cancel(self) -> None:
        self._loop.call_soon_threadsafe(self._cancel)

    def result(self) -> T:
        assert self._task is not None
        return self._task.result()

    def _start(self) -> None:
        self._task = self._loop.create_task(self._work)
        self._task.add_done_callback(self._finish)

    def _cancel(self) -> None:
        if self._task is not None:
            self._task.cancel()
        else:  # the interrupt came before the work had started
            self._work.close()
            self._finish()

    def _finish(self, _: asyncio.Task[T] | None = None) -> None:
        self.done.set()  # first: an interrupt may come between the two
        self._calls.wake()


def _end(running: asyncio.AbstractEventLoop, owner_pid: int) -> None:
    """Cancel what is still under way when the process ends, and let it clean up for a moment."""
    if os.getpid() != owner_pid:
        return

    async def cancel_all() -> None:
        others = asyncio.all_tasks() - {asyncio.current_task()}
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)

    with contextlib.suppress(concurrent.futures.TimeoutError):
        asyncio.run_coroutine_threadsafe(cancel_all(), running).result(LAST_SECS)


def _after_fork() -> None:
    """Forget the loop: its thread stayed in the parent, and somebody may have held the lock."""
    global _loop, _lock
    if _loop is not None:  # its epoll is shared: a connection collected here would be deaf in the parent
        vars(_loop)["_closed"] = True
    _loop, _lock = None, threading.Lock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
