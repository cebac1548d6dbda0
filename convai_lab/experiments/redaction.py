"""Redaction: what must not leave with a comparison that is handed on?

Known keys and what looks like one go always. On top of that: e-mail addresses and phone numbers, the values of callers'
variables wherever they were said, header values, and what stands under a name such as ``api_key``. It finds shapes, not
meanings: names and street addresses that callers speak stay, unless they were variables.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping
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
NAMES = frozenset(
    (
        "id", "key", "part", "scope", "variant", "scenario", "scenario_id", "scenario_name", "conversation_id",
        "agent_id", "agent_name", "version_id", "branch_id", "parent_id", "request_id", "tool_call_id",
        "criteria_id", "data_collection_id", "source", "channel", "platform", "status", "role", "type", "kind",
        "party", "reason", "failed_party", "ended_by", "error_type", "finish_reason", "language",
        "main_language", "style", "voice", "tool", "tool_name", "provider", "engine", "model", "model_served",
        "llm", "producing_llm", "cassette", "take",
    )
)  # fmt: skip
"""Keys whose values are words of ours: a variable's value that equals one is left there."""
CONTENT = frozenset(
    ("facts", "state", "when", "given", "set", "result", "arguments", "tool_details", "dynamic_variables")
)
"""Keys below which everything is the caller's, or a tool's: no key is ours any more, and keys tell things too."""
OUTCOMES = ("success", "failure", "unknown")
MARK = re.compile(r"\[[^\[\]]*\]")
TOKEN = re.compile(r"\\[a-tv-zA-Z](?=\w)|\w+|[^\w\s]")
"""A word, a sign, or what JSON writes for the end of a line, behind which a word begins."""

IN_WORD = re.compile(r"\w")

Hide = Callable[[str], str]
_Marks = dict[str, dict[int, dict[str, str]]]
"""What stands for a value, by its first word or sign, its length (the longest first) and its text in small letters."""


def hide_in_text(text: str, hide_variables: Hide = str) -> str:
    """Return a text without addresses, phone numbers and keys."""
    return _without_callers(settings.scrub(text), hide_variables)


def _without_callers(text: str, hide_variables: Hide) -> str:
    text = EMAIL.sub("[e-mail]", text) if "@" in text else text
    text = URL_SECRET.sub(rf"\1{HIDDEN}", text) if "=" in text else text
    text = PHONE.sub(_phone, text) if DIGITS.search(text) else text
    return hide_variables(text)


def hide_in(value: Any, hide_variables: Hide = str, *, key: str = "", is_content: bool = False) -> Any:
    """Return JSON without what must not leave but known keys, which `settings.scrub` takes out of the whole.

    Args:
        hide_variables: Takes the values of variables out of a text.
        key: The name that the value stands under.
        is_content: It is a caller's or a tool's, in which no name is one of ours.
    """
    if isinstance(value, str):
        if key.lower().endswith(SECRET_NAMES) and value:
            return HIDDEN
        is_ours = value in OUTCOMES or (key in NAMES and not is_content)
        return _without_callers(value, str if is_ours else hide_variables)
    if isinstance(value, Mapping):
        return _hide_in_object(value, hide_variables, key, is_content)
    if isinstance(value, list | tuple):
        return [hide_in(inner, hide_variables, key=key, is_content=is_content) for inner in value]
    if is_content and isinstance(value, int | float) and not isinstance(value, bool):
        hidden = hide_variables(str(value))
        return value if hidden == str(value) else hidden
    return value


def _hide_in_object(value: Mapping[Any, Any], hide_variables: Hide, key: str, is_content: bool) -> dict[str, Any]:
    if "header" in key.lower():
        return dict.fromkeys(value, HIDDEN)
    hide_key = hide_variables if is_content else str
    is_tool = not is_content and ("arguments" in value or "parameters" in value)
    return {
        _without_callers(str(name), hide_key): hide_in(
            inner,
            hide_variables,
            key="tool_name" if is_tool and name == "name" else str(name),
            is_content=is_content or name in CONTENT,
        )
        for name, inner in value.items()
    }


def hidden_variables(variables: Mapping[str, Any], hide_variables: Hide = str) -> dict[str, Any]:
    """Return a caller's variables as they read where they were said; the platform's own stay."""
    return {
        name: value if name.startswith("system__") else _hidden_value(value, hide_variables)
        for name, value in variables.items()
    }


def _hidden_value(value: Any, hide_variables: Hide) -> str:
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        return HIDDEN
    hidden = _without_callers(text := str(value).strip(), hide_variables)
    return HIDDEN if hidden == text and not MARK.fullmatch(text) else hidden


def variables_hider(*callers: Mapping[str, Any]) -> Hide:
    """Return what writes ``[name]`` wherever the value of a variable was said, also in JSON; of any number of callers.

    Where several variables have one value, the first one names it.
    """
    values: dict[str, str] = {}
    for name, text in (said for variables in callers for said in _said(variables)):
        for form in _forms(text):
            values.setdefault(form, name)
    if not values:
        return str
    by_start: _Marks = {}
    for text in sorted(values, key=len, reverse=True):
        alike = by_start.setdefault(TOKEN.findall(text)[0].lower(), {}).setdefault(len(text), {})
        alike.setdefault(text.lower(), f"[{values[text]}]")
    return lambda text: _with_marks(text, by_start)


def _with_marks(text: str, by_start: _Marks) -> str:
    """Return a text with marks for values; it takes as long for ten thousand values as for one."""
    pieces, at = [], 0
    for token in TOKEN.finditer(text):
        start = token.start()
        for length, alike in by_start.get(token[0].lower(), {}).items() if start >= at else ():
            mark, end = alike.get(text[start : start + length].lower()), start + length
            if mark is not None and not IN_WORD.match(text, end):
                pieces += [text[at:start], mark]
                at = end
                break
    return "".join([*pieces, text[at:]]) if pieces else text


def _said(variables: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield name and text of what would be recognised; of an object's or a list's values each by itself."""
    for name, value in variables.items():
        if isinstance(value, Mapping):
            yield from ((name, text) for _, text in _said(value))
        elif isinstance(value, list | tuple):
            yield from ((name, text) for inner in value for _, text in _said({name: inner}))
        elif not name.startswith("system__") and not isinstance(value, bool) and isinstance(value, str | int | float):
            text = str(value).strip()
            if len(text) >= SHORTEST_VALUE and not MARK.fullmatch(text):
                yield name, text


def _forms(text: str) -> set[str]:
    """Return how a value is written: as it is, in JSON, and with addresses and numbers taken out of it already."""
    forms = {text, json.dumps(text)[1:-1], json.dumps(text, ensure_ascii=False)[1:-1]}
    return forms | {form for form in (_without_callers(text, str),) if not MARK.fullmatch(form)}


def _phone(found: re.Match[str]) -> str:
    text = found[0]
    digits = sum(char.isdigit() for char in text)
    if not FEWEST_DIGITS <= digits <= MOST_DIGITS or PLAIN.match(text):
        return text
    is_grouped = any(char in " ()./-" for char in text)
    return "[phone]" if text.startswith("+") or is_grouped or digits >= PLAIN_DIGITS else text
