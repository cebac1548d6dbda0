"""How much memory does a comparison of 20,000 trials take, with its table?

Run by hand: ``python tests/benchmarks/compare_memory.py [--trials 20000]``. The trials are held against the mock vendor
of `compare_throughput`; conversations stay in the journal. The baseline is the same process before the first trial,
with everything imported. Prints one line; the limit is 400 MB at the highest point.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import resource
import tempfile
import time

import pandas as pd
from compare_throughput import MODEL, serve

LIMIT_MB = 400
SCENARIOS = 200


def peak_mb() -> float:
    """Return the highest resident size of this process so far."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def measure(trials: int) -> dict[str, float | int | bool]:
    """Return the memory of a comparison, and what one trial takes of it."""
    from convai_lab.agents.agent import Agent
    from convai_lab.experiments.comparison import compare

    agent = Agent(name="Support", prompt="You are Sam, a calm support agent.", llm=MODEL)
    both = {"one": agent, "two": agent.with_changes(prompt="You are Sam.")}
    scenarios = [
        {"id": f"s{i}", "opening": "Where is my order 1234?", "checks": [{"said": "shipped"}], "max_turns": 2}
        for i in range(SCENARIOS)
    ]
    options = {"simulated_user": "scripted", "concurrency": 100, "max_cost": None, "progress": False}
    compare(both, scenarios[:10], journal="first", **options)
    pd.DataFrame({"a": [1]})
    before, started = peak_mb(), time.perf_counter()
    result = compare(both, scenarios, trials=trials // (2 * SCENARIOS), journal="second", **options)
    held, took = peak_mb(), time.perf_counter() - started
    if not result.df["success"].all():
        raise SystemExit(f"trials failed: {result.facts.faults}")
    last = result.conversation("two", f"s{SCENARIOS - 1}", result.facts.trials - 1)
    return {
        "trials": len(result),
        "before_mb": round(before),
        "held_mb": round(held),
        "with_table_mb": round(peak_mb()),
        "bytes_a_trial": round((peak_mb() - before) * 1024 * 1024 / len(result)),
        "vs_before": round(peak_mb() / before, 2),
        "below_limit": peak_mb() < LIMIT_MB,
        "turns_of_last": len(last),
        "secs": round(took, 1),
    }


def main() -> None:
    """Measure and print one line of JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--trials", type=int, default=20_000)
    chosen = parser.parse_args()
    mine, theirs = multiprocessing.Pipe()
    server = multiprocessing.get_context("spawn").Process(target=serve, args=(theirs,), daemon=True)
    server.start()
    url = f"http://127.0.0.1:{mine.recv()}/v1"
    with tempfile.TemporaryDirectory() as folder:
        os.environ |= {"CONVAI_LAB_HOME": folder, "OPENAI_BASE_URL": url, "OPENAI_API_KEY": "none"}
        print(json.dumps(measure(chosen.trials)))
    mine.close()
    server.terminate()


if __name__ == "__main__":
    main()
