"""Results of evaluation: how is a number shown to a person, and how is it stored as JSON?"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from math import isfinite, isnan, nan
from typing import Any

from convai_lab.errors import InvalidValueError

NOT_KNOWN = "not known"


@dataclass(frozen=True, kw_only=True)
class Result:
    """A number with its reason: `reason` says in words why a value is NaN, and is empty where nothing is missing."""

    reason: str = ""

    def to_dict(self) -> dict[str, Any]:
        """Return every field in plain JSON types; what is not known (NaN, infinite) becomes ``None``."""
        return {field.name: _plain(getattr(self, field.name)) for field in fields(self)}


@dataclass(frozen=True, kw_only=True)
class Estimate(Result):
    """A mean or a rate with its interval, and how the interval was made.

    Example:
        >>> print(Estimate(estimate=0.85, low=0.6396, high=0.9476, method="Wilson", n_scenarios=20))
        85% [64, 95]
    """

    estimate: float
    low: float = nan
    high: float = nan
    method: str = ""
    n_scenarios: int = 0
    n_trials: int = 0
    seed: int = 0
    is_rate: bool = True

    def __str__(self) -> str:
        if isnan(self.estimate):
            return f"{NOT_KNOWN}: {self.reason}"
        unit = "%" if self.is_rate else ""
        return f"{as_number(self.estimate, is_rate=self.is_rate)}{unit} {self.interval_text()}"

    def interval_text(self) -> str:
        """Return the interval in brackets, in percent where the estimate is a rate."""
        return bracketed(self.low, self.high, is_rate=self.is_rate)


def _plain(value: Any) -> Any:
    if isinstance(value, Result):
        return value.to_dict()
    if isinstance(value, float):
        return value if isfinite(value) else None
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, tuple) and hasattr(value, "_asdict"):
        return _plain(value._asdict())
    if isinstance(value, (tuple, list)):
        return [_plain(item) for item in value]
    return value


def as_number(value: float, *, is_rate: bool, signed: bool = False) -> str:
    """Return a number for reading: rates in hundredths, and never a rounded zero for what is not zero."""
    if isnan(value):
        return "?"
    shown = 100 * value if is_rate else value
    if not is_rate:
        text = f"{shown:.3g}"
    elif abs(shown) >= 0.95 or shown == 0:
        text = f"{shown:.0f}"
    else:
        text = f"{shown:.1g}"
    text = "0" if float(text) == 0 else text
    return f"+{text}" if signed and float(text) > 0 else text


def bracketed(low: float, high: float, *, is_rate: bool) -> str:
    """Return ``[3, 21]``, or say that there is no interval."""
    if isnan(low) or isnan(high):
        return f"[interval {NOT_KNOWN}]"
    return f"[{as_number(low, is_rate=is_rate)}, {as_number(high, is_rate=is_rate)}]"


def p_text(p_value: float) -> str:
    """Return a p value as papers print it: ``p = .010``, ``p < .001``.

    Example:
        >>> p_text(0.0104)
        'p = .010'
    """
    if isnan(p_value):
        return f"p {NOT_KNOWN}"
    if p_value < 0.001:
        return "p < .001"
    return "p = " + f"{p_value:.3f}".removeprefix("0")


def counted(n: int, noun: str) -> str:
    """Return ``1 scenario`` or ``2 scenarios``."""
    return f"{n:,} {noun}" if n == 1 else f"{n:,} {noun}s"


def require_share(value: float, field: str, *, open_ends: bool = False) -> float:
    """Return a share between 0 and 1, or raise an error that names the field."""
    number = require_finite(value, field)
    inside = 0 < number < 1 if open_ends else 0 <= number <= 1
    if not inside:
        raise InvalidValueError(
            f"must be {'strictly ' if open_ends else ''}between 0 and 1, got {value!r}", field=field
        )
    return number


def require_finite(value: Any, field: str) -> float:
    """Return the value as a float, or raise an error that names the field."""
    try:
        number = float(value)
    except (TypeError, ValueError, OverflowError):
        raise InvalidValueError(f"must be a number, got {str(value)[:80]!r}", field=field) from None
    if isinstance(value, (str, bytes)) or not isfinite(number):
        raise InvalidValueError(f"must be a finite number, got {str(value)[:80]!r}", field=field)
    return number


def require_count(value: Any, field: str, *, least: int = 0) -> int:
    """Return the value as a whole number of at least `least`, or raise an error that names the field."""
    number = require_finite(value, field)
    if number != int(number) or number < least:
        raise InvalidValueError(f"must be a whole number of at least {least}, got {value!r}", field=field)
    return int(value)
