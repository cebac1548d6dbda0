"""Variables get their values once, all missing ones are named, and the hash follows what the model sees."""

from __future__ import annotations

import json
from typing import Any

import pytest

from convai_lab.agents.agent import Agent, Knowledge
from convai_lab.agents.prompt import fill, prompt_hash, system_variables, variables_in
from convai_lab.agents.tools import ClientTool
from convai_lab.errors import InvalidValueError, MissingVariableError


def test_variables_are_listed_once_in_the_order_of_their_first_use() -> None:
    assert variables_in("{{b}} {{ a }} {{b}} {{user.first-name}} {{\tsystem__time\n}}") == [
        "b",
        "a",
        "user.first-name",
        "system__time",
    ]


@pytest.mark.parametrize("text", ["{a}", "{{ }}", '{{"a": 1}}', "{{#if x}}", "{{1a}}", "{{a b}}", "{{a", "a}}", ""])
def test_what_is_no_variable_stays_as_it_is(text: str) -> None:
    assert variables_in(text) == []
    assert fill(text, {"a": "x", "b": "y"}) == text


@pytest.mark.parametrize(
    ("value", "text"),
    [("Ada", "Ada"), (3, "3"), (2.5, "2.5"), (True, "true"), (["a", 1], '["a", 1]'), ({"ü": None}, '{"ü": null}')],
)
def test_values_that_are_no_text_are_written_as_json(value: Any, text: str) -> None:
    assert fill("<{{ v }}>", {"v": value}) == f"<{text}>"


def test_a_value_is_never_expanded_again() -> None:
    assert fill("{{a}} {{b}}", {"a": "{{b}} {{secret__key}}", "b": r"\g<0> \1"}) == r"{{b}} {{secret__key}} \g<0> \1"


def test_braces_around_a_variable_stay() -> None:
    assert fill("{{{a}}} {{{{a}}}}", {"a": "x"}) == "{x} {{x}}"


def test_all_missing_variables_are_named_at_once() -> None:
    with pytest.raises(MissingVariableError, match=r"the first message uses \{\{name\}\}, \{\{city\}\}") as caught:
        fill("{{name}} {{city}} {{ok}} {{name}}", {"ok": 1, "city": None}, where="the first message")
    assert caught.value.names == ("name", "city")


def test_secret_variables_never_reach_a_prompt() -> None:
    with pytest.raises(InvalidValueError, match="secret variables may stand in tool headers only") as caught:
        fill("Use {{secret__token}}", {"secret__token": "hunter2"})
    assert "hunter2" not in str(caught.value)
    assert fill("Bearer {{secret__token}}", {"secret__token": "hunter2"}, secrets=True) == "Bearer hunter2"


@pytest.mark.parametrize("piece", ["{", "{{", "{{ ", "{{a", "}}", "{{a.", "{{a}} ", "word "])
def test_a_huge_prompt_is_filled_in_one_pass(piece: str) -> None:
    text = piece * 200_000
    assert len(fill(text, {"a": "1"})) <= len(text)


def test_the_system_variables_are_those_the_vendor_documents() -> None:
    values = system_variables(
        agent_id="agent_1",
        conversation_id="conv_1",
        now=1_765_542_780.0,
        started_at=1_765_542_770.4,
        timezone="Europe/Berlin",
        agent_turns=2,
        text_only=True,
        history=[("user", "Hi"), ("agent", "Hello")],
    )
    assert values["system__time"] == "Friday, 13:33 12 December 2025"
    assert values["system__time_utc"] == "2025-12-12T12:33:00+00:00"
    assert values["system__timezone"] == "Europe/Berlin"
    assert values["system__call_duration_secs"] == "9"
    assert values["system__current_agent_id"] == values["system__agent_id"] == "agent_1"
    assert values["system__current_subagent_turns"] == values["system__agent_turns"] == "2"
    assert values["system__is_text_only"] == "true"
    assert values["system__caller_id"] == values["system__called_number"] == values["system__call_sid"] == ""
    assert json.loads(values["system__conversation_history"])["entries"][1] == {"role": "agent", "message": "Hello"}
    assert all(name.startswith("system__") for name in values)


def test_without_a_time_zone_the_time_is_utc() -> None:
    values = system_variables(agent_id="a", conversation_id="c", now=0.0, started_at=5.0)
    assert values["system__time"] == "Thursday, 00:00 1 January 1970"
    assert values["system__timezone"] == "UTC"
    assert values["system__call_duration_secs"] == "0"


@pytest.mark.parametrize("name", ["Mars/Olympus", "", "../../etc/passwd", "\0", "a" * 5000])
def test_a_time_zone_that_does_not_exist_is_one_sentence(name: str) -> None:
    with pytest.raises(InvalidValueError, match="timezone: there is no time zone"):
        system_variables(agent_id="a", conversation_id="c", now=0.0, started_at=0.0, timezone=name)


def test_the_hash_changes_with_what_the_model_sees_and_with_nothing_else() -> None:
    agent = Agent(name="A", prompt="p", llm="offline")
    first = prompt_hash(agent)
    assert len(first) == 12
    assert int(first, 16) >= 0
    assert prompt_hash(agent.with_changes(voice="George", name="B", temperature=1.0, llm="gpt-4o")) == first
    seen = [
        agent.with_changes(prompt="q"),
        agent.with_changes(first_message="Hi"),
        agent.with_changes(tools=[ClientTool(name="t")]),
        agent.with_changes(tools=[ClientTool(name="t", description="d")]),
        agent.with_changes(knowledge=[Knowledge(name="k", text="t")]),
    ]
    assert len({first, *map(prompt_hash, seen)}) == 6


def test_an_agent_knows_its_hash_and_one_that_was_changed_has_its_own() -> None:
    agent = Agent(name="A", prompt="p")
    assert agent.prompt_hash is agent.prompt_hash
    changed = agent.with_changes(prompt="q")
    assert (agent.prompt_hash, changed.prompt_hash) == (prompt_hash(agent), prompt_hash(changed))
