"""Wire fields: the table of the platform's configuration, read into a tree that can be walked beside a document."""

from __future__ import annotations

import copy
import functools
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from convai_lab.agents import wire_table, wire_table_settings

KINDS = frozenset({"string", "number", "integer", "boolean", "object", "list", "map", "any"})
EACH = "*"

_RANGE = re.compile(r"(-?[\d.]*?)(<?)\.\.(<?)([\d.]*)")


class _Missing:
    def __repr__(self) -> str:
        return "MISSING"


MISSING: Final = _Missing()
"""Stands for a value that is not there, where null would be a value."""


@dataclass
class WireField:
    """One field of the platform's configuration: its type, limits, default and the fields inside it."""

    kind: str = "object"
    words: tuple[str, ...] = ()
    nullable: bool = False
    required: bool = False
    low: float | None = None
    high: float | None = None
    low_excluded: bool = False
    high_excluded: bool = False
    pattern: str | None = None
    default: Any = MISSING
    ref: str = ""
    children: dict[str, WireField] = field(default_factory=dict)

    @property
    def each(self) -> WireField | None:
        """What every entry of this list or map looks like."""
        return self.children.get(EACH)

    def child(self, name: str) -> WireField | None:
        """Return the field of that name inside this one, if the table knows it."""
        return self.children.get(EACH) if self.kind == "map" else self.children.get(name)

    def for_value(self, value: Any) -> WireField:
        """Return the field that describes `value`: a reference is followed, a tool is told by its type."""
        if not self.ref:
            return self
        name = self.ref
        if name == "tool" and isinstance(value, Mapping):
            name = TOOL_SECTIONS.get(str(value.get("type")), "tool_common")
        target = section(name)
        own = {"nullable": self.nullable, "required": self.required, "default": self.default}
        return WireField(**{**vars(target), **own})


TOOL_SECTIONS = {"client": "client_tool", "webhook": "webhook_tool", "system": "system_tool"}


@functools.cache
def root() -> WireField:
    """Return the field that stands for the whole body of an agent."""
    return _tables()[""]


@functools.cache
def section(name: str) -> WireField:
    """Return a section that others refer to, such as ``client_tool`` or ``criterion``."""
    return _tables()[name]


def field_at(path: str) -> WireField:
    """Return the field at a dotted path from the top of the body.

    Example:
        >>> field_at("conversation_config.tts.speed").high
        1.2
    """
    found = root()
    for part in path.split("."):
        found = found.children[part].for_value(None)
    return found


def default_of(wire_field: WireField) -> Any:
    """Return a fresh default for a field that is not there, or MISSING when nothing has to be there."""
    if not isinstance(wire_field.default, _Missing):
        return copy.deepcopy(wire_field.default)
    if wire_field.kind != "object" or wire_field.required or wire_field.ref or not wire_field.children:
        return MISSING
    built = {name: default_of(child) for name, child in wire_field.children.items()}
    return {name: value for name, value in built.items() if value is not MISSING}


@functools.cache
def _tables() -> dict[str, WireField]:
    tables: dict[str, WireField] = {"": WireField()}
    base = tables[""]
    for line in _logical_lines(wire_table.AGENT + wire_table_settings.SETTINGS + wire_table.TOOLS):
        if line.startswith("["):
            base = _open_section(tables, line.strip("[]"))
            continue
        name, _, rest = line.partition(" ")
        read = _read(rest.strip())
        target = _descend(base, name) if name else base
        if read.ref and not name:
            target.children.update({key: copy.deepcopy(child) for key, child in tables[read.ref].children.items()})
            continue
        read.children = target.children
        vars(target).update(vars(read))
    return tables


def _logical_lines(text: str) -> list[str]:
    lines: list[str] = []
    for line in text.splitlines():
        bare = line.strip()
        if bare.startswith(("|", "+ ")) and lines:
            lines[-1] += bare if bare.startswith("|") else " " + bare[2:]
        elif bare:
            lines.append(line.rstrip())
    return lines


def _open_section(tables: dict[str, WireField], name: str) -> WireField:
    if name.startswith("@"):
        return tables.setdefault(name[1:], WireField())
    return _descend(tables[""], name) if name else tables[""]


def _descend(base: WireField, path: str) -> WireField:
    for part in path.split("."):
        base = base.children.setdefault(part, WireField())
    return base


def _read(text: str) -> WireField:
    head, _, default = text.partition(" = ")
    spec, *limits = head.split()
    name = spec.rstrip("?!")
    made = WireField(nullable="?" in spec, required="!" in spec)
    if name.startswith("@"):
        made.ref = name[1:]
    elif name in KINDS:
        made.kind = name
    else:
        made.kind, made.words = "word", tuple(name.split("|"))
    for limit in limits:
        _limit(made, limit)
    if default:
        made.default = json.loads(default)
    return made


def _limit(made: WireField, limit: str) -> None:
    if limit.startswith("~"):
        made.pattern = limit[1:]
        return
    match = _RANGE.fullmatch(limit)
    if match is None:
        raise ValueError(f"the wire table has a range that cannot be read: {limit!r}")
    low, low_open, high_open, high = match.groups()
    made.low, made.high = (float(low) if low else None), (float(high) if high else None)
    made.low_excluded, made.high_excluded = bool(low_open), bool(high_open)
