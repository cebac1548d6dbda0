"""Telling: how is what a tool answered said in a sentence or two?

A result is data from outside: it is read out, never obeyed. Values are said as they are.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from itertools import islice
from typing import Any, NamedTuple

from convai_lab.providers.offline.acts import holds_orders
from convai_lab.providers.offline.schemas import Parameter
from convai_lab.providers.offline.tool_choice import Tool
from convai_lab.providers.offline.wording import finished
from convai_lab.providers.offline.words import content_stems, join_words, likeness, name_words, sentences

MAX_RESULT_CHARS = 200_000
MAX_VALUE_CHARS = 200
MAX_TOLD = 4
MAX_LISTED = 4


class Told(NamedTuple):
    """The sentence for a result, and what became of the call."""

    text: str
    outcome: str = "fine"
    """``fine``, ``missing`` (nothing found), ``invalid`` (a wrong argument) or ``failed``."""


class Field(NamedTuple):
    """One value of a result under its name in words."""

    label: str
    value: str
    raw: Any


def tell(tool: Tool | None, arguments: Mapping[str, Any], value: str, *, is_error: bool, asked: Iterable[str]) -> Told:
    """Return what to say about a result; the fields that were `asked` about (stems) come first."""
    subject = _subject(tool, arguments)
    data = parsed(value)
    if is_error or (reason := _error_in(data)) is not None:
        return _told_error(subject, value if is_error else reason or "")
    if _is_nothing(data):
        done = tool is not None and bool(tool.deeds) and data is None
        return Told("That's done.") if done else Told(f"I could not find anything{_on(subject)}.", "missing")
    if isinstance(data, str) and data.lower().strip(" .!") in ("ok", "okay", "done", "success", "successful"):
        return Told("That's done.")
    if isinstance(data, str):
        return Told(_clean(data) or "That's done.")
    if isinstance(data, list):
        return Told(_list_sentence(data, subject))
    if not isinstance(data, dict):
        return Told(_scalar_sentence(data, subject))
    return Told(_record_sentence(data, subject, arguments, tool, list(asked)))


def told_field(arguments: Mapping[str, Any], value: str, tool: Tool | None, asked: Sequence[str]) -> str | None:
    """Return a sentence on the fields of an earlier result that the question is about, or None."""
    data = parsed(value)
    if not isinstance(data, dict) or _error_in(data) is not None:
        return None
    hits = [f for f in _fields(_unwrapped(data), arguments) if _relevance(f, asked) >= 1.0]
    return _sentence(hits[:2], _subject(tool, arguments)) if hits else None


def parsed(value: str) -> Any:
    """Return a result as data when it is JSON, else as text."""
    text = value.strip()
    if not text:
        return None
    if len(text) > MAX_RESULT_CHARS and text[0] in "{[":
        return _salvaged(text)
    if text[:1] not in '{["tfn-0123456789':
        return text[:4000]
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return _salvaged(text) if text[0] in "{[" else text[:4000]


def _salvaged(text: str) -> Any:
    """Return what can be read of JSON that was cut off."""
    pairs = [(m[1], m[2]) for m in islice(_PAIR.finditer(text[:MAX_RESULT_CHARS]), 20)]
    return {key: json.loads(value) for key, value in pairs} if pairs else text[:4000]


def says_available(value: str) -> bool:
    """Say whether a result means that something is free to be taken."""
    data = parsed(value)
    record = _unwrapped(data) if isinstance(data, dict) else {}
    return any("availab" in str(k).lower() and bool(v) and str(v).lower() not in ("false", "no", "none", "0")
               for k, v in record.items())  # fmt: skip


def _subject(tool: Tool | None, arguments: Mapping[str, Any]) -> str:
    """Return what the call was about: ``order 1234``."""
    for parameter in tool.parameters if tool else ():
        if parameter.kind == "code" and parameter.name in arguments:
            noun = _noun(parameter)
            return f"{noun} {arguments[parameter.name]}"[:80]
    return ""


def _noun(parameter: Parameter) -> str:
    return re.sub(r"\s*\b(?:number|id|code|reference)$", "", parameter.label).strip() or parameter.label


def _on(subject: str) -> str:
    return f" on {subject}" if subject else ""


def _error_in(data: Any) -> str | None:
    """Return the reason when a result says in itself that the call failed."""
    if not isinstance(data, dict):
        return None
    for key in ("error", "errors", "error_message"):
        if data.get(key) not in (None, False, "", [], {}):
            reason = data[key]
            return str(reason.get("message", "")) if isinstance(reason, Mapping) else str(reason)
    status = data.get("status")
    if data.get("success") is False or data.get("ok") is False or status in ("error", "failed", "failure", "not_found"):
        return str(data.get("message") or data.get("reason") or (status if status == "not_found" else ""))
    return "not found" if data.get("found") is False else None


def _told_error(subject: str, reason: str) -> Told:
    text = reason[:500].lower().replace("_", " ")
    if _NOT_FOUND.search(text):
        return Told(f"I'm sorry, I could not find {subject or 'anything on that'}.", "missing")
    about = f" with {subject}" if subject else ""
    if re.search(r"\binvalid\b|\bmust be\b|\bargument\b|\brequired\b|\bmissing\b|\bvalidation\b", text):
        return Told(f"I'm sorry, that did not work{about}; something in it seems to be wrong.", "invalid")
    refusal = (
        _clean(reason)
        if re.search(r"\b(?:cannot|can't|already|too late|closed|full|not allowed|only|sold out)\b", text)
        else ""
    )
    if refusal and "traceback" not in text and len(refusal) <= MAX_VALUE_CHARS:
        return Told(f"I'm sorry, that did not work{about}: {refusal[0].lower() + refusal[1:]}", "refused")
    return Told(f"I'm sorry, that did not work just now{about}.", "failed")


def _is_nothing(data: Any) -> bool:
    return data is None or data in ("", [], {}, "null", "None", "[]", "{}")


def _clean(text: str) -> str:
    """Return the first two sentences of a text, without those that give orders."""
    kept = [s for s in sentences(re.sub(r"\s+", " ", text[:4000])) if not holds_orders(s)]
    said = " ".join(finished(s) for s in kept[:2])
    return said if len(said) <= 2 * MAX_VALUE_CHARS else said[: 2 * MAX_VALUE_CHARS].rsplit(" ", 1)[0] + "."


def _list_sentence(data: list[Any], subject: str) -> str:
    names = [n for n in (_item_name(item) for item in data[:MAX_LISTED]) if n]
    more = len(data) - len(names)
    listed = join_words([*names, f"{more} more"] if more > 0 else names)
    return finished(f"I found {len(data)}{' for ' + subject if subject else ''}: {listed}")


def _item_name(item: Any) -> str:
    if isinstance(item, dict):
        for key in ("name", "title", "label", "time", "slot", "date", "description", "id", "order_id"):
            if key in item and not isinstance(item[key], (dict, list)):
                rest = [
                    _value_text(v)
                    for k, v in item.items()
                    if k in ("status", "price", "city") and not isinstance(v, (dict, list))
                ]
                return _value_text(item[key]) + (f" ({', '.join(rest)})" if rest else "")
        return ", ".join(f"{k} {_value_text(v)}" for k, v in list(item.items())[:2] if not isinstance(v, (dict, list)))
    return _value_text(item)


def _scalar_sentence(data: Any, subject: str) -> str:
    if isinstance(data, bool):
        answer = "Yes, that is right" if data else "No, that is not the case"
        return f"{answer}{' for ' + subject if subject else ''}."
    return f"The answer is {_value_text(data)}."


def _record_sentence(
    data: dict[str, Any], subject: str, arguments: Mapping[str, Any], tool: Tool | None, asked: list[str]
) -> str:
    record = _unwrapped(data)
    for key in ("message", "answer", "summary", "text", "speech", "result"):
        text = record.get(key)
        if isinstance(text, str) and len(text.split()) >= 3 and (said := _clean(text)):
            return said
    fields = _fields(record, arguments)
    if not fields:
        inner = next((v for v in record.values() if isinstance(v, list) and v), None)
        return _list_sentence(inner, subject) if inner else "That's done."
    told = sorted(fields, key=lambda f: (-(_relevance(f, asked) >= 0.7), f.label != "status"))[:MAX_TOLD]
    done = "That's done. " if tool is not None and tool.deeds and "status" not in record else ""
    return done + _sentence(told, subject)


def _unwrapped(data: dict[str, Any]) -> dict[str, Any]:
    """Return the record inside of wrappers such as ``{"data": {...}}``."""
    for _ in range(3):
        inner = [v for k, v in data.items() if k in ("data", "result", "order", "booking", "response", "item")]
        if len(inner) == 1 and isinstance(inner[0], dict) and len(data) <= 2:
            data = inner[0]
    return data


def _fields(record: Mapping[str, Any], arguments: Mapping[str, Any], prefix: str = "", depth: int = 0) -> list[Field]:
    found: list[Field] = []
    for key, value in list(record.items())[:40]:
        label = " ".join(filter(None, (prefix, " ".join(name_words(str(key))))))
        if isinstance(value, dict) and depth < 2:
            found += _fields(value, arguments, label, depth + 1)
        elif _is_tellable(str(key), value, arguments):
            found.append(Field(label or "value", _value_text(value), value))
    return found[:40]


def _is_tellable(key: str, value: Any, arguments: Mapping[str, Any]) -> bool:
    if value is None or value in ("", [], {}) or isinstance(value, dict) or key.startswith("_"):
        return False
    if key in ("status", "result") and str(value).lower() in ("ok", "success", "successful", "done"):
        return False
    if key in ("success", "ok", "found") or re.search(r"url|token|image|secret|internal|html|uuid", key, re.I):
        return False
    if isinstance(value, str) and (holds_orders(value) or len(value) > 2000):
        return False
    return not any(value == given for given in arguments.values())


def _relevance(field: Field, asked: Sequence[str]) -> float:
    stems = content_stems(field.label)
    if "eta" in stems or "deliveri" in stems:
        stems = [*stems, "arriv"]
    return max((likeness(s, stems) for s in asked), default=0.0)


def _sentence(fields: Sequence[Field], subject: str) -> str:
    """Return ``Order 1234 is shipped, and it should arrive tomorrow.``"""
    fields = _with_currency(fields)
    parts = [_clause(field, subject if index == 0 else "") for index, field in enumerate(fields)]
    return finished(join_words(parts, "and") if len(parts) < 3 else ", ".join(parts[:-1]) + f", and {parts[-1]}")


def _with_currency(fields: Sequence[Field]) -> list[Field]:
    """Say an amount and its currency in one breath: ``12.5 EUR``."""
    unit = next((f.value for f in fields if f.label == "currency"), "")
    is_amount = [isinstance(f.raw, (int, float)) and not isinstance(f.raw, bool) for f in fields]
    if not unit or not any(is_amount):
        return list(fields)
    first = is_amount.index(True)
    named = [f._replace(value=f"{f.value} {unit}") if i == first else f for i, f in enumerate(fields)]
    return [f for f in named if f.label != "currency"]


def _clause(field: Field, subject: str) -> str:
    label, who = field.label, subject or "it"
    if isinstance(field.raw, bool):
        return f"{who} is {'' if field.raw else 'not '}{label.removeprefix('is ')}"
    if label in ("status", "state"):
        return f"{who} is {field.value}" if subject else f"the status is {field.value}"
    if label in _ARRIVALS:
        return f"{who} should arrive {_when(field.value)}"
    first, last = label.split()[0], label.split()[-1]
    if last in ("on", "at", "by", "until", "from") and first != last:
        return f"{who} {'was ' if first.endswith('ed') else ''}{label} {field.value}"
    of = f" of {subject}" if subject else ""
    plural = isinstance(field.raw, list) and len(field.raw) > 1
    return f"the {label}{of} {'are' if plural else 'is'} {field.value}"


def _when(value: str) -> str:
    if re.match(r"\d+ (?:days?|hours?|weeks?|minutes?)", value):
        return f"in {value}"
    return f"on {value}" if re.match(r"\d|(?:mon|tues|wednes|thurs|fri|satur|sun)day", value, re.I) else value


def _value_text(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list):
        names = [n for n in (_item_name(v) for v in value[:MAX_LISTED]) if n]
        return join_words([*names, f"{len(value) - len(names)} more"] if len(value) > len(names) else names)
    text = str(value).strip()
    text = text.replace("_", " ") if re.fullmatch(r"[A-Za-z]+(?:_[A-Za-z]+)+", text) else text
    return text if len(text) <= MAX_VALUE_CHARS else text[:MAX_VALUE_CHARS].rsplit(" ", 1)[0]


_NOT_FOUND = re.compile(
    r"\bnot? (?:be )?found\b|\bno such\b|\bunknown\b|\bdoes(?: not|n't) exist\b|\b404\b|\bcould not find\b|"
    r"\bno (?:order|booking|record|result|match|entry|customer|account)s?\b"
)
_PAIR = re.compile(
    r'"(\w{1,40})"\s*:\s*("[^"\\\x00-\x1f]{0,200}"|-?(?:0|[1-9]\d{0,15})(?:\.\d{1,10})?(?=[\s,}\]])|true|false)'
)
_ARRIVALS = (
    "eta",
    "arrival",
    "arrives",
    "arrival date",
    "delivery date",
    "estimated delivery",
    "expected delivery",
    "estimated arrival",
    "expected arrival",
)
