"""Live watcher: how does a test wait for what happens in a live session, which happens on another thread?"""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable
from typing import Any, TypeVar

from convai_lab.providers.base import AudioChunk
from convai_lab.providers.stub_speech import StubTTS

E = TypeVar("E")

LIMIT_SECS = 60.0


class LiveWatcher:
    """Keeps every event of a session, and waits for one; pass `watch` as its `on_event`.

    Example::

        watcher = LiveWatcher()
        session = ws.start_session(agent, voice=True, on_event=watcher.watch)
        watcher.wait_for(StateChanged, lambda event: event.state == "listening")
    """

    def __init__(self) -> None:
        self.happened: list[tuple[float, Any]] = []
        """Every event with the instant at which it came (`time.monotonic`)."""
        self._news = threading.Condition()

    def watch(self, event: Any) -> None:
        """Keep an event."""
        with self._news:
            self.happened.append((time.monotonic(), event))
            self._news.notify_all()

    def of(self, kind: type[E]) -> list[E]:
        """Return the events of one kind, in order."""
        return [event for _, event in self.happened if isinstance(event, kind)]

    def wait_for(
        self,
        kind: type[E],
        is_it: Callable[[E], bool] = lambda _: True,
        *,
        number: int = 1,
        limit_secs: float = LIMIT_SECS,
    ) -> E:
        """Wait until so many events of a kind that fit have happened, and return the last of them.

        Raises:
            AssertionError: They did not happen in time; tells what did.
        """
        deadline = time.monotonic() + limit_secs
        with self._news:
            while len(found := [event for event in self.of(kind) if is_it(event)]) < number:
                if not self._news.wait(max(0.0, deadline - time.monotonic())):
                    kinds = [type(event).__name__ for _, event in self.happened]
                    raise AssertionError(f"no {kind.__name__} (number {number}) in {limit_secs:g} s: {kinds[-40:]}")
        return found[number - 1]


def stub_speech(text: str, rate_hz: int = 16000) -> bytes:
    """Return how the stub voice says a text: 16-bit mono PCM that the stub recogniser understands."""

    async def said() -> bytes:
        items = StubTTS(rate_hz=rate_hz).synthesize(text)
        return b"".join([item.pcm async for item in items if isinstance(item, AudioChunk)])

    return asyncio.run(said())
