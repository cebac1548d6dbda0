"""Data collection: is this value of the type that an item asks for?"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from convai_lab.agents.agent import DataItem
from convai_lab.evaluation.argument_match import json_equal, shown_json
from convai_lab.evaluation.check_fields import Fields, fields_in, refuse, shown

TYPES = ("string", "integer", "number", "boolean")
MAX_TEXT_CHARS = 10_000


def parse_items(raw: object, where: str) -> dict[str, DataItem]:
    """Read the items to collect, by name: a type, a mapping with `type`, `description` and `enum`, or items.

    Example:
        >>> parse_items({"people": "integer"}, "agent")["people"].type
        'integer'

    Raises:
        InvalidValueError: An item is wrong; names it.
    """
    if raw is None:
        return {}
    fields = fields_in(raw, f"{where}, data_collection")
    return {name: _item(value, f"{fields.where}.{name}") for name, value in fields.values.items()}


def allowed_values(item: DataItem) -> tuple[Any, ...]:
    """Return the values that an item may have, or nothing when any value of its type will do."""
    raw = item.extra.get("enum")
    return tuple(raw) if isinstance(raw, Sequence) and not isinstance(raw, str) else ()


def problem_with(item: DataItem, value: Any) -> str:
    """Say what is wrong with a collected value, or return an empty text; null means that it was not said.

    Example:
        >>> problem_with(DataItem(type="integer"), "four")
        'must be an integer or null, got "four"'
    """
    if value is None:
        return ""
    if not _is_of_type(item.type, value):
        article = "an" if item.type == "integer" else "a"
        return f"must be {article} {item.type} or null, got {shown_json(value)}"
    if isinstance(value, str) and len(value) > MAX_TEXT_CHARS:
        return f"must have at most {MAX_TEXT_CHARS:,} characters"
    allowed = allowed_values(item)
    if allowed and not any(json_equal(value, one) for one in allowed):
        return f"must be one of {', '.join(map(shown_json, allowed))} or null, got {shown_json(value)}"
    return ""


def settled(item: DataItem, value: Any) -> Any:
    """Return a value without a problem as it is kept: 4.0 is the integer 4."""
    return int(value) if item.type == "integer" and isinstance(value, float) else value


def _is_of_type(kind: str, value: Any) -> bool:
    if kind == "boolean" or isinstance(value, bool):
        return kind == "boolean" and isinstance(value, bool)
    if kind == "integer":
        return isinstance(value, int) or (isinstance(value, float) and value.is_integer())
    if kind == "number":
        return isinstance(value, int) or (isinstance(value, float) and math.isfinite(value))
    return isinstance(value, str)


def _item(raw: object, where: str) -> DataItem:
    if isinstance(raw, DataItem):
        return raw
    fields: Fields = fields_in({"type": raw} if isinstance(raw, str) else raw, where)
    fields.only(("type", "description", "enum"))
    kind = fields.choice("type", TYPES, "string")
    described = fields.text("description") if "description" in fields else ""
    if "enum" not in fields:
        return DataItem(type=kind, description=described)
    values = fields.json("enum")
    if not isinstance(values, list) or not values:
        refuse(f"{where}.enum", f"must be a list of values, got {shown(values)}")
    plain = DataItem(type=kind)
    if wrong := next((problem for value in values if (problem := problem_with(plain, value))), ""):
        refuse(f"{where}.enum", wrong.replace(" or null", ""))
    return DataItem(type=kind, description=described, extra={"enum": values})
