"""Older request shapes become today's, once and for all."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from convai_lab.agents.wire_rules import normalise, problems_in
from convai_lab.agents.wire_seed import normalise_tool

WEATHER = {
    "type": "webhook",
    "name": "Weather API",
    "description": "Get the weather",
    "webhook": {"url": "https://example.com/{city}", "method": "GET", "headers": {"X-Key": "k"}},
    "parameters": {
        "type": "object",
        "properties": {"city": {"type": "string"}, "units": {"type": "string"}},
        "required": ["city", "units"],
    },
}


def _prompt(body: Any) -> Any:
    return body["conversation_config"]["agent"]["prompt"]


def test_a_prompt_at_the_top_moves_to_its_place() -> None:
    body = {"name": "A", "prompt": {"prompt": "p", "llm": "gpt-4o", "temperature": 0.7}}
    assert normalise(body) == {
        "name": "A",
        "conversation_config": {"agent": {"prompt": {"prompt": "p", "llm": "gpt-4o", "temperature": 0.7}}},
    }


def test_what_stands_in_its_place_already_wins() -> None:
    body = {"prompt": {"prompt": "old", "llm": "a"}, "conversation_config": {"agent": {"prompt": {"prompt": "new"}}}}
    assert _prompt(normalise(body)) == {"prompt": "new", "llm": "a"}


def test_voice_first_message_and_language_at_the_top_move_too() -> None:
    body = normalise({"prompt": "p", "voice": {"id": "v", "stability": 0.3}, "first_message": "Hi", "language": "de"})
    config = body["conversation_config"]
    assert config["tts"] == {"voice_id": "v", "stability": 0.3}
    assert (config["agent"]["first_message"], config["agent"]["language"]) == ("Hi", "de")
    assert normalise({"voice": "v"})["conversation_config"]["tts"] == {"voice_id": "v"}


@pytest.mark.parametrize(("old", "new"), [("server_vad", "silence"), ("turn_based", "turn"), ("turn", "turn"), (5, 5)])
def test_turn_modes_get_their_names_of_today(old: Any, new: Any) -> None:
    assert normalise({"conversation_config": {"turn": {"mode": old}}})["conversation_config"]["turn"]["mode"] == new


def test_an_inline_webhook_gets_a_schema_by_placeholder_and_method() -> None:
    tool = normalise_tool(WEATHER)
    assert tool["api_schema"] == {
        "url": "https://example.com/{city}",
        "method": "GET",
        "request_headers": {"X-Key": "k"},
        "path_params_schema": {"city": {"type": "string"}},
        "query_params_schema": {"properties": {"units": {"type": "string"}}, "required": ["units"]},
    }
    assert not {"webhook", "parameters"} & tool.keys()
    posted = normalise_tool({**WEATHER, "webhook": {"url": "https://example.com", "method": "post"}})
    assert posted["api_schema"]["method"] == "POST"
    assert posted["api_schema"]["request_body_schema"]["required"] == ["city", "units"]


def test_a_system_tool_gets_its_params_and_stands_in_both_places() -> None:
    prompt = _prompt(normalise({"prompt": {"tools": [{"type": "system", "name": "end_call"}]}}))
    expected = {
        "type": "system",
        "name": "end_call",
        "description": "",
        "params": {"system_tool_type": "end_call"},
    }
    assert prompt["tools"] == [expected]
    assert prompt["built_in_tools"] == {"end_call": expected}


def test_a_transfer_with_a_phone_number_becomes_a_list_of_transfers() -> None:
    tool = normalise_tool(
        {"type": "system", "name": "transfer_to_number", "phone_number": "+15551234", "description": "if angry"}
    )
    assert tool["params"]["transfers"] == [
        {
            "transfer_destination": {"type": "phone", "phone_number": "+15551234"},
            "condition": "if angry",
            "transfer_type": "conference",
        }
    ]
    assert "phone_number" not in tool
    to_agent = normalise_tool({"type": "system", "name": "transfer_to_agent", "agent_id": "agent_1"})
    assert to_agent["params"]["transfers"] == [{"agent_id": "agent_1", "condition": ""}]


def test_a_type_that_is_missing_is_told_from_the_rest() -> None:
    assert normalise_tool({"name": "end_call"})["type"] == "system"
    assert normalise_tool({"name": "x", "webhook": "https://x"})["type"] == "webhook"
    assert normalise_tool({"name": "x", "url": "https://x"})["api_schema"] == {"url": "https://x", "method": "GET"}
    assert normalise_tool({"name": "x"})["type"] == "client"


def test_a_built_in_tool_may_be_an_empty_object() -> None:
    body = normalise({"conversation_config": {"agent": {"prompt": {"built_in_tools": {"end_call": {}}}}}})
    assert _prompt(body)["built_in_tools"]["end_call"]["params"] == {"system_tool_type": "end_call"}
    assert problems_in(body) == []


@pytest.mark.parametrize(
    "body",
    [
        {"prompt": {"prompt": "p", "tools": [WEATHER, {"type": "system", "name": "end_call"}]}, "voice": "v"},
        {"prompt": 5, "voice": [], "first_message": None},
        {"prompt": {"prompt": "p"}, "conversation_config": []},
        {"conversation_config": {"agent": "x", "turn": []}, "prompt": {"a": 1}},
        {"conversation_config": {"agent": {"prompt": {"tools": "x", "built_in_tools": []}}}},
        {
            "conversation_config": {
                "agent": {"prompt": {"tools": [None, 5, {"webhook": 5}, {"params": 5}, {"name": 5}]}}
            }
        },
        {"conversation_config": {"agent": {"prompt": {"tools": [{"type": "system", "name": ["x"]}]}}}},
        {"conversation_config": {"agent": {"prompt": {"tools": [{"type": ["x"], "name": "x"}]}}}},
        {"conversation_config": {"agent": {"prompt": {"tools": [{"webhook": {"url": 5}, "parameters": []}]}}}},
        {"conversation_config": {"agent": {"prompt": {"built_in_tools": {"end_call": 5, "x": {"params": []}}}}}},
    ],
)
def test_doing_it_twice_changes_nothing_and_the_argument_stays(body: Any) -> None:
    before = copy.deepcopy(body)
    once = normalise(body)
    assert normalise(once) == once
    assert body == before
    problems_in(once)


@pytest.mark.parametrize("value", [None, [], "x", 5])
def test_what_is_no_object_is_left_alone(value: Any) -> None:
    assert normalise(value) == value
    assert normalise_tool(value) == value
