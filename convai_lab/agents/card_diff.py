"""Card diff: what changed between two versions of an agent, line by line and entry by entry?"""

from __future__ import annotations

import dataclasses
import difflib
import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from convai_lab.agents.agent import Change
from convai_lab.agents.tools import ClientTool, SystemTool, WebhookTool

MAX_DIFF_LINES = 2000
MAX_ROWS = 40
CONTEXT_LINES = 2
VALUE_CHARS = 200
NOTHING = "(none)"


class DiffLine(NamedTuple):
    """One line of a text that changed; `mark` is ``+`` for new, ``-`` for gone, blank for unchanged."""

    mark: str
    text: str


class DiffRow(NamedTuple):
    """One change as it is shown: a value before and after, or the lines of a text."""

    label: str
    before: str
    after: str
    lines: tuple[DiffLine, ...] = ()


def diff_rows(changes: Sequence[Change]) -> list[DiffRow]:
    """Spread changes into rows: texts of several lines by line, lists and objects by entry."""
    rows = [row for change in changes for row in _rows(change.field, change.before, change.after)]
    if len(rows) > MAX_ROWS:
        rows = [*rows[:MAX_ROWS], DiffRow(f"and {len(rows) - MAX_ROWS} more changes", "", "")]
    return rows


def value_text(value: Any) -> str:
    """Return a value as one short line."""
    text = _text(value)
    return text if len(text) <= VALUE_CHARS else f"{text[:VALUE_CHARS]}… ({len(text):,} characters)"


def _rows(label: str, before: Any, after: Any) -> Iterator[DiffRow]:
    if isinstance(before, str) and isinstance(after, str) and ("\n" in before or "\n" in after):
        yield DiffRow(label, "", "", tuple(_lines(before, after)))
    elif _is_named(before) and _is_named(after):
        yield from _entry_rows(label, _by_name(before), _by_name(after))
    elif dataclasses.is_dataclass(before) and type(before) is type(after):
        yield from _entry_rows(label, _fields(before), _fields(after))
    elif isinstance(before, Mapping) and isinstance(after, Mapping):
        yield from _entry_rows(label, before, after)
    else:
        yield DiffRow(label, value_text(before), value_text(after))


def _entry_rows(label: str, before: Mapping[str, Any], after: Mapping[str, Any]) -> Iterator[DiffRow]:
    for name in dict.fromkeys([*before, *after]):
        if name not in before:
            yield DiffRow(f"{label}.{name}", NOTHING, value_text(after[name]))
        elif name not in after:
            yield DiffRow(f"{label}.{name}", value_text(before[name]), NOTHING)
        elif before[name] != after[name]:
            yield from _rows(f"{label}.{name}", before[name], after[name])


def _lines(before: str, after: str) -> Iterator[DiffLine]:
    old, new = before.splitlines(), after.splitlines()
    if max(len(old), len(new)) > MAX_DIFF_LINES:
        yield DiffLine(" ", f"{len(old):,} lines before, {len(new):,} now: too many to compare here")
        return
    for line in list(difflib.unified_diff(old, new, n=CONTEXT_LINES, lineterm=""))[3:]:
        yield DiffLine(" ", "…") if line.startswith("@@") else DiffLine(line[0], line[1 : VALUE_CHARS * 5])


def _is_named(value: Any) -> bool:
    if not isinstance(value, tuple):
        return False
    return all(dataclasses.is_dataclass(item) and hasattr(item, "name") for item in value)


def _by_name(items: Sequence[Any]) -> dict[str, Any]:
    return {f"{getattr(item, 'id', '') or ''}{item.name}" if _twice(item, items) else item.name: item for item in items}


def _twice(item: Any, items: Sequence[Any]) -> bool:
    return [other.name for other in items].count(item.name) > 1


def _fields(value: Any) -> dict[str, Any]:
    return {f.name: getattr(value, f.name) for f in dataclasses.fields(value) if f.compare}


def _text(value: Any) -> str:
    if value is None or value in ("", (), {}):
        return NOTHING
    if isinstance(value, str):
        return value
    if isinstance(value, ClientTool):
        return f"{value.name}({', '.join(value.parameters.get('properties') or ())})"
    if isinstance(value, WebhookTool):
        return f"{value.method} {value.url}"
    if isinstance(value, SystemTool) and not value.params:
        return value.description or "system tool"
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return ", ".join(f"{name}: {_text(inner)}" for name, inner in _fields(value).items() if inner)
    if isinstance(value, tuple) and all(isinstance(item, str) for item in value):
        return ", ".join(value)
    try:
        return json.dumps(value, ensure_ascii=False, default=str)
    except (TypeError, ValueError, RecursionError):
        return repr(value)
