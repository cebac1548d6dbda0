"""Blocking calls work everywhere, can be interrupted, and run what must run on the waiting thread."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import threading

import pytest

from convai_lab import background
from convai_lab.background import MainThreadCalls


async def where() -> str:
    return threading.current_thread().name


def test_a_blocking_call_runs_on_the_background_thread_and_returns_its_result():
    assert background.run(where()) == background.THREAD_NAME


async def test_a_blocking_call_works_inside_a_running_loop():
    assert background.run(where()) == background.THREAD_NAME


def test_an_error_is_raised_where_the_call_was_made():
    async def fail() -> None:
        raise KeyError("mine")

    with pytest.raises(KeyError, match="mine"):
        background.run(fail())


def test_all_threads_share_one_loop():
    loops: list[asyncio.AbstractEventLoop] = []
    threads = [threading.Thread(target=lambda: loops.append(background.loop())) for _ in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(set(map(id, loops))) == 1


def test_submitted_work_gives_its_result_later():
    assert background.submit(where()).result(30) == background.THREAD_NAME


def test_several_threads_may_wait_at_once():
    both = asyncio.Barrier(2)

    async def meet() -> str:
        async with asyncio.timeout(30):
            await both.wait()
        return "met"

    answers: list[str] = []
    other = threading.Thread(target=lambda: answers.append(background.run(meet())))
    other.start()
    answers.append(background.run(meet()))
    other.join()
    assert answers == ["met", "met"]


def test_a_blocking_call_on_the_background_thread_is_refused():
    async def nested() -> str:
        return background.run(where())

    with pytest.raises(RuntimeError, match="async twin"):
        background.run(nested())
    assert background.run(where()) == background.THREAD_NAME


def test_the_waiting_thread_runs_what_the_loop_asks_for():
    calls = MainThreadCalls()

    async def work() -> list[str]:
        return [await calls.call(lambda: threading.current_thread().name) for _ in range(3)]

    assert background.run(work(), calls=calls) == [threading.current_thread().name] * 3


def test_a_call_may_itself_make_a_blocking_call():
    calls = MainThreadCalls()

    async def work() -> str:
        return await calls.call(lambda: background.run(where()))

    assert background.run(work(), calls=calls) == background.THREAD_NAME


def test_an_error_in_a_call_reaches_who_asked_for_it():
    calls = MainThreadCalls()

    async def work() -> str:
        try:
            await calls.call(lambda: 1 // 0)
        except ZeroDivisionError:
            return "caught"
        return "missed"

    assert background.run(work(), calls=calls) == "caught"


def test_a_call_nobody_waits_for_any_more_is_not_made():
    calls = MainThreadCalls()
    made: list[str] = []

    async def work() -> None:
        given_up = asyncio.create_task(calls.call(lambda: made.append("given up")))
        await asyncio.sleep(0)
        given_up.cancel()
        await asyncio.wait([given_up])
        await calls.call(lambda: made.append("wanted"))

    calls_before = threading.Event()

    def hold() -> None:
        calls_before.wait(30)

    async def held() -> None:
        holding = asyncio.create_task(calls.call(hold))
        working = asyncio.create_task(work())
        await asyncio.sleep(0)
        calls_before.set()
        await asyncio.gather(holding, working)

    background.run(held(), calls=calls)
    assert "wanted" in made


def test_calls_can_serve_one_run_after_another():
    calls = MainThreadCalls()

    async def work() -> str:
        return await calls.call(lambda: "served")

    assert [background.run(work(), calls=calls) for _ in range(3)] == ["served"] * 3


@pytest.mark.parametrize("interrupt", [KeyboardInterrupt, SystemExit])
def test_an_interrupt_in_a_call_cancels_the_work_and_not_the_loop(interrupt):
    calls = MainThreadCalls()
    events: list[str] = []

    def interrupted() -> None:
        raise interrupt

    async def work() -> None:
        try:
            await calls.call(interrupted)
        finally:
            await asyncio.sleep(0)
            events.append(await calls.call(lambda: "cleaned up on the waiting thread"))

    with pytest.raises(interrupt):
        background.run(work(), calls=calls)
    assert events == ["cleaned up on the waiting thread"]
    assert background.run(where()) == background.THREAD_NAME


@pytest.mark.skipif(not hasattr(signal, "pthread_kill"), reason="this system cannot send a signal to a thread")
def test_the_stop_button_cancels_the_work_and_waits_until_it_has_cleaned_up():
    events: list[str] = []
    main = threading.main_thread().ident
    assert main is not None

    async def work() -> None:
        try:
            background.loop().call_soon(signal.pthread_kill, main, signal.SIGINT)
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            for _ in range(10):
                await asyncio.sleep(0)
            events.append("cleaned up")
            raise

    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with pytest.raises(KeyboardInterrupt):
            background.run(work())
    finally:
        signal.signal(signal.SIGINT, before)
    assert events == ["cleaned up"]


def test_an_interrupt_before_the_work_has_started_means_that_it_never_starts():
    events: list[str] = []
    release = threading.Event()

    class Interrupted(MainThreadCalls):
        def serve(self, done: threading.Event) -> None:
            if not events:
                events.append("interrupted")
                raise KeyboardInterrupt
            release.set()
            super().serve(done)

    async def work() -> None:
        events.append("started")
        await asyncio.Event().wait()

    background.loop().call_soon_threadsafe(release.wait, 30)  # the loop is busy until the interrupt has come
    with pytest.raises(KeyboardInterrupt):
        background.run(work(), calls=Interrupted())
    assert events == ["interrupted"]


def test_an_interrupt_that_comes_when_all_is_done_does_not_hang():
    class Late(MainThreadCalls):
        def serve(self, done: threading.Event) -> None:
            super().serve(done)
            if not seen:
                seen.append("interrupt")
                raise KeyboardInterrupt

    seen: list[str] = []
    with pytest.raises(KeyboardInterrupt):
        background.run(where(), calls=Late())


def test_work_that_swallows_the_interrupt_does_not_swallow_it_for_the_user():
    calls = MainThreadCalls()

    def interrupted() -> None:
        raise KeyboardInterrupt

    async def stubborn() -> str:
        try:
            await calls.call(interrupted)
        except asyncio.CancelledError:
            return "as if nothing had happened"
        return "not interrupted"

    with pytest.raises(KeyboardInterrupt):
        background.run(stubborn(), calls=calls)


@pytest.mark.parametrize("interrupted", [True, False])
def test_nothing_on_the_loop_waits_for_a_thread_that_has_gone_on(interrupted):
    calls = MainThreadCalls()
    asked: list[asyncio.Task[None]] = []

    def interrupt() -> None:
        raise KeyboardInterrupt

    async def outcome() -> BaseException | None:
        async with asyncio.timeout(30):
            await asyncio.wait(asked)
        return asyncio.CancelledError() if asked[0].cancelled() else asked[0].exception()

    async def work() -> None:
        asked.append(asyncio.get_running_loop().create_task(calls.call(interrupt)))
        if interrupted:
            await asyncio.Event().wait()

    if interrupted:
        with pytest.raises(KeyboardInterrupt):
            background.run(work(), calls=calls)
        assert isinstance(background.run(outcome()), asyncio.CancelledError)
    else:
        calls.serve = lambda done: done.wait(30)  # type: ignore[method-assign] # a thread that serves nobody
        background.run(work(), calls=calls)
        background.run(asyncio.sleep(0))
        calls.leave()
        assert "has gone on" in str(background.run(outcome()))


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system cannot fork")
def test_a_forked_child_has_its_own_loop_even_when_the_lock_was_held():
    code = """
import os, sys, threading
from convai_lab import background
async def where(): return threading.current_thread().name
print(background.run(where()), flush=True)
background._lock.acquire()
child = os.fork()
if not child:
    print(background.run(where()), flush=True)
    os._exit(0)
background._lock.release()
print(background.run(where()), flush=True)
sys.exit(os.waitpid(child, 0)[1])
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stdout) == (0, f"{background.THREAD_NAME}\n" * 3), done.stderr


def test_a_script_ends_quietly_with_work_still_under_way():
    code = """
import asyncio
from convai_lab import background
async def forever():
    try:
        await asyncio.Event().wait()
    finally:
        print("cleaned up")
async def hello(): return "hello"
background.submit(forever())
print(background.run(hello()))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "hello\ncleaned up\n", "")
