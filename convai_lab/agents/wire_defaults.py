"""Wire defaults: what does the platform fill in, what is left when that is taken away, and how do two bodies merge?"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from convai_lab.agents.plain_json import oversize, plain_json
from convai_lab.agents.wire_fields import MISSING, WireField, default_of, root, section

BUILT_IN_TOOLS = (
    "end_call",
    "language_detection",
    "transfer_to_agent",
    "transfer_to_number",
    "skip_turn",
    "play_keypad_touch_tone",
    "voicemail_detection",
)
"""The system tools that have a place of their own in the configuration."""


def with_defaults(body: Mapping[str, Any]) -> dict[str, Any]:
    """Return the body with every key that the platform's answer must have; what is there stays as it is.

    The default model is ``offline``. System tools are shown in both of their places.
    """
    filled: dict[str, Any] = _filled(root(), body)
    if filled.get("name") is None:
        filled["name"] = "Agent"
    prompt = filled["conversation_config"]["agent"]["prompt"]
    prompt["tools"] = _mirrored(prompt)
    return filled


def tool_with_defaults(config: Mapping[str, Any]) -> dict[str, Any]:
    """Return a tool's configuration with every key that the platform's answer must have."""
    filled: dict[str, Any] = _filled(WireField(ref="tool"), config)
    return filled


def without_defaults(value: Any, wire_field: WireField) -> Any:
    """Return what is left of `value` when everything that the platform fills in by itself is taken away."""
    wire_field = wire_field.for_value(value)
    if isinstance(value, Mapping):
        return _object_without_defaults(value, wire_field)
    if isinstance(value, list | tuple) and wire_field.each is not None:
        return [without_defaults(inner, wire_field.each) for inner in value]
    return value


def section_without_defaults(value: Mapping[str, Any], name: str) -> Any:
    """Return what is left of a part of the body; `name` is its section of the table, such as ``criterion``."""
    return without_defaults(value, section(name))


def merge(doc: Mapping[str, Any], patch: Mapping[str, Any]) -> dict[str, Any]:
    """Return `doc` with a partial update: objects merge, lists and single values replace.

    Null takes an entry away from an object whose keys the user chooses (variables, data to collect, workflow
    nodes). A system tool that the update takes out of either of its two places is gone from both.
    """
    if oversize(patch):
        return {**doc, **patch}  # for `problems_in` to refuse
    merged = plain_json(doc)
    _drop_built_in_tools(merged, patch)
    result: dict[str, Any] = _merged(merged, patch, root())
    return result


def _filled(wire_field: WireField, value: Any) -> Any:
    wire_field = wire_field.for_value(value)
    if value is None and wire_field.default is MISSING:
        standard = default_of(wire_field)
        return None if standard is MISSING else standard
    if isinstance(value, list | tuple):
        return [_filled(wire_field.each, inner) if wire_field.each else plain_json(inner) for inner in value]
    if not isinstance(value, Mapping):
        return plain_json(value)
    filled = {}
    for name, inner in value.items():
        known = wire_field.child(name)
        filled[name] = plain_json(inner) if known is None else _filled(known, inner)
    if wire_field.kind == "object":
        for name, child in wire_field.children.items():
            if name not in filled and (standard := default_of(child)) is not MISSING:
                filled[name] = standard
    return filled


def _object_without_defaults(value: Mapping[str, Any], wire_field: WireField) -> dict[str, Any]:
    kept = {}
    for name, inner in value.items():
        known = wire_field.child(name)
        if known is None:
            kept[name] = inner
            continue
        if _is_default(inner, known):
            continue
        bare = without_defaults(inner, known)
        if bare == {} and wire_field.kind == "object" and known.kind == "object" and known.children:
            continue
        kept[name] = bare
    return kept


def _is_default(value: Any, wire_field: WireField) -> bool:
    if wire_field.default is MISSING:
        return value is None and wire_field.nullable
    return bool(value == wire_field.default) and isinstance(value, bool) == isinstance(wire_field.default, bool)


def _merged(doc: Any, patch: Any, wire_field: WireField | None) -> Any:
    if not isinstance(patch, Mapping):
        return plain_json(patch)
    merged = doc if isinstance(doc, dict) else {}
    known = wire_field.for_value(patch) if wire_field is not None else None
    for name, inner in patch.items():
        if inner is None and known is not None and known.kind == "map":
            merged.pop(name, None)
        else:
            merged[name] = _merged(merged.get(name), inner, known.child(name) if known is not None else None)
    return merged


def _drop_built_in_tools(doc: dict[str, Any], patch: Mapping[str, Any]) -> None:
    """Forget the copies of system tools in `doc`, and the tools that a new list of tools leaves out."""
    prompt, change = _prompt_of(doc), _prompt_of(patch)
    if prompt is None or change is None or not ({"tools", "built_in_tools"} & change.keys()):
        return
    built_in = prompt.get("built_in_tools")
    if not isinstance(built_in, dict) or not isinstance(prompt.get("tools"), list):
        return
    if isinstance(change.get("tools"), list):
        stays = {kind_of_system_tool(tool) for tool in change["tools"]} | set(change.get("built_in_tools") or ())
        for gone in {kind_of_system_tool(tool) for tool in prompt["tools"]} - stays:
            if gone in built_in:
                built_in[gone] = None
    prompt["tools"] = _without_mirrored(prompt)


def _mirrored(prompt: Mapping[str, Any]) -> list[Any]:
    built_in = {kind: tool for kind, tool in prompt["built_in_tools"].items() if kind_of_system_tool(tool) == kind}
    in_place = [built_in.pop(kind_of_system_tool(tool), tool) for tool in prompt["tools"]]
    return [plain_json(tool) for tool in (*in_place, *built_in.values())]


def _without_mirrored(prompt: Mapping[str, Any]) -> list[Any]:
    built_in = prompt.get("built_in_tools") or {}
    return [tool for tool in prompt["tools"] if not built_in.get(kind_of_system_tool(tool))]


def kind_of_system_tool(tool: Any) -> str:
    """Return which system tool a configuration is (``end_call``), and an empty text for every other tool."""
    if not isinstance(tool, Mapping) or tool.get("type") != "system":
        return ""
    params = tool.get("params")
    kind = params.get("system_tool_type") if isinstance(params, Mapping) else None
    return kind if isinstance(kind, str) and kind else str(tool.get("name", ""))


def _prompt_of(body: Mapping[str, Any]) -> Any:
    found: Any = body
    for part in ("conversation_config", "agent", "prompt"):
        found = found.get(part) if isinstance(found, Mapping) else None
    return found if isinstance(found, Mapping) else None
