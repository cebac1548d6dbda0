"""Inspect samples: the same single-turn samples in Inspect AI (0.3), run by the Python that has it.

It is run by `compare_throughput.py --inspect PYTHON`, or alone: ``PYTHON inspect_samples.py URL SAMPLES IN_FLIGHT
FOLDER`` prints the samples a second; the folder gets its log.
"""

from __future__ import annotations

import sys
import time

from inspect_ai import Task
from inspect_ai import eval as run
from inspect_ai.dataset import Sample
from inspect_ai.model import get_model
from inspect_ai.scorer import includes
from inspect_ai.solver import generate

MODEL = "openai/gpt-4o-mini"
QUESTION, WANTED = "Where is my order 1234?", "shipped"


def measure(url: str, count: int, in_flight: int, folder: str) -> float:
    """Return the samples a second."""
    samples = [Sample(id=i, input=QUESTION, target=WANTED) for i in range(1, count + 1)]
    task = Task(dataset=samples, solver=generate(), scorer=includes())
    model = get_model(MODEL, base_url=url, api_key="none", responses_api=False)
    started = time.perf_counter()
    (log,) = run(
        task, model=model, max_connections=in_flight, max_samples=in_flight, log_dir=folder, display="none", score=True
    )
    took = time.perf_counter() - started
    correct = sum(sample.scores["includes"].value == "C" for sample in log.samples or ())
    if log.status != "success" or correct != count:
        raise SystemExit(f"Inspect AI lost samples: {log.status}, {correct} of {count} are right, {log.error}")
    return count / took


if __name__ == "__main__":
    url, count, in_flight, folder = sys.argv[1:]
    measure(url, 2, 2, folder)  # imports, and what is made once
    print(measure(url, int(count), int(in_flight), folder))
