"""The platform's answer is complete, a partial update merges, and defaults can be taken away again."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from convai_lab.agents.wire_defaults import tool_with_defaults, without_defaults
from convai_lab.agents.wire_fields import MISSING, WireField, field_at, root
from convai_lab.agents.wire_rules import merge, normalise, problems_in, with_defaults

END_CALL = {"type": "system", "name": "end_call", "params": {"system_tool_type": "end_call"}}
CLIENT = {"type": "client", "name": "look"}


def _prompt(body: Any) -> Any:
    return body["conversation_config"]["agent"]["prompt"]


def _body(**prompt: Any) -> dict[str, Any]:
    return {"conversation_config": {"agent": {"prompt": prompt}}}


def _names(body: Any) -> list[str]:
    return [tool["name"] for tool in _prompt(body)["tools"]]


def test_an_empty_body_becomes_a_complete_answer() -> None:
    full = with_defaults({})
    assert problems_in(full) == []
    assert full["name"] == "Agent"
    assert _prompt(full)["llm"] == "offline"
    assert full["workflow"] == {"edges": {}, "nodes": {}, "prevent_subagent_loops": False}
    assert full["conversation_config"]["tts"]["voice_id"] == "cjVigY5qzO86Huf0OWal"
    assert full["platform_settings"]["widget"]["variant"] == "full"
    assert set(_prompt(full)["built_in_tools"]) >= {"end_call", "voicemail_detection"}


def test_filling_in_twice_changes_nothing(full_document: dict[str, Any], strange_document: dict[str, Any]) -> None:
    assert with_defaults(full_document) == full_document
    before = copy.deepcopy(strange_document)
    filled = with_defaults(strange_document)
    assert with_defaults(filled) == filled
    assert strange_document == before


def test_the_official_javascript_client_finds_the_keys_it_needs() -> None:
    body = {**_body(tools=[{"type": "webhook", "name": "w", "api_schema": {"url": "u"}}]), "workflow": {}}
    body["workflow"] = {"nodes": {"n": {"type": "end"}}, "edges": {"e": {"source": "n", "target": "n"}}}
    full = with_defaults(body)
    assert _prompt(full)["tools"][0]["api_schema"]["request_headers"] == {}
    assert full["workflow"]["prevent_subagent_loops"] is False
    assert full["workflow"]["nodes"]["n"] == {"type": "end", "position": {"x": 0.0, "y": 0.0}, "edge_order": []}
    assert full["workflow"]["edges"]["e"]["forward_condition"] is None
    assert tool_with_defaults(CLIENT)["expects_response"] is False


def test_null_settings_become_complete_ones() -> None:
    assert with_defaults({"platform_settings": None})["platform_settings"]["privacy"]["record_voice"] is True


def test_no_default_is_shared_between_two_answers() -> None:
    first = with_defaults({})
    first["platform_settings"]["widget"]["avatar"]["type"] = "changed"
    _prompt(first)["tool_ids"].append("x")
    assert with_defaults({})["platform_settings"]["widget"]["avatar"]["type"] == "orb"
    assert _prompt(with_defaults({}))["tool_ids"] == []


def test_nothing_but_a_name_is_left_when_the_defaults_are_taken_away(full_document: dict[str, Any]) -> None:
    assert without_defaults(with_defaults({"name": "x"}), root()) == {"name": "x"}
    bare = without_defaults(full_document, root())
    assert with_defaults(bare) == full_document
    assert bare["conversation_config"]["tts"] == {
        "voice_id": "custom voice of mine",
        "speed": 1.1,
        "supported_voices": [{"label": "x", "voice_id": "y"}],
    }


@pytest.mark.parametrize("path", ["conversation_config.tts.speed", "platform_settings.widget.variant"])
def test_fields_are_found_by_path(path: str) -> None:
    assert field_at(path).default in (1.0, "full")


def test_objects_merge_and_lists_and_single_values_replace() -> None:
    doc = {"a": {"b": 1, "c": [1, 2]}, "d": "x", "e": {"f": 1}}
    patch = {"a": {"c": [3], "g": {"h": 1}}, "d": {"i": 1}, "e": None}
    before = copy.deepcopy((doc, patch))
    assert merge(doc, patch) == {"a": {"b": 1, "c": [3], "g": {"h": 1}}, "d": {"i": 1}, "e": None}
    assert (doc, patch) == before


def test_null_takes_an_entry_out_of_a_map_and_is_a_value_elsewhere() -> None:
    doc = with_defaults(
        {
            "conversation_config": {
                "agent": {"dynamic_variables": {"dynamic_variable_placeholders": {"a": 1, "b": 2}}}
            },
            "platform_settings": {"data_collection": {"mail": {"type": "string"}}},
        }
    )
    patch = {
        "conversation_config": {"agent": {"dynamic_variables": {"dynamic_variable_placeholders": {"a": None}}}},
        "platform_settings": {"data_collection": {"mail": None}, "summary_language": None},
    }
    merged = merge(doc, patch)
    assert merged["conversation_config"]["agent"]["dynamic_variables"]["dynamic_variable_placeholders"] == {"b": 2}
    assert merged["platform_settings"]["data_collection"] == {}
    assert merged["platform_settings"]["summary_language"] is None


def test_a_system_tool_is_shown_in_both_places_wherever_it_was_given() -> None:
    by_list = with_defaults(normalise(_body(tools=[CLIENT, END_CALL])))
    by_place = with_defaults(normalise(_body(tools=[CLIENT], built_in_tools={"end_call": {}})))
    assert _names(by_list) == _names(by_place) == ["look", "end_call"]
    assert _prompt(by_list)["built_in_tools"] == _prompt(by_place)["built_in_tools"]


def test_a_system_tool_taken_out_of_its_place_is_gone_from_the_list_too() -> None:
    doc = with_defaults(normalise(_body(tools=[END_CALL, CLIENT])))
    merged = with_defaults(merge(doc, normalise(_body(built_in_tools={"end_call": None}))))
    assert _names(merged) == ["look"]


def test_a_system_tool_left_out_of_a_new_list_is_gone_from_its_place_too() -> None:
    doc = with_defaults(normalise(_body(tools=[END_CALL, CLIENT])))
    merged = with_defaults(merge(doc, normalise(_body(tools=[]))))
    assert _names(merged) == []
    assert _prompt(merged)["built_in_tools"]["end_call"] is None


def test_an_update_of_something_else_keeps_the_system_tools() -> None:
    doc = with_defaults(normalise(_body(tools=[END_CALL, CLIENT])))
    merged = with_defaults(merge(doc, normalise(_body(prompt="new"))))
    assert _names(merged) == ["end_call", "look"]
    again = with_defaults(merge(doc, normalise(_body(built_in_tools={"skip_turn": {}}))))
    assert _names(again) == ["look", "end_call", "skip_turn"]


def test_merging_a_document_with_itself_changes_nothing(full_document: dict[str, Any]) -> None:
    assert with_defaults(merge(full_document, full_document)) == full_document


def test_an_endless_update_is_merged_without_recursion_for_the_check_to_refuse() -> None:
    patch: dict[str, Any] = {}
    for _ in range(5000):
        patch = {"conversation_config": patch}
    assert "must not be nested" in problems_in(merge(with_defaults({}), normalise(patch)))[0].msg


def test_null_entries_of_a_map_that_is_new_are_not_kept() -> None:
    patch = {"conversation_config": {"agent": {"prompt": {"custom_llm": {"url": "u", "request_headers": {"a": None}}}}}}
    assert _prompt(merge(with_defaults({}), patch))["custom_llm"] == {"url": "u", "request_headers": {}}
    assert merge({}, {"platform_settings": {"data_collection": {"mail": None}}}) == {
        "platform_settings": {"data_collection": {}}
    }


def _defaults_in_place(wire_field: WireField, wrap: Callable[[Any], Any]) -> Iterator[tuple[WireField, Any]]:
    if wire_field.default is not MISSING:
        yield wire_field, wrap(wire_field.default)
    for name, child in wire_field.children.items():
        inside = (lambda v: wrap([v])) if wire_field.kind == "list" else (lambda v, n=name: wrap({n: v}))
        yield from _defaults_in_place(child, inside)


def test_every_default_obeys_its_own_rule_and_is_complete() -> None:
    found = list(_defaults_in_place(root(), lambda body: body))
    assert len(found) > 200
    for wire_field, body in found:
        assert [p for p in problems_in(body) if p.type != "missing"] == []
        assert not (wire_field.kind == "object" and isinstance(wire_field.default, dict) and wire_field.children)
