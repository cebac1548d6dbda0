"""A vendor at its worst: the run ends, and every failure has a name that is not the agent's."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable
from typing import ClassVar

import pytest

from convai_lab.agents.agent import Agent
from convai_lab.agents.tools import tool
from convai_lab.experiments import holding, pool
from convai_lab.experiments.comparison import Comparison
from convai_lab.experiments.trial_clock import TRIAL_CLOCK, TrialClock
from convai_lab.providers.retry import RetryPolicy
from convai_lab.testing.fake_llm import call
from convai_lab.testing.fake_vendors import FakeVendor
from convai_lab.testing.vendor_script import HangUp, Raw, Received, Sent, ServerScripted, Status

from .conftest import SHIPPED, scenarios

Run = Callable[..., Comparison]
BUSY = Status(code=429, message="slow down", headers={"retry-after": "0.01"})
QUICK = RetryPolicy(attempts=3, first_wait_secs=0.001, longest_wait_secs=0.01, total_secs=20)
WORST: tuple[ServerScripted, ...] = (
    BUSY,
    Status(code=500, message="oops"),
    Status(code=503, body=b"<html>gateway</html>"),
    Sent(SHIPPED, cut_after=2),
    Sent(SHIPPED, stop_after=1),
    Sent(SHIPPED, garbage_after=1),
    HangUp(),
    Raw(body=b"\x00\xff not an answer"),
    Raw(body=b""),
)


@pytest.fixture(autouse=True)
def _in_a_hurry(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pool.PooledLLM.__init__, "__kwdefaults__", {"patience": QUICK, "rng": None})


def test_a_fifth_of_all_answers_may_be_broken(vendor: FakeVendor, agent: Agent, run: Run) -> None:
    rng = random.Random(4)
    vendor.answer(lambda r: rng.choice(WORST) if "ready?" not in str(r.body) and rng.random() < 0.2 else SHIPPED)
    result = run(agent, scenarios(200), concurrency=20)
    assert len(result) == 200
    assert all(trial.success is True or trial.failed_party == "provider" for trial in result)
    assert all(trial.reason for trial in result if not trial.success)
    broken = result.facts.faults.get("provider", 0)
    assert 5 < broken < 40, "what passes by itself is asked again, what was begun is not"
    vendor.answer(lambda _: SHIPPED)
    again = run(agent, scenarios(200))
    assert (again.facts.cached, again.facts.fresh) == (200 - broken, broken)
    assert {trial.success for trial in again} == {True}


def test_a_storm_of_429_narrows_the_gate_and_loses_nothing(
    vendor: FakeVendor, agent: Agent, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    patient = RetryPolicy(attempts=50, first_wait_secs=0.001, longest_wait_secs=0.02, total_secs=30)
    monkeypatch.setattr(pool.PooledLLM.__init__, "__kwdefaults__", {"patience": patient, "rng": None})
    gates: list[pool.Gate] = []
    made = pool.Gate.__init__
    monkeypatch.setattr(pool.Gate, "__init__", lambda self, **options: (gates.append(self), made(self, **options))[1])
    asked = 0

    def busy(received: Received) -> ServerScripted:
        nonlocal asked
        asked += "ready?" not in str(received.body)
        return BUSY if 0 < asked < 60 else SHIPPED

    vendor.answer(busy)
    result = run(agent, scenarios(60), concurrency=32)
    assert [trial.success for trial in result] == [True] * 60
    assert gates[0].refused >= 59
    assert gates[0].limit < 32


class HastyClock(TrialClock):
    """A clock that runs sixty times as fast once something hangs in its trial, and in no other."""

    newest: ClassVar[HastyClock | None] = None

    def __init__(self) -> None:
        super().__init__()
        self._hangs_since: float | None = None
        HastyClock.newest = self

    def hurry(self) -> None:
        self._hangs_since = super().now()

    def now(self) -> float:
        now = super().now()
        return now if self._hangs_since is None else now + 60 * (now - self._hangs_since)


def test_a_vendor_that_hangs_is_given_up(
    vendor: FakeVendor, agent: Agent, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(holding, "TrialClock", HastyClock)

    def answer(received: Received) -> ServerScripted:
        if "s1" not in str(received.body):
            return SHIPPED
        assert HastyClock.newest is not None  # trials are held one at a time, so it is this one's
        HastyClock.newest.hurry()
        return Sent(SHIPPED, hang_after=1)

    vendor.answer(answer)
    cases = [{**case, "opening": case["id"]} for case in scenarios(3)]
    result = run(agent, cases, concurrency=1)
    assert [trial.success for trial in result] == [True, None, True]
    assert result.trials[1].failed_party == "provider"
    assert "timeout" in (result.trials[1].reason or "")


def test_waiting_for_our_own_limit_is_no_latency_of_the_model(vendor: FakeVendor, agent: Agent, run: Run) -> None:
    busy = iter([SHIPPED, Status(code=429, headers={"retry-after": "1"})])
    vendor.answer(lambda _: next(busy, SHIPPED))
    began = time.perf_counter()
    result = run(agent, scenarios(1))
    took_ms = 1000 * (time.perf_counter() - began)
    assert result.trials[0].success is True
    assert result.trials[0].reply_ms[0] < took_ms - 1000, "the second that we had to wait is no part of it"


def test_a_quota_that_is_used_up_is_said_at_once(vendor: FakeVendor, agent: Agent, run: Run) -> None:
    body = b'{"error": {"message": "You exceeded your quota", "code": "insufficient_quota", "type": "x"}}'
    vendor.answer(lambda _: Status(code=429, body=body))
    with pytest.raises(Exception, match="quota is used up"):
        run(agent, scenarios(5))
    assert sum(r.method == "POST" for r in vendor.requests) == 1


def test_a_tool_that_hangs_breaks_its_trial_and_holds_up_nothing(
    vendor: FakeVendor, agent: Agent, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(holding, "TrialClock", HastyClock)
    released = threading.Event()

    @tool
    def stuck() -> str:
        """Look up an order."""
        clock = TRIAL_CLOCK.get()
        assert isinstance(clock, HastyClock)
        clock.hurry()
        released.wait()
        return "late"

    vendor.answer(lambda r: SHIPPED if "tool_call_id" in str(r.body) or "s0" not in str(r.body) else call("stuck"))
    cases = [{**case, "opening": case["id"]} for case in scenarios(2)]
    try:
        result = run(agent.with_changes(tools=(stuck,)), cases)
    finally:
        released.set()
    assert [(trial.success, trial.failed_party) for trial in result] == [(None, "tool"), (True, None)]
    assert "timeout" in (result.trials[0].reason or "")
