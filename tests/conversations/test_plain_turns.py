"""A plain turn is read back as it was stored, and nothing is called plain that might not be."""

from __future__ import annotations

import json
import math
from dataclasses import fields, replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from convai_lab.conversations import plain_turns
from convai_lab.conversations.plain_turns import BIGGEST, is_plain
from convai_lab.conversations.store_rows import turn_columns
from convai_lab.conversations.turn import ToolCall, ToolResult, Turn, TurnMetrics
from convai_lab.conversations.wire_format import turn_from_wire

texts = st.one_of(st.text(), st.sampled_from(["", "null", "\ud800", "\x00", "unknown"]))
text_or_none = st.one_of(st.none(), texts)
whole_numbers = st.integers(-int(BIGGEST), int(BIGGEST))
numbers = st.one_of(st.none(), st.floats(-BIGGEST, BIGGEST), whole_numbers)
counts = st.one_of(st.none(), whole_numbers)
metrics = st.builds(
    TurnMetrics,
    **{f.name: counts if f.name.endswith("_tokens") else numbers for f in fields(TurnMetrics)}
    | {"cost_is_estimate": st.one_of(st.none(), st.booleans())},
)
turns = st.builds(
    Turn,
    role=st.sampled_from(["user", "agent"]),
    text=texts,
    agent_version=counts,
    interrupted=st.booleans(),
    marks=st.lists(texts).map(tuple),
    metrics=metrics,
    **dict.fromkeys(["started_at", "start_secs", "end_secs", "interrupted_at_secs", "asr_confidence"], numbers),
    **dict.fromkeys(["text_heard", "agent_id", "prompt_hash", "llm_requested", "llm_served"], text_or_none),
    **dict.fromkeys(["asr_engine", "tts_engine", "voice", "finish_reason", "error"], text_or_none),
)


def read_back(turn: Turn) -> Turn:
    return turn_from_wire(json.loads(turn_columns(turn)["body"]), "turn")


@given(turns.filter(is_plain))
def test_a_plain_turn_is_read_back_without_loss(turn: Turn) -> None:
    assert read_back(turn) == turn


def test_every_field_of_a_turn_is_looked_at() -> None:
    names = {f.name for f in fields(Turn)} - {"metrics"} | {f"metrics.{f.name}" for f in fields(TurnMetrics)}
    assert sorted(plain_turns.FIELDS) == sorted(names)


@pytest.mark.parametrize(
    "name", [name for name in plain_turns.FIELDS if name not in ("tool_calls", "tool_results", "extra")]
)
@pytest.mark.parametrize(
    "odd", [object(), b"x", [], math.nan, BIGGEST, -math.inf, 2**80, type("Text", (str,), {})("x")]
)
def test_a_value_of_another_kind_is_not_plain(name: str, odd: Any) -> None:
    part, _, inner = name.rpartition(".")
    changed = {"metrics": replace(TurnMetrics(), **{inner: odd})} if part else {name: odd}
    assert not is_plain(Turn(role="user").with_changes(**changed))


@pytest.mark.parametrize(
    "changes",
    [
        {"tool_calls": (ToolCall(id="1", name="t"),)},
        {"tool_results": (ToolResult(call_id="1", name="t"),)},
        {"extra": {"feedback": None}},
        {"extra": []},
        {"tool_calls": []},
        {"marks": ("a", 1)},
        {"marks": ["a"]},
        {"role": "robot"},
        {"text": None},
        {"interrupted": 1},
        {"metrics": None},
        {"metrics": {}},
    ],
)
def test_what_comes_from_outside_is_not_plain(changes: dict[str, Any]) -> None:
    assert not is_plain(Turn(role="user").with_changes(**changes))


def test_an_ordinary_turn_is_plain() -> None:
    measured = TurnMetrics(llm_ttft_ms=1.25, cost_usd=0.001, output_tokens=3, cost_is_estimate=False)
    assert is_plain(Turn(role="agent", text="Hello.", start_secs=1, metrics=measured, marks=("first_message",)))
