"""Virtual time jumps, repeats, and stands still while something real is under way."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import threading
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from convai_lab.clock import VIRTUAL_EPOCH, SystemClock, VirtualClock


def test_two_minutes_pass_at_once_and_exactly():
    clock = VirtualClock()
    started = time.perf_counter()
    clock.run(clock.sleep(120))
    assert clock.now() == 120.0
    assert clock.wall() == VIRTUAL_EPOCH + 120.0
    assert time.perf_counter() - started < 5


def test_time_goes_on_from_one_run_to_the_next():
    clock = VirtualClock()
    clock.run(clock.sleep(1.5))
    clock.run(clock.sleep(0.25))
    assert clock.now() == 1.75


def test_many_small_steps_add_up_without_drift():
    clock = VirtualClock()

    async def frames() -> None:
        for _ in range(10_000):
            await clock.sleep(0.02)

    clock.run(frames())
    assert clock.now() == 200.0


def test_who_waits_less_goes_first():
    clock = VirtualClock()
    order: list[tuple[str, float]] = []

    async def wait(name: str, secs: float) -> None:
        await clock.sleep(secs)
        order.append((name, clock.now()))

    async def main() -> None:
        await asyncio.gather(wait("slow", 3), wait("quick", 1), wait("middle", 2))

    clock.run(main())
    assert order == [("quick", 1.0), ("middle", 2.0), ("slow", 3.0)]


@settings(max_examples=20)
@given(st.lists(st.sampled_from([0, 0.5, 1, 1, 2]), max_size=12), st.integers(0, 3))
def test_the_same_program_repeats_exactly(delays, seed):
    def once() -> list[tuple[int, float, str]]:
        clock = VirtualClock(seed=seed)
        seen: list[tuple[int, float, str]] = []

        async def wait(number: int, secs: float) -> None:
            await clock.sleep(secs)
            seen.append((number, clock.now(), clock.new_id()))

        async def main() -> None:
            await asyncio.gather(*(wait(number, secs) for number, secs in enumerate(delays)))

        clock.run(main())
        return seen

    assert once() == once()


def test_timers_due_at_the_same_instant_go_off_in_the_order_in_which_they_were_set():
    clock = VirtualClock()
    order: list[int] = []

    async def wait(number: int) -> None:
        await clock.sleep(1000 + (number % 3))
        await clock.sleep(5 - (number % 3))
        order.append(number)

    async def main() -> None:
        await asyncio.gather(*(wait(number) for number in range(100)))

    clock.run(main())
    assert clock.now() == 1005.0
    assert order == [number for late in (0, 1, 2) for number in range(late, 100, 3)]


async def test_waiting_on_another_loop_is_refused_because_the_clock_would_not_move():
    clock = VirtualClock()
    with pytest.raises(RuntimeError, match=r"its own run\(\)"):
        await clock.sleep(1)
    with pytest.raises(RuntimeError, match=r"its own run\(\)"):
        async with clock.timeout(1):
            pass
    with pytest.raises(RuntimeError, match=r"its own run\(\)"):
        await clock.outside(asyncio.sleep)


def test_a_timeout_counts_virtual_seconds():
    clock = VirtualClock()

    async def main() -> str:
        try:
            async with clock.timeout(5):
                await clock.sleep(6)
        except TimeoutError:
            return f"gave up at {clock.now()}"
        return "finished"

    assert clock.run(main()) == "gave up at 5.0"


def test_a_timeout_that_is_long_enough_or_absent_changes_nothing():
    clock = VirtualClock()

    async def main() -> None:
        async with clock.timeout(7), clock.timeout(None):
            await clock.sleep(6)

    clock.run(main())
    assert clock.now() == 6.0


def test_a_real_call_takes_the_time_that_was_recorded():
    clock = VirtualClock()

    async def real() -> str:
        return threading.current_thread().name

    async def main() -> str:
        return await clock.outside(real, took=2.5)

    assert clock.run(main()) == "convai-outside"
    assert clock.now() == 2.5


def test_a_real_call_takes_the_time_that_was_measured():
    clock = VirtualClock()

    async def real() -> None:
        await asyncio.to_thread(lambda: None)

    clock.run(clock.outside(real))
    assert 0 < clock.now() < 5


def test_the_clock_stands_still_while_a_real_call_is_under_way():
    clock = VirtualClock()
    let_go = threading.Event()
    seen: list[float] = []

    async def real() -> None:
        await asyncio.to_thread(let_go.wait, 30)

    async def ticks() -> None:
        for _ in range(1000):  # many turns of the loop; each would jump if the clock did not stand still
            await asyncio.sleep(0)
        seen.append(clock.now())
        let_go.set()
        await clock.sleep(1)
        seen.append(clock.now())

    async def main() -> None:
        await asyncio.gather(clock.outside(real, took=10), ticks())

    clock.run(main())
    assert seen == [0.0, 1.0]
    assert clock.now() == 10.0


@pytest.mark.parametrize("real_order", [(0, 1, 2), (2, 1, 0), (1, 2, 0)])
@pytest.mark.parametrize(
    ("took", "expected"),
    [((3.0, 1.0, 2.0), [1, 2, 0]), ((1.0, 1.0, 1.0), [0, 1, 2]), ((0.0, 0.0, 0.0), [0, 1, 2])],
)
def test_concurrent_real_calls_end_in_the_order_that_was_recorded(real_order, took, expected):
    clock = VirtualClock()
    ended = [threading.Event() for _ in range(3)]
    finished: list[int] = []

    async def real(number: int) -> None:
        place = real_order.index(number)
        if place:
            await asyncio.to_thread(ended[real_order[place - 1]].wait, 30)
        ended[number].set()

    async def one(number: int) -> None:
        await clock.outside(lambda: real(number), took=took[number])
        finished.append(number)

    async def main() -> None:
        await asyncio.gather(*(one(number) for number in range(3)))

    clock.run(main())
    assert finished == expected
    assert clock.now() == max(took)


def test_a_real_call_that_fails_takes_its_time_too():
    clock = VirtualClock()

    async def real() -> None:
        raise ConnectionError("refused")

    with pytest.raises(ConnectionError, match="refused"):
        clock.run(clock.outside(real, took=4))
    assert clock.now() == 4.0


def test_a_virtual_timeout_ends_a_real_call_by_what_it_took():
    clock = VirtualClock()

    async def real() -> None:
        """Answers at once; it is recorded as slow."""

    async def main() -> None:
        async with clock.timeout(3):
            await clock.outside(real, took=10)

    with pytest.raises(TimeoutError):
        clock.run(main())
    assert clock.now() == 3.0


def test_a_real_call_that_is_cancelled_has_cleaned_up_when_it_returns():
    clock = VirtualClock()
    events: list[str] = []
    under_way = threading.Event()

    async def real() -> None:
        under_way.set()
        try:
            await asyncio.Event().wait()
        finally:
            await asyncio.sleep(0)
            events.append("cleaned up")

    async def main() -> None:
        calling = asyncio.create_task(clock.outside(real))
        await asyncio.to_thread(under_way.wait, 30)
        calling.cancel()
        with pytest.raises(asyncio.CancelledError):
            await calling
        events.append("returned")
        await clock.sleep(1)

    clock.run(main())
    assert events == ["cleaned up", "returned"]
    assert clock.now() == 1.0


def test_a_real_call_still_under_way_at_the_end_is_cancelled():
    clock = VirtualClock()
    under_way, cancelled = threading.Event(), threading.Event()

    async def real() -> None:
        under_way.set()
        try:
            await asyncio.Event().wait()
        finally:
            cancelled.set()

    async def main() -> None:
        calling = asyncio.create_task(clock.outside(real))
        await asyncio.to_thread(under_way.wait, 30)
        assert not calling.done()

    clock.run(main())
    assert cancelled.is_set()


def test_all_clocks_share_one_real_thread():
    async def real() -> int:
        return threading.get_ident()

    assert len({clock.run(clock.outside(real)) for clock in (VirtualClock(), VirtualClock())}) == 1


def test_work_in_a_thread_takes_no_virtual_time():
    clock = VirtualClock()

    async def main() -> int:
        async with clock.timeout(1):
            return await asyncio.to_thread(lambda: sum(range(1000)))

    assert clock.run(main()) == 499500
    assert clock.now() == 0.0


def test_a_thread_and_a_real_call_at_once_do_not_block_each_other():
    clock = VirtualClock()
    called = threading.Event()

    async def real() -> None:
        called.set()

    async def main() -> None:
        await asyncio.gather(asyncio.to_thread(called.wait, 30), clock.outside(real, took=1))

    clock.run(main())
    assert clock.now() == 1.0


def test_waiting_for_what_can_never_happen_is_an_error_in_words():
    clock = VirtualClock()
    cleaned: list[str] = []

    async def stuck() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            cleaned.append("yes")

    with pytest.raises(RuntimeError, match=r"can never happen.*`outside`"):
        clock.run(stuck())
    assert cleaned == ["yes"]
    clock.run(clock.sleep(1))
    assert clock.now() == 1.0


def test_an_error_leaves_the_run_as_it_is():
    async def fail() -> None:
        raise KeyError("mine")

    with pytest.raises(KeyError, match="mine"):
        VirtualClock().run(fail())


def test_sleeping_for_nothing_or_less_gives_others_a_turn():
    clock = VirtualClock()

    async def main() -> None:
        await clock.sleep(0)
        await clock.sleep(-5)

    clock.run(main())
    assert clock.now() == 0.0


def test_ids_depend_on_the_seed_alone():
    first, again, other = (VirtualClock(seed=seed) for seed in (7, 7, 8))
    ids = [first.new_id("agent_") for _ in range(3)]
    assert ids == [again.new_id("agent_") for _ in range(3)]
    assert ids != [other.new_id("agent_") for _ in range(3)]
    assert len(set(ids)) == 3
    assert all(len(made) == len("agent_") + 32 for made in ids)


async def test_the_system_clock_is_the_wall():
    clock = SystemClock()
    before = clock.now()
    await clock.sleep(0)
    assert clock.now() >= before
    assert abs(clock.wall() - time.time()) < 5
    assert len(clock.new_id("x_")) == 34
    assert clock.new_id() != clock.new_id()

    async def real() -> str:
        return threading.current_thread().name

    assert await clock.outside(real, took=1000) == threading.current_thread().name


async def test_the_system_clock_gives_up_in_time():
    async def wait() -> None:
        async with SystemClock().timeout(0):
            await asyncio.Event().wait()

    with pytest.raises(TimeoutError):
        await wait()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system cannot fork")
def test_real_calls_work_in_a_forked_child():
    code = """
import os, sys
from convai_lab.clock import VirtualClock
async def real(): return "real"
def run():
    clock = VirtualClock()
    print(clock.run(clock.outside(real)), flush=True)
run()
child = os.fork()
if not child:
    run()
    os._exit(0)
sys.exit(os.waitpid(child, 0)[1])
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stdout) == (0, "real\nreal\n"), done.stderr
