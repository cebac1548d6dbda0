"""Tool choice: which tool do the caller's words ask for, if any?"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import NamedTuple

from convai_lab.providers.base import ToolSpec
from convai_lab.providers.offline import slots
from convai_lab.providers.offline.acts import Said
from convai_lab.providers.offline.schemas import Parameter, parameters_of
from convai_lab.providers.offline.words import (
    STOP_WORDS,
    content_stems,
    likeness,
    listed,
    name_words,
    sentences,
    stem,
    words,
)

MIN_SCORE = 1.6
NAME_WEIGHT, DESCRIPTION_WEIGHT, PARAMETER_WEIGHT, CHOICE_WEIGHT = 2.0, 1.0, 0.7, 1.2
VALUE_BONUS, MINE_BONUS, UNMATCHED_COST = 1.0, 0.6, 0.1
SYSTEM_TOOLS = frozenset(
    [
        "end_call",
        "transfer_to_number",
        "transfer_to_agent",
        "skip_turn",
        "language_detection",
        "play_keypad_touch_tone",
        "voicemail_detection",
    ]
)
_TELLING_KINDS = frozenset(("code", "email", "phone", "place", "date", "time", "datetime", "choice"))


@dataclass(frozen=True)
class Tool:
    """A tool as the rules see it: its words, its parameters and what it does to the world."""

    spec: ToolSpec

    @cached_property
    def name(self) -> str:
        """The name it is called by."""
        return self.spec.name

    @cached_property
    def parameters(self) -> tuple[Parameter, ...]:
        """What it wants to know."""
        return parameters_of(self.spec.parameters)

    @cached_property
    def name_stems(self) -> frozenset[str]:
        """The stems of its name."""
        return frozenset(stem(w) for w in name_words(self.name)) - _EMPTY_NAMES

    @cached_property
    def description_stems(self) -> frozenset[str]:
        """The stems of its description."""
        return frozenset(content_stems(self.spec.description[:600]))

    @cached_property
    def parameter_stems(self) -> frozenset[str]:
        """The stems of its parameters' names."""
        return frozenset(s for p in self.parameters for s in content_stems(p.label)) - {"number", "id", "code", "name"}

    def asks_for(self, thing: str) -> bool:
        """Say whether one of its parameters is what the prompt calls `thing` (``your name``)."""
        labels = [content_stems(p.label) for p in self.parameters]
        wanted = content_stems(thing)
        return any(label and any(likeness(s, label) for s in wanted if s not in _VAGUE) for label in labels)

    @cached_property
    def choice_stems(self) -> frozenset[str]:
        """The stems of the values that it lists."""
        values = (str(c) for p in self.parameters for c in (*p.choices, *(c for i in p.items for c in i.choices)))
        return frozenset(s for value in list(values)[:100] for s in content_stems(value.replace("_", " ")))

    @cached_property
    def stems(self) -> frozenset[str]:
        """The stems of its name and description."""
        return self.name_stems | self.description_stems

    @cached_property
    def deeds(self) -> frozenset[str]:
        """What it changes in the world (``cancel``, ``create``); empty for a tool that only looks something up."""
        named = name_words(self.name)
        described = words(self.spec.description[:200])
        if named[:1] and named[0] in _READING:
            return frozenset()
        doing = {deed for w in named if w != "order" and (deed := _DEED_OF.get(w))}
        if doing:
            return frozenset(doing)
        if described[:1] and described[0].removesuffix("s") in _READING:
            return frozenset()
        return frozenset(deed for w in described[:3] if (deed := _DEED_OF.get(w.removesuffix("s"))))

    @cached_property
    def capability(self) -> str:
        """What it does, to follow ``I can``."""
        first = (sentences(self.spec.description[:300]) or [""])[0].strip(" .")
        first = re.sub(
            r"^(?:use this (?:tool|function)?\s*to|this (?:tool|function)|a tool to|tool to)\s+", "", first, flags=re.I
        )
        first = re.split(
            r"\b(?:by|using|given|for a given|based on|when|if|so that|and return|from the)\b|[,;:(]", first
        )[0]
        kept = first.split()
        if 2 <= len(kept) <= 12 and (verb := _base_form(kept[0].lower())):
            return " ".join([verb, *kept[1:]])
        return f"help with {' '.join(name_words(self.name))}" if self.name else "help"


class Choice(NamedTuple):
    """The tool that fits best, and how well."""

    tool: Tool
    score: float


def tools_of(specs: Sequence[ToolSpec]) -> list[Tool]:
    """Return the ordinary tools of a request."""
    return [
        _known_tool(spec.name, spec.description, repr(spec.parameters), _Spec(spec))
        for spec in specs
        if spec.name not in SYSTEM_TOOLS
    ]


class _Spec:
    """A tool's spec as a cache argument that does not count: the arguments before it say all that it says."""

    def __init__(self, spec: ToolSpec) -> None:
        self.spec = spec

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Spec)

    def __hash__(self) -> int:
        return 0


@lru_cache(maxsize=512)
def _known_tool(_name: str, _description: str, _parameters: str, spec: _Spec) -> Tool:
    return Tool(spec.spec)


def choose(tools: Sequence[Tool], said: Said) -> Choice | None:
    """Return the tool that the words ask for, or None."""
    best: Choice | None = None
    parts = [said.text, *said.parts] if len(said.parts) > 1 else [said.text]
    read = [(part, content_stems(part), deeds_in(part)) for part in parts[:12]]
    for tool in tools:
        score = max((_score(tool, *each, said=said) for each in read), default=0.0)
        if score >= MIN_SCORE and (best is None or score > best.score):
            best = Choice(tool, score)
    return best


def deeds_in(text: str) -> frozenset[str]:
    """Return what the words want to have done (``cancel``, ``create``)."""
    found = {deed for w in words(_BOOK_AS_NOUN.sub(" ", text)) if (deed := _DEED_OF.get(w))}
    found |= {deed for pattern, deed in _DEED_PATTERNS if pattern.search(text)}
    if "change" in found and re.search(r"\bchanged? (?:my|your) mind\b", text, re.I):
        found.discard("change")
    return frozenset(found)


def wants_other_deed(tool: Tool, deeds: frozenset[str]) -> bool:
    """Say whether the words want something done that this tool does not do."""
    strong = deeds - WEAK_DEEDS
    return bool(strong) and not strong & tool.deeds and not any(_DEED_STEMS[d] & tool.stems for d in strong)


def _score(tool: Tool, text: str, stems: list[str], deeds: frozenset[str], *, said: Said) -> float:
    if not stems or wants_other_deed(tool, deeds):
        return 0.0
    hits = [_hit(tool, s) for s in stems]
    score = sum(hits) - UNMATCHED_COST * min(sum(not h for h in hits), 6)
    if tool.deeds and not tool.deeds & deeds and not (said.is_request and score >= NAME_WEIGHT and not deeds):
        return 0.0
    if tool.deeds & deeds:
        score += 0.5
    if not any(hits):
        return 0.0
    if any(likeness(s, tool.stems) for s in _owned(text)):
        score += MINE_BONUS
    telling = [p for p in tool.parameters if p.kind in _TELLING_KINDS and p.required]
    if any(slots.find_value(p, text, siblings=tool.parameters) is not None for p in telling):
        score += VALUE_BONUS
    return score


def _owned(text: str) -> list[str]:
    """Return the stems of what the caller calls their own: ``my blue parcel``."""
    having = words(text) if _HAVING.search(text) else []
    return [stem(w) for w in (*having, *(w for pair in _OWN.findall(text) for w in words(pair))) if w not in STOP_WORDS]


def _hit(tool: Tool, wanted: str) -> float:
    return max(
        NAME_WEIGHT * likeness(wanted, tool.name_stems),
        DESCRIPTION_WEIGHT * likeness(wanted, tool.description_stems),
        PARAMETER_WEIGHT * likeness(wanted, tool.parameter_stems),
        CHOICE_WEIGHT * (wanted in tool.choice_stems),
    )


def _base_form(verb: str) -> str | None:
    for form in (verb, verb.removesuffix("s"), verb.removesuffix("es")):
        if form in _TOOL_VERBS:
            return form
    return None


_BOOK_AS_NOUN = re.compile(r"\b(?:an?|the|my|your|this|that|each|which)\s+(?:\w+\s+)?(?:book|place|schedule)\b", re.I)
_HAVING = re.compile(r"\b(?:do|did) i (?:still )?have\b(?! to)|\bam i (?:on|in)\b", re.I)
_VAGUE = frozenset(("number", "id", "code", "detail", "inform"))
_OWN = re.compile(r"\b(?:my|our)\s+(\w+(?:\s+\w+)?)", re.I)
_READING = frozenset(
    listed(
        """
    get find check look lookup list search show fetch track query read return tell view retrieve see is
    calculate
"""
    )
)
_DEEDS = {
    "cancel": "cancel cancelling canceling delete remove",
    "change": "change changing modify update edit amend reschedule move rebook postpone",
    "create": "book reserve schedule create place add register",
    "refund": "refund refunded reimburse",
    "return": "return returning exchange",
    "send": "send resend",
    "pay": "pay",
    "report": "report",
    "buy": "buy purchase",
}
_DEED_OF = {word: deed for deed, listed in _DEEDS.items() for word in listed.split()}
_DEED_STEMS = {deed: frozenset(stem(w) for w in listed.split()) for deed, listed in _DEEDS.items()}
WEAK_DEEDS = frozenset(("send", "pay", "report", "buy"))
"""What is often only mentioned, not wanted."""
_NOUN = (
    r"(?:table|appointment|booking|reservation|slot|room|seat|visit|viewing|demo|ticket|meeting|haircut|class|"
    r"lesson)"
)
_DEED_PATTERNS = tuple(
    (re.compile(pattern, re.I), deed)
    for pattern, deed in (
        (
            r"(?<!you )\b(?:make|need|want|like|get|have|arrange|set up|open)\s+(?:me\s+)?(?:an?|another|one|to see)\s+"
            rf"(?:\w+\s+)?{_NOUN}\b",
            "create",
        ),
        (rf"\b{_NOUN}\s+for\s+\w+", "create"),
        (r"\b(?:want|need|like) to see (?:an?|the|your) \w+", "create"),
        (r"\b(?:to|can i|could i|please)\s+order\b|\bplace an? \w*\s?order\b|\bsign (?:me )?up\b", "create"),
        (r"\bmoney back\b", "refund"),
        (r"\b(?:send|give)\w*\s+(?:it|them|this)\s+back\b", "return"),
    )
)
_EMPTY_NAMES = frozenset(
    listed(
        """
    get find check look up list search show fetch tool function do run the a of to by for
"""
    )
)
_TOOL_VERBS = frozenset(
    listed(
        """
    look get find check list search show fetch track view retrieve calculate cancel delete remove change
    modify update edit amend reschedule move book reserve schedule create place add register refund
    return exchange send pay report buy order make open close set start stop play turn tell give answer
    verify validate confirm request file submit subscribe unsubscribe activate deactivate reset translate
    convert compute estimate recommend suggest apply issue log record save store notify arrange assign
    lock unlock block escalate transfer read
"""
    )
)
