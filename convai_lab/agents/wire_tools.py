"""Wire tools: how does a tool travel as the platform's JSON?"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from convai_lab.agents.plain_json import oversize, plain_json, shown
from convai_lab.agents.tools import DEFAULT_TIMEOUT_SECS, ClientTool, SystemTool, Tool, WebhookTool
from convai_lab.agents.wire_paths import plain_number, take
from convai_lab.agents.wire_seed import normalise_tool
from convai_lab.errors import InvalidConfigError, Problem

KNOWN_TYPES = ("client", "webhook", "system")


def tool_to_wire(tool: Tool) -> dict[str, Any]:
    """Return the platform's configuration of a tool."""
    config: dict[str, Any] = plain_json(tool.extra)
    config.update(type=_TYPE_NAMES[type(tool)], name=tool.name, description=tool.description)
    if isinstance(tool, ClientTool):
        config["parameters"] = plain_json(tool.parameters) or None
        config["expects_response"] = tool.expects_response
        config["response_timeout_secs"] = plain_number(tool.response_timeout_secs)
    elif isinstance(tool, WebhookTool):
        config["response_timeout_secs"] = plain_number(tool.response_timeout_secs)
        rest = config.get("api_schema")
        config["api_schema"] = {**(rest if isinstance(rest, dict) else {}), **_api_schema(tool)}
    else:
        config["params"] = {"system_tool_type": tool.name, **plain_json(tool.params)}
    return config


def tool_from_wire(config: Mapping[str, Any]) -> Tool:
    """Read a tool from the platform's configuration, today's or an older one.

    Raises:
        InvalidConfigError: It is no tool, or of a type that only the platform can run (an MCP tool).
    """
    if too_big := oversize(config):
        raise _wrong("", too_big)
    rest = normalise_tool(config)
    if not isinstance(rest, dict):
        raise _wrong("", f"must be an object, got {shown(config)}")
    kind = take(rest, "type", str, "client")
    if kind not in KNOWN_TYPES:
        raise _wrong("type", f"must be one of {', '.join(KNOWN_TYPES)}, got {shown(kind)}")
    name = take(rest, "name", str, None)
    if name is None:
        raise _wrong("name", "is required")
    described: dict[str, Any] = {"name": name, "description": take(rest, "description", str, "")}
    if kind == "system":
        params = take(rest, "params", dict, {})
        return SystemTool(**described, params=params, extra=rest)
    described["response_timeout_secs"] = take(rest, "response_timeout_secs", (int, float), DEFAULT_TIMEOUT_SECS)
    if kind == "webhook":
        return WebhookTool(**described, **_read_api_schema(rest), extra=rest)
    return ClientTool(
        **described,
        parameters=take(rest, "parameters", dict, {}),
        expects_response=take(rest, "expects_response", bool, False),
        extra=rest,
    )


_TYPE_NAMES = {ClientTool: "client", WebhookTool: "webhook", SystemTool: "system"}


def _api_schema(tool: WebhookTool) -> dict[str, Any]:
    return {
        "url": tool.url,
        "method": tool.method,
        "path_params_schema": plain_json(tool.path_schema),
        "query_params_schema": plain_json(tool.query_schema) or None,
        "request_body_schema": plain_json(tool.body_schema) or None,
        "request_headers": plain_json(tool.headers),
        "content_type": tool.content_type,
    }


def _read_api_schema(rest: dict[str, Any]) -> dict[str, Any]:
    schema = take(rest, "api_schema", dict, {})
    read = {
        "url": take(schema, "url", str, ""),
        "method": take(schema, "method", str, "GET"),
        "path_schema": take(schema, "path_params_schema", dict, {}),
        "query_schema": take(schema, "query_params_schema", dict, {}),
        "body_schema": take(schema, "request_body_schema", dict, {}),
        "headers": take(schema, "request_headers", dict, {}),
        "content_type": take(schema, "content_type", str, "application/json"),
    }
    if schema:
        rest["api_schema"] = schema
    return read


def _wrong(field: str, message: str) -> InvalidConfigError:
    return InvalidConfigError([Problem(("tool", field) if field else ("tool",), message, "value_error")])
