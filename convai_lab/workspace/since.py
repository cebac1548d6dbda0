"""Since: which instant is meant by "7d", a date, a datetime or a number?"""

from __future__ import annotations

import datetime
import math
import re

from convai_lab.errors import InvalidValueError

Instant = str | float | int | datetime.datetime | datetime.date | datetime.timedelta
"""An instant: ``"7d"`` or ``"12h"`` ago, a timedelta ago, a date or datetime (local time when it has no zone),
an ISO text of one, or seconds since 1970."""

UNIT_SECS = {"s": 1, "m": 60, "h": 3_600, "d": 86_400, "w": 7 * 86_400}
AGO = re.compile(r"(\d{1,9}(?:\.\d{1,6})?)\s*([smhdw])", re.IGNORECASE)


def unix_secs(given: Instant | None, *, now: float, field: str = "since") -> float | None:
    """Return an instant in seconds since 1970, None for None.

    Example:
        >>> unix_secs("12h", now=1_000_000.0)
        956800.0
    """
    if given is None:
        return None
    secs = _secs(given, now)
    if secs is None or not math.isfinite(secs):
        raise InvalidValueError(
            f"{str(given)[:60]!r} is no time: write 7d, 12h or 30m, a date such as 2026-01-31, a datetime, "
            "or seconds since 1970",
            field=field,
        )
    return secs


def _secs(given: object, now: float) -> float | None:
    if isinstance(given, bool):
        return None
    if isinstance(given, int | float):
        return float(given)
    if isinstance(given, datetime.timedelta):
        return now - given.total_seconds()
    if isinstance(given, str):
        return _from_text(given.strip(), now)
    try:
        if isinstance(given, datetime.datetime):
            return given.timestamp()
        if isinstance(given, datetime.date):
            return datetime.datetime.combine(given, datetime.time()).timestamp()
    except (OverflowError, OSError, ValueError):
        return None
    return None


def _from_text(text: str, now: float) -> float | None:
    if ago := AGO.fullmatch(text):
        return now - float(ago.group(1)) * UNIT_SECS[ago.group(2).lower()]
    try:
        return datetime.datetime.fromisoformat(text).timestamp()
    except (OverflowError, OSError, ValueError):
        pass  # not a date: perhaps a number
    try:
        return float(text) if len(text) < 40 else None
    except ValueError:
        return None
