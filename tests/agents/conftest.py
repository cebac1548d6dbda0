"""A complete document of the platform, with something unknown at every level."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest

from convai_lab.agents.wire_rules import with_defaults

RICH = {
    "name": "Support",
    "tags": ["a", "b"],
    "conversation_config": {
        "asr": {"keywords": ["refund"], "quality": "high"},
        "turn": {"turn_timeout": 3.5, "mode": "silence", "soft_timeout_config": {"timeout_seconds": 2.0}},
        "tts": {
            "voice_id": "custom voice of mine",
            "speed": 1.1,
            "supported_voices": [{"label": "x", "voice_id": "y"}],
        },
        "conversation": {"client_events": ["audio", "ping"], "max_duration_seconds": 300},
        "language_presets": {"de": {"overrides": {"agent": {"first_message": "Hallo"}}}},
        "agent": {
            "first_message": "Hi {{name}}",
            "dynamic_variables": {"dynamic_variable_placeholders": {"name": "Ada", "n": 3, "deep": {"a": [1, None]}}},
            "prompt": {
                "prompt": "Be kind.",
                "llm": "gpt-4o",
                "max_tokens": 200,
                "tool_ids": ["tool_1"],
                "tools": [
                    {"type": "system", "name": "end_call", "params": {"system_tool_type": "end_call"}},
                    {
                        "type": "client",
                        "name": "look up",
                        "description": "Looks up.",
                        "parameters": {"type": "object", "properties": {"id": {"type": "string", "description": "d"}}},
                        "assignments": [{"dynamic_variable": "x", "value_path": "a.b"}],
                    },
                    {"type": "webhook", "name": "hook", "api_schema": {"url": "https://example.com/{id}"}},
                ],
                "built_in_tools": {
                    "end_call": {
                        "type": "system",
                        "name": "end_call",
                        "description": "Hang up.",
                        "params": {"system_tool_type": "end_call"},
                    },
                    "transfer_to_number": {
                        "type": "system",
                        "name": "to_a_human",
                        "params": {
                            "system_tool_type": "transfer_to_number",
                            "transfers": [{"condition": "angry", "transfer_destination": {"phone_number": "+1"}}],
                        },
                    },
                },
                "knowledge_base": [{"type": "file", "name": "faq", "id": "doc_1", "usage_mode": "prompt"}],
                "custom_llm": {"url": "https://llm.example.com", "api_key": {"secret_id": "s1"}},
                "rag": {"enabled": True, "num_candidates": 7},
            },
        },
    },
    "platform_settings": {
        "evaluation": {"criteria": [{"id": "ok", "name": "Okay", "conversation_goal_prompt": "Was it okay?"}]},
        "data_collection": {"mail": {"type": "string", "description": "e-mail", "enum": ["a", "b"]}},
        "overrides": {"conversation_config_override": {"agent": {"prompt": {"prompt": True}}}},
        "widget": {"variant": "tiny", "language_presets": {"de": {"terms_text": "x"}}},
        "guardrails": {"focus": {"is_enabled": True}},
        "auth": {"enable_auth": True, "allowlist": [{"hostname": "example.com"}]},
    },
    "workflow": {
        "nodes": {"start_node": {"type": "start"}, "end": {"type": "end", "position": {"x": 1.5, "y": 2.0}}},
        "edges": {"e1": {"source": "start_node", "target": "end", "forward_condition": {"type": "unconditional"}}},
    },
}


@pytest.fixture
def full_document() -> dict[str, Any]:
    """What the platform answers for a rich agent, without what says where it is stored."""
    return with_defaults(RICH)


@pytest.fixture
def strange_document(full_document: dict[str, Any]) -> dict[str, Any]:
    """The same, with an unknown key in every object."""
    return _strange(full_document)


def _strange(value: Any) -> Any:
    if isinstance(value, dict):
        return {**{key: _strange(inner) for key, inner in value.items()}, "new_on_the_platform": {"deep": [1, None]}}
    return [_strange(inner) for inner in value] if isinstance(value, list) else copy.deepcopy(value)


@pytest.fixture
def set_at() -> Callable[..., dict[str, Any]]:
    """Return a function that makes a body holding one value at a dotted path."""

    def make(path: str, value: Any) -> dict[str, Any]:
        *outer, last = path.split(".")
        body: dict[str, Any] = {}
        place = body
        for part in outer:
            place = place.setdefault(part, {})
        place[last] = value
        return body

    return make
