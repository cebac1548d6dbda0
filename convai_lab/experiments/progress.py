"""Progress: how far is a run, what has it cost, and how long will it take?"""

from __future__ import annotations

import asyncio
import contextlib
import sys
import time
from collections.abc import Callable
from typing import Any, Protocol

from convai_lab.background import MainThreadCalls
from convai_lab.conversations.cost import dollars

TOLD_EVERY_SECS = 0.2
LAST_SECS = 2.0

Tell = Callable[[Callable[[], object]], None]
"""Runs a function where the user sees it, such as the main thread of a notebook; returns at once."""


class OnWaitingThread:
    """Runs functions on the thread that waits in a blocking call; those that come too late are dropped."""

    def __init__(self, calls: MainThreadCalls) -> None:
        self._calls = calls
        self._tasks: set[asyncio.Task[None]] = set()

    def __call__(self, show: Callable[[], object]) -> None:
        task = asyncio.get_running_loop().create_task(self._told(show))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def settle(self) -> None:
        """Wait until all was shown, as long as the thread is there to do it."""
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=LAST_SECS)
        for task in self._tasks:
            task.cancel()

    async def _told(self, show: Callable[[], object]) -> None:
        with contextlib.suppress(RuntimeError):
            await self._calls.call(show)


class OnLoop:
    """Runs functions on somebody's event loop."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop

    def __call__(self, show: Callable[[], object]) -> None:
        self._loop.call_soon_threadsafe(show)


class Progress(Protocol):
    """What is told while a run goes on."""

    def start(self, total: int, *, done: int, max_cost: float | None) -> None:
        """Say how many trials there are, and how many are done already."""

    def advance(self, count: int, *, cost_usd: float) -> None:
        """Say that so many more are done, and what the run has cost so far."""

    def close(self, text: str) -> None:
        """Say how it ended."""


def warn(progress: Progress, text: str) -> None:
    """Say what must be known before the first trial, where the progress can say it (with a method `warn`)."""
    if (tell := getattr(progress, "warn", None)) is not None:
        tell(text)


class NoProgress:
    """Tells nobody."""

    def start(self, total: int, *, done: int, max_cost: float | None) -> None:
        """Do nothing."""

    def advance(self, count: int, *, cost_usd: float) -> None:
        """Do nothing."""

    def close(self, text: str) -> None:
        """Do nothing."""


class WarningsAlone(NoProgress):
    """Shows no bar, and what must be known before the first trial on standard error."""

    def warn(self, text: str) -> None:
        """Say it."""
        _write_note(text)


class BarProgress:
    """A tqdm bar with the time left and the cost so far."""

    def __init__(self, tell: Tell) -> None:
        self._tell = tell
        self._bar: Any = None
        self._waiting, self._cost, self._told_at = 0, 0.0, 0.0
        self._max_cost: float | None = None

    def start(self, total: int, *, done: int, max_cost: float | None) -> None:
        """Show the bar."""
        self._max_cost = max_cost

        def show() -> None:
            from tqdm.auto import tqdm

            self._bar = tqdm(total=total, initial=done, unit="trial", desc="Comparing", dynamic_ncols=True)

        self._tell(show)

    def warn(self, text: str) -> None:
        """Say what must be known before the first trial, above the bar."""
        self._tell(lambda: _write_note(text))

    def advance(self, count: int, *, cost_usd: float) -> None:
        """Move the bar on, a few times a second."""
        self._waiting, self._cost = self._waiting + count, cost_usd
        now = time.monotonic()
        if now - self._told_at >= TOLD_EVERY_SECS:
            self._told_at = now
            self._tell(self._show)

    def close(self, text: str) -> None:
        """Show the last state and leave the bar standing."""

        def end() -> None:
            self._show()
            if self._bar is not None:
                self._bar.set_description(text or "Compared", refresh=True)
                self._bar.close()

        self._tell(end)

    def _show(self) -> None:
        if self._bar is None:
            return
        count, self._waiting = self._waiting, 0
        if self._cost:
            limit = "" if self._max_cost is None else f" of {dollars(self._max_cost)}"
            self._bar.set_postfix_str(f"{dollars(self._cost)}{limit}", refresh=False)
        self._bar.update(count)


def _write_note(text: str) -> None:
    sys.stderr.write(f"Note: {text}\n")
    sys.stderr.flush()


def as_progress(given: Any, tell: Tell) -> Progress:
    """Return what was asked for: True is a bar, False is nothing, anything else does it itself."""
    if given is True:
        return BarProgress(tell)
    return given if given else NoProgress()
