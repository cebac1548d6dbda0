"""Changes: how is a record changed that cannot be changed?"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar

R = TypeVar("R")


def changed(record: R, changes: Mapping[str, Any]) -> R:
    """Return a copy of a frozen dataclass with some fields changed.

    It is for records that check nothing when they are made, and five times as fast as `dataclasses.replace`, which
    was a twentieth of what a simulated conversation took.

    Raises:
        TypeError: There is no such field.
    """
    known = vars(record)
    if not changes.keys() <= known.keys():
        unknown = ", ".join(sorted(changes.keys() - known.keys()))
        raise TypeError(f"{type(record).__name__} has no field {unknown}")
    copy = object.__new__(type(record))
    vars(copy).update(known)
    vars(copy).update(changes)
    return copy
