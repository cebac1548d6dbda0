"""Slots: which of a tool's arguments are in the words of the caller?"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from convai_lab.providers.offline import entities, moments
from convai_lab.providers.offline.choices import chosen, where_said
from convai_lab.providers.offline.found import Found
from convai_lab.providers.offline.free_words import after_label, free_value, without_ending, without_filler
from convai_lab.providers.offline.schemas import Parameter
from convai_lab.providers.offline.words import STOP_WORDS, content_stems, stem, words

_PEOPLE = frozenset(("peopl", "guest", "party", "parti", "person", "group", "size", "seat", "cover", "diner", "adult"))


class Heard(NamedTuple):
    """Something the caller said, and the parameter that the agent had asked for just before."""

    text: str
    asked: str = ""


def fill(parameters: Sequence[Parameter], heard: Iterable[Heard], *, tool_stems: Iterable[str] = ()) -> dict[str, Any]:
    """Return the arguments found in what was heard.

    Args:
        parameters: What the tool wants to know.
        heard: What the caller said, newest first; the newest value of an argument wins.
        tool_stems: The stems of the tool's own words, which are no values.
    """
    own = frozenset(tool_stems)
    found: dict[str, Any] = {}
    for text, asked in heard:
        for parameter in parameters:
            if parameter.name not in found:
                is_asked = parameter.name == asked
                value = find_value(parameter, text, is_asked=is_asked, siblings=parameters, own=own)
                if value is not None:
                    found[parameter.name] = value
    return {p.name: found[p.name] for p in parameters if p.name in found}


def find_value(
    parameter: Parameter,
    text: str,
    *,
    is_asked: bool = False,
    siblings: Sequence[Parameter] = (),
    own: frozenset[str] = frozenset(),
) -> Any | None:
    """Return the value of one parameter in one text, or None."""
    kind = parameter.kind
    if kind == "choice":
        return _choice(parameter, text)
    if kind == "boolean":
        return _boolean(parameter, text, is_asked)
    if kind == "list":
        return _list(parameter, text, is_asked) or None
    if kind == "object":
        return fill(parameter.items, [Heard(text)], tool_stems=own) or None
    if kind in ("integer", "number"):
        return _number(parameter, text, is_asked, siblings)
    if kind == "code":
        return _code(parameter, text, is_asked, siblings)
    if kind in ("words", "sentence"):
        return free_value(parameter, text, is_asked, siblings, own)
    return _named_kind(parameter, text, is_asked, siblings)


def codes_for(parameter: Parameter, text: str) -> list[Any]:
    """Return every code in the text that fits the parameter, each once."""
    values = (_as_code(parameter, f.value) for f in _fitting_codes(parameter, text) if not f.negated)
    return list(dict.fromkeys(v for v in values if v is not None))


def labelled_code(parameter: Parameter, text: str) -> Any | None:
    """Return the code that the text itself calls by the parameter's name, or None."""
    named = [f for f in _fitting_codes(parameter, text) if not f.negated and _label_before(parameter, text, f)]
    return _as_code(parameter, named[-1].value) if named else None


def missing(parameters: Sequence[Parameter], arguments: Mapping[str, Any]) -> list[Parameter]:
    """Return the required parameters that have no value yet."""
    return [p for p in parameters if p.required and p.name not in arguments]


def _choice(parameter: Parameter, text: str) -> Any | None:
    picked = chosen(parameter, text)
    return picked[-1] if picked else None


def _boolean(parameter: Parameter, text: str, is_asked: bool) -> bool | None:
    said = [stem(w) for w in words(text)]
    if _SWITCHED & set(words(parameter.label)):
        switched = [w in _ON for w in words(text) if w in _ON or w in _OFF]
        return switched[-1] if switched else None
    label = [s for s in content_stems(parameter.label) if s not in ("has", "is", "with", "enabl", "includ")]
    at = where_said(label, said) if label else -1
    if at >= 0:
        return not any(w in ("no", "not", "without", "don't", "isn't", "never") for w in said[max(0, at - 4) : at])
    first = (words(text) or [""])[0]
    return first in _YES if is_asked and first in _YES | _NO else None


def _list(parameter: Parameter, text: str, is_asked: bool) -> list[Any]:
    element = parameter.items[0] if parameter.items else Parameter(parameter.name, "words")
    if element.kind == "choice":
        return chosen(element, text)
    if element.kind == "code":
        return codes_for(element, text)
    if element.kind in ("integer", "number"):
        return [_as_number(f.value, element.kind) for f in entities.numbers_in(text) if not f.negated]
    if element.kind in _FINDERS:
        return [f.value for f in _FINDERS[element.kind](text)]
    source = without_filler(text) if is_asked else after_label(parameter, text) or ""
    return [part.strip() for part in re.split(r",\s*(?:and\s+)?|\s+and\s+", source) if part.strip()][:20]


def _number(parameter: Parameter, text: str, is_asked: bool, siblings: Sequence[Parameter]) -> int | float | None:
    candidates = [f for f in entities.numbers_in(text) if not f.negated]
    if parameter.kind == "integer":
        candidates = [f for f in candidates if "." not in f.value]
    label = set(content_stems(parameter.label))
    about_people = bool(label & _PEOPLE)
    if about_people:
        label |= _PEOPLE
        if re.search(r"\b(?:just|only) (?:me|myself)\b|\bby myself\b", text, re.I):
            return 1
    for found in candidates:
        after = [stem(w) for w in words(text[found.end : found.end + 40])[:2]]
        before = [stem(w) for w in words(text[max(0, found.start - 40) : found.start])[-3:]]
        if label & set(after) or (label & set(before) and not about_people):
            return _as_number(found.value, parameter.kind)
        if _has_unit(text, found, label):
            continue
        if about_people and (before[-1:] == ["for"] or before[-2:] == ["of", "us"] or before[-2:] == ["we", "are"]):
            return _as_number(found.value, parameter.kind)
    rivals = [p for p in siblings if p.kind in ("integer", "number", "code") and p.name != parameter.name]
    codes = [p for p in rivals if p.kind == "code"]
    if codes and not is_asked:
        candidates = [f for f in candidates if not any(_label_before(p, text, f) for p in codes)]
        rivals = [p for p in rivals if p.kind != "code"] if len(candidates) == 1 else rivals
    if candidates and (is_asked or (not rivals and len(candidates) == 1 and not _has_unit(text, candidates[0], label))):
        return _as_number(candidates[-1].value, parameter.kind)
    return None


def _has_unit(text: str, found: Found, label: set[str]) -> bool:
    """Say whether the number counts something else than the parameter does (``2 kids`` is no number of nights)."""
    after = words(text[found.end : found.end + 30])[:1]
    about_money = label & {"amount", "sum", "pric", "total", "budget", "money", "cost", "deposit", "valu"}
    units = _COUNTED if about_money else _COUNTED | _MONEY
    return bool(after) and stem(after[0]) in units and stem(after[0]) not in label


def _code(parameter: Parameter, text: str, is_asked: bool, siblings: Sequence[Parameter]) -> Any | None:
    if is_asked and re.fullmatch(r"[\d\s-]{3,24}", bare := without_filler(text)):
        return _as_code(parameter, re.sub(r"\s", "", bare))
    found = _fitting_codes(parameter, text)
    taken_back = {f.value for f in found if f.negated}
    good = [f for f in found if f.value not in taken_back]
    near = [f for f in good if _label_before(parameter, text, f)]
    others = [p for p in siblings if p.kind in ("code", "phone") and p.name != parameter.name]
    near_other = {f for f in good for p in others if _label_before(p, text, f) and f not in near}
    rest = [f for f in good if f not in near_other and (is_asked or _looks_like_code(text, f))]
    if any(p.kind == "phone" for p in others):
        rest = [f for f in rest if len(f.value) < 9]
    if near and good[-1] not in (*near, *near_other) and _CORRECTING.search(text[near[-1].end : good[-1].start]):
        near = good[-1:]
    chosen = (near or (rest if is_asked or not others or len(rest) == 1 else []))[-1:]
    if chosen:
        return _as_code(parameter, chosen[0].value)
    letters = without_filler(text)
    if is_asked and re.fullmatch(r"[A-Z]{4,12}", letters):
        return letters
    return None


def _fitting_codes(parameter: Parameter, text: str) -> list[Found]:
    found = [f for f in entities.codes_in(text) if _as_code(parameter, f.value) is not None]
    if parameter.pattern and "(" not in parameter.pattern and len(parameter.pattern) < 80:
        try:
            pattern = re.compile(parameter.pattern)
        except re.error:
            return found
        return [f for f in found if pattern.search(f.value) or pattern.search(f.value.upper())]
    return found


def _looks_like_code(text: str, found: Found) -> bool:
    value = found.value
    if len(value) == 2 and value.isdigit():
        return bool(re.search(r"\b(?:of|for|about)\s+$", text[: found.start], re.I))
    return len(value) >= 3 and (not value.isdigit() or len(value) <= 20)


def _label_before(parameter: Parameter, text: str, found: Found) -> bool:
    """Say whether the words just before a code name the parameter (``order number is``, ``order``, ``#``)."""
    if text[found.start] == "#":
        return True
    label = {stem(w) for w in words(parameter.label)} - {"number", "id", "code", "referenc"}
    earlier = max((f.end for f in entities.codes_in(text) if f.end <= found.start), default=0)
    before = {stem(w) for w in words(text[max(earlier, found.start - 32) : found.start])[-5:]}
    if label:
        return bool(before & label)
    return bool(before & {"number", "id", "code", "referenc"})


def _as_code(parameter: Parameter, value: str) -> Any | None:
    if parameter.is_integer:
        return int(value) if value.isdigit() and len(value) <= 18 else None
    return value


def _as_number(value: str, kind: str) -> int | float:
    return int(float(value)) if kind == "integer" or "." not in value else float(value)


def _named_kind(parameter: Parameter, text: str, is_asked: bool, siblings: Sequence[Parameter]) -> Any | None:
    kind = parameter.kind
    if kind == "place":
        return _place(parameter, text, is_asked)
    if kind == "datetime":
        day, hour = _last(moments.dates_in(text)), _last(moments.times_in(text))
        return " at ".join(v for v in (day, hour) if v) or None
    values = [f for f in _FINDERS[kind](text) if not f.negated]
    alike = [p for p in siblings if p.kind == kind]
    if len(alike) > 1 and len(values) > 1:
        index = alike.index(parameter)
        value = values[index].value if index < len(values) else None
    else:
        value = values[-1].value if values and not (len(alike) > 1 and not is_asked and alike[0] != parameter) else None
    if value is None and is_asked and kind == "name":
        value = _bare_name(text)
    if value is not None and kind == "time":
        return (moments.clock_time(value) if parameter.clock_24h else None) or value
    return value


def _bare_name(text: str) -> str | None:
    kept = [w for w in without_filler(text).split() if w.lower().strip(".,") not in STOP_WORDS]
    name = " ".join(kept).strip(".,")
    if not 0 < len(kept) <= 4 or any(c.isdigit() for c in name) or "?" in text:
        return None
    return name.title() if name.islower() else name


def _place(parameter: Parameter, text: str, is_asked: bool) -> str | None:
    label = parameter.label
    if "address" in label or "street" in label:
        if match := _STREET.search(text):
            return without_ending(match[1].strip(" ."))
        return without_filler(text) or None if is_asked and "?" not in text else None
    before = "from" if re.search(r"\b(?:origin|from|departure)\b", label) else None
    before = "to|into" if re.search(r"\b(?:destination|to|arrival)\b", label) else before
    found = entities.places_in(text, before) if before else entities.places_in(text)
    if found:
        return found[0].value
    return without_filler(text) or None if is_asked and len(text.split()) <= 6 and "?" not in text else None


def _last(found: Sequence[Found]) -> str | None:
    good = [f.value for f in found if not f.negated]
    return good[-1] if good else None


_YES = frozenset(("yes", "yeah", "yep", "yup", "sure", "ok", "okay", "please", "correct", "true", "absolutely"))
_NO = frozenset(("no", "nope", "nah", "not", "false", "don't"))
_COUNTED = frozenset(("day", "week", "month", "hour", "minut", "year", "night", "kid", "time"))
_MONEY = frozenset(("euro", "dollar", "pound"))
_CORRECTING = re.compile(r"\b(?:sorry|no|i mean|i meant|actually|rather|correction|wait|oh)\b", re.I)
_SWITCHED = frozenset(("on", "off", "enabled", "active", "power", "open"))
_ON = frozenset(("on", "enable", "activate", "open", "start"))
_OFF = frozenset(("off", "disable", "deactivate", "close", "stop"))
_FINDERS: dict[str, Any] = {
    "email": entities.emails_in,
    "phone": entities.phones_in,
    "url": entities.urls_in,
    "date": moments.dates_in,
    "time": moments.times_in,
    "name": entities.names_in,
}
_STREET = re.compile(
    r"((?:\b\d{1,6}[a-z]?\s+(?:[A-Z][\w'-]*|\w+)(?:\s+\w+)?\s*(?:street|st|road|rd|avenue|ave|lane|square|drive|way|"
    r"place)|"
    r"\b\d{1,6}[a-z]?\s+[A-Z]\w+(?:\s+[A-Z]\w+)*|\b[A-Z]\w{1,40}(?:straße|strasse|weg|gasse|laan|straat)\s+\d+\w?)"
    r"(?:,\s*[\w '-]+){0,3})",
)
