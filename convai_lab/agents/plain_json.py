"""Plain JSON: how are values that came from anywhere copied, measured and shown without harm?"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

MAX_DEPTH = 64
MAX_VALUES = 1_000_000
SHOWN_CHARS = 60


def plain_json(value: Any) -> Any:
    """Return a deep copy in which every mapping is a dict and every tuple a list.

    Measure what came from outside with `oversize` first.
    """
    if isinstance(value, str):  # most are, and asking for a Mapping takes ten times as long
        return value
    if isinstance(value, Mapping):
        return {key: plain_json(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [plain_json(inner) for inner in value]
    return value


def oversize(value: Any) -> str | None:
    """Say in words if a value is nested too deeply (also: contains itself) or holds too many values."""
    count, waiting = 0, [(0, value)]
    while waiting:
        depth, current = waiting.pop()
        count += 1
        if depth > MAX_DEPTH:
            return f"must not be nested more than {MAX_DEPTH} levels deep"
        if isinstance(current, str):
            continue
        if isinstance(current, Mapping):
            waiting.extend((depth + 1, inner) for inner in current.values())
        elif isinstance(current, list | tuple):
            waiting.extend((depth + 1, inner) for inner in current)
        if count + len(waiting) > MAX_VALUES:
            return f"must not hold more than {MAX_VALUES:,} values"
    return None


def shown(value: Any) -> str:
    """Return a value as it may stand in a message: short, and never failing."""
    if isinstance(value, str) and len(value) > SHOWN_CHARS:
        value = value[:SHOWN_CHARS]
    try:
        text = repr(value)
    except Exception:  # a repr of somebody else's may fail in any way, and the message must still be made
        return f"a {type(value).__name__} that cannot be shown"
    return text if len(text) <= SHOWN_CHARS else text[: SHOWN_CHARS - 1] + "…"
