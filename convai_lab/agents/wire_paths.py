"""Wire paths: taking values out of the platform's JSON by their path, and putting them back."""

from __future__ import annotations

from typing import Any

from convai_lab.agents.plain_json import shown
from convai_lab.agents.wire_fields import MISSING
from convai_lab.errors import InvalidConfigError, Problem

_NAMES = {
    str: "a text",
    dict: "an object",
    list: "a list",
    bool: "true or false",
    int: "a whole number",
    (int, float): "a number",
}


def take(values: dict[str, Any], name: str, kind: Any, default: Any) -> Any:
    """Take a value out of an object; one that is absent or null gives the default.

    Raises:
        InvalidConfigError: It has the wrong type.
    """
    value = values.pop(name, None)
    return default if value is None else checked_type(value, kind, (name,))


def checked_type(value: Any, kind: Any, loc: tuple[str | int, ...]) -> Any:
    """Return the value if it is of that type.

    Raises:
        InvalidConfigError: It has the wrong type.
    """
    if not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool and kind is not object):
        raise InvalidConfigError([Problem(loc, f"must be {_NAMES.get(kind, kind)}, got {shown(value)}", "type_error")])
    return value


def plain_number(number: Any) -> Any:
    """Return 20 for 20.0, because some fields of the platform are whole numbers."""
    return int(number) if isinstance(number, float) and number.is_integer() else number


def take_path(doc: dict[str, Any], path: tuple[str, ...]) -> Any:
    """Take the value at a path out of a document; MISSING when it is not there.

    An object that becomes empty by it goes too; one that was empty before stays.

    Raises:
        InvalidConfigError: Something on the way is neither an object nor null.
    """
    places = [doc]
    for depth, part in enumerate(path[:-1], 1):
        inner = places[-1].get(part)
        if inner is None:
            return MISSING
        places.append(checked_type(inner, dict, path[:depth]))
    value = places[-1].pop(path[-1], MISSING)
    for depth in range(len(path) - 1, 0, -1):
        if value is not MISSING and not places[depth]:
            del places[depth - 1][path[depth - 1]]
    return value


def put_path(doc: dict[str, Any], path: tuple[str, ...], value: Any) -> None:
    """Put a value at a path of a document, making the objects on the way."""
    place = doc
    for part in path[:-1]:
        inner = place.get(part)
        if not isinstance(inner, dict):
            inner = place[part] = {}
        place = inner
    place[path[-1]] = value
