"""Cloud tools: the cloud keeps tools apart from agents and refuses an update that carries both forms of them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from convai_lab.agents.agent import Agent
from convai_lab.agents.wire_format import agent_to_wire
from convai_lab.errors import NotFoundError, PlatformError
from convai_lab.workspace.transport import Transport

ROUTE = "/v1/convai/tools"


async def cloud_body(transport: Transport, before: Mapping[str, Any], agent: Agent) -> dict[str, Any]:
    """Return what creates or updates an agent on the cloud: what it takes, and one form of tools.

    Unchanged tools go by id alone, changed ones are stored and then named by id; tools that only ever were inline
    stay inline. `before` is the agent as it is stored, in the same form.

    Raises:
        NotSupportedError: Some knowledge has no id yet: it has to be uploaded first.
    """
    body = agent_to_wire(agent, cloud=True)
    prompt, wanted = _prompt(body), _prompt(agent_to_wire(agent))
    tools, ids = _apart(wanted), list(wanted.get("tool_ids") or [])
    if "tools" in wanted:
        prompt["tools"] = tools  # also when there are none: a list that is left out stays as it was
    prompt.pop("tool_ids", None)
    if ids:
        await _settle(transport, prompt, tools, ids, was=_apart(_prompt(before)))
    return body


def _apart(prompt: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return the tools that are kept apart from their agents; system tools are part of them."""
    return [tool for tool in prompt.get("tools") or [] if tool.get("type") != "system"]


async def _settle(
    transport: Transport, prompt: dict[str, Any], tools: list[dict[str, Any]], ids: list[str], *, was: object
) -> None:
    """Replace inline tools by ids."""
    prompt["tool_ids"] = ids
    if tools == was:
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
