"""Clock: what time is it, and who decides when it passes?

Everything that waits or measures takes a `Clock`. `SystemClock` is the wall. `VirtualClock` runs a coroutine on
an event loop of its own whose time jumps to the next timer as soon as nothing is left to do, so that a
conversation of two minutes takes milliseconds and repeats exactly with the same seed.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextlib
import os
import random
import secrets
import selectors
import threading
import time
from collections.abc import Awaitable, Callable, Coroutine, Iterator, Sequence
from typing import Any, Generic, Protocol, TypeVar

T = TypeVar("T")

MICROSECONDS = 1_000_000
TIMERS_IN_ORDER = 10_000
"""So many timers in a row keep their order by fractions of a microsecond, which the clock does not show."""
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

    def timeout(self, secs: float | None) -> contextlib.AbstractAsyncContextManager[object]:
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

    def timeout(self, secs: float | None) -> contextlib.AbstractAsyncContextManager[object]:
        """Raise TimeoutError in the body if it takes longer than `secs` seconds."""
        return asyncio.timeout(secs)

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
        self._calls = 0
        self._turns: list[asyncio.Future[None]] = []
        self._random = random.Random(seed)  # noqa: S311 - repeatable on purpose

    def run(self, main: Coroutine[Any, Any, T]) -> T:
        """Run `main` to its end on a loop of this clock, and return its result.

        Raises:
            RuntimeError: Everything is waiting for something that can never happen.
        """
        with asyncio.Runner(loop_factory=lambda: _JumpingLoop(self)) as runner:
            return runner.run(main)

    def now(self) -> float:
        """Return virtual seconds since this clock was made."""
        return self._micros / MICROSECONDS

    def wall(self) -> float:
        """Return virtual seconds since 1 January 1970, UTC."""
        return VIRTUAL_EPOCH + self.now()

    async def sleep(self, secs: float) -> None:
        """Let `secs` virtual seconds pass."""
        self._require_own_loop()
        await asyncio.sleep(secs)

    def timeout(self, secs: float | None) -> contextlib.AbstractAsyncContextManager[object]:
        """Raise TimeoutError in the body if it takes longer than `secs` virtual seconds."""
        self._require_own_loop()
        return asyncio.timeout(secs)

    async def outside(self, call: Callable[[], Awaitable[T]], *, took: float | None = None) -> T:
        """Run `call()` on a real loop while this clock stands still, then let it pass by what it took.

        The call runs on a thread of its own, because under a jumping loop its own time-outs would fire at once. That
        thread is shared by all clocks of the process, so that its connections are. A call that fails takes time too;
        one that is cancelled has cleaned up when this returns.
        """
        self._require_own_loop()
        real = _RealCall(call)
        await self._in_order(real)
        await asyncio.sleep(real.secs if took is None else took)
        return real.result()

    async def _in_order(self, real: _RealCall[T]) -> None:
        """Wait for a real call, and for those under way with it: they go on in the order in which they began.

        Otherwise the wire would decide who is first among calls that take equally long, and no run would repeat.
        """
        turn = asyncio.get_running_loop().create_future()
        self._turns.append(turn)
        self._calls += 1
        try:
            with self._hold():
                await real.ended()
        finally:
            self._calls -= 1
            if not self._calls:
                turns, self._turns = self._turns, []
                asyncio.get_running_loop().call_soon(_give_turns, turns)
        await turn

    def new_id(self, prefix: str = "") -> str:
        """Return `prefix` and 128 bits that depend on the seed alone."""
        return f"{prefix}{self._random.getrandbits(128):032x}"

    def _require_own_loop(self) -> None:
        """Refuse to wait where this clock would not move: real seconds would pass, and it would not show them."""
        loop = asyncio.get_running_loop()
        if not (isinstance(loop, _JumpingLoop) and loop.belongs_to(self)):
            raise RuntimeError("a VirtualClock only passes inside its own run(): use clock.run(...), or a SystemClock")

    def _jump(self, secs: float) -> None:
        self._micros += max(0, round(secs * MICROSECONDS))

    @contextlib.contextmanager
    def _hold(self) -> Iterator[None]:
        """Stand still while something real is under way."""
        self._held += 1
        try:
            yield
        finally:
            self._held -= 1


def running_virtual_clock() -> VirtualClock | None:
    """Return the clock of the event loop that is running, if it is a virtual one."""
    loop = asyncio.get_running_loop()
    return loop._virtual if isinstance(loop, _JumpingLoop) else None


def _give_turns(turns: Sequence[asyncio.Future[None]]) -> None:
    for turn in turns:
        if not turn.done():
            turn.set_result(None)


class _JumpingLoop(asyncio.SelectorEventLoop):
    """An event loop that asks a `VirtualClock` for the time and never waits for a timer.

    Work in threads (`asyncio.to_thread`) takes no virtual time; the clock stands still meanwhile.
    """

    def __init__(self, clock: VirtualClock) -> None:
        super().__init__(_JumpingSelector(clock))
        self._virtual = clock
        self._clock_resolution = 1 / MICROSECONDS
        self._timers = 0

    def belongs_to(self, clock: VirtualClock) -> bool:
        return self._virtual is clock

    def time(self) -> float:
        return self._virtual.now()

    def call_at(  # type: ignore[override]
        self, when: float, *args: Any, **kwargs: Any
    ) -> asyncio.TimerHandle:
        """Set a timer; those due at the same instant go off in the order in which they were set (asyncio's do not)."""
        self._timers = (self._timers + 1) % TIMERS_IN_ORDER
        return super().call_at(when + self._timers * 0.4 / TIMERS_IN_ORDER / MICROSECONDS, *args, **kwargs)

    def run_in_executor(  # type: ignore[override] # the stub's own type variables cannot be named here
        self, executor: Any, func: Callable[..., T], *args: Any
    ) -> asyncio.Future[T]:
        future = super().run_in_executor(executor, func, *args)
        hold = contextlib.ExitStack()
        hold.enter_context(self._virtual._hold())
        future.add_done_callback(lambda _: hold.close())
        return future

    async def shutdown_default_executor(self, *timeout: Any) -> None:
        with self._virtual._hold():
            await super().shutdown_default_executor(*timeout)


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
            raise RuntimeError(
                "virtual time: every task waits for something that can never happen (real calls go through `outside`)"
            )
        if timeout > 0 and not (ready := super().select(0)):
            self._virtual._jump(timeout)
            return ready
        return super().select(0)


class _RealCall(Generic[T]):
    """A call on the thread where time is real, awaited from a loop where it is not; `secs` is what it took."""

    def __init__(self, call: Callable[[], Awaitable[T]]) -> None:
        self.secs = 0.0
        self._call = call
        self._loop = _real_loop()
        self._task: asyncio.Task[T] | None = None
        self._ended: concurrent.futures.Future[None] = concurrent.futures.Future()
        self._loop.call_soon_threadsafe(self._start)

    async def ended(self) -> None:
        """Wait until it has ended; when cancelled, cancel it and wait until it has cleaned up."""
        ended = asyncio.wrap_future(self._ended)
        try:
            await asyncio.shield(ended)
        except asyncio.CancelledError:
            self._loop.call_soon_threadsafe(self._cancel)
            await asyncio.wait([ended])
            raise

    def result(self) -> T:
        """Return what the call returned, or raise what it raised."""
        assert self._task is not None
        return self._task.result()

    def _start(self) -> None:
        async def timed() -> T:
            started = time.perf_counter()
            try:
                return await self._call()
            finally:
                self.secs = time.perf_counter() - started

        self._task = self._loop.create_task(timed())
        self._task.add_done_callback(lambda _: self._ended.set_result(None))

    def _cancel(self) -> None:
        if self._task is not None:
            self._task.cancel()


_real_lock = threading.Lock()
_real: asyncio.AbstractEventLoop | None = None


def _real_loop() -> asyncio.AbstractEventLoop:
    """Return an ordinary event loop on a thread of its own, for what must happen in real time."""
    global _real
    with _real_lock:
        if _real is None:
            _real = asyncio.new_event_loop()
            threading.Thread(target=_real.run_forever, name="convai-outside", daemon=True).start()
        return _real


def _after_fork() -> None:
    """Forget the loop: its thread stayed in the parent."""
    global _real, _real_lock
    _real, _real_lock = None, threading.Lock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
