"""Usage: what of a vendor's token counts can be believed?"""

from __future__ import annotations

from typing import Any

MOST_TOKENS = 1 << 40


def count(value: Any) -> int | None:
    """Return a number of tokens, or None for anything that is not one."""
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= MOST_TOKENS:
        return None
    return value


def total(*values: int | None) -> int | None:
    """Return the sum of the counts that are known, None when none is."""
    known = [value for value in values if value is not None]
    return sum(known) if known else None
