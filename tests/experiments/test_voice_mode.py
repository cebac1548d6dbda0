"""Comparisons by voice: in virtual time, with rules and with real models."""

from __future__ import annotations

import threading
from collections.abc import Callable

from convai_lab.agents.agent import Agent
from convai_lab.agents.tools import tool
from convai_lab.experiments.comparison import Comparison
from convai_lab.testing.fake_vendors import FakeVendor

from .conftest import scenarios

Run = Callable[..., Comparison]


def test_calls_of_rules_repeat_and_have_a_voice_latency(agent: Agent, run: Run) -> None:
    offline = agent.with_changes(llm="offline", prompt="# Knowledge\n- Your order has shipped.")
    tables = [run(offline, scenarios(1), mode="voice", journal=name).df for name in ("one", "two")]
    assert tables[0].to_csv() == tables[1].to_csv()
    assert tables[0]["voice_to_voice_ms"].notna().all()


def test_a_real_model_answers_in_a_call(vendor: FakeVendor, agent: Agent, run: Run) -> None:
    result = run(agent, scenarios(1), mode="voice")
    trial = result.trials[0]
    assert (trial.success, trial.reason) == (True, None)
    assert trial.voice_to_voice_ms
    assert result.conversation("Support", "s0").channel == "voice"


def test_a_tool_that_hangs_ends_where_time_is_virtual_too(agent: Agent, run: Run) -> None:
    released = threading.Event()

    @tool(timeout=1)
    def order_status(order_id: str) -> str:
        """Look up an order by its number."""
        released.wait()
        return "late"

    offline = agent.with_changes(llm="offline", tools=(order_status,))
    try:
        result = run(offline, scenarios(1, opening="Where is my order 1234?"))
    finally:
        released.set()
    assert result.trials[0].failed_party == "tool"
    assert "did not answer in time" in (result.trials[0].reason or "")
