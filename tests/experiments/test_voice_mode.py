"""Comparisons by voice: in virtual time, with rules and with real models."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from convai_lab.agents.agent import Agent
from convai_lab.agents.tools import tool
from convai_lab.errors import InvalidValueError
from convai_lab.experiments.comparison import Comparison
from convai_lab.experiments.simulating import simulation
from convai_lab.testing.fake_vendors import FakeVendor

from .conftest import scenarios

Run = Callable[..., Comparison]


def test_calls_of_rules_repeat_and_have_a_voice_latency(agent: Agent, run: Run) -> None:
    offline = agent.with_changes(llm="offline", prompt="# Knowledge\n- Your order has shipped.")
    tables = [run(offline, scenarios(1), mode="voice", journal=name).df for name in ("one", "two")]
    assert tables[0].to_csv() == tables[1].to_csv()
    assert tables[0]["voice_to_voice_ms"].notna().all()


def test_a_call_of_rules_is_checked_for_its_voice_latency_also_when_it_is_looked_up(agent: Agent, run: Run) -> None:
    offline = agent.with_changes(llm="offline", prompt="# Knowledge\n- Your order has shipped.")
    limits = [[{"latency": {"stage": "voice_to_voice", "max_ms": limit}}] for limit in (60_000, 50_000, 1)]
    found = [run(offline, scenarios(1, checks=checks), mode="voice").trials[0] for checks in limits]
    assert [trial.success for trial in found] == [True, True, False]
    assert [trial.conversation_id == found[0].conversation_id for trial in found] == [True, False, False]
    talked = simulation(offline, {**scenarios(1)[0], "checks": limits[0]}, mode="voice", user="scripted")
    assert talked.success == found[0].success


def test_a_real_model_answers_in_a_call(vendor: FakeVendor, agent: Agent, run: Run) -> None:
    result = run(agent, scenarios(1), mode="voice")
    trial = result.trials[0]
    assert (trial.success, trial.reason) == (True, None)
    assert trial.voice_to_voice_ms
    assert result.conversation("Support", "s0").channel == "voice"
    assert result.conversation("Support", "s0").started_at is None, "virtual time knows no date"


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


LINE = """
- id: s0
  opening: Where is my order?
  acoustics: {noise_dbfs: -45, gain_db: -3, packet_loss: 0.05, delay_ms: 150, jitter_ms: 40}
  checks: [{said: shipped}]
  max_turns: 4
"""


def test_a_scenarios_line_is_heard_in_a_call_and_repeats(agent: Agent, run: Run, tmp_path: Path) -> None:
    offline = agent.with_changes(llm="offline", prompt="# Knowledge\n- Your order has shipped.")
    (tmp_path / "line.yaml").write_text(LINE)
    (tmp_path / "clear.yaml").write_text(LINE.replace("packet_loss: 0.05", "packet_loss: 0"))
    calls = {
        name: run(offline, tmp_path / f"{file}.yaml", mode="voice", journal=name)
        for name, file in (("one", "line"), ("two", "line"), ("clear", "clear"))
    }
    told = {name: result.conversation("Support", "s0").to_dict() for name, result in calls.items()}
    assert calls["one"].df.to_csv() == calls["two"].df.to_csv()
    assert told["one"] == told["two"]
    assert told["one"] != told["clear"]


def test_a_line_that_loses_every_word_fails_the_call(agent: Agent, run: Run) -> None:
    offline = agent.with_changes(llm="offline", prompt="# Knowledge\n- Your order has shipped.")
    lines = {"clear": {}, "lost": {"packet_loss": 1.0}}
    cases = [{**scenarios(1)[0], "id": name, "acoustics": line} for name, line in lines.items()]
    result = run(offline, cases, mode="voice")
    assert [(trial.success, trial.cost_usd) for trial in result] == [(True, 0.0), (False, 0.0)]
    assert "voice latency is in simulated time: the speech engines are stand-ins that take none" in " ".join(
        f"{result}".split()
    )


def test_a_hurried_caller_cuts_in(agent: Agent, run: Run) -> None:
    long = "Your order has shipped and is on its way to the depot of our carrier where it will be sorted tonight."
    offline = agent.with_changes(llm="offline", prompt=f"# Knowledge\n- {long}")
    cases = [{**scenarios(1)[0], "id": who, "persona": who, "max_turns": 6} for who in ("patient", "hurried")]
    result = run(offline, cases, mode="voice", simulated_user=["Where is my order?", "Has my order shipped?"])
    cut = {who: any(turn.interrupted for turn in result.conversation("Support", who)) for who in ("patient", "hurried")}
    assert cut == {"patient": False, "hurried": True}


def test_a_line_that_cannot_be_is_named_before_anything_is_held(agent: Agent, run: Run) -> None:
    cases = scenarios(1, acoustics={"packet_loss": 2})
    with pytest.raises(
        InvalidValueError, match=r"scenario 's0': acoustics.packet_loss: must be a number from 0.0 to 1"
    ):
        run(agent.with_changes(llm="offline"), cases, mode="voice")
