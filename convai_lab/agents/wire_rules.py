"""Wire rules: is this configuration one that the platform would take, and if not, which field is wrong?

What an official client sends is judged by the table of `wire_table`: types, ranges, words, lengths. Fields the
table does not know are fine, and so is any model name.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from typing import Any

from convai_lab.agents.plain_json import oversize, shown
from convai_lab.agents.wire_defaults import merge, with_defaults, without_defaults
from convai_lab.agents.wire_fields import WireField, root, section
from convai_lab.agents.wire_seed import normalise
from convai_lab.errors import Problem

__all__ = ["merge", "normalise", "problems_in", "problems_in_tool", "problems_in_value", "with_defaults"]
__all__ += ["without_defaults"]

MAX_STRING = 2_000_000
MAX_PROBLEMS = 50
LARGEST_INTEGER = 2**63 - 1
KEY_CHARS = 60

_Loc = tuple[str | int, ...]
_TOOLS: _Loc = ("conversation_config", "agent", "prompt", "tools")
_TYPES = {
    "string": (str, "string_type", "a text"),
    "word": (str, "enum", "a text"),
    "number": ((int, float), "float_type", "a number"),
    "integer": (int, "int_type", "a whole number"),
    "boolean": (bool, "bool_type", "true or false"),
    "object": (Mapping, "dict_type", "an object"),
    "map": (Mapping, "dict_type", "an object"),
    "list": (Sequence, "list_type", "a list"),
}


def problems_in(body: Any, *, creating: bool = False) -> list[Problem]:
    """List what is wrong in the body of an agent, each with its path from the top; an empty list means it is fine.

    `creating` also asks for what only a new agent must have.
    """
    found = _problems(body, root())
    if not found and creating and body.get("conversation_config") is None:
        found.append(Problem(("conversation_config",), "is required", "missing"))
    if not found:
        found = _same_names(body)
    return found


def problems_in_tool(config: Any) -> list[Problem]:
    """List what is wrong in the configuration of one tool."""
    return _problems(config, WireField(ref="tool"))


def problems_in_value(value: Any, name: str) -> list[Problem]:
    """List what is wrong in a part that stands alone; `name` is its section of the table, such as ``criterion``."""
    return _problems(value, section(name))


def _problems(value: Any, wire_field: WireField) -> list[Problem]:
    found = _unstorable(value)
    if not found:
        _walk(wire_field, value, (), found)
    return found[:MAX_PROBLEMS]


def _unstorable(body: Any) -> list[Problem]:
    """Find what no field may hold: endless depth and length, numbers and characters that JSON does not have."""
    if too_big := oversize(body):
        return [Problem((), too_big, "too_large")]
    found: list[Problem] = []
    waiting: list[tuple[_Loc, Any]] = [((), body)]
    while waiting and len(found) < MAX_PROBLEMS:
        loc, value = waiting.pop()
        if isinstance(value, Mapping):
            if odd := next((key for key in value if not isinstance(key, str) or not _is_text(key)), None):
                found.append(Problem(loc, f"has a name that is no text: {shown(odd)}", "invalid_key"))
            waiting.extend(((*loc, str(key)[:KEY_CHARS]), inner) for key, inner in reversed(list(value.items())))
        elif isinstance(value, list | tuple):
            waiting.extend(((*loc, index), inner) for index, inner in reversed(list(enumerate(value))))
        elif problem := _unstorable_leaf(loc, value):
            found.append(problem)
    return found


def _unstorable_leaf(loc: _Loc, value: Any) -> Problem | None:
    if isinstance(value, str):
        if len(value) > MAX_STRING:
            return Problem(loc, f"must be at most {MAX_STRING} characters long, got {len(value)}", "string_too_long")
        return None if _is_text(value) else Problem(loc, "holds characters that are no valid Unicode", "string_unicode")
    if isinstance(value, float) and not math.isfinite(value):
        return Problem(loc, f"must be a finite number, got {value}", "finite_number")
    if isinstance(value, int) and abs(value) > LARGEST_INTEGER:
        return Problem(loc, f"must be a number that fits into 64 bits, got {shown(value)}", "int_parsing_size")
    if value is None or isinstance(value, bool | int | float):
        return None
    return Problem(loc, f"must be JSON, got {type(value).__name__}", "json_type")


def _is_text(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _walk(wire_field: WireField, value: Any, loc: _Loc, found: list[Problem]) -> None:
    if len(found) >= MAX_PROBLEMS:
        return
    wire_field = wire_field.for_value(value)
    if problem := _wrong(wire_field, value):
        found.append(Problem(loc, *problem))
    elif isinstance(value, Mapping):
        _walk_object(wire_field, value, loc, found)
    elif isinstance(value, list | tuple) and wire_field.each is not None:
        for index, inner in enumerate(value):
            _walk(wire_field.each, inner, (*loc, index), found)


def _walk_object(wire_field: WireField, value: Mapping[str, Any], loc: _Loc, found: list[Problem]) -> None:
    for name, child in wire_field.children.items():
        if child.required and name not in value and wire_field.kind == "object":
            found.append(Problem((*loc, name), "is required", "missing"))
    for name, inner in value.items():
        known = wire_field.child(name)
        # A null entry of a map takes that entry away when it is merged.
        if known is not None and not (wire_field.kind == "map" and inner is None):
            _walk(known, inner, (*loc, name), found)


def _wrong(wire_field: WireField, value: Any) -> tuple[str, str] | None:
    if wire_field.kind == "any" or (value is None and wire_field.nullable):
        return None
    types, code, words = _TYPES[wire_field.kind]
    if wire_field.kind == "integer" and isinstance(value, float) and value.is_integer():
        value = int(value)
    is_wrong_bool = isinstance(value, bool) and wire_field.kind in ("number", "integer")
    is_text_for_list = isinstance(value, str) and wire_field.kind == "list"
    if wire_field.kind == "word" and value not in wire_field.words:
        return f"must be {_one_of(wire_field)}, got {shown(value)}", code
    if not isinstance(value, types) or is_wrong_bool or is_text_for_list:  # type: ignore[arg-type]
        return (f"must be {words}, got {shown(value)}" if value is not None else f"must be {words}, got null"), code
    return _out_of_range(wire_field, value)


def _one_of(wire_field: WireField) -> str:
    words = wire_field.words
    return f"{', '.join(words[:-1])} or {words[-1]}" if len(words) > 1 else words[0]


def _out_of_range(wire_field: WireField, value: Any) -> tuple[str, str] | None:
    is_number = wire_field.kind in ("number", "integer")
    size = value if is_number or not hasattr(value, "__len__") else len(value)
    too_low = wire_field.low is not None and (
        size < wire_field.low or (wire_field.low_excluded and size <= wire_field.low)
    )
    too_high = wire_field.high is not None and (
        size > wire_field.high or (wire_field.high_excluded and size >= wire_field.high)
    )
    if too_low or too_high:
        return _range_message(wire_field, value, size, too_low=too_low)
    if wire_field.pattern and not re.fullmatch(wire_field.pattern, value):
        return f"must not hold line breaks or control characters, got {shown(value)}", "string_pattern_mismatch"
    return None


def _range_message(wire_field: WireField, value: Any, size: float, *, too_low: bool) -> tuple[str, str]:
    if wire_field.kind in ("number", "integer"):
        return f"must be {allowed_range(wire_field)}, got {shown(value)}", (
            "greater_than_equal" if too_low else "less_than_equal"
        )
    what = "characters" if wire_field.kind == "string" else "entries"
    kind = "string" if wire_field.kind == "string" else "list"
    prefix = "string_" if kind == "string" else ""
    if too_low:
        return f"must have at least {_plain(wire_field.low)} {what}, got {size}", f"{prefix}too_short"
    return f"must have at most {_plain(wire_field.high)} {what}, got {size}", f"{prefix}too_long"


def allowed_range(wire_field: WireField) -> str:
    """Return the allowed range of a number in words, such as ``from 0.7 to 1.2``."""
    low, high = _plain(wire_field.low), _plain(wire_field.high)
    if wire_field.low is None or wire_field.high is None:
        return f"at least {low}" if wire_field.high is None else f"at most {high}"
    if wire_field.low_excluded or wire_field.high_excluded:
        more = "more than" if wire_field.low_excluded else "at least"
        less = "less than" if wire_field.high_excluded else "at most"
        return f"{more} {low} and {less} {high}"
    return f"from {low} to {high}"


def _plain(number: float | None) -> str:
    return "" if number is None else str(int(number)) if number.is_integer() else str(number)


def _same_names(body: Mapping[str, Any]) -> list[Problem]:
    tools: Any = body
    for part in _TOOLS:
        tools = tools.get(str(part)) if isinstance(tools, Mapping) else None
    seen: set[str] = set()
    found = []
    for index, tool in enumerate(tools or ()):
        name = tool["name"]
        if name in seen:
            problem = f"must be a name of its own: another tool is called {shown(name)} too"
            found.append(Problem((*_TOOLS, index, "name"), problem, "value_error"))
        seen.add(name)
    return found
