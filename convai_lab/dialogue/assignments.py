"""Assignments: which variables of the conversation does a tool's result set?"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from convai_lab.agents.prompt import SYSTEM_PREFIX
from convai_lab.agents.tools import Tool
from convai_lab.dialogue.author_settings import setting_in
from convai_lab.dialogue.outside_text import as_text

MAX_VALUE_CHARS = 20_000

_STEP = re.compile(r"[^.\[\]]+")
_ABSENT: Any = object()


class Assigned(NamedTuple):
    """What was assigned, and the result without the values that the model must not see."""

    variables: Mapping[str, Any]
    value: str


def assign(tool: Tool, value: str) -> Assigned:
    """Take the values that the tool's assignments name out of its JSON result; what is not there sets nothing."""
    wanted = list(_assignments(tool))
    document = _parsed(value) if wanted else _ABSENT
    if document is _ABSENT:
        return Assigned({}, value)
    found: dict[str, Any] = {}
    hidden = False
    for assignment in wanted:
        path = _path(assignment["value_path"])
        if (got := _at(document, path)) is _ABSENT:
            continue
        kept = got if assignment.get("preserve_native_type") is True else as_text(got)[:MAX_VALUE_CHARS]
        found[assignment["dynamic_variable"]] = kept
        if assignment.get("sanitize") is True:
            hidden = _remove(document, path) or hidden
    return Assigned(found, as_text(document) if hidden else value)


def value_at(document: Any, path: str) -> Any | None:
    """Return what stands at a path such as ``user.emails[0]`` or ``$.user.emails.0``; None when nothing does."""
    found = _at(document, _path(path))
    return None if found is _ABSENT else found


def _assignments(tool: Tool) -> Iterator[Mapping[str, Any]]:
    listed = setting_in(tool.extra, "assignments")
    for entry in listed if isinstance(listed, (list, tuple)) else ():
        named = isinstance(entry, Mapping) and isinstance(entry.get("value_path"), str)
        if named and _may_be_set(entry.get("dynamic_variable")):
            yield entry


def _may_be_set(name: Any) -> bool:
    return isinstance(name, str) and bool(name) and not name.startswith(SYSTEM_PREFIX)


def _parsed(value: str) -> Any:
    try:
        return json.loads(value)
    except (ValueError, RecursionError):
        return _ABSENT


def _path(path: str) -> list[str]:
    steps = _STEP.findall(path)
    return steps[1:] if steps[:1] == ["$"] else steps


def _at(document: Any, path: Sequence[str]) -> Any:
    here = document
    for step in path:
        if isinstance(here, Mapping) and step in here:
            here = here[step]
        elif isinstance(here, list) and step.isdecimal() and int(step) < len(here):
            here = here[int(step)]
        else:
            return _ABSENT
    return here


def _remove(document: Any, path: Sequence[str]) -> bool:
    parent = _at(document, path[:-1]) if path else None
    if isinstance(parent, dict):
        return parent.pop(path[-1], _ABSENT) is not _ABSENT
    if isinstance(parent, list):
        parent[int(path[-1])] = None
        return True
    return False
