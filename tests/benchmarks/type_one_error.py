"""How often does a comparison find a difference that is not there?

Two variants of the same true quality meet in 50 scenarios with 10 trials each. How much they differ in one scenario is
the scenario's own affair: the differences have an intra-cluster correlation of about 0.7 (the measured one is printed).
"Naive" is the paired bootstrap of all 500 pairs as if each told something new; "clustered" is `compare_paired`; its
p value and its interval are counted apart. Both are wrong whenever they exclude zero.

`python tests/benchmarks/type_one_error.py [--runs 2000] [--seed 0]` prints one line of JSON; it takes a minute or more.
"""

from __future__ import annotations

import argparse
import json
from typing import Any

import numpy as np
from numpy.typing import NDArray

from convai_lab.evaluation.paired import Outcomes, compare_paired
from convai_lab.evaluation.resampling import RESAMPLES, bootstrap_interval

SCENARIOS, TRIALS, CORRELATION = 50, 10, 0.7


def differences_of_equals(random: np.random.Generator) -> NDArray[np.float64]:
    """Return differences, scenarios × trials, of two variants that are equally good over all scenarios.

    Within a scenario every pair has the scenario's difference plus its own noise, as scores between 0 and 1 have it.
    """
    shared = random.normal(size=(SCENARIOS, 1)) * CORRELATION**0.5
    own = random.normal(size=(SCENARIOS, TRIALS)) * (1 - CORRELATION) ** 0.5
    return np.clip(0.2 * (shared + own), -1, 1)


def correlation_within(differences: NDArray[np.float64]) -> float:
    """Return the intra-cluster correlation, by the analysis of variance."""
    between = TRIALS * differences.mean(axis=1).var(ddof=1)
    within = differences.var(axis=1, ddof=1).mean()
    return float((between - within) / (between + (TRIALS - 1) * within))


def as_outcomes(values: NDArray[np.float64]) -> Outcomes:
    """Return scores per scenario and seed."""
    return {f"s{i:02}": list(enumerate(row)) for i, row in enumerate(values.tolist())}


def measure(runs: int, *, seed: int = 0, resamples: int = RESAMPLES) -> dict[str, Any]:
    """Return the share of runs in which each method found the difference that is not there."""
    random = np.random.default_rng(seed)
    naive = clustered = interval = 0
    correlations = []
    for run in range(runs):
        differences = differences_of_equals(random)
        correlations.append(correlation_within(differences))
        low, high = bootstrap_interval(differences.ravel().tolist(), seed=run, resamples=min(1000, resamples))
        naive += low > 0 or high < 0
        found = compare_paired(
            as_outcomes((1 - differences) / 2), as_outcomes((1 + differences) / 2), seed=run, resamples=resamples
        )
        clustered += found.p_value <= found.alpha
        interval += found.low > 0 or found.high < 0
    return {
        "runs": runs,
        "seed": seed,
        "scenarios": SCENARIOS,
        "trials": TRIALS,
        "intra_cluster_correlation": round(float(np.mean(correlations)), 3),
        "naive_rejects": round(naive / runs, 4),
        "clustered_rejects": round(clustered / runs, 4),
        "clustered_interval_rejects": round(interval / runs, 4),
        "clustered_to_naive": round(clustered / naive, 4) if naive else None,
    }


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    print(json.dumps(measure(arguments.runs, seed=arguments.seed)))
