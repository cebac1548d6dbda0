"""How long does it take to say what 20,000 trials mean? Run: python tests/benchmarks/compare_presentation.py

The baseline is pandas' mean of success by variant and scenario over the same trials, in the same run: the least that
anybody must do. Prints one JSON line; times are in seconds, medians of three fresh comparisons.
"""

from __future__ import annotations

import json
import random
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from convai_lab.agents.agent import Agent
from convai_lab.conversations.conversation import Conversation
from convai_lab.conversations.turn import Turn
from convai_lab.experiments.bundle import load, save
from convai_lab.experiments.comparison import Comparison, RunFacts
from convai_lab.experiments.trial import TrialResult
from convai_lab.experiments.variant import Variant
from convai_lab.simulation.scenario import Scenario

REPEATS = 3


def drawn(scenarios: int, trials: int, variants: int) -> Comparison:
    """Draw a comparison."""
    chance = random.Random(1)
    names = [f"variant {place}" for place in range(variants)]
    made = tuple(
        TrialResult(
            variant=name,
            scenario_id=f"s{place}",
            trial=number,
            seed=place * 1000 + number,
            key=f"{at:02}{place:06}{number:04}",
            success=chance.random() < 0.5 + 0.1 * at,
            ttft_ms=(chance.random() * 900, chance.random() * 900),
            cost_usd=chance.random() / 500,
        )
        for place in range(scenarios)
        for number in range(trials)
        for at, name in enumerate(names)
    )
    said = Conversation(id="c", agent_id="a", turns=tuple(Turn(role="user", text=f"word {i} " * 9) for i in range(8)))
    return Comparison(
        trials=made,
        variants=tuple(Variant(name, Agent(name="Support")) for name in names),
        scenarios=tuple(Scenario(id=f"s{place}", opening="Hello") for place in range(scenarios)),
        baseline=names[0],
        facts=RunFacts(trials=trials, planned=len(made)),
        find_conversation=lambda _: said,
    )


def measured(make: Callable[[], Comparison], act: Callable[[Comparison], Any]) -> float:
    """Return how long it takes with a comparison that nobody has looked at yet."""
    times = []
    for _ in range(REPEATS):
        comparison = make()
        start = time.perf_counter()
        act(comparison)
        times.append(time.perf_counter() - start)
    return statistics.median(times)


def main() -> None:
    """Measure and print."""
    comparison = drawn(1, 1, 2)
    comparison.leaderboard(), comparison._repr_html_(), comparison.df  # what is imported is not counted

    def small() -> Comparison:
        return drawn(20, 5, 3)

    def large() -> Comparison:
        return drawn(1000, 10, 2)

    frame = large().df
    start = time.perf_counter()
    frame.groupby(["variant", "scenario"])["success"].mean().groupby("variant").mean()
    baseline = time.perf_counter() - start
    board = measured(large, lambda c: c.leaderboard())
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "x.convai"
        saving = measured(large, lambda c: save(c, file))
        start = time.perf_counter()
        load(file)
        loading, size = time.perf_counter() - start, file.stat().st_size
    print(
        json.dumps(
            {
                "html_20x5x3_secs": round(measured(small, lambda c: c._repr_html_()), 3),
                "text_20x5x3_secs": round(measured(small, str), 3),
                "leaderboard_20000_secs": round(board, 3),
                "pandas_means_20000_secs": round(baseline, 4),
                "leaderboard_times_pandas": round(board / baseline, 1),
                "save_20000_secs": round(saving, 2),
                "load_20000_secs": round(loading, 2),
                "file_mb": round(size / 1e6, 1),
            }
        )
    )


if __name__ == "__main__":
    main()
