"""What the platform would refuse is named by its path, and nothing hostile gets through or breaks the check."""

from __future__ import annotations

import copy
import math
import sys
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from convai_lab.agents.wire_fields import WireField, root
from convai_lab.agents.wire_rules import normalise, problems_in, problems_in_tool, problems_in_value, with_defaults

PROMPT = "conversation_config.agent.prompt"
TTS = "conversation_config.tts"


def test_a_full_document_has_no_problems(full_document: dict[str, Any]) -> None:
    assert problems_in(full_document) == []
    assert problems_in({}) == []


def test_unknown_keys_are_fine_everywhere(strange_document: dict[str, Any]) -> None:
    assert [p for p in problems_in(strange_document) if "new_on_the_platform" not in p.loc] == []


@pytest.mark.parametrize(
    ("path", "value", "message", "kind"),
    [
        (f"{TTS}.speed", 5, "must be from 0.7 to 1.2, got 5", "less_than_equal"),
        (f"{TTS}.speed", 0.1, "must be from 0.7 to 1.2, got 0.1", "greater_than_equal"),
        (f"{TTS}.stability", -0.1, "must be from 0 to 1, got -0.1", "greater_than_equal"),
        (f"{TTS}.stability", "high", "must be a number, got 'high'", "float_type"),
        (f"{TTS}.stability", True, "must be a number, got True", "float_type"),
        (f"{TTS}.stability", None, "must be a number, got null", "float_type"),
        (f"{TTS}.speed", math.nan, "must be a finite number, got nan", "finite_number"),
        (f"{TTS}.speed", -math.inf, "must be a finite number, got -inf", "finite_number"),
        (f"{TTS}.speed", 10**30, "must be a number that fits into 64 bits", "int_parsing_size"),
        pytest.param(f"{TTS}.speed", 10**5000, "must be a number that fits", "int_parsing_size", id="huge integer"),
        (f"{TTS}.speed", 1e300, "must be from 0.7 to 1.2, got 1e+300", "less_than_equal"),
        (f"{TTS}.model_id", "nope", "must be eleven_turbo_v2, ", "enum"),
        (f"{TTS}.model_id", ["a"], "got ['a']", "enum"),
        (f"{TTS}.voice_id", 5, "must be a text, got 5", "string_type"),
        (TTS, [], "must be an object, got []", "dict_type"),
        (TTS, "x", "must be an object, got 'x'", "dict_type"),
        ("conversation_config", None, "must be an object, got null", "dict_type"),
        ("conversation_config.turn.mode", "server_vad", "must be silence or turn, got 'server_vad'", "enum"),
        ("conversation_config.conversation.max_duration_seconds", 1.5, "must be a whole number, got 1.5", "int_type"),
        ("conversation_config.conversation.text_only", "yes", "must be true or false, got 'yes'", "bool_type"),
        ("conversation_config.conversation.text_only", 1, "must be true or false, got 1", "bool_type"),
        ("conversation_config.asr.keywords", "a", "must be a list, got 'a'", "list_type"),
        ("conversation_config.asr.keywords", {"a": 1}, "must be a list, got {'a': 1}", "list_type"),
        (f"{PROMPT}.temperature", 3, "must be from 0 to 2, got 3", "less_than_equal"),
        (f"{PROMPT}.rag.max_vector_distance", 1, "must be more than 0 and less than 1, got 1", "less_than_equal"),
        (f"{PROMPT}.mcp_server_ids", ["x"] * 11, "must have at most 10 entries, got 11", "too_long"),
        (f"{PROMPT}.llm", "", "must have at least 1 characters, got 0", "string_too_short"),
        (f"{PROMPT}.llm", 5, "must be a text, got 5", "string_type"),
        pytest.param(f"{PROMPT}.prompt", "x" * 10_000_000, "must be at most 2000000 ch", "string_too", id="10 MB"),
        pytest.param(f"{PROMPT}.prompt", "\ud800", "are no valid Unicode", "string_unicode", id="half a character"),
        pytest.param("name", "x" * 501, "must have at most 500 characters, got 501", "string_too_long", id="long name"),
        ("tags", {"a": 1}, "must be a list", "list_type"),
        ("unknown", math.inf, "must be a finite number", "finite_number"),
        ("unknown", object(), "must be JSON, got object", "json_type"),
        ("unknown", {1: 2}, "has a name that is no text: 1", "invalid_key"),
        pytest.param("unknown", {"\udfff": 2}, "has a name that is no text", "invalid_key", id="half a name"),
        ("platform_settings.guardrails.version", 1, "must be 1, got 1", "enum"),
    ],
)
def test_a_wrong_value_is_named_by_its_path(
    set_at: Callable[..., dict[str, Any]], path: str, value: Any, message: str, kind: str
) -> None:
    found = problems_in(set_at(path, value))
    assert len(found) == 1
    assert found[0].field == path
    assert message in found[0].msg
    assert found[0].type.startswith(kind)
    assert len(found[0].msg) < 500


@pytest.mark.parametrize("model", ["gpt-4-turbo", "claude-3-5-haiku", "ollama/llama3.2", "offline", "a model of mine"])
def test_any_model_name_may_be_stored(set_at: Callable[..., dict[str, Any]], model: str) -> None:
    assert problems_in(set_at(f"{PROMPT}.llm", model)) == []


@pytest.mark.parametrize("body", [None, [], "x", 5, True, [{}], b"{}"])
def test_a_body_that_is_no_object_is_one_problem(body: Any) -> None:
    assert len(problems_in(normalise(body))) == 1


def test_several_problems_are_all_named_in_the_order_of_the_body() -> None:
    body = {"name": 5, "conversation_config": {"tts": {"speed": 9, "stability": 9}}, "tags": [1]}
    assert [p.loc for p in problems_in(body)] == [
        ("name",),
        ("conversation_config", "tts", "speed"),
        ("conversation_config", "tts", "stability"),
        ("tags", 0),
    ]


def test_a_flood_of_problems_is_cut_off() -> None:
    assert len(problems_in({"tags": [1] * 199})) == 50


def test_only_a_new_agent_must_have_a_configuration() -> None:
    assert problems_in({"name": "x"}) == []
    assert problems_in({"name": "x"}, creating=True)[0] == (("conversation_config",), "is required", "missing")


def _nested(depth: int) -> Any:
    value: Any = "x"
    for _ in range(depth):
        value = {"a": value}
    return value


@pytest.mark.parametrize("depth", [66, 500, 50_000])
def test_endless_nesting_is_refused_without_recursion(depth: int) -> None:
    assert depth < sys.getrecursionlimit() or depth > 1000
    found = problems_in(normalise({"x": _nested(depth)}))
    assert "must not be nested more than 64 levels deep" in found[0].msg


def test_a_value_that_contains_itself_is_refused() -> None:
    loop: dict[str, Any] = {"a": 1}
    loop["b"] = [loop, loop]
    assert "nested" in problems_in(normalise(loop))[0].msg


def test_a_bomb_of_shared_values_is_refused() -> None:
    value: Any = ["x"] * 10
    for _ in range(12):
        value = [value] * 10
    assert "must not hold more than 1,000,000 values" in problems_in({"x": value})[0].msg


@pytest.mark.parametrize(
    ("tool", "loc"),
    [
        (None, ()),
        ("x", ()),
        ({}, ("type",)),
        ({"type": "client"}, ("name",)),
        ({"type": "client", "name": ""}, ("name",)),
        ({"type": "client", "name": "x" * 65}, ("name",)),
        ({"type": "client", "name": "a\nb"}, ("name",)),
        ({"type": "client", "name": "a", "response_timeout_secs": 121}, ("response_timeout_secs",)),
        ({"type": "client", "name": "a", "parameters": []}, ("parameters",)),
        ({"type": "webhook", "name": "a"}, ("api_schema",)),
        ({"type": "webhook", "name": "a", "api_schema": {}}, ("api_schema", "url")),
        ({"type": "webhook", "name": "a", "api_schema": {"url": "u", "method": "HEAD"}}, ("api_schema", "method")),
        ({"type": "system", "name": "end_call", "params": []}, ("params",)),
        ({"type": "mcp", "name": 5}, ("name",)),
    ],
)
def test_a_wrong_tool_is_named_by_its_path(tool: Any, loc: tuple[str, ...]) -> None:
    assert problems_in_tool(tool)[0].loc == loc
    in_agent = problems_in({"conversation_config": {"agent": {"prompt": {"tools": [tool]}}}})
    assert in_agent[0].loc == ("conversation_config", "agent", "prompt", "tools", 0, *loc)


@pytest.mark.parametrize("name", ["Weather API", "wetter-ü", "look_up.v2", "a b c"])
def test_names_with_spaces_are_taken(name: str) -> None:
    assert problems_in_tool({"type": "client", "name": name}) == []


def test_two_tools_of_one_name_are_refused() -> None:
    tools = [{"type": "client", "name": "a"}, {"type": "system", "name": "b"}, {"type": "client", "name": "a"}]
    found = problems_in({"conversation_config": {"agent": {"prompt": {"tools": tools}}}})
    assert [(p.loc[-2:], p.msg) for p in found] == [
        ((2, "name"), "must be a name of its own: another tool is called 'a' too")
    ]


def test_a_part_that_stands_alone_is_judged_too() -> None:
    assert problems_in_value({"id": "a", "name": "a"}, "criterion")[0].field == "conversation_goal_prompt"


def test_null_takes_an_entry_out_of_a_map_and_is_no_problem() -> None:
    assert problems_in({"platform_settings": {"data_collection": {"mail": None}}}) == []


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)


def _fields(wire_field: WireField, path: tuple[str, ...] = ()) -> list[tuple[str, ...]]:
    below = [found for name, child in wire_field.children.items() for found in _fields(child, (*path, name))]
    return [path, *below] if path else below


@settings(max_examples=150, deadline=None, derandomize=True)
@given(st.sampled_from(_fields(root())), JSON)
def test_no_json_at_any_field_breaks_the_check(path: tuple[str, ...], value: Any) -> None:
    for name in reversed(path):
        value = [value] if name == "*" else {name: value}
    before = copy.deepcopy(value)
    body = normalise(value)
    if not problems_in(body):
        full = with_defaults(body)
        assert problems_in(full) == []
        assert normalise(full) == full
    assert repr(value) == repr(before)
