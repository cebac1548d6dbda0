"""Wire parts: those fields of an agent that are spread over the platform's JSON, or are lists of objects in it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from convai_lab.agents.agent import CustomLLM, DataItem, EvaluationCriterion, Knowledge
from convai_lab.agents.plain_json import plain_json
from convai_lab.agents.tools import SystemTool, Tool
from convai_lab.agents.wire_defaults import BUILT_IN_TOOLS, kind_of_system_tool
from convai_lab.agents.wire_fields import MISSING, WireField, field_at
from convai_lab.agents.wire_paths import checked_type, put_path, take, take_path
from convai_lab.agents.wire_tools import KNOWN_TYPES, tool_from_wire, tool_to_wire

_PROMPT = ("conversation_config", "agent", "prompt")
_TOOLS = (*_PROMPT, "tools")
_BUILT_IN = (*_PROMPT, "built_in_tools")
_KNOWLEDGE = (*_PROMPT, "knowledge_base")
_CUSTOM_LLM = (*_PROMPT, "custom_llm")
_CRITERIA = ("platform_settings", "evaluation", "criteria")
_DATA = ("platform_settings", "data_collection")
_ALLOWLIST = ("platform_settings", "auth", "allowlist")
_OVERRIDES = ("platform_settings", "overrides", "conversation_config_override")
_PHRASES = ("convai_lab", "expected_phrases")
_ASR, _TTS = ("convai_lab", "asr"), ("convai_lab", "tts")


@dataclass(frozen=True)
class Part:
    """How one field is taken out of a document and written into one; `default` is its value when it is absent."""

    read: Callable[[dict[str, Any]], Any]
    write: Callable[[dict[str, Any], Any], None]
    default: Any = ()


def _list_at(doc: dict[str, Any], path: tuple[str, ...]) -> Any:
    value = take_path(doc, path)
    if value is MISSING or value is None:
        return MISSING
    return [checked_type(item, object, (*path, index)) for index, item in enumerate(checked_type(value, list, path))]


def _objects_at(doc: dict[str, Any], path: tuple[str, ...]) -> Any:
    items = _list_at(doc, path)
    if items is MISSING:
        return MISSING
    return [checked_type(item, dict, (*path, index)) for index, item in enumerate(items)]


def _read_tools(doc: dict[str, Any]) -> Any:
    listed, built_in = _objects_at(doc, _TOOLS), take_path(doc, _BUILT_IN)
    if listed is MISSING and not isinstance(built_in, dict):
        return MISSING
    named = {kind: tool for kind, tool in (built_in if isinstance(built_in, dict) else {}).items() if tool}
    foreign, tools = [], []
    for config in [] if listed is MISSING else listed:
        if config.get("type") not in KNOWN_TYPES:
            foreign.append(config)
            continue
        kind = kind_of_system_tool(config)
        tools.append(tool_from_wire(named.pop(kind) if _same_tool(named.get(kind), config) else config))
    for kind in list(named):
        if kind in BUILT_IN_TOOLS:
            tools.append(tool_from_wire({"type": "system", "name": kind, **named.pop(kind)}))
    if foreign:
        put_path(doc, _TOOLS, foreign)
    if named:
        put_path(doc, _BUILT_IN, named)
    return tuple(tools)


def _same_tool(built_in: Any, config: Mapping[str, Any]) -> bool:
    return isinstance(built_in, Mapping) and built_in.get("name") == config.get("name")


def _write_tools(body: dict[str, Any], tools: tuple[Tool, ...]) -> None:
    foreign = take_path(body, _TOOLS)
    configs = [tool_to_wire(tool) for tool in tools]
    put_path(body, _TOOLS, configs + (foreign if isinstance(foreign, list) else []))
    built_in: dict[str, Any] = dict.fromkeys(BUILT_IN_TOOLS)
    for tool in tools:
        if isinstance(tool, SystemTool) and tool.kind in built_in and built_in[tool.kind] is None:
            built_in[tool.kind] = tool_to_wire(tool)
    for kind, config in built_in.items():
        put_path(body, (*_BUILT_IN, kind), config)


def _read_knowledge(doc: dict[str, Any]) -> Any:
    entries = _objects_at(doc, _KNOWLEDGE)
    if entries is MISSING:
        return MISSING
    return tuple(
        Knowledge(
            kind=take(entry, "type", str, "text"),
            name=take(entry, "name", str, ""),
            id=take(entry, "id", str, ""),
            usage=take(entry, "usage_mode", str, "auto"),
            text=take(entry, "text", str, ""),
            extra=entry,
        )
        for entry in entries
    )


def _write_knowledge(body: dict[str, Any], knowledge: tuple[Knowledge, ...]) -> None:
    put_path(body, _KNOWLEDGE, [_knowledge_entry(text) for text in knowledge])


def _knowledge_entry(text: Knowledge) -> dict[str, Any]:
    entry = {**plain_json(text.extra), "type": text.kind, "name": text.name, "id": text.id, "usage_mode": text.usage}
    return {**entry, "text": text.text} if text.text else entry


def _read_custom_llm(doc: dict[str, Any]) -> Any:
    config = take_path(doc, _CUSTOM_LLM)
    if config is MISSING or config is None:
        return config
    checked_type(config, dict, _CUSTOM_LLM)
    key = config.get("api_key")
    variable = key.get("env_var_label") if isinstance(key, dict) and len(key) == 1 else None
    if variable is not None:
        del config["api_key"]
    return CustomLLM(
        url=take(config, "url", str, ""),
        model=take(config, "model_id", str, ""),
        api_key_variable=variable,
        headers=take(config, "request_headers", dict, {}),
        extra=config,
    )


def _write_custom_llm(body: dict[str, Any], custom: CustomLLM | None) -> None:
    if custom is None:
        put_path(body, _CUSTOM_LLM, None)
        return
    config = {**plain_json(custom.extra), "url": custom.url, "model_id": custom.model or None}
    config["request_headers"] = plain_json(custom.headers)
    if custom.api_key_variable is not None:
        config["api_key"] = {"env_var_label": custom.api_key_variable}
    put_path(body, _CUSTOM_LLM, config)


def _read_criteria(doc: dict[str, Any]) -> Any:
    items = _objects_at(doc, _CRITERIA)
    if items is MISSING:
        return MISSING
    return tuple(
        EvaluationCriterion(
            id=take(item, "id", str, ""),
            name=take(item, "name", str, ""),
            goal=take(item, "conversation_goal_prompt", str, ""),
            extra=item,
        )
        for item in items
    )


def _write_criteria(body: dict[str, Any], criteria: tuple[EvaluationCriterion, ...]) -> None:
    configs = [
        {**plain_json(c.extra), "id": c.id, "name": c.name, "conversation_goal_prompt": c.goal} for c in criteria
    ]
    put_path(body, _CRITERIA, [{"type": "prompt", **config} for config in configs])


def _read_data(doc: dict[str, Any]) -> Any:
    items = take_path(doc, _DATA)
    if items is MISSING or items is None:
        return MISSING
    read = {}
    for name, item in checked_type(items, dict, _DATA).items():
        rest = checked_type(item, dict, (*_DATA, name))
        read[name] = DataItem(
            type=take(rest, "type", str, "string"), description=take(rest, "description", str, ""), extra=rest
        )
    return read


def _write_data(body: dict[str, Any], items: Mapping[str, DataItem]) -> None:
    put_path(
        body,
        _DATA,
        {name: {**plain_json(i.extra), "type": i.type, "description": i.description} for name, i in items.items()},
    )


def _read_origins(doc: dict[str, Any]) -> Any:
    items = _objects_at(doc, _ALLOWLIST)
    if items is MISSING:
        return MISSING
    if richer := [item for item in items if item.keys() != {"hostname"}]:
        put_path(doc, _ALLOWLIST, plain_json(richer))
    return tuple(take(item, "hostname", str, "") for item in items)


def _write_origins(body: dict[str, Any], origins: tuple[str, ...]) -> None:
    kept = take_path(body, _ALLOWLIST)
    richer = {item.get("hostname"): item for item in kept if isinstance(item, dict)} if isinstance(kept, list) else {}
    put_path(body, _ALLOWLIST, [richer.get(origin, {"hostname": origin}) for origin in origins])


def _read_overrides(doc: dict[str, Any]) -> Any:
    flags = take_path(doc, _OVERRIDES)
    if flags is MISSING or flags is None:
        return MISSING
    allowed: list[str] = []
    rest = _take_flags(checked_type(flags, dict, _OVERRIDES), "", allowed)
    if rest:
        put_path(doc, _OVERRIDES, rest)
    return tuple(allowed)


def _take_flags(flags: dict[str, Any], prefix: str, allowed: list[str]) -> dict[str, Any]:
    """Collect the paths that are true, and return what is neither a known path nor true."""
    rest: dict[str, Any] = {}
    for name, flag in flags.items():
        path = f"{prefix}{name}"
        if flag is True:
            allowed.append(path)
        elif isinstance(flag, dict):
            if inner := _take_flags(flag, f"{path}.", allowed):
                rest[name] = inner
        elif path not in override_paths():
            rest[name] = flag
    return rest


def _write_overrides(body: dict[str, Any], allowed: tuple[str, ...]) -> None:
    for path in (*override_paths(), *allowed):
        put_path(body, (*_OVERRIDES, *str(path).split(".")), path in allowed)


def override_paths() -> tuple[str, ...]:
    """List what a client may be allowed to change when it starts a conversation, as dotted paths."""
    return tuple(_leaves(field_at(".".join(_OVERRIDES)), ""))


def _leaves(wire_field: WireField, prefix: str) -> list[str]:
    found = []
    for name, child in wire_field.children.items():
        found += _leaves(child, f"{prefix}{name}.") if child.children else [f"{prefix}{name}"]
    return found


def _read_phrases(doc: dict[str, Any]) -> Any:
    phrases = _list_at(doc, _PHRASES)
    return MISSING if phrases is MISSING else tuple(phrases)


def _write_phrases(body: dict[str, Any], phrases: tuple[str, ...]) -> None:
    if phrases:
        put_path(body, _PHRASES, list(phrases))


def _engine(path: tuple[str, ...]) -> Part:
    """Return how the name of a speech engine is kept; one that is not chosen is not written."""

    def read(doc: dict[str, Any]) -> Any:
        name = take_path(doc, path)
        return MISSING if name is MISSING or name is None else checked_type(name, str, path)

    def write(body: dict[str, Any], name: str | None) -> None:
        if name is not None:
            put_path(body, path, name)

    return Part(read, write, None)


PARTS: dict[str, Part] = {
    "tools": Part(_read_tools, _write_tools),
    "knowledge": Part(_read_knowledge, _write_knowledge),
    "custom_llm": Part(_read_custom_llm, _write_custom_llm, None),
    "criteria": Part(_read_criteria, _write_criteria),
    "data_collection": Part(_read_data, _write_data, {}),
    "allowed_origins": Part(_read_origins, _write_origins),
    "allowed_overrides": Part(_read_overrides, _write_overrides),
    "expected_phrases": Part(_read_phrases, _write_phrases),
    "asr": _engine(_ASR),
    "tts": _engine(_TTS),
}
