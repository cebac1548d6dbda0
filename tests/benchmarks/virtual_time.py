"""Virtual time: how much faster than real time is a call of two minutes, does it repeat, and does it leak?

Run it: ``python tests/benchmarks/virtual_time.py [--calls 100]``. It prints one line of JSON. The calls are two-sided,
with turns and barge-ins, on one core; the caller's line sends every frame, silence included (`line`: the caller's
frames only while they speak, as most clients do). The bare pump moves frames of 20 ms both ways and does nothing.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import json
import resource
import time
from pathlib import Path

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


def memory_kb(calls: int) -> list[int]:
    """Return the memory of this process after the first 50 calls, and after so many more."""
    held = []
    for first, last in ((0, WARM_UP), (WARM_UP, WARM_UP + calls)):
        for seed in range(first, last):
            one_call(seed, is_always_on=False)
        gc.collect()
        held.append(_resident_kb())
    return held


def _resident_kb() -> int:
    status = Path("/proc/self/status")
    if not status.exists():
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return next(int(line.split()[1]) for line in status.read_text().splitlines() if line.startswith("VmRSS"))


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--calls", type=int, default=100, help="calls for the memory measurement, after 50 to warm up")
    calls = parser.parse_args().calls
    one_call(0)
    secs, cpu = timed(is_always_on=True)
    quiet_secs, quiet_cpu = timed(is_always_on=False)
    pump = min(pump_secs(secs) for _ in range(3))
    first, second, other = one_call(3), one_call(3), one_call(4)
    before, after = memory_kb(calls)
    result = {
        "times_real_time": round(secs / cpu),
        "times_real_time_line_quiet": round(quiet_secs / quiet_cpu),
        "times_real_time_bare_pump": round(secs / pump),
        "identical_traces": first.trace == second.trace,
        "call_secs": first.secs,
        "barge_ins": sum(turn.interrupted for turn in first.conversation),
        "turns": len(first.conversation),
        "drift_secs": round(abs(first.secs - other.secs), 6),
        "cpu_secs_for_500_calls": round(500 * cpu, 1),
        "memory_kb_after_50_calls": before,
        f"memory_kb_after_{WARM_UP + calls}_calls": after,
    }
    print(json.dumps(result))


if __name__ == "__main__":
    main()
