"""Argument match: is this value the one that a check asks for?"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from convai_lab.evaluation.check_fields import Fields, json_in, meant, number_in, refuse, shown

MISSING: Any = object()
"""What stands for an argument that was not given; None is a value of JSON."""

MATCHERS = ("equals", "any_of", "regex", "number", "present", "absent")
OPTIONS = ("tolerance",)


class Matcher(Protocol):
    """Says whether a value is the one that is wanted; `str()` says what is wanted."""

    def matches(self, value: Any) -> bool:
        """Say whether the value fits; `MISSING` stands for none at all."""


@dataclass(frozen=True)
class Equals:
    """The value's JSON is equal to one of these."""

    values: tuple[Any, ...]

    def matches(self, value: Any) -> bool:
        """Say whether the value is one of them."""
        return value is not MISSING and any(json_equal(value, wanted) for wanted in self.values)

    def __str__(self) -> str:
        return " or ".join(shown_json(value) for value in self.values)


@dataclass(frozen=True)
class Matches:
    """The value is a text (or a number, as it is written) in which the expression is found."""

    pattern: re.Pattern[str]

    def matches(self, value: Any) -> bool:
        """Search the value."""
        if isinstance(value, bool) or not isinstance(value, (str, int, float)):
            return False
        return self.pattern.search(str(value)) is not None

    def __str__(self) -> str:
        return f"/{self.pattern.pattern}/"


@dataclass(frozen=True)
class Near:
    """The value is a number, or a text that is one, no further than `tolerance` from the wanted one."""

    number: float
    tolerance: float = 0.0

    def matches(self, value: Any) -> bool:
        """Compare the value as a number."""
        if isinstance(value, bool) or not isinstance(value, (str, int, float)):
            return False
        try:
            got = float(value)
        except (ValueError, OverflowError):
            return False
        near = abs(got - self.number)
        return near <= self.tolerance or math.isclose(near, self.tolerance, rel_tol=1e-9)

    def __str__(self) -> str:
        return f"{self.number:g}" + (f"±{self.tolerance:g}" if self.tolerance else "")


@dataclass(frozen=True)
class Present:
    """The value is given (`wanted` true), or it is not; null counts as given."""

    wanted: bool

    def matches(self, value: Any) -> bool:
        """Say whether there is a value, or none."""
        return (value is not MISSING) is self.wanted

    def __str__(self) -> str:
        return "anything" if self.wanted else "nothing"


@dataclass(frozen=True)
class ArgumentsMatch:
    """Some arguments and what each must be; others do not matter."""

    wanted: Mapping[str, Matcher] = field(default_factory=dict)

    def matches(self, arguments: Mapping[str, Any]) -> bool:
        """Say whether every wanted argument fits."""
        return all(matcher.matches(arguments.get(name, MISSING)) for name, matcher in self.wanted.items())

    def __str__(self) -> str:
        return ", ".join(f"{name}={matcher}" for name, matcher in self.wanted.items())


def arguments_in(fields: Fields) -> ArgumentsMatch:
    """Read the wanted arguments of a check."""
    return ArgumentsMatch({name: matcher_in(raw, f"{fields.where}.{name}") for name, raw in fields.values.items()})


def matcher_in(raw: Any, where: str) -> Matcher:
    """Read what a value must be: a mapping with a matcher's name is one, anything else must be equal.

    Raises:
        InvalidValueError: It is neither a value of JSON nor a matcher; names the place.
    """
    if isinstance(raw, Mapping) and raw and any(name in (*MATCHERS, *OPTIONS) for name in raw):
        fields = Fields(where, raw)
        fields.only((*MATCHERS, *OPTIONS))
        return matcher_of(fields)
    if isinstance(raw, Mapping) and len(raw) == 1 and (hint := meant(name := next(iter(raw)), MATCHERS)):
        refuse(where, f"there is no matcher {shown(name)}{hint}; for an object of that shape write equals: {{...}}")
    return Equals((json_in(raw, where),))


def matcher_of(fields: Fields) -> Matcher:
    """Read the one matcher among some fields."""
    kind = fields.one_of(MATCHERS)
    if "tolerance" in fields and kind != "number":
        fields.fail("tolerance belongs to number")
    match kind:
        case "any_of":
            return Equals(_values(fields.json(kind), f"{fields.where}.{kind}"))
        case "regex":
            return Matches(fields.pattern(kind, ignore_case=False))
        case "number":
            tolerance = fields.number("tolerance") if "tolerance" in fields else 0.0
            return Near(number_in(fields.values[kind], f"{fields.where}.{kind}"), tolerance)
        case "present" | "absent":
            return Present(fields.flag(kind, True) is (kind == "present"))
    return Equals((fields.json(kind),))


def json_equal(one: Any, other: Any) -> bool:
    """Say whether two values have the same JSON: 1 and 1.0 are the same number, true is none.

    Example:
        >>> json_equal({"n": 1}, {"n": 1.0}), json_equal(True, 1), json_equal("1", 1)
        (True, False, False)
    """
    if isinstance(one, bool) or isinstance(other, bool):
        return one is other
    if isinstance(one, Mapping) and isinstance(other, Mapping):
        return one.keys() == other.keys() and all(json_equal(one[name], other[name]) for name in one)
    if _is_list(one) and _is_list(other):
        return len(one) == len(other) and all(map(json_equal, one, other))
    return bool(one == other)


def difference(wanted: Any, got: Any, *, subset: bool, path: str = "") -> str:
    """Say where `got` first differs from `wanted`, or return an empty text; a subset may have more keys."""
    at = path or "the state"
    if isinstance(wanted, Mapping) and isinstance(got, Mapping):
        for name in wanted:
            inner = f"{path}.{name}" if path else str(name)
            if name not in got:
                return f"{inner} is missing"
            if found := difference(wanted[name], got[name], subset=subset, path=inner):
                return found
        more = [] if subset else [name for name in got if name not in wanted]
        return f"{at} has {shown(more[0])} too" if more else ""
    return "" if json_equal(wanted, got) else f"{at} is {shown_json(got)}, not {shown_json(wanted)}"


def shown_json(value: Any) -> str:
    """Return a value as short JSON."""
    try:
        text = json.dumps(value, ensure_ascii=False, default=str)
    except (TypeError, ValueError, RecursionError):
        text = str(value)
    return text if len(text) <= 60 else f"{text[:60]}…"


def _values(raw: Any, where: str) -> tuple[Any, ...]:
    if not isinstance(raw, list) or not raw:
        refuse(where, f"must be a list with at least one value, got {shown(raw)}")
    return tuple(raw)


def _is_list(value: Any) -> bool:
    return isinstance(value, Sequence) and not isinstance(value, (str, bytes))
