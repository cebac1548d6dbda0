"""Cloud tools: the cloud keeps tools apart from agents and refuses an update that carries both forms of them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from convai_lab.errors import NotFoundError, PlatformError
from convai_lab.workspace.transport import Transport

ROUTE = "/v1/convai/tools"


async def settle_tools(transport: Transport, before: Mapping[str, Any], body: dict[str, Any]) -> None:
    """Leave one form of tools in an update: unchanged ones by id alone, changed ones stored and then named by id.

    Tools that only ever were inline stay inline.
    """
    prompt = _prompt(body)
    tools, ids = prompt.get("tools") or [], list(prompt.get("tool_ids") or [])
    if not ids:
        prompt.pop("tool_ids", None)
        return
    if tools == (_prompt(before).get("tools") or []):
        prompt.pop("tools", None)
        return
    stored = {tool_id: await _config(transport, tool_id) for tool_id in ids}
    by_name = {config.get("name"): tool_id for tool_id, config in stored.items() if config}
    kept_by_id_alone = [tool_id for tool_id, config in stored.items() if not config]
    prompt["tool_ids"] = kept_by_id_alone + [
        await _stored(transport, tool, by_name.get(tool.get("name")), stored) for tool in tools
    ]
    prompt.pop("tools", None)


async def _stored(
    transport: Transport, tool: Mapping[str, Any], tool_id: str | None, stored: Mapping[str, Mapping[str, Any]]
) -> str:
    """Make the stored tool equal to `tool` and return its id."""
    if tool_id is None:
        answer = await transport.document("POST", ROUTE, json={"tool_config": dict(tool)})
        made = answer.get("id")
        if not isinstance(made, str):
            raise PlatformError(f"{transport.who} stored the tool {tool.get('name')} but did not say its id")
        return made
    known = stored[tool_id]
    if any(known.get(name) != value for name, value in tool.items()):
        await transport.request("PATCH", f"{ROUTE}/{tool_id}", json={"tool_config": {**known, **tool}})
    return tool_id


async def _config(transport: Transport, tool_id: str) -> dict[str, Any]:
    try:
        answer = await transport.document("GET", f"{ROUTE}/{tool_id}")
    except NotFoundError:
        return {}
    config = answer.get("tool_config")
    return config if isinstance(config, dict) else {}


def _prompt(body: Mapping[str, Any]) -> dict[str, Any]:
    found: Any = body
    for name in ("conversation_config", "agent", "prompt"):
        found = found.get(name) if isinstance(found, Mapping) else None
    return found if isinstance(found, dict) else {}
