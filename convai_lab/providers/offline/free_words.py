"""Free words: which part of what was said is the value, when any words could be one?"""

from __future__ import annotations

import re
from collections.abc import Sequence

from convai_lab.providers.offline.choices import chosen
from convai_lab.providers.offline.schemas import Parameter
from convai_lab.providers.offline.words import content_stems, stem

MAX_SENTENCE_CHARS = 400


def without_filler(text: str) -> str:
    """Return a short answer without what surrounds it: ``um, it's the blue one please`` is ``blue one``."""
    text = without_ending(_FILLER_START.sub("", text.strip().strip("\"'"))).strip(' .,!;:"')
    return text[:MAX_SENTENCE_CHARS]


def without_ending(text: str) -> str:
    """Return a text without the courtesies at its end."""
    return _FILLER_END.sub("", text)


def free_value(
    parameter: Parameter, text: str, is_asked: bool, siblings: Sequence[Parameter], own: frozenset[str]
) -> str | None:
    """Return the value of a parameter that any words could fill, or None."""
    if quoted := re.search(r"[\"“]([^\"”]{2,200})[\"”]", text):
        return quoted[1]
    if parameter.kind == "sentence":
        if "reason" in parameter.label and (
            because := re.search(r"\b(?:because|since|reason is)\s+(?:that\s+)?(.{3,})", text)
        ):
            return because[1].strip(" .")[:MAX_SENTENCE_CHARS]
        if parameter.label.split()[-1] in ("query", "search", "topic") and (wanted := _object_of_verb(text, own)):
            return wanted
        told = [s for s in content_stems(text) if s not in own]
        enough = is_asked or (parameter.required and len(told) >= 2)
        return text.strip()[:MAX_SENTENCE_CHARS] or None if enough else None
    if examples := _examples(parameter):
        named = chosen(Parameter(parameter.name, "choice", choices=examples), text)
        if named:
            return str(named[-1])
    if is_asked and "?" not in text and len(text.split()) <= 15:
        return without_filler(text) or None
    if after := after_label(parameter, text):
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


def after_label(parameter: Parameter, text: str) -> str | None:
    """Return what stands after the name of a parameter: ``the colour is blue``."""
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


_FILLER_START = re.compile(
    r"^(?:\W*\b(?:um+|uh+|er+|well|so|ok(?:ay)?|yes|yeah|sure|please|it(?:'s| is| would be)|that(?:'s| is|"
    r" would be)|i think|"
    r"i guess|my \w+ is|the|an?|i(?:'d| would) like|i want|i need|make it|to|just|no|actually|sorry)\b\W*)+",
    re.I,
)


_FILLER_END = re.compile(r"(?:\W*\b(?:please|thanks|thank you|if possible|i think|then)\b)+\W*$", re.I)


_OBJECT = re.compile(
    r"\b(?:book|order|buy|find|search(?: for)?|look for|play|add|remove|need|want|like|get|reserve|show me|"
    r"about|for)\s+"
    r"(?:me\s+)?(?:an?\s+|the\s+|some\s+|my\s+|\d+\s+)?(?!to\b)((?:[\w'-]+\s?){1,4}?)"
    r"(?=\s*(?:$|[.,;!?]|\b(?:for|on|at|in|to|from|with|please|tomorrow|today|tonight|number|by|next|and)\b))",
    re.I,
)
