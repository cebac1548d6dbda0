"""Clock: what time is it, and who decides when it passes?

Everything that waits or measures takes a `Clock`. `SystemClock` is the wall. `VirtualClock` runs a coroutine on
an event loop of its own whose time jumps to the next timer as soon as nothing is left to do, so that a
conversation of two minutes takes milliseconds and repeats exactly with the same seed.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import secrets
import selectors
import threading
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from typing import Any, Protocol, TypeVar

T = TypeVar("T")

MICROSECONDS = 1_000_000
VIRTUAL_EPOCH = 1_767_225_600.0
"""The wall time at which every virtual clock starts: 1 January 2026, 00:00 UTC."""


class Clock(Protocol):
    """What time it is, how to wait, and where new ids come from."""

    def now(self) -> float:
        """Return seconds on a monotonic scale; only differences mean something."""

    def wall(self) -> float:
        """Return seconds since 1 January 1970, UTC."""

    async def sleep(self, secs: float) -> None:
        """Wait for `secs` seconds of this clock."""

    def timeout(self, secs: float | None) -> contextlib.AbstractAsyncContextManager[None]:
        """Raise TimeoutError in the body if it takes longer than `secs` seconds; None means no limit."""

    async def outside(self, call: Callable[[], Awaitable[T]], *, took: float | None = None) -> T:
        """Await something real (a vendor, a socket) and let this clock pass by what it took, in seconds."""

    def new_id(self, prefix: str = "") -> str:
        """Return `prefix` and 128 random bits in hexadecimal."""


class SystemClock:
    """The real clock, on whichever event loop is running."""

    def now(self) -> float:
        """Return seconds on a monotonic scale."""
        return time.perf_counter()

    def wall(self) -> float:
        """Return seconds since 1 January 1970, UTC."""
        return time.time()

    async def sleep(self, secs: float) -> None:
        """Wait for `secs` seconds."""
        await asyncio.sleep(secs)

    @contextlib.asynccontextmanager
    async def timeout(self, secs: float | None) -> AsyncIterator[None]:
        """Raise TimeoutError in the body if it takes longer than `secs` seconds."""
        async with asyncio.timeout(secs):
            yield

    async def outside(self, call: Callable[[], Awaitable[T]], *, took: float | None = None) -> T:  # noqa: ARG002
        """Await `call()`; real time passes by itself."""
        return await call()

    def new_id(self, prefix: str = "") -> str:
        """Return `prefix` and 128 random bits in hexadecimal."""
        return prefix + secrets.token_hex(16)


class VirtualClock:
    """A clock that jumps: nothing waits, and the same seed gives the same run.

    Example:
        >>> clock = VirtualClock(seed=7)
        >>> clock.run(clock.sleep(120))
        >>> clock.now()
        120.0
    """

    def __init__(self, *, seed: int = 0) -> None:
        self.seed = seed
        self._micros = 0
        self._held = 0
        self._random = random.Random(seed)  # noqa: S311 - repeatable on purpose
        self._loop: asyncio.AbstractEventLoop | None = None
        self._real: _RealLoop | None = None

    def run(self, main: Coroutine[Any, Any, T]) -> T:
        """Run `main` to its end on a loop of this clock, and return its result.

        Raises:
            RuntimeError: Everything is waiting for something that can never happen.
        """
        with asyncio.Runner(loop_factory=lambda: _JumpingLoop(self)) as runner:
            self._loop = runner.get_loop()
            try:
                return runner.run(main)
            finally:
                self._loop = None
                if self._real is not None:
                    self._real.stop()
                    self._real = None

    def now(self) -> float:
        """Return virtual seconds since this clock was made."""
        return self._micros / MICROSECONDS

    def wall(self) -> float:
        """Return virtual seconds since 1 January 1970, UTC."""
        return VIRTUAL_EPOCH + self.now()

    async def sleep(self, secs: float) -> None:
        """Let `secs` virtual seconds pass."""
        await asyncio.sleep(secs)

    @contextlib.asynccontextmanager
    async def timeout(self, secs: float | None) -> AsyncIterator[None]:
        """Raise TimeoutError in the body if it takes longer than `secs` virtual seconds."""
        async with asyncio.timeout(secs):
            yield

    async def outside(self, call: Callable[[], Awaitable[T]], *, took: float | None = None) -> T:
        """Run `call()` on a real loop while this clock stands still, then let it pass by what it took.

        The call runs on a thread of its own, because under a jumping loop its own time-outs would fire at once.
        """
        if self._real is None:
            self._real = _RealLoop()
        started = time.perf_counter()
        self._held += 1
        try:
            result = await asyncio.wrap_future(self._real.submit(call))
        finally:
            self._held -= 1
        await asyncio.sleep(time.perf_counter() - started if took is None else took)
        return result

    def new_id(self, prefix: str = "") -> str:
        """Return `prefix` and 128 bits that depend on the seed alone."""
        return f"{prefix}{self._random.getrandbits(128):032x}"

    def _jump(self, secs: float) -> None:
        self._micros += max(0, round(secs * MICROSECONDS))


class _JumpingLoop(asyncio.SelectorEventLoop):
    """An event loop that asks a `VirtualClock` for the time and never waits for a timer."""

    def __init__(self, clock: VirtualClock) -> None:
        super().__init__(_JumpingSelector(clock))
        self._virtual = clock
        self._clock_resolution = 1 / MICROSECONDS

    def time(self) -> float:
        return self._virtual.now()


class _JumpingSelector(selectors.DefaultSelector):
    """A selector that lets the clock jump instead of waiting, unless something real is under way."""

    def __init__(self, clock: VirtualClock) -> None:
        super().__init__()
        self._virtual = clock

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        if self._virtual._held:
            return super().select(None if timeout is None or timeout > 0 else 0)
        if timeout is None:
            if ready := super().select(0):
                return ready
            raise RuntimeError("virtual time: every task waits for something that can never happen")
        if timeout > 0 and not (ready := super().select(0)):
            self._virtual._jump(timeout)
            return ready
        return super().select(0)


class _RealLoop:
    """A thread with an ordinary event loop, for what must happen in real time."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="convai-outside", daemon=True)
        self._thread.start()

    def submit(self, call: Callable[[], Awaitable[T]]) -> asyncio.Future[T]:
        async def awaited() -> T:
            return await call()

        return asyncio.run_coroutine_threadsafe(awaited(), self._loop)  # type: ignore[return-value]

    def stop(self) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()
