"""Store filters: which conversations does a list keep? Every filter is a column; no document is opened for it."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, TypedDict

from convai_lab.errors import InvalidValueError
from convai_lab.storage import column_text, name_key

DEFAULT_SOURCES = ("live",)
MAX_CHOICES = 10_000


class Filters(TypedDict, total=False):
    """What a list of conversations may be narrowed by; None keeps everything.

    `source` is ``("live",)`` unless given. `since` and `until` are seconds since 1970: from the first, up to but
    without the second. `search` looks, in any case, in what was said and in the agent's name. `agent_id`, `source`,
    `status`, `channel`, `success` and `conversation_id` take one value or several.
    """

    agent_id: str | Sequence[str] | None
    conversation_id: str | Sequence[str] | None
    source: str | Sequence[str] | None
    since: float | None
    until: float | None
    status: str | Sequence[str] | None
    search: str | None
    channel: str | Sequence[str] | None
    success: str | Sequence[str] | None
    user_id: str | None
    parent_id: str | None
    min_duration_secs: float | None
    max_duration_secs: float | None


class Condition(NamedTuple):
    """A piece of SQL that is true for the rows to keep, and its parameters."""

    sql: str
    params: tuple[Any, ...] = ()


_ONE_OR_SEVERAL = ("agent_id", "conversation_id", "source", "status", "channel", "success", "user_id", "parent_id")
_LIMITS = {
    "since": "ordered_at >= ?",
    "until": "ordered_at < ?",
    "min_duration_secs": "duration_secs >= ?",
    "max_duration_secs": "duration_secs <= ?",
}
_SEARCH = """
    (instr(agent_key, ?) OR EXISTS (
        SELECT 1 FROM turns t INDEXED BY turns_by_text
        WHERE t.conversation_id = conversations.conversation_id AND t.undone_at IS NULL AND instr(t.text_key, ?)
    ))
"""


def conditions(filters: Mapping[str, Any]) -> list[Condition]:
    """Return the conditions for `filters`.

    Raises:
        InvalidValueError: A filter is unknown or has a wrong type; `field` says which.
    """
    given = {"source": DEFAULT_SOURCES, **filters}
    return [_condition(name, value) for name, value in given.items() if value is not None]


def _condition(name: str, value: Any) -> Condition:
    if name in _ONE_OR_SEVERAL:
        return _one_of(name, value)
    if name in _LIMITS:
        return Condition(_LIMITS[name], (_number(name, value),))
    if name != "search":
        raise InvalidValueError(f"is no filter of conversations; filters are {', '.join(_NAMES)}", field=name[:80])
    if not isinstance(value, str):
        raise InvalidValueError(f"must be a text, got {type(value).__name__}", field=name)
    key = name_key(value)
    return Condition(_SEARCH, (key, key)) if key else Condition("1")


def _one_of(name: str, value: Any) -> Condition:
    choices = (value,) if isinstance(value, str) else tuple(value) if isinstance(value, (list, tuple, set)) else (None,)
    if not all(isinstance(choice, str) for choice in choices):
        raise InvalidValueError("must be a text or a list of texts", field=name)
    if len(choices) == 1:
        return Condition(f"{name} = ?", (column_text(choices[0]),))
    if len(choices) > MAX_CHOICES:
        raise InvalidValueError(f"takes at most {MAX_CHOICES} values at once, got {len(choices)}", field=name)
    return Condition(f"{name} IN ({', '.join('?' * len(choices))})", tuple(column_text(choice) for choice in choices))


def _number(name: str, value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
        raise InvalidValueError(f"must be a number of seconds, got {str(value)[:60]!r}", field=name)
    return float(value)


_NAMES = tuple(Filters.__annotations__)
