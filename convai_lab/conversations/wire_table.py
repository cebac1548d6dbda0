"""Wire table: how do a dataclass of ours and an object of the platform's JSON become each other, without loss?

A `Row` says where the platform keeps one of our fields. What the platform has no place for, or would round, goes
under ``"convai_lab"``; what we do not know stays in `extra`, in its own place. So both ways back lead home:
reading what was written gives an equal value, and writing what was read keeps every key.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Any, Final, NamedTuple, TypeGuard

from convai_lab.errors import InvalidValueError

OURS = "convai_lab"
"""The key for what the platform has no place for."""


Defaults = Callable[[Mapping[str, Any]], Mapping[tuple[str, ...], Any]]
"""Takes our values; returns the platform's required keys that no field stands for."""


def no_defaults(values: Mapping[str, Any]) -> Mapping[tuple[str, ...], Any]:  # noqa: ARG001 - a Defaults
    """Return none."""
    return {}


class _Absent:
    def __repr__(self) -> str:
        return "ABSENT"


ABSENT: Final = _Absent()
"""The key is not there; a `write` that returns it leaves the key out."""

Check = Callable[[Any, str], Any]
"""Takes a JSON value and its path; returns our value or raises InvalidValueError."""


def _as_is(value: Any) -> Any:
    return value


@dataclass(frozen=True, kw_only=True)
class Row:
    """One field: its check, its place in the platform's JSON (none: ours alone), and how to read and write it there.

    A `lossless` row keeps everything it reads in its own value, so that nothing of it has to stay in `extra`. What the
    `write` of a `fresh` one returns was made by it all the way down, so that it needs no copy.
    """

    field: str
    check: Check
    path: tuple[str, ...] = ()
    default: Any = None
    read: Check | None = None
    write: Callable[[Any], Any] = _as_is
    own: Callable[[Any], Any] = _as_is
    required: bool = False
    lossless: bool = False
    fresh: bool = False

    @cached_property
    def is_faithful(self) -> bool:
        """Whether the platform keeps exactly what is written."""
        return self.lossless or (bool(self.path) and self.read is None and self.write is _as_is)


class Reading(NamedTuple):
    """Our fields as a document tells them, and what is left of it."""

    values: dict[str, Any]
    extra: dict[str, Any]


def read_fields(doc: Any, rows: Sequence[Row], where: str, defaults: Defaults = no_defaults) -> Reading:
    """Read an object: our fields (what we wrote ourselves wins over what the platform rounds), and the rest.

    The rest is what writing the fields and the `defaults` would not bring back.

    Raises:
        InvalidValueError: It is no object, or a field has a wrong type; `field` is its path.
    """
    ours = _object(object_at(doc, where).get(OURS), _join(where, OURS))
    values: dict[str, Any] = {}
    known: list[tuple[str, ...]] = []
    for row in rows:
        values[row.field] = _read(doc, row, where)
        if row.field in ours:
            values[row.field] = row.check(ours[row.field], _join(where, OURS, row.field))
            known.append((OURS, row.field))
        if row.path and (row.lossless or covers(row.write(values[row.field]), dig(doc, row.path))):
            known.append(row.path)
    known += [path for path, default in defaults(values).items() if covers(default, dig(doc, path))]
    return Reading(values, _without(doc, known))


def write_fields(
    values: Mapping[str, Any], rows: Sequence[Row], extra: Mapping[str, Any], defaults: Defaults = no_defaults
) -> dict[str, Any]:
    """Return the platform's JSON: what we do not know in its place, our `values` over it, defaults beside it."""
    blank = _NOTHING if extra else _blank_of(rows)
    doc: dict[str, Any] = copied(extra or blank.doc)
    own: dict[str, Any] = {}
    for row in rows:
        wanted = values[row.field]
        if wanted is row.default and row.field in blank.fields:
            continue
        if not row.path:
            if not _same(row.default, wanted):
                own[row.field] = copied(row.own(wanted))
            continue
        if dig(doc, row.path) is ABSENT or not _same(_quietly(doc, row), wanted):
            _put(doc, row.path, row.write(wanted), is_fresh=row.fresh)
        if not row.is_faithful and not _same(_quietly(doc, row), wanted):
            own[row.field] = copied(row.own(wanted))
    for path, default in defaults(values).items():
        if dig(doc, path) is ABSENT:
            _put(doc, path, default)
    if own or OURS in doc:
        unknown = doc.get(OURS)
        doc[OURS] = {**(unknown if isinstance(unknown, dict) else {}), **own}
    return doc


class _Blank(NamedTuple):
    """What most of an object says, made once: the JSON of its defaults, and the fields that are read back from it."""

    rows: Sequence[Row]
    doc: Mapping[str, Any]
    fields: frozenset[str]


_NOTHING = _Blank((), {}, frozenset())
_blanks: dict[int, _Blank] = {}
"""By the identity of the rows, which stay."""


def _blank_of(rows: Sequence[Row]) -> _Blank:
    if id(rows) not in _blanks:
        doc: dict[str, Any] = {}
        for row in rows:
            if row.path:
                _put(doc, row.path, None if row.required else row.write(row.default))
        same = (row.field for row in rows if not row.required and _same(_quietly(doc, row), row.default))
        _blanks[id(rows)] = _Blank(rows, doc, frozenset(same))
    return _blanks[id(rows)]


_EMPTY: dict[str, Any] = {}
_PLAIN = frozenset((str, int, float, bool, type(None)))


def _is_object(value: Any) -> TypeGuard[Mapping[str, Any]]:
    """Say whether it is an object of JSON; asking for the type first is ten times as fast for nearly all."""
    return type(value) is dict or isinstance(value, Mapping)


def dig(doc: Any, path: Sequence[str]) -> Any:
    """Return the value at `path`, or ABSENT."""
    for key in path:
        if not _is_object(doc) or key not in doc:
            return ABSENT
        doc = doc[key]
    return doc


def copied(value: Any) -> Any:
    """Return a copy of JSON that shares nothing that could be changed."""
    if type(value) in _PLAIN or isinstance(value, (str, int, float)):
        return value
    if _is_object(value):
        return {key: item if type(item) in _PLAIN else copied(item) for key, item in value.items()}
    return [copied(item) for item in value] if isinstance(value, (list, tuple)) else value


def covers(whole: Any, part: Any) -> bool:
    """Say whether `whole` holds every key and value of `part`."""
    if type(part) in _PLAIN:
        return _same(whole, part)
    if _is_object(part):
        return _is_object(whole) and all(key in whole and covers(whole[key], part[key]) for key in part)
    if isinstance(part, (list, tuple)):
        same_length = isinstance(whole, (list, tuple)) and len(whole) == len(part)
        return same_length and all(covers(a, b) for a, b in zip(whole, part, strict=True))
    return _same(whole, part)


def any_value(value: Any, where: str) -> Any:  # noqa: ARG001 - a Check
    """Take any JSON."""
    return value


def text(value: Any, where: str) -> str:
    """Take a text; null is the empty one."""
    if value is None:
        return ""
    if not isinstance(value, str):
        raise _wrong("a text", value, where)
    return value


def text_or_none(value: Any, where: str) -> str | None:
    """Take a text or null."""
    return None if value is None else text(value, where)


def said(value: Any, where: str) -> str | None:
    """Take a text or null; the empty text says nothing."""
    return text(value, where) or None


def number(value: Any, where: str) -> float | None:
    """Take a finite number or null."""
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not _is_finite(value):
        raise _wrong("a number", value, where)
    return value


def seconds(value: Any, where: str) -> float | None:
    """Take a finite number or null, as a float."""
    found = number(value, where)
    return None if found is None else float(found)


def whole_number(value: Any, where: str) -> int | None:
    """Take a whole number or null."""
    found = number(value, where)
    if found is not None and found != int(found):
        raise _wrong("a whole number", value, where)
    return None if found is None else int(found)


def flag(value: Any, where: str) -> bool:
    """Take true or false; null is false."""
    if value is not None and not isinstance(value, bool):
        raise _wrong("true or false", value, where)
    return bool(value)


def flag_or_none(value: Any, where: str) -> bool | None:
    """Take true, false or null."""
    return None if value is None else flag(value, where)


def texts(value: Any, where: str) -> tuple[str, ...]:
    """Take a list of texts."""
    return tuple(text(item, _join(where, i)) for i, item in enumerate(items(value, where)))


def items(value: Any, where: str) -> list[Any]:
    """Take a list; null is the empty one."""
    if value is None:
        return []
    if not isinstance(value, (list, tuple)):
        raise _wrong("a list", value, where)
    return list(value)


def mapping(value: Any, where: str) -> dict[str, Any]:
    """Take an object; null is the empty one."""
    return dict(_object(value, where))


def one_of(*choices: str) -> Check:
    """Make a check that takes one of `choices`."""

    def check(value: Any, where: str) -> str:
        if value not in choices:
            raise _wrong(f"one of {', '.join(choices)}", value, where)
        return str(value)

    return check


def list_of(read: Callable[[Any, str], Any]) -> Check:
    """Make a check that takes a list of objects, each read by `read`."""

    def check(value: Any, where: str) -> tuple[Any, ...]:
        return tuple(read(item, _join(where, i)) for i, item in enumerate(items(value, where)))

    return check


def object_at(value: Any, where: str) -> Mapping[str, Any]:
    """Take an object, and nothing else."""
    if _is_object(value):
        return value
    raise _wrong("an object", value, where)


def arguments_in(value: Any, where: str) -> dict[str, Any]:
    """Take arguments as a JSON text; a text that is no JSON object gives none (and stays in `extra` as it is)."""
    written = text(value, where) or "{}"
    try:
        found = json.loads(written, parse_constant=_refuse)
    except (ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def _refuse(constant: str) -> Any:
    raise ValueError(constant)


def _read(doc: Mapping[str, Any], row: Row, where: str) -> Any:
    if not row.path:
        return dict(row.default) if isinstance(row.default, dict) else row.default
    inner: Any = doc
    for depth, key in enumerate(row.path[:-1]):
        inner = inner.get(key, _EMPTY)
        if type(inner) is not dict:
            inner = _object(inner, _join(where, *row.path[: depth + 1]))
    raw = inner.get(row.path[-1])
    if raw is None:
        if row.required:
            raise InvalidValueError(
                "is missing: this is no conversation of the platform", field=_join(where, *row.path)
            )
        return dict(row.default) if isinstance(row.default, dict) else row.default
    return (row.read or row.check)(raw, _join(where, *row.path))


def _quietly(doc: Mapping[str, Any], row: Row) -> Any:
    try:
        return _read(doc, row, "")
    except InvalidValueError:
        return ABSENT


def _same(a: Any, b: Any) -> bool:
    return bool(a == b) and isinstance(a, bool) == isinstance(b, bool)


def _put(doc: dict[str, Any], path: Sequence[str], value: Any, *, is_fresh: bool = False) -> None:
    """Set the value at `path`; ABSENT takes it out, and makes no objects on the way."""
    if value is ABSENT:
        _take_out(doc, path)
        return
    for key in path[:-1]:
        if not isinstance(doc.get(key), dict):
            doc[key] = {}
        doc = doc[key]
    doc[path[-1]] = value if is_fresh else copied(value)


def _without(doc: Mapping[str, Any], paths: Sequence[tuple[str, ...]]) -> dict[str, Any]:
    """Return a copy of `doc` without the values at `paths`."""
    whole = {path[0] for path in paths if len(path) == 1}
    rest: dict[str, Any] = {key: copied(value) for key, value in doc.items() if key not in whole}
    for path in paths:
        if len(path) > 1:
            _take_out(rest, path)
    return rest


def _take_out(doc: dict[str, Any], path: Sequence[str]) -> None:
    """Delete the value at `path`, and the objects that are empty because of it."""
    trail = [doc]
    for key in path[:-1]:
        if not isinstance(inner := trail[-1].get(key), dict):
            return
        trail.append(inner)
    if trail[-1].pop(path[-1], ABSENT) is ABSENT:
        return
    for depth in range(len(path) - 2, -1, -1):
        if not trail[depth + 1]:
            del trail[depth][path[depth]]


def _object(value: Any, where: str) -> Mapping[str, Any]:
    return {} if value is None else object_at(value, where)


def _is_finite(value: float) -> bool:
    return isinstance(value, int) or math.isfinite(value)


def _wrong(wanted: str, value: Any, where: str) -> InvalidValueError:
    shown = json.dumps(value, default=str) if not isinstance(value, (dict, list)) else type(value).__name__
    return InvalidValueError(f"must be {wanted}, got {shown[:60]}", field=where)


@lru_cache(maxsize=4096)
def _join(*parts: str | int) -> str:
    return ".".join(str(part) for part in parts if part != "")
