"""Cassette error: how does a vendor's error travel in a recording and come back as the same class?"""

from __future__ import annotations

from typing import Any

from convai_lab import errors
from convai_lab.errors import ConvaiLabError, InvalidValueError
from convai_lab.providers.cassette_secrets import clean_text

_LISTS = (list, tuple)


def error_to_plain(error: ConvaiLabError) -> dict[str, Any]:
    """Return an error as JSON: its class, its message and its plain fields, without secrets."""
    state = {name: value for name, value in vars(error).items() if not name.startswith("_") and _is_plain(value)}
    named = next(kind for kind in type(error).__mro__ if getattr(errors, kind.__name__, None) is kind)
    return {"class": named.__name__, "message": clean_text(str(error)), "fields": state}


def error_from_plain(plain: Any, where: str) -> ConvaiLabError:
    """Return the error that was recorded.

    Raises:
        InvalidValueError: It is none of our errors.
    """
    name = plain.get("class") if isinstance(plain, dict) else None
    kind = getattr(errors, name, None) if isinstance(name, str) else None
    if not (isinstance(kind, type) and issubclass(kind, ConvaiLabError)):
        raise InvalidValueError(f"there is no error {str(name)[:40]!r}", field=where)
    fields, message = plain.get("fields", {}), plain.get("message", "")
    if not isinstance(fields, dict) or not isinstance(message, str):
        raise InvalidValueError("needs a message and fields", field=where)
    error = kind.__new__(kind, message)
    defaults = {"provider": "", "status": None, "model": "", "tool": "", "retry_after": None, "suggestions": ()}
    state = {n: tuple(v) if isinstance(v, list) else v for n, v in {**defaults, **fields}.items()}
    error.__dict__.update(state)
    return error


def _is_plain(value: Any) -> bool:
    if isinstance(value, _LISTS):
        return all(isinstance(inner, str | int | float | bool) for inner in value)
    return value is None or isinstance(value, str | int | float | bool)
