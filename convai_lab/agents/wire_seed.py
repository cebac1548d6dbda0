"""Wire seed: how do the platform's older request shapes become today's?

Doing it twice changes nothing, and what has a wrong shape is left as it is, for `problems_in` to name.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from convai_lab.agents.plain_json import oversize, plain_json
from convai_lab.agents.wire_defaults import BUILT_IN_TOOLS, kind_of_system_tool

TURN_MODES = {"server_vad": "silence", "turn_based": "turn"}
_WITHOUT_BODY = ("GET", "DELETE")
_PLACEHOLDER = re.compile(r"\{(\w+)\}")
_TOP_OF_AGENT = ("first_message", "language", "dynamic_variables")
_VOICE_KEYS = {"model": "model_id", "id": "voice_id"}


def normalise(body: Any) -> Any:
    """Return the body of an agent in today's shape; the argument is not changed.

    Example:
        >>> normalise({"prompt": {"prompt": "Be kind."}})
        {'conversation_config': {'agent': {'prompt': {'prompt': 'Be kind.'}}}}
    """
    if not isinstance(body, Mapping) or oversize(body):
        return body
    today = plain_json(body)
    _move_top_level(today)
    config = today.get("conversation_config")
    if isinstance(config, dict):
        _rename_turn_mode(config)
        prompt = _inside(config, "agent", "prompt")
        if prompt is not None:
            _today_tools(prompt)
    return today


def normalise_tool(config: Any) -> Any:
    """Return the configuration of one tool in today's shape; the argument is not changed."""
    if not isinstance(config, Mapping) or oversize(config):
        return config
    tool: dict[str, Any] = plain_json(config)
    if "type" not in tool:
        tool["type"] = _guessed_type(tool)
    if tool["type"] == "webhook":
        _today_webhook(tool)
    elif tool["type"] == "system":
        _today_system_tool(tool)
    return tool


def _move_top_level(body: dict[str, Any]) -> None:
    """Move `prompt`, `voice` and their like from the top of the body to where they belong today."""
    prompt = body.get("prompt")
    if isinstance(prompt, str):
        prompt = {"prompt": prompt}
    if isinstance(prompt, dict) and _lay_under(body, ("conversation_config", "agent", "prompt"), prompt):
        del body["prompt"]
    voice = body.get("voice")
    if isinstance(voice, str):
        voice = {"voice_id": voice}
    if isinstance(voice, dict):
        renamed = {_VOICE_KEYS.get(name, name): value for name, value in voice.items()}
        if _lay_under(body, ("conversation_config", "tts"), renamed):
            del body["voice"]
    for name in _TOP_OF_AGENT:
        if name in body and _lay_under(body, ("conversation_config", "agent"), {name: body[name]}):
            del body[name]


def _lay_under(body: dict[str, Any], path: tuple[str, ...], values: dict[str, Any]) -> bool:
    """Put `values` at `path` where nothing is yet; false when something on the way is no object."""
    place = body
    for part in path:
        if place.get(part) is None:
            place[part] = {}
        place = place[part]
        if not isinstance(place, dict):
            return False
    for name, value in values.items():
        place.setdefault(name, value)
    return True


def _inside(value: dict[str, Any], *path: str) -> dict[str, Any] | None:
    place: Any = value
    for part in path:
        place = place.get(part) if isinstance(place, dict) else None
    return place if isinstance(place, dict) else None


def _rename_turn_mode(config: dict[str, Any]) -> None:
    turn = config.get("turn")
    if isinstance(turn, dict) and isinstance(mode := turn.get("mode"), str):
        turn["mode"] = TURN_MODES.get(mode, mode)


def _today_tools(prompt: dict[str, Any]) -> None:
    """Bring inline tools to today's shape, and show the system tools among them in `built_in_tools` too."""
    built_in = prompt.get("built_in_tools")
    if isinstance(built_in, dict):
        for kind, tool in built_in.items():
            if isinstance(tool, dict):
                built_in[kind] = normalise_tool({"type": "system", "name": kind, **tool})
    tools = prompt.get("tools")
    if not isinstance(tools, list):
        return
    prompt["tools"] = tools = [normalise_tool(tool) for tool in tools]
    for tool in tools:
        kind = kind_of_system_tool(tool)
        if kind in BUILT_IN_TOOLS and isinstance(built_in := prompt.setdefault("built_in_tools", {}), dict):
            built_in[kind] = built_in.get(kind) or plain_json(tool)


def _guessed_type(tool: Mapping[str, Any]) -> str:
    if "webhook" in tool or "api_schema" in tool or "url" in tool:
        return "webhook"
    return "system" if tool.get("name") in BUILT_IN_TOOLS else "client"


def _today_webhook(tool: dict[str, Any]) -> None:
    """Turn `webhook: {url, method}` and `parameters` into an `api_schema`."""
    old = tool.get("webhook", {"url": tool["url"]} if "url" in tool else None)
    if isinstance(old, str):
        old = {"url": old}
    if isinstance(old, dict) and not isinstance(tool.get("api_schema"), dict):
        schema = {**old, "method": str(old.get("method") or tool.get("method") or "GET").upper()}
        if isinstance(headers := schema.pop("headers", tool.get("headers")), dict):
            schema["request_headers"] = headers
        _place_parameters(schema, tool.get("parameters"))
        for moved in ("webhook", "url", "method", "headers", "parameters"):
            tool.pop(moved, None)
        tool["api_schema"] = schema
    tool.setdefault("description", "")


def _place_parameters(schema: dict[str, Any], parameters: Any) -> None:
    """Spread a tool's parameters over path, query and body, by the URL's placeholders and the method."""
    if not isinstance(parameters, dict) or not isinstance(properties := parameters.get("properties"), dict):
        return
    in_path = set(_PLACEHOLDER.findall(str(schema.get("url", ""))))
    if path := {name: inner for name, inner in properties.items() if name in in_path}:
        schema["path_params_schema"] = path
    rest = {name: inner for name, inner in properties.items() if name not in in_path}
    if not rest:
        return
    required = parameters.get("required")
    named = [name for name in required if name in rest] if isinstance(required, list) else []
    if schema["method"] in _WITHOUT_BODY:
        schema["query_params_schema"] = {"properties": rest, "required": named}
    else:
        schema["request_body_schema"] = {**parameters, "type": "object", "properties": rest, "required": named}


def _today_system_tool(tool: dict[str, Any]) -> None:
    """Give a system tool the `params` that today's answers must have."""
    tool.setdefault("description", "")
    params = tool.get("params")
    if params is None:
        params = tool["params"] = {}
    if not isinstance(params, dict):
        return
    params.setdefault("system_tool_type", tool.get("name"))
    kind = params["system_tool_type"]
    if kind == "transfer_to_number" and "phone_number" in tool and "transfers" not in params:
        params["transfers"] = [
            {
                "transfer_destination": {"type": "phone", "phone_number": tool.pop("phone_number")},
                "condition": tool.pop("condition", tool["description"]),
                "transfer_type": tool.pop("transfer_type", "conference"),
            }
        ]
    if kind == "transfer_to_agent" and "agent_id" in tool and "transfers" not in params:
        params["transfers"] = [
            {"agent_id": tool.pop("agent_id"), "condition": tool.pop("condition", tool["description"])}
        ]
