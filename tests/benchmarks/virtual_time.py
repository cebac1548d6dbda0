"""Virtual time: how much faster than real time is a call of two minutes, does it repeat, and does it leak?

Run it: ``python tests/benchmarks/virtual_time.py [--calls 500]``. It prints one line of JSON. The calls are two-sided,
with turns and barge-ins; the caller's line sends every frame, silence included (`line`: the caller's frames only while
they speak, as most clients do). The bare pump moves frames of 20 ms both ways and does nothing.

The speed is that of one core. With ``--calls`` so many calls are held besides, by two processes: how long that took,
what each process held in memory after its first 50 calls and at the end, and whether a call late in a process was the
same, to the byte and to the microsecond, as the call with the same seed that came early.
"""

from __future__ import annotations

import argparse
import asyncio
import concurrent.futures
import gc
import hashlib
import json
import multiprocessing
import resource
import time
from pathlib import Path
from typing import Any, NamedTuple

from convai_lab.agents.agent import Agent
from convai_lab.clock import VirtualClock
from convai_lab.testing.callers import Call, Step, barge_in, hold_call
from convai_lab.voice.transport import AgentAudio, MemoryTransport

TURNS = 6
QUESTION = "where is my order please I have been waiting"
OBJECTION = "stop please I have another question"
ANSWER = (
    "Your order was shipped yesterday, and it will arrive tomorrow in the morning. "
    "Is there anything else that I can do for you today?"
)
WARM_UP = 50
SEEDS = 25
"""So many different calls follow each other, again and again."""
PROCESSES = 2
FRAME = bytes(640)


def one_call(seed: int, *, is_always_on: bool = True) -> Call:
    """Hold a call of a little more than two minutes."""
    script: list[Step] = [QUESTION, barge_in(OBJECTION, word=8)] * TURNS
    agent = Agent(name="Sam", prompt="p", first_message="Hello, this is Sam. How can I help you today?")
    return hold_call(agent, script, seed=seed, llm=lambda _request: ANSWER, is_always_on=is_always_on)


def pump_secs(secs: float) -> float:
    """Return the CPU time of moving frames both ways for so long in virtual time, with nothing behind them."""
    clock = VirtualClock()
    transport = MemoryTransport(clock)

    async def speak() -> None:
        for _ in range(round(secs / 0.02)):
            transport.speak(FRAME)
            await clock.sleep(0.02)
        transport.hang_up()

    async def answer() -> None:
        while await transport.receive() is not None:
            transport.sent.clear()
            transport.heard.clear()
            transport.send(AgentAudio(FRAME, 16000, 1))

    async def both() -> None:
        await asyncio.gather(speak(), answer())

    started = time.process_time()
    clock.run(both())
    return time.process_time() - started


def timed(*, is_always_on: bool, calls: int = 5) -> tuple[float, float]:
    """Return the virtual seconds of a call and the least CPU seconds that it took."""
    secs, best = 0.0, float("inf")
    for _ in range(calls):
        started = time.process_time()
        secs = one_call(7, is_always_on=is_always_on).secs
        best = min(best, time.process_time() - started)
    return secs, best


class Held(NamedTuple):
    """What one process has to tell of its calls."""

    virtual_secs: float
    cpu_secs: float
    barge_ins: int
    memory_kb_after_50: int
    memory_kb_at_end: int
    drift_secs: float
    changed: int


def hold_calls(calls: int) -> Held:
    """Hold calls one after the other in this process."""
    first: dict[int, tuple[str, float]] = {}
    warm = changed = barge_ins = 0
    virtual_secs = drift = 0.0
    for number in range(calls):
        call = one_call(number % SEEDS)
        shown, secs = first.setdefault(number % SEEDS, (_digest(call), call.secs))
        changed += shown != _digest(call)
        drift = max(drift, abs(secs - call.secs))
        virtual_secs += call.secs
        barge_ins += sum(turn.interrupted for turn in call.conversation)
        if number + 1 == WARM_UP:
            warm = _memory_kb()
    return Held(virtual_secs, time.process_time(), barge_ins, warm, _memory_kb(), drift, changed)


def hold_many(calls: int) -> dict[str, Any]:
    """Hold calls in two processes at once, and return what came of it."""
    shares = [calls // PROCESSES + (number < calls % PROCESSES) for number in range(PROCESSES)]
    started = time.perf_counter()
    spawn = multiprocessing.get_context("spawn")
    with concurrent.futures.ProcessPoolExecutor(PROCESSES, mp_context=spawn) as pool:
        held = list(pool.map(hold_calls, shares))
    wall = time.perf_counter() - started
    virtual = sum(one.virtual_secs for one in held)
    return {
        "calls": calls,
        "wall_secs": round(wall, 1),
        "times_real_time": round(virtual / wall),
        "times_real_time_per_cpu_second": round(virtual / sum(one.cpu_secs for one in held)),
        "mean_call_secs": round(virtual / calls, 1),
        "barge_ins": sum(one.barge_ins for one in held),
        "memory_kb_after_50_calls": [one.memory_kb_after_50 for one in held],
        "memory_kb_at_end": [one.memory_kb_at_end for one in held],
        "drift_secs": max(one.drift_secs for one in held),
        "calls_that_changed": sum(one.changed for one in held),
    }


def _digest(call: Call) -> str:
    return hashlib.sha256(repr(call.trace).encode()).hexdigest()


def _memory_kb() -> int:
    gc.collect()
    return _resident_kb()


def _resident_kb() -> int:
    status = Path("/proc/self/status")
    if not status.exists():
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return next(int(line.split()[1]) for line in status.read_text().splitlines() if line.startswith("VmRSS"))


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--calls", type=int, default=0, help="hold so many calls besides (more than 100), by processes")
    calls = parser.parse_args().calls
    one_call(0)
    secs, cpu = timed(is_always_on=True)
    quiet_secs, quiet_cpu = timed(is_always_on=False)
    pump = min(pump_secs(secs) for _ in range(3))
    first, second, other = one_call(3), one_call(3), one_call(4)
    result: dict[str, Any] = {
        "times_real_time": round(secs / cpu),
        "times_real_time_line_quiet": round(quiet_secs / quiet_cpu),
        "times_real_time_bare_pump": round(secs / pump),
        "identical_traces": first.trace == second.trace,
        "call_secs": first.secs,
        "barge_ins": sum(turn.interrupted for turn in first.conversation),
        "turns": len(first.conversation),
        "drift_secs": round(abs(first.secs - other.secs), 6),
        "cpu_secs_for_500_calls": round(500 * cpu, 1),
    }
    if calls:
        result["many"] = hold_many(calls)
    print(json.dumps(result))


if __name__ == "__main__":
    main()
