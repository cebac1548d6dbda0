"""Check fields: what did the author of a check write, and where is it wrong?

Every mistake is one sentence that names the scenario, the number of the check and the field.
"""

from __future__ import annotations

import difflib
import json
import math
import re
import reprlib
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NoReturn

from convai_lab.errors import InvalidValueError

SHOWN_CHARS = 60

_SHORT = reprlib.Repr()
_SHORT.maxstring = _SHORT.maxother = _SHORT.maxlong = SHOWN_CHARS
_SHORT.maxlevel = 3


@dataclass(frozen=True)
class Fields:
    """The mapping that an author wrote in one place, read field by field.

    `where` names that place for the error, such as ``scenario refund, check 2: called``.
    """

    where: str
    values: Mapping[str, Any]

    def __contains__(self, name: str) -> bool:
        return name in self.values

    def only(self, known: Sequence[str]) -> None:
        """Refuse fields that are not known, with the one that was probably meant."""
        for name in self.values:
            if name not in known:
                self.fail(f"there is no field {shown(name)}{meant(name, known)}; there are {', '.join(known)}")

    def one_of(self, names: Sequence[str]) -> str:
        """Return the one of these fields that is given."""
        given = [name for name in names if name in self.values]
        if len(given) != 1:
            got = " and ".join(given) if given else "none of them"
            self.fail(f"give one of {', '.join(names)}; got {got}")
        return given[0]

    def text(self, name: str) -> str:
        """Return a text that is not empty."""
        if name not in self.values:
            self.fail(f"the field {name} is missing")
        return text_in(self.values[name], self._at(name))

    def texts(self, name: str) -> tuple[str, ...]:
        """Return one or more texts."""
        raw = self.values[name]
        if isinstance(raw, str) or not isinstance(raw, Sequence) or not raw:
            refuse(self._at(name), f"must be a list of texts with at least one in it, got {shown(raw)}")
        return tuple(text_in(item, f"{self._at(name)}[{index}]") for index, item in enumerate(raw))

    def pattern(self, name: str, *, ignore_case: bool) -> re.Pattern[str]:
        """Return a compiled regular expression."""
        source = self.text(name)
        try:
            return re.compile(source, re.IGNORECASE if ignore_case else 0)
        except (re.error, OverflowError, RecursionError) as error:
            refuse(self._at(name), f"is not a regular expression ({error}): {shown(source)}")

    def flag(self, name: str, default: bool) -> bool:
        """Return true or false."""
        raw = self.values.get(name, default)
        if not isinstance(raw, bool):
            refuse(self._at(name), f"must be true or false, got {shown(raw)}")
        return raw

    def count(self, name: str) -> int | None:
        """Return a whole number of at least 0, or None when it is not given."""
        if name not in self.values:
            return None
        raw = self.values[name]
        if isinstance(raw, bool) or not isinstance(raw, int) or raw < 0:
            refuse(self._at(name), f"must be a whole number of at least 0, got {shown(raw)}")
        return raw

    def number(self, name: str) -> float:
        """Return a finite number of at least 0."""
        return number_in(self.values[name], self._at(name), least=0)

    def choice(self, name: str, known: Collection[str], default: str | None = None) -> str:
        """Return one of the known words."""
        raw = self.values.get(name, default)
        if raw is None:
            self.fail(f"the field {name} is missing; it is one of {', '.join(known)}")
        if not isinstance(raw, str) or raw not in known:
            refuse(self._at(name), f"{shown(raw)} is not known{meant(raw, known)}; it is one of {', '.join(known)}")
        return raw

    def mapping(self, name: str) -> Fields:
        """Return the fields of a mapping inside this one."""
        return fields_in(self.values[name], self._at(name))

    def json(self, name: str) -> Any:
        """Return a value that JSON can carry."""
        return json_in(self.values[name], self._at(name))

    def fail(self, message: str) -> NoReturn:
        """Refuse what stands here."""
        refuse(self.where, message)

    def _at(self, name: str) -> str:
        return f"{self.where}.{name}"


def fields_in(raw: Any, where: str) -> Fields:
    """Return a mapping's fields."""
    if not isinstance(raw, Mapping):
        refuse(where, f"must be a mapping of fields, got {shown(raw)}")
    for name in raw:
        if not isinstance(name, str):
            refuse(where, f"the name of a field must be a text, got {shown(name)}: put it in quotes")
    return Fields(where, raw)


def text_in(raw: Any, where: str) -> str:
    """Return a text; numbers and dates that YAML made of one are refused, because they may have changed on the way."""
    if not isinstance(raw, str):
        hint = "" if raw is None or isinstance(raw, (Mapping, list)) else ": put it in quotes"
        refuse(where, f"must be a text, got {shown(raw)}{hint}")
    if not raw.strip():
        refuse(where, "must not be an empty text, which is found everywhere")
    return raw


def number_in(raw: Any, where: str, *, least: float | None = None) -> float:
    """Return a finite number."""
    if isinstance(raw, bool) or not isinstance(raw, (int, float)) or not math.isfinite(raw):
        refuse(where, f"must be a number, got {shown(raw)}")
    if least is not None and raw < least:
        refuse(where, f"must be at least {least:g}, got {shown(raw)}")
    return raw


def json_in(raw: Any, where: str) -> Any:
    """Return a value as JSON has it."""
    try:
        return json.loads(json.dumps(raw, allow_nan=False))
    except (TypeError, ValueError, RecursionError):
        refuse(where, f"must be a value of JSON, got {shown(raw)}: put dates and the like in quotes")


def meant(name: object, known: Collection[str]) -> str:
    """Return a question that offers the known name that looks most like `name`; empty when none does."""
    close = difflib.get_close_matches(str(name)[:SHOWN_CHARS].lower(), list(known), n=1, cutoff=0.6)
    return f" (did you mean {close[0]}?)" if close else ""


def shown(value: object) -> str:
    """Return a value as it is shown in a message: short, on one line."""
    if type(value) is str:  # the usual case, ten times faster than the general one
        return repr(value) if len(value) <= SHOWN_CHARS else f"{value[:SHOWN_CHARS]!r}…"
    text = _SHORT.repr(value)
    return text if len(text) <= 2 * SHOWN_CHARS else f"{text[: 2 * SHOWN_CHARS]}…"


def refuse(where: str, message: str) -> NoReturn:
    """Raise the error that names the place."""
    raise InvalidValueError(message, field=where)
