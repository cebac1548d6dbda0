"""Tool mocks: what does a tool answer in a simulation, and what does it change in the invented world?"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from convai_lab.agents.plain_json import oversize, plain_json, shown
from convai_lab.errors import InvalidValueError

MAX_MOCKS = 1000
MAX_DELAY_SECS = 3600.0
MOCK_FIELDS = ("when", "given", "result", "error", "set", "delay_secs")

_ARGUMENT = re.compile(r"\{\{\s*([^\W\d]\w*)\s*\}\}")
_NOTHING = object()


@dataclass(frozen=True, kw_only=True)
class Mock:
    """One answer of a tool; the first that fits is given.

    Args:
        when: It fits when the call has at least these arguments.
        given: It fits only while the state has these values.
        result: What the tool answers; ``{{name}}`` stands for the argument of that name.
        error: The tool fails with this text instead.
        set: What the call writes into the state; ``{{name}}`` as in `result`.
        delay_secs: How long the tool takes, on the clock of the conversation.
    """

    when: Mapping[str, Any] = field(default_factory=dict)
    given: Mapping[str, Any] = field(default_factory=dict)
    result: Any = None
    error: str | None = None
    set: Mapping[str, Any] = field(default_factory=dict)
    delay_secs: float = 0.0

    def fits(self, arguments: Mapping[str, Any], state: Mapping[str, Any]) -> bool:
        """Say whether this is the answer to a call with these arguments in this state."""
        return _holds(self.when, arguments) and _holds(self.given, state)

    def answer(self, arguments: Mapping[str, Any]) -> Any:
        """Return the result, with the arguments of the call filled in."""
        return filled(self.result, arguments)

    def change(self, state: dict[str, Any], arguments: Mapping[str, Any]) -> None:
        """Write what the call changes into the state; values of `set` with a dot in their name go one level down."""
        for name, value in self.set.items():
            *path, last = name.split(".")
            place = state
            for part in path:
                inner = place.get(part)
                place[part] = place = dict(inner) if isinstance(inner, Mapping) else {}
            place[last] = filled(value, arguments)


def filled(value: Any, arguments: Mapping[str, Any]) -> Any:
    """Return `value` with every ``{{name}}`` replaced by the argument of that name; unknown ones stay as they are.

    A text that is nothing but one ``{{name}}`` becomes the argument itself, whatever its type.
    """
    if isinstance(value, Mapping):
        return {name: filled(inner, arguments) for name, inner in value.items()}
    if isinstance(value, list | tuple):
        return [filled(inner, arguments) for inner in value]
    if not isinstance(value, str) or "{{" not in value:
        return value
    if (whole := _ARGUMENT.fullmatch(value.strip())) and whole[1] in arguments:
        return arguments[whole[1]]
    return _ARGUMENT.sub(lambda match: str(arguments.get(match[1], match[0])), value)


def mocks_from(value: Any, *, where: str) -> dict[str, tuple[Mock, ...]]:
    """Return mocks by the name of their tool.

    Raises:
        InvalidValueError: One is malformed; it names where.
    """
    if not isinstance(value, Mapping):
        raise InvalidValueError(
            f"must be a mapping from tools to answers, such as order_status: [{{result: shipped}}], got {shown(value)}",
            field=where,
        )
    return {str(name): tool_mocks(listed, where=f"{where}.{name}") for name, listed in value.items()}


def tool_mocks(value: Any, *, where: str) -> tuple[Mock, ...]:
    """Return the mocks of one tool, given as a list or as a single one.

    Raises:
        InvalidValueError: One is malformed; it names where.
    """
    if isinstance(value, Mapping | Mock):
        return (_mock(value, where),)
    if isinstance(value, str) or not isinstance(value, Iterable):
        raise InvalidValueError(
            f"must be a list of answers, such as [{{result: shipped}}], got {shown(value)}", field=where
        )
    listed = list(value)
    if not 0 < len(listed) <= MAX_MOCKS:
        raise InvalidValueError(f"must hold from 1 to {MAX_MOCKS:,} answers, got {len(listed):,}", field=where)
    return tuple(_mock(one, f"{where}[{number}]") for number, one in enumerate(listed))


def _mock(value: Any, where: str) -> Mock:
    if isinstance(value, Mock):
        return value
    if not isinstance(value, Mapping):
        raise InvalidValueError(f"must be a mapping such as {{result: shipped}}, got {shown(value)}", field=where)
    if unknown := [name for name in value if name not in MOCK_FIELDS]:
        raise InvalidValueError(
            f"is no field of a mock; they are {', '.join(MOCK_FIELDS)}", field=f"{where}.{unknown[0]}"
        )
    if too_big := oversize(value):
        raise InvalidValueError(too_big, field=where)
    if ("result" in value) == ("error" in value):
        raise InvalidValueError("needs a `result` or an `error`, and not both", field=where)
    return Mock(
        when=_mapping(value, "when", where),
        given=_mapping(value, "given", where),
        result=plain_json(value.get("result")),
        error=_error(value.get("error", _NOTHING), where),
        set=_mapping(value, "set", where),
        delay_secs=_delay(value.get("delay_secs", 0.0), where),
    )


def _mapping(value: Mapping[str, Any], name: str, where: str) -> dict[str, Any]:
    given = value.get(name)
    if given is None:
        return {}
    if not isinstance(given, Mapping) or not all(isinstance(key, str) for key in given):
        raise InvalidValueError(
            f'must be a mapping such as {{order_id: "1234"}}, got {shown(given)}', field=f"{where}.{name}"
        )
    copied: dict[str, Any] = plain_json(given)
    return copied


def _error(value: Any, where: str) -> str | None:
    if value is _NOTHING:
        return None
    if not isinstance(value, str) or not value.strip():
        raise InvalidValueError(f"must be a text that says what went wrong, got {shown(value)}", field=f"{where}.error")
    return value


def _delay(value: Any, where: str) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= MAX_DELAY_SECS:
        raise InvalidValueError(
            f"must be seconds from 0 to {MAX_DELAY_SECS:g}, got {shown(value)}", field=f"{where}.delay_secs"
        )
    return float(value)


def _holds(wanted: Mapping[str, Any], there: Mapping[str, Any]) -> bool:
    return all(_same(value, _at(there, name)) for name, value in wanted.items())


def _at(there: Mapping[str, Any], name: str) -> Any:
    if name in there:
        return there[name]
    head, dot, rest = name.partition(".")
    inner = there.get(head, _NOTHING)
    return _at(inner, rest) if dot and isinstance(inner, Mapping) else _NOTHING


def _same(wanted: Any, there: Any) -> bool:
    """Compare as JSON does: true is not 1."""
    if isinstance(wanted, bool) or isinstance(there, bool):
        return wanted is there
    return bool(wanted == there)
