"""Scenario fields: what may be written for a field of a scenario, and what does it become?"""

from __future__ import annotations

import difflib
import math
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, fields
from typing import Any

from convai_lab.agents.plain_json import oversize, plain_json, shown
from convai_lab.conversations.turn import Turn
from convai_lab.errors import InvalidValueError
from convai_lab.simulation.persona import find_persona
from convai_lab.simulation.scenario import Scenario
from convai_lab.simulation.tool_mocks import Mock, mocks_from

MAX_ID_CHARS = 200
SLUG_CHARS = 60
MAX_TEXT_CHARS = 20_000
MAX_TURNS = 1000
MAX_ITEMS = 10_000
LANGUAGE = re.compile(r"[A-Za-z]{2,3}(?:[-_][A-Za-z0-9]{2,8})*")

HISTORY = "history"
"""Marks turns that were given at the start; nobody is judged by them."""

FIELD_NAMES = tuple(field.name for field in fields(Scenario))


def checked_fields(given: Mapping[str, Any]) -> dict[str, Any]:
    """Return the fields of a scenario in their one form; those that have their default anyway are left out.

    Raises:
        InvalidValueError: A value is wrong; its `field` names the scenario and the field.
    """
    opening = _text("opening", given.get("opening", ""), "a scenario: opening")
    name = _id(given.get("id"), opening)
    where = f"scenario {shown(name)}"
    told = [key for key in given if key not in ("id", "opening") and not _is_default(key, given[key])]
    return {"id": name, "opening": opening, **{key: _MAKERS[key](key, given[key], f"{where}: {key}") for key in told}}


def refuse_unknown_fields(given: Mapping[str, Any]) -> None:
    """Refuse a row with a field that scenarios do not have.

    Raises:
        InvalidValueError: There is one; the message says which was meant, or which there are.
    """
    if unknown := [name for name in given if name not in FIELD_NAMES]:
        raise _unknown(str(unknown[0]), given)


def _is_default(name: str, value: Any) -> bool:
    """Say whether a value is what the field has by itself, and cannot be changed by whoever gave it."""
    default = _DEFAULTS[name]
    return type(value) is type(default) and value == default and not isinstance(value, dict)


def plain_scenario(scenario: Scenario) -> dict[str, Any]:
    """Return a scenario as plain JSON, without the fields that have their default."""
    told = {name: value for name in FIELD_NAMES if (value := getattr(scenario, name)) != _DEFAULTS[name]}
    if "mocks" in told:
        told["mocks"] = {name: [_plain_mock(mock) for mock in mocks] for name, mocks in scenario.mocks.items()}
    if scenario.persona is not None:
        told["persona"] = asdict(scenario.persona)
    if scenario.history:
        told["history"] = [{"role": turn.role, "text": turn.text} for turn in scenario.history]
    plain: dict[str, Any] = plain_json(told)
    return plain


def _plain_mock(mock: Mock) -> dict[str, Any]:
    told = {name: value for name, value in asdict(mock).items() if value not in ({}, None, 0.0)}
    return told if mock.error is not None else {**told, "result": mock.result}


def _unknown(name: str, given: Mapping[str, Any]) -> InvalidValueError:
    close = difflib.get_close_matches(name, FIELD_NAMES, n=1)
    hint = f"did you mean {close[0]}?" if close else f"the fields are {', '.join(FIELD_NAMES)}"
    whose = f"scenario {shown(given['id'])}" if given.get("id") else "a scenario"
    return InvalidValueError(f"is no field of a scenario; {hint}", field=f"{whose}: {name}")


def _id(value: Any, opening: str) -> str:
    if _is_number(value):
        value = _number_text(value)
    if value is None or value == "":
        value = "_".join(re.findall(r"[^\W_]+", opening.lower()))[:SLUG_CHARS].strip("_")
        if not value:
            raise InvalidValueError("is missing: give it an id, such as id: order_late", field="a scenario: id")
    if not isinstance(value, str) or not value.strip() or len(value) > MAX_ID_CHARS:
        raise InvalidValueError(
            f"must be a text of 1 to {MAX_ID_CHARS} characters, got {shown(value)}", field="a scenario: id"
        )
    return value.strip()


def _text(_name: str, value: Any, where: str) -> str:
    if value is None:
        return ""
    if _is_number(value):
        return _number_text(value)
    if not isinstance(value, str):
        raise InvalidValueError(f"must be a text, got {shown(value)}: put it in quotes", field=where)
    if len(value) > MAX_TEXT_CHARS:
        raise InvalidValueError(
            f"is {len(value):,} characters long; at most {MAX_TEXT_CHARS:,} can be said", field=where
        )
    return value.strip()


def _text_or_none(name: str, value: Any, where: str) -> str | None:
    return _text(name, value, where) or None


def _facts(_name: str, value: Any, where: str) -> dict[str, str]:
    facts = _mapping(_name, value, where)
    return {key: _fact(known, f"{where}.{key}") for key, known in facts.items() if known is not None}


def _fact(value: Any, where: str) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list):
        return " and ".join(_fact(part, where) for part in value)
    if isinstance(value, Mapping):
        raise InvalidValueError(
            "must be what the caller would say, as a text; give each detail a key of its own", field=where
        )
    return _text("facts", value, where)


def _mapping(_name: str, value: Any, where: str) -> dict[str, Any]:
    if value is None or (type(value) is dict and not value):
        return {}
    if not isinstance(value, Mapping):
        raise InvalidValueError(f"must be a mapping such as {{name: value}}, got {shown(value)}", field=where)
    if not all(isinstance(key, str) for key in value):
        value = {f"{key}": inner for key, inner in value.items()}
    copied: dict[str, Any] = _plain(value, where)
    return copied


def _mappings(name: str, value: Any, where: str) -> tuple[dict[str, Any], ...]:
    """Return a list of mappings; for checks a single mapping is a list of its entries."""
    if isinstance(value, Mapping):
        value = [{key: inner} for key, inner in value.items()] if name == "checks" else [value]
    listed = _items(value, where, like="[{said: tomorrow}]" if name == "checks" else "[{tool: order_status}]")
    for number, one in enumerate(listed):
        if not isinstance(one, Mapping) or not one or not all(isinstance(key, str) for key in one):
            example = "said: tomorrow" if name == "checks" else '{tool: order_status, arguments: {order_id: "1234"}}'
            raise InvalidValueError(
                f"must be a mapping such as {example}, got {shown(one)}", field=f"{where}[{number}]"
            )
    return tuple(_plain(one, where) for one in listed)


def _max_turns(_name: str, value: Any, where: str) -> int:
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= MAX_TURNS:
        raise InvalidValueError(f"must be a whole number from 1 to {MAX_TURNS}, got {shown(value)}", field=where)
    return value


def _mocks(_name: str, value: Any, where: str) -> dict[str, tuple[Mock, ...]]:
    return mocks_from({} if value is None else value, where=where)


def _persona(_name: str, value: Any, where: str) -> Any:
    try:
        return find_persona(value or None)
    except InvalidValueError as error:
        raise InvalidValueError(f"{error}", field=where.removesuffix(": persona")) from None


def _acoustics(_name: str, value: Any, where: str) -> dict[str, float]:
    """Return the settings that are given; what sound is made of is loaded only for them."""
    if value is None or value == {}:
        return {}
    from convai_lab.simulation.acoustics import find_acoustics

    try:
        found = find_acoustics(value)
    except InvalidValueError as error:
        raise InvalidValueError(f"{error}", field=where.removesuffix(": acoustics")) from None
    given = value if isinstance(value, Mapping) else asdict(found)
    return {name: getattr(found, name) for name in given if getattr(found, name) is not None}


def _seeds(_name: str, value: Any, where: str) -> tuple[int, ...]:
    listed = [value] if isinstance(value, int) else _items(value, where, like="[1, 2, 3]")
    for seed in listed:
        if isinstance(seed, bool) or not isinstance(seed, int) or not 0 <= seed < 2**63:
            raise InvalidValueError(f"must be whole numbers from 0, such as [1, 2, 3], got {shown(seed)}", field=where)
    if len(set(listed)) < len(listed):
        raise InvalidValueError("names a seed twice: a second run would be the same", field=where)
    return tuple(listed)


def _texts(name: str, value: Any, where: str) -> tuple[str, ...]:
    if isinstance(value, str):
        value = [part for part in re.split(r"[;,]", value) if part.strip()] if name == "tags" else [value]
    said = [_text(name, one, f"{where}[{number}]") for number, one in enumerate(_items(value, where, like="[a, b]"))]
    return tuple(text for text in said if text)


def _history(_name: str, value: Any, where: str) -> tuple[Turn, ...]:
    listed = _items(getattr(value, "turns", value), where, like="[{user: Hello}, {agent: Hi}]")
    return tuple(_turn(one, f"{where}[{number}]") for number, one in enumerate(listed))


def _turn(value: Any, where: str) -> Turn:
    if isinstance(value, Turn):
        return value.with_changes(marks=tuple(dict.fromkeys((*value.marks, HISTORY))))
    told = dict(value) if isinstance(value, Mapping) else {}
    if "role" in told:
        told = {told["role"]: told.get("text", told.get("message"))}
    role, text = next(iter(told.items()), (None, None))
    if len(told) != 1 or role not in ("user", "agent") or not isinstance(text, str):
        raise InvalidValueError(
            f"must be `user: what was said` or `agent: what was said`, got {shown(value)}", field=where
        )
    said = _text("history", text, where)
    return Turn(role="user" if role == "user" else "agent", text=said, marks=(HISTORY,))


def _language(_name: str, value: Any, where: str) -> str | None:
    if value is None or value == "":
        return None
    if not isinstance(value, str) or not LANGUAGE.fullmatch(value.strip()):
        raise InvalidValueError(f"must be a code such as en or pt-br, got {shown(value)}", field=where)
    return value.strip()


def _items(value: Any, where: str, *, like: str) -> list[Any]:
    if value is None:
        return []
    if isinstance(value, str | bytes | Mapping) or not isinstance(value, Iterable):
        raise InvalidValueError(f"must be a list such as {like}, got {shown(value)}", field=where)
    listed = list(value)
    if len(listed) > MAX_ITEMS:
        raise InvalidValueError(f"holds {len(listed):,} entries; at most {MAX_ITEMS:,} are read", field=where)
    return listed


def _plain(value: Any, where: str) -> Any:
    if too_big := oversize(value):
        raise InvalidValueError(too_big, field=where)
    return plain_json(value)


def _number_text(value: Any) -> str:
    """Return 1234 for 1234.0, which a column of numbers with gaps makes of it."""
    return f"{int(value)}" if float(value).is_integer() else f"{value}"


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


_MAKERS: dict[str, Callable[[str, Any, str], Any]] = {
    "goal": _text,
    "facts": _facts,
    "checks": _mappings,
    "max_turns": _max_turns,
    "variables": _mapping,
    "mocks": _mocks,
    "persona": _persona,
    "expected_tool_calls": _mappings,
    "expected_outcome": _text_or_none,
    "seeds": _seeds,
    "tags": _texts,
    "history": _history,
    "language": _language,
    "lines": _texts,
    "state": _mapping,
    "acoustics": _acoustics,
}

_DEFAULTS: dict[str, Any] = {
    **dict.fromkeys(FIELD_NAMES, ()),
    **{name: {} for name in ("facts", "variables", "mocks", "state", "acoustics")},
    **dict.fromkeys(("id", "opening", "goal"), ""),
    **dict.fromkeys(("persona", "expected_outcome", "language")),
    "max_turns": Scenario.max_turns,
}
