"""Slots: which of a tool's arguments are in the words of the caller?"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from convai_lab.providers.offline import entities
from convai_lab.providers.offline.entities import Found
from convai_lab.providers.offline.schemas import Parameter
from convai_lab.providers.offline.words import STOP_WORDS, content_stems, related, stem, words

MAX_SENTENCE_CHARS = 400
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
        return _free(parameter, text, is_asked, siblings, own)
    return _named_kind(parameter, text, is_asked, siblings)


def codes_for(parameter: Parameter, text: str) -> list[Any]:
    """Return every code in the text that fits the parameter, each once."""
    values = (_as_code(parameter, f.value) for f in _fitting_codes(parameter, text) if not f.negated)
    return list(dict.fromkeys(v for v in values if v is not None))


def missing(parameters: Sequence[Parameter], arguments: Mapping[str, Any]) -> list[Parameter]:
    """Return the required parameters that have no value yet."""
    return [p for p in parameters if p.required and p.name not in arguments]


def without_filler(text: str) -> str:
    """Return a short answer without what surrounds it: ``um, it's the blue one please`` is ``blue one``."""
    text = _FILLER_END.sub("", _FILLER_START.sub("", text.strip().strip("\"'"))).strip(' .,!;:"')
    return text[:MAX_SENTENCE_CHARS]


def _choice(parameter: Parameter, text: str) -> Any | None:
    picked = _choices(parameter, text)
    return picked[-1] if picked else None


def _choices(parameter: Parameter, text: str) -> list[Any]:
    """Return the allowed values that the text names, in the order they were said."""
    said = [stem(w) for w in words(text)]
    numbers = {f.value for f in entities.numbers_in(text) if not f.negated}
    hits: list[tuple[int, Any]] = []
    for value in parameter.choices:
        if isinstance(value, (int, float)):
            at = next(
                (f.start for f in entities.numbers_in(text) if f.value == str(value) and str(value) in numbers), -1
            )
        else:
            at = _where_said([stem(w) for w in words(value.replace("_", " ").replace("-", " "))], said)
        if at >= 0 and not _is_denied(said, at):
            hits.append((at, value))
    return [value for _, value in sorted(hits, key=lambda hit: hit[0])]


def _where_said(wanted: list[str], said: list[str]) -> int:
    """Return the place of the last word of `wanted` in `said` when all of them are there, in any form, else -1."""
    places = []
    for word in wanted:
        same = [i for i, s in enumerate(said) if s == word] or [i for i, s in enumerate(said) if word in related(s)]
        if not same or (word in STOP_WORDS and len(wanted) == 1 and len(said) > 3):
            return -1
        places.append(same[-1])
    return max(places, default=-1)


def _is_denied(said: list[str], at: int) -> bool:
    before = said[max(0, at - 3) : at]
    return any(w in ("not", "no", "without", "isn't", "don't") for w in before) and "but" not in before


def _boolean(parameter: Parameter, text: str, is_asked: bool) -> bool | None:
    said = [stem(w) for w in words(text)]
    label = [s for s in content_stems(parameter.label) if s not in ("has", "is", "with", "enabl", "includ")]
    at = _where_said(label, said) if label else -1
    if at >= 0:
        return not any(w in ("no", "not", "without", "don't", "isn't", "never") for w in said[max(0, at - 4) : at])
    if is_asked and said:
        if said[0] in ("yes", "yeah", "yep", "sure", "ok", "okay", "please", "correct", "true", "yup", "absolut"):
            return True
        if said[0] in ("no", "nope", "nah", "not", "fals", "don't"):
            return False
    return None


def _list(parameter: Parameter, text: str, is_asked: bool) -> list[Any]:
    element = parameter.items[0] if parameter.items else Parameter(parameter.name, "words")
    if element.kind == "choice":
        return _choices(element, text)
    if element.kind == "code":
        return codes_for(element, text)
    if element.kind in ("integer", "number"):
        return [_as_number(f.value, element.kind) for f in entities.numbers_in(text) if not f.negated]
    if element.kind in _FINDERS:
        return [f.value for f in _FINDERS[element.kind](text)]
    source = without_filler(text) if is_asked else _after_label(parameter, text) or ""
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
        if about_people and (before[-1:] == ["for"] or before[-2:] == ["of", "us"] or before[-2:] == ["we", "are"]):
            return _as_number(found.value, parameter.kind)
    rivals = [p for p in siblings if p.kind in ("integer", "number", "code") and p.name != parameter.name]
    if candidates and (is_asked or (not rivals and len(candidates) == 1 and not _has_unit(text, candidates[0], label))):
        return _as_number(candidates[-1].value, parameter.kind)
    return None


def _has_unit(text: str, found: Found, label: set[str]) -> bool:
    """Say whether the number counts something else than the parameter does (``2 kids`` is no number of nights)."""
    after = words(text[found.end : found.end + 30])[:1]
    units = ("day", "week", "month", "hour", "minut", "euro", "dollar", "year", "night", "kid", "time")
    return bool(after) and stem(after[0]) in units and stem(after[0]) not in label


def _code(parameter: Parameter, text: str, is_asked: bool, siblings: Sequence[Parameter]) -> Any | None:
    found = _fitting_codes(parameter, text)
    good = [f for f in found if not f.negated]
    near = [f for f in good if _label_before(parameter, text, f)]
    others = [p for p in siblings if p.kind in ("code", "phone") and p.name != parameter.name]
    near_other = {f for f in good for p in others if _label_before(p, text, f) and f not in near}
    rest = [f for f in good if f not in near_other and (is_asked or _looks_like_code(f.value))]
    if any(p.kind == "phone" for p in others):
        rest = [f for f in rest if len(f.value) < 9]
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


def _looks_like_code(value: str) -> bool:
    return len(value) >= 3 and (not value.isdigit() or len(value) <= 20)


def _label_before(parameter: Parameter, text: str, found: Found) -> bool:
    """Say whether the words just before a code name the parameter (``order number is``, ``order``, ``#``)."""
    if text[found.start] == "#":
        return True
    label = {stem(w) for w in words(parameter.label)} - {"number", "id", "code", "referenc"}
    before = {stem(w) for w in words(text[max(0, found.start - 32) : found.start])[-5:]}
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
        day, hour = _last(entities.dates_in(text)), _last(entities.times_in(text))
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
        return (entities.clock_time(value) if parameter.clock_24h else None) or value
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
            return _FILLER_END.sub("", match[1].strip(" ."))
        return without_filler(text) or None if is_asked and "?" not in text else None
    before = "from" if re.search(r"\b(?:origin|from|departure)\b", label) else None
    before = "to|into" if re.search(r"\b(?:destination|to|arrival)\b", label) else before
    found = entities.places_in(text, before) if before else entities.places_in(text)
    if found:
        return found[0].value
    return without_filler(text) or None if is_asked and len(text.split()) <= 6 and "?" not in text else None


def _free(
    parameter: Parameter, text: str, is_asked: bool, siblings: Sequence[Parameter], own: frozenset[str]
) -> str | None:
    if quoted := re.search(r"[\"“]([^\"”]{2,200})[\"”]", text):
        return quoted[1]
    if parameter.kind == "sentence":
        if "reason" in parameter.label and (
            because := re.search(r"\b(?:because|since|reason is)\s+(?:that\s+)?(.{3,})", text)
        ):
            return because[1].strip(" .")[:MAX_SENTENCE_CHARS]
        told = [s for s in content_stems(text) if s not in own]
        enough = is_asked or (parameter.required and len(told) >= 2)
        return text.strip()[:MAX_SENTENCE_CHARS] or None if enough else None
    if examples := _examples(parameter):
        named = _choices(Parameter(parameter.name, "choice", choices=examples), text)
        if named:
            return str(named[-1])
    if is_asked and "?" not in text and len(text.split()) <= 15:
        return without_filler(text) or None
    if after := _after_label(parameter, text):
        return after
    rivals = [p for p in siblings if p.kind == "words" and p.required and p.name != parameter.name]
    return _object_of_verb(text, own) if parameter.required and not rivals else None


def _examples(parameter: Parameter) -> tuple[str, ...]:
    match = re.search(
        r"(?:e\.g\.,?|for example|such as|one of|either|like)\s*:?\s*([^.()]{3,200})", parameter.description, re.I
    )
    if not match:
        return ()
    return tuple(
        p.strip(" '\"`")
        for p in re.split(r",\s*(?:or\s+|and\s+)?|\s+or\s+|\s+and\s+|/|\|", match[1])
        if p.strip(" '\"`")
    )


def _after_label(parameter: Parameter, text: str) -> str | None:
    label = re.escape(parameter.label).replace(r"\ ", r"\s+")
    match = re.search(rf"\b{label}\s*(?:is|are|:|=|called|named|should be|to)\s+([^.,;!?\n]{{1,120}})", text, re.I)
    return without_filler(match[1]) or None if match else None


def _object_of_verb(text: str, own: frozenset[str]) -> str | None:
    """Return what the caller wants to have done something with: ``jazz`` in ``play some jazz, please``."""
    match = _OBJECT.search(text)
    if not match:
        return None
    kept = [w for w in match[1].split() if stem(w.lower()) not in own]
    value = without_filler(" ".join(kept))
    return value if value and content_stems(value) else None


def _last(found: Sequence[Found]) -> str | None:
    good = [f.value for f in found if not f.negated]
    return good[-1] if good else None


_FINDERS: dict[str, Any] = {
    "email": entities.emails_in,
    "phone": entities.phones_in,
    "url": entities.urls_in,
    "date": entities.dates_in,
    "time": entities.times_in,
    "name": entities.names_in,
}
_FILLER_START = re.compile(
    r"^(?:\W*\b(?:um+|uh+|er+|well|so|ok(?:ay)?|yes|yeah|sure|please|it(?:'s| is| would be)|that(?:'s| is|"
    r" would be)|i think|"
    r"i guess|my \w+ is|the|an?|i(?:'d| would) like|i want|i need|make it|to|just|no|actually|sorry)\b\W*)+",
    re.I,
)
_FILLER_END = re.compile(r"(?:\W*\b(?:please|thanks|thank you|if possible|i think|then)\b\W*)+$", re.I)
_OBJECT = re.compile(
    r"\b(?:book|order|buy|find|search(?: for)?|look for|play|add|remove|need|want|like|get|reserve|show me|"
    r"about|for)\s+"
    r"(?:me\s+)?(?:an?\s+|the\s+|some\s+|my\s+|\d+\s+)?(?!to\b)((?:[\w'-]+\s?){1,4}?)"
    r"(?=\s*(?:$|[.,;!?]|\b(?:for|on|at|in|to|from|with|please|tomorrow|today|tonight|number|by|next|and)\b))",
    re.I,
)
_STREET = re.compile(
    r"((?:\d+[a-z]?\s+(?:[A-Z][\w'-]*|\w+)(?:\s+\w+)?\s*(?:street|st|road|rd|avenue|ave|lane|square|drive|way|"
    r"place)|"
    r"\d+[a-z]?\s+[A-Z]\w+(?:\s+[A-Z]\w+)*|[A-Z]\w+(?:straße|strasse|weg|gasse|laan|straat)\s+\d+\w?)"
    r"(?:,\s*[\w '-]+){0,3})",
)
