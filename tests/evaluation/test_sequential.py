"""Sequential testing: however often one looks, a difference that is not there is hardly ever found."""

from __future__ import annotations

from math import inf, isnan, nan

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from convai_lab.errors import InvalidValueError
from convai_lab.evaluation.paired import compare_paired
from convai_lab.evaluation.resampling import sign_flip_p
from convai_lab.evaluation.sequential import RunningEvidence, always_valid, peek
from convai_lab.evaluation.verdict import verdict

RUNS = 200


def shares_of_runs_that_find_something(chances: list[float], scenarios: int, alpha: float) -> tuple[float, int]:
    """Return the share of runs decided at any of all looks, and the median look among those."""
    random = np.random.default_rng(11)
    at = []
    for _ in range(RUNS):
        looked = peek(random.choice([-1.0, 0.0, 1.0], p=chances, size=scenarios).tolist(), alpha=alpha)
        at.append(looked.decided_at)
    found = [look for look in at if look is not None]
    return len(found) / RUNS, int(np.median(found)) if found else 0


@pytest.mark.parametrize("chances", [[0.2, 0.6, 0.2], [0.5, 0.0, 0.5]])
@pytest.mark.parametrize("alpha", [0.05, 0.2])
def test_peeking_after_every_scenario_finds_nothing_that_is_not_there(chances: list[float], alpha: float) -> None:
    share, _ = shares_of_runs_that_find_something(chances, 120, alpha)
    assert share <= alpha


def test_peeking_at_an_ordinary_p_value_would_find_it_far_too_often() -> None:
    random = np.random.default_rng(11)
    found = 0
    for _ in range(40):
        values = random.choice([-1.0, 0.0, 1.0], p=[0.2, 0.6, 0.2], size=120).tolist()
        found += any(sign_flip_p(values[:n], flips=200).p_value <= 0.05 for n in range(10, 121, 10))
    assert found / 40 > 0.1


def test_a_real_difference_is_found_early() -> None:
    share, look = shares_of_runs_that_find_something([0.05, 0.5, 0.45], 120, 0.05)
    assert share > 0.95
    assert look < 40


def test_the_interval_covers_the_truth_at_every_look() -> None:
    random, missed = np.random.default_rng(4), 0
    for _ in range(40):
        values = random.choice([-1.0, 0.0, 1.0], p=[0.1, 0.4, 0.5], size=60).tolist()
        looks = [peek(values[:n]) for n in range(10, 61, 10)]
        missed += any(not look.low <= 0.4 <= look.high for look in looks)
    assert missed / 40 <= 0.05


@given(st.lists(st.floats(-1, 1), min_size=1, max_size=40))
@settings(max_examples=40, deadline=None)
def test_turning_every_sign_turns_the_interval_and_it_stays_within_bounds(values: list[float]) -> None:
    there, back = peek(values), peek([-value for value in values])
    assert (back.low, back.high) == pytest.approx((-there.high, -there.low), abs=1e-9)
    assert back.p_value == pytest.approx(there.p_value, rel=1e-9)
    assert -1 <= there.low <= there.high <= 1
    assert there.decided == (there.p_value <= 0.05)


@given(st.lists(st.floats(-1, 1), max_size=40), st.sampled_from([0.05, 0.5]))
@settings(max_examples=40, deadline=None)
def test_evidence_that_runs_along_decides_when_a_look_would(values: list[float], alpha: float) -> None:
    running = RunningEvidence(alpha=alpha)
    looks = []
    for value in values:
        running.add(value)
        looks.append(running.decided)
    assert looks == [peek(values[: n + 1], alpha=alpha).decided for n in range(len(values))]


@pytest.mark.parametrize("value", [1.0, -1.0])
def test_it_decides_when_zero_leaves_the_interval_and_stays_decided(value: float) -> None:
    values = [value] * 12
    looks = [peek(values[:n]) for n in range(13)]
    first = next(look for look in looks if look.decided)
    assert first.decided_at == first.n_scenarios
    assert first.low > 0 or first.high < 0
    assert not looks[first.n_scenarios - 1].decided
    later = peek(values[: first.n_scenarios] + [0.0] * 30)
    assert (later.decided, later.decided_at) == (True, first.decided_at)
    assert later.low > 0 or later.high < 0


def test_later_scenarios_that_contradict_the_decision_are_pointed_out() -> None:
    looked = peek([1.0] * 30 + [-1.0] * 400)
    assert looked.decided
    assert looked.low <= looked.high
    assert looked.reason == "later scenarios contradict the ones that decided"


def test_nothing_seen_decides_nothing() -> None:
    looked = peek([])
    assert (looked.decided, looked.low, looked.high, looked.p_value) == (False, -1.0, 1.0, 1.0)
    assert isnan(looked.estimate)
    assert looked.reason == "no scenario is finished"
    assert str(peek([0.0] * 50)).startswith("not decided: [-")


@pytest.mark.parametrize("bad", [nan, inf, 1.5, "x", None])
def test_what_is_no_difference_is_refused_with_its_place(bad: object) -> None:
    with pytest.raises(InvalidValueError, match=r"^differences\[1\]: must be"):
        peek([0.0, bad])  # type: ignore[list-item]


def test_a_comparison_that_was_peeked_at_carries_the_interval_that_holds_then() -> None:
    before = {f"s{i}": [(0, 0.0)] for i in range(14)}
    after = {f"s{i}": [(0, 1.0)] for i in range(14)}
    found = compare_paired(before, after)
    looked = peek([scenario.difference for scenario in found.by_scenario])
    peeked = always_valid(found, looked)
    assert peeked.low < found.low
    assert (peeked.p_value, peeked.test) == (looked.p_value, "betting confidence sequence, valid at every look")
    assert verdict(peeked).outcome == "better"
