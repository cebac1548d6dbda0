"""Redaction: what must not leave with a comparison that is handed on?

Known keys and what looks like one go always. On top of that: e-mail addresses and phone numbers, the values of callers'
variables wherever they were said, header values, and what stands under a name such as ``api_key``. It finds shapes, not
meanings: names and street addresses that callers speak stay, unless they were variables.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

from convai_lab import settings

HIDDEN = "[redacted]"
EMAIL = re.compile(r"(?<![\w.+-])[\w.+-]{1,64}@[\w-]{1,63}(?:\.[\w-]{1,63}){1,8}")
PHONE = re.compile(r"(?<![\w.+@-])(?:\+|\(|\d)[\d ()./-]{6,22}\d(?![\w-])")
URL_SECRET = re.compile(r"([?&][\w-]{0,40}(?:key|token|secret|sig|signature|password)[\w-]{0,40}=)[^&\s\"'#]+", re.I)
DIGITS = re.compile(r"\d[\d ()./-]{5}")
PLAIN = re.compile(r"\d{4}-\d\d-\d\d|\d{1,2}[./]\d{1,2}[./]\d{4}|\d+\.\d+$")
"""Dates and decimals, which look like phone numbers."""
SECRET_NAMES = ("api_key", "apikey", "authorization", "password", "secret", "token", "user_id")
FEWEST_DIGITS, PLAIN_DIGITS, MOST_DIGITS = 8, 10, 15
SHORTEST_VALUE = 3
"""Shorter values of variables stand in too many words that are none."""
MOST_VARIABLES = 200
NAMES_END = ("id", "name", "type", "model", "role", "status", "variant", "scenario", "source")
"""Keys whose values are names of ours: a variable's value that equals one is left there."""

Hide = Callable[[str], str]


def hide_in_text(text: str, hide_variables: Hide = str) -> str:
    """Return a text without addresses, phone numbers and keys."""
    return _without_callers(settings.scrub(text), hide_variables)


def _without_callers(text: str, hide_variables: Hide) -> str:
    text = EMAIL.sub("[e-mail]", text) if "@" in text else text
    text = URL_SECRET.sub(rf"\1{HIDDEN}", text) if "=" in text else text
    text = PHONE.sub(_phone, text) if DIGITS.search(text) else text
    return hide_variables(text)


def hide_in(value: Any, hide_variables: Hide = str, *, key: str = "") -> Any:
    """Return JSON without what must not leave but known keys, which `settings.scrub` takes out of the whole.

    `hide_variables` takes the values of variables out of a text.
    """
    if isinstance(value, str):
        if key.lower().endswith(SECRET_NAMES) and value:
            return HIDDEN
        return _without_callers(value, str if key.endswith(NAMES_END) else hide_variables)
    if isinstance(value, Mapping):
        if "header" in key.lower():
            return dict.fromkeys(value, HIDDEN)
        return {
            _without_callers(str(name), str): hide_in(inner, hide_variables, key=str(name))
            for name, inner in value.items()
        }
    if isinstance(value, list | tuple):
        return [hide_in(inner, hide_variables, key=key) for inner in value]
    return value


def hidden_variables(variables: Mapping[str, Any]) -> dict[str, Any]:
    """Return a caller's variables with their values hidden; the platform's own stay."""
    return {name: value if name.startswith("system__") else HIDDEN for name, value in variables.items()}


def variables_hider(variables: Mapping[str, Any]) -> Hide:
    """Return what writes ``[name]`` wherever the value of a variable was said."""
    values = {
        text: name
        for name, value in list(variables.items())[:MOST_VARIABLES]
        if not name.startswith("system__") and not isinstance(value, bool) and isinstance(value, str | int | float)
        and len(text := str(value).strip()) >= SHORTEST_VALUE and text != HIDDEN
    }  # fmt: skip
    if not values:
        return str
    longest_first = sorted(values, key=len, reverse=True)
    said = re.compile(rf"(?<!\w)(?:{'|'.join(map(re.escape, longest_first))})(?!\w)", re.IGNORECASE)
    names = {text.lower(): name for text, name in values.items()}
    return lambda text: said.sub(lambda found: f"[{names.get(found[0].lower(), 'variable')}]", text)


def _phone(found: re.Match[str]) -> str:
    text = found[0]
    digits = sum(char.isdigit() for char in text)
    if not FEWEST_DIGITS <= digits <= MOST_DIGITS or PLAIN.match(text):
        return text
    is_grouped = any(char in " ()./-" for char in text)
    return "[phone]" if text.startswith("+") or is_grouped or digits >= PLAIN_DIGITS else text
