"""Canonical: what may be written for a field of an agent, and what does it become?"""

from __future__ import annotations

import dataclasses
import difflib
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from convai_lab.agents.agent import CustomLLM, DataItem, EvaluationCriterion, Knowledge
from convai_lab.agents.plain_json import oversize, plain_json, shown
from convai_lab.agents.tools import ClientTool, SystemTool, WebhookTool, tool
from convai_lab.agents.turn_taking import NEVER, TurnTaking
from convai_lab.agents.voices import VOICES, voice_name
from convai_lab.agents.wire_defaults import BUILT_IN_TOOLS
from convai_lab.errors import InvalidConfigError, Problem

MAX_ENGINE_CHARS = 500
_VOICES_BY_LOWER = {name.lower(): name for name in VOICES}


def canonical_value(name: str, value: Any) -> Any:
    """Return a field's value in its one form: lists become tuples, functions tools, voice ids names.

    Raises:
        InvalidConfigError: The value can be no such field.
    """
    make = _MAKERS.get(name)
    return value if make is None else make(name, value)


def unknown_field(name: str, known: Iterable[str]) -> InvalidConfigError:
    """Return the error for a field that agents do not have."""
    close = difflib.get_close_matches(name, list(known), n=1)
    hint = f": did you mean {close[0]}?" if close else ""
    return InvalidConfigError([Problem((name,), f"is no field of an agent{hint}", "extra_forbidden")])


def _problem(name: str, message: str) -> InvalidConfigError:
    return InvalidConfigError([Problem((name,), message, "type_error")])


def _items(name: str, value: Any) -> tuple[Any, ...]:
    if value is None or isinstance(value, str | bytes | Mapping) or not isinstance(value, Iterable):
        raise _problem(name, f"must be a list, got {shown(value)}")
    return tuple(value)


def _texts(name: str, value: Any) -> tuple[Any, ...]:
    return (value,) if isinstance(value, str) else _items(name, value)


def _texts_or_none(name: str, value: Any) -> tuple[Any, ...] | None:
    return None if value is None else _texts(name, value)


def _voice(_name: str, value: Any) -> Any:
    if not isinstance(value, str):
        return value
    return _VOICES_BY_LOWER.get(value.strip().lower(), voice_name(value.strip()))


def _engine(name: str, value: Any) -> Any:
    if value is None:
        return None
    if not isinstance(value, str) or not value.strip() or len(value) > MAX_ENGINE_CHARS or not value.isprintable():
        raise _problem(name, f"must be the name of a speech engine, such as offline, got {shown(value)}")
    return value.strip()


def _max_tokens(_name: str, value: Any) -> Any:
    return None if value == NEVER else value


def _object(name: str, value: Any) -> dict[str, Any]:
    if not isinstance(value, Mapping):
        raise _problem(name, f"must be an object, got {shown(value)}")
    copied: dict[str, Any] = _copied(name, value)
    return copied


def _copied(name: str, value: Any) -> Any:
    if too_big := oversize(value):
        raise _problem(name, too_big)
    return plain_json(value)


def _of_class(made: type[Any]) -> Callable[[str, Any], Any]:
    def make(name: str, value: Any) -> Any:
        if isinstance(value, made):
            return _with_plain_json(name, value)
        if isinstance(value, Mapping):
            try:
                return _with_plain_json(name, made(**value))
            except TypeError:
                known = ", ".join(f.name for f in dataclasses.fields(made))
                raise _problem(name, f"must have fields of {made.__name__} ({known}), got {shown(value)}") from None
        raise _problem(name, f"must be a {made.__name__}, got {shown(value)}")

    return make


def _with_plain_json(name: str, value: Any) -> Any:
    """Return the value with its own copies of what it holds as JSON."""
    changes = {}
    for f in dataclasses.fields(value):
        inner = getattr(value, f.name)
        if isinstance(inner, Mapping) and (copied := _copied(f"{name}.{f.name}", inner)) != inner:
            changes[f.name] = copied
    return dataclasses.replace(value, **changes) if changes else value


def _optional(make: Callable[[str, Any], Any]) -> Callable[[str, Any], Any]:
    return lambda name, value: None if value is None else make(name, value)


def _each(make: Callable[[str, Any], Any]) -> Callable[[str, Any], Any]:
    def make_all(name: str, value: Any) -> tuple[Any, ...]:
        given = (value,) if callable(value) or isinstance(value, str) else _items(name, value)
        return tuple(make(f"{name}[{index}]", item) for index, item in enumerate(given))

    return make_all


def _tool(name: str, value: Any) -> Any:
    if isinstance(value, ClientTool | WebhookTool | SystemTool):
        return _with_plain_json(name, value)
    if isinstance(value, str):
        if value in BUILT_IN_TOOLS:
            return SystemTool(name=value)
        raise _problem(name, f"must be a tool or one of {', '.join(BUILT_IN_TOOLS)}, got {shown(value)}")
    if isinstance(value, Mapping):
        from convai_lab.agents.wire_tools import tool_from_wire

        return tool_from_wire(value)
    if callable(value):
        return tool(value)
    raise _problem(name, f"must be a tool (a function with @tool, WebhookTool, SystemTool), got {shown(value)}")


def _knowledge(name: str, value: Any) -> Knowledge:
    if isinstance(value, str):
        return Knowledge(name=value.strip().splitlines()[0][:60] if value.strip() else "text", text=value)
    made: Knowledge = _of_class(Knowledge)(name, value)
    return made


def _data_collection(name: str, value: Any) -> dict[str, DataItem]:
    if not isinstance(value, Mapping):
        raise _problem(name, f"must be an object of named values to collect, got {shown(value)}")
    make = _of_class(DataItem)
    return {
        key: DataItem(description=item) if isinstance(item, str) else make(f"{name}.{key}", item)
        for key, item in value.items()
    }


_MAKERS: dict[str, Callable[[str, Any], Any]] = {
    "voice": _voice,
    "asr": _engine,
    "tts": _engine,
    "max_tokens": _max_tokens,
    "custom_llm": _optional(_of_class(CustomLLM)),
    "turn": _of_class(TurnTaking),
    "tools": _each(_tool),
    "knowledge": _each(_knowledge),
    "criteria": _each(_of_class(EvaluationCriterion)),
    "data_collection": _data_collection,
    "variables": _object,
    "extra": _object,
    "client_events": _texts_or_none,
    "allowed_overrides": _texts,
    "asr_keywords": _texts,
    "expected_phrases": _texts,
    "tool_ids": _texts,
    "allowed_origins": _texts,
    "tags": _texts,
}
