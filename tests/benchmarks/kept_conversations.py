"""What does it cost to hand a comparison's conversations to the local platform, beside holding them? One JSON line.

The run is a comparison by offline rules, which is as fast as one can be, with its journal; the handing over comes after
it. The baseline is the bare INSERT of the same documents, committed in the same groups. Rounds are interleaved.

Run by hand: python tests/benchmarks/kept_conversations.py [trials of each of 20 scenarios]
"""

from __future__ import annotations

import json
import os
import sqlite3
import statistics
import sys
import tempfile
import time
from pathlib import Path

ROUNDS = 3
BATCH = 50
SUPPORT = Path(__file__).parents[2] / "datasets" / "scenarios" / "support.yaml"


def main() -> None:
    """Print the line."""
    from convai_lab.experiments.comparison import compare
    from convai_lab.experiments.keeping import keep_conversations
    from convai_lab.workspace.connect import connect

    trials = int(sys.argv[1]) if len(sys.argv) > 1 else 10
    workspace = connect()
    workspace.status()
    times: dict[str, list[float]] = {"run": [], "keep": [], "bare": []}
    for seed in range(ROUNDS):
        began = time.perf_counter()
        found = compare([{"temperature": 0.1}], SUPPORT, trials=trials, seed=seed, progress=False)
        ran = time.perf_counter()
        keep_conversations(found, workspace)
        kept, count = time.perf_counter(), len(found)
        times["run"].append((ran - began) / count * 1000)
        times["keep"].append((kept - ran) / count * 1000)
        times["bare"].append(_bare_ms([found.conversation(*trial.id).to_dict() for trial in found]))
    medians = {f"{name}_ms_each": round(statistics.median(values), 3) for name, values in times.items()}
    ratios = {
        "keep_to_run": round(medians["keep_ms_each"] / medians["run_ms_each"], 3),
        "keep_to_bare": round(medians["keep_ms_each"] / medians["bare_ms_each"], 1),
    }
    print(json.dumps({"benchmark": "kept_conversations", "conversations": count, **medians, **ratios}))


def _bare_ms(documents: list[dict[str, object]]) -> float:
    with tempfile.TemporaryDirectory() as folder:
        db = sqlite3.connect(Path(folder) / "bare.sqlite3")
        db.execute("PRAGMA journal_mode=WAL")
        db.execute("CREATE TABLE conversations (id TEXT PRIMARY KEY, body TEXT)")
        began = time.perf_counter()
        for at in range(0, len(documents), BATCH):
            with db:
                rows = [(one["conversation_id"], json.dumps(one)) for one in documents[at : at + BATCH]]
                db.executemany("INSERT INTO conversations VALUES (?, ?)", rows)
        took = time.perf_counter() - began
        db.close()
    return took / len(documents) * 1000


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as home:
        os.environ["CONVAI_LAB_HOME"] = home
        main()
