"""Stub platform: a local platform for tests, in a thread, whose voices are tones and whose model follows a script."""

from __future__ import annotations

import asyncio
import contextlib
import queue
import threading
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from dataclasses import dataclass

from convai_lab.clock import Clock, SystemClock
from convai_lab.providers.base import ChatRequest
from convai_lab.providers.stub_speech import stub_engines
from convai_lab.server.run import Options, PlatformServer, Running
from convai_lab.settings import Secret
from convai_lab.testing.fake_llm import FakeLLM, Scripted
from convai_lab.workspace.transport import FixedPlatform, Place, Transport
from convai_lab.workspace.workspace import Workspace

KEY = "lab_stub_platform_key"
START_SECS, STOP_SECS = 20.0, 20.0


class HurriedClock(SystemClock):
    """The real clock, some times as fast: programs that talk to each other keep pace, and a test takes less long."""

    def __init__(self, times: float) -> None:
        self.times = times

    def now(self) -> float:
        """Return seconds on a monotonic scale; they pass faster than real ones."""
        return super().now() * self.times

    async def sleep(self, secs: float) -> None:
        """Wait for `secs` of these seconds."""
        await asyncio.sleep(secs / self.times)

    @contextlib.asynccontextmanager
    async def timeout(self, secs: float | None) -> AsyncIterator[None]:
        """Raise TimeoutError in the body if it takes longer than `secs` of these seconds."""
        async with asyncio.timeout(None if secs is None else secs / self.times):
            yield


@dataclass(frozen=True)
class StubPlatform:
    """A platform that runs: its address and key, the model that speaks, and a workspace on it."""

    url: str
    key: str
    llm: FakeLLM
    workspace: Workspace
    clock: Clock


@contextlib.contextmanager
def stub_platform(
    replies: Sequence[Scripted] | Callable[[ChatRequest], Scripted] = lambda _: "All right.", *, hurry: float = 1
) -> Iterator[StubPlatform]:
    """Serve a platform in a thread for as long as the body runs; `hurry` times as fast as real time.

    It keeps what is said in `CONVAI_LAB_HOME`, as every platform does.

    Example::

        with stub_platform(["It ships tomorrow."]) as platform:
            platform.workspace.agents.save(Agent(name="support"))
            platform.workspace.talk("support", Sound(pcm, 16000))
    """
    clock = SystemClock() if hurry == 1 else HurriedClock(hurry)
    llm = FakeLLM(replies, clock=clock)
    server = PlatformServer(
        Options(port=0, api_key=Secret(KEY)),
        find_llm=lambda *_, **__: llm,
        find_engines=lambda _, *, clock: stub_engines(clock),
        clock=clock,
    )
    ready: queue.SimpleQueue[Running] = queue.SimpleQueue()
    thread = threading.Thread(target=lambda: server.run(when_ready=ready.put), daemon=True)
    thread.start()
    try:
        place = Place(ready.get(timeout=START_SECS).url, Secret(KEY))
        made = Workspace(Transport(FixedPlatform(place.url, place), clock=clock))
        yield StubPlatform(place.url, KEY, llm, made, clock)
    finally:
        server.stop()
        thread.join(STOP_SECS)
