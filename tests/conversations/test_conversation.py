"""A conversation is a value that shows itself shortly, fully, and as the platform's JSON."""

from __future__ import annotations

import dataclasses
import doctest
import pickle
from typing import Any

import pytest

import convai_lab
from convai_lab.conversations import conversation as conversation_module
from convai_lab.conversations.conversation import Conversation
from convai_lab.conversations.turn import Turn, TurnMetrics
from convai_lab.conversations.wire_format import conversation_to_wire

TALK = Conversation(
    id="conv_1", agent_id="agent_1", agent_name="support", turns=(Turn(role="user", text="Hi"), Turn(role="agent"))
)


def test_its_repr_is_one_short_line() -> None:
    assert repr(TALK) == "Conversation('conv_1', agent='support', 2 turns, done)"
    one = Conversation(id="c", agent_id="agent_1", status="in-progress", turns=TALK.turns[:1])
    assert repr(one) == "Conversation('c', agent='agent_1', 1 turn, in-progress)"


def test_its_example_runs() -> None:
    assert doctest.testmod(conversation_module) == (0, 1)


def test_it_is_a_sequence_of_turns() -> None:
    assert len(TALK) == 2
    assert list(TALK) == [TALK[0], TALK[-1]]
    with pytest.raises(IndexError):
        TALK[2]


def test_it_shows_itself_as_text_html_and_json() -> None:
    assert TALK.text.startswith("Conversation conv_1 with support (agent_1)")
    assert "<table" in TALK._repr_html_()
    assert TALK.to_dict() == conversation_to_wire(TALK)


def test_its_cost_is_known_only_when_every_answer_says_what_it_cost() -> None:
    paid = Turn(role="agent", llm_served="m", metrics=TurnMetrics(cost_usd=0.5))
    assert TALK.cost_usd is None
    assert TALK.with_changes(turns=(paid, paid)).cost_usd == 1.0
    assert TALK.with_changes(turns=(paid, Turn(role="agent", llm_requested="m"))).cost_usd is None


def test_it_can_be_pickled_and_changed_into_another_one() -> None:
    assert pickle.loads(pickle.dumps(TALK)) == TALK
    assert TALK.with_changes(status="failed").status == "failed"
    assert TALK.status == "done"


@pytest.mark.parametrize(("method", "plot"), [("timeline", "plot_timeline"), ("waterfall", "plot_waterfall")])
def test_its_plots_are_those_of_the_package(monkeypatch: pytest.MonkeyPatch, method: str, plot: str) -> None:
    seen: list[Any] = []
    monkeypatch.setattr(
        convai_lab, plot, lambda conversation, **options: seen.append((conversation, options)) or "axes"
    )
    assert getattr(TALK, method)(ax=None) == "axes"
    assert seen == [(TALK, {"ax": None})]


def test_a_conversation_without_turns_is_still_a_conversation() -> None:
    empty = Conversation(id="conv_1", agent_id="agent_1")
    assert len(empty) == 0
    assert empty


def test_a_change_of_what_is_no_field_is_refused_and_the_original_stays() -> None:
    with pytest.raises(TypeError, match="Conversation has no field statsu"):
        TALK.with_changes(statsu="failed")
    changed = TALK.with_changes(status="failed")
    assert changed == dataclasses.replace(TALK, status="failed")
    assert changed.turns[0].with_changes(text="x") == dataclasses.replace(TALK.turns[0], text="x")
    assert TALK.status != "failed"
