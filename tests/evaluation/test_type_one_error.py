"""Where nothing differs, a comparison says so at least 92 times in 100, though trials of one scenario hang together."""

from __future__ import annotations

import runpy
from pathlib import Path

BENCHMARK = Path(__file__).parents[1] / "benchmarks" / "type_one_error.py"


def test_the_clustered_test_is_rarely_wrong_where_the_naive_one_is_wrong_nearly_half_of_the_time() -> None:
    found = runpy.run_path(str(BENCHMARK))["measure"](250, resamples=1000)
    assert 0.65 < found["intra_cluster_correlation"] < 0.75
    assert found["naive_rejects"] > 0.38
    assert 0.03 <= found["clustered_rejects"] <= 0.08
    assert 0.03 <= found["clustered_interval_rejects"] <= 0.08
