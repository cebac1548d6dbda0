"""Caller faults: did the model that plays the caller leave its part?"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import NamedTuple

from convai_lab.conversations.conversation import Conversation
from convai_lab.simulation.scenario import Scenario

SHOWN_CHARS = 120
ECHO_CHARS = 40
"""A caller may repeat a short answer of the agent; more than this word for word is an echo."""

_OTHER_SIDE = re.compile(
    r"^\s*(?:agent|assistant|operator|representative|support|bot)\s*:", re.IGNORECASE | re.MULTILINE
)
_AS_AGENT = re.compile(
    r"\b(?:how (?:can|may) i (?:help|assist) you|thank you for (?:calling|contacting|reaching)|"
    r"is there anything else i can|"
    r"(?:let me|i'll|i will|i can) (?:look (?:that|it|your \w+) up|check (?:that|your \w+|our) for you|transfer you|"
    r"connect you|cancel (?:that|it|your \w+) for you|book (?:that|it) for you)|"
    r"your (?:order|booking|request) has been)\b",
    re.IGNORECASE,
)
_OUT_OF_PART = re.compile(
    r"\b(?:as an ai|i(?:'m| am) an? (?:ai|language model|virtual|assistant|chatbot|bot)|language model|role-?play\w*|"
    r"simulat(?:ion|ed user)|system prompt|(?:this|the) scenario|my instructions|the caller (?:says|would|then|is))\b",
    re.IGNORECASE,
)
_CODE = re.compile(r"[A-Za-z]{0,4}-?\d[\d-]{2,}")
_DATE_OR_YEAR = re.compile(r"(?:19|20)\d\d|\d{1,4}[-./]\d{1,2}[-./]\d{1,4}")


class CallerFault(NamedTuple):
    """What is wrong with a caller's words: the kind as a word, the evidence, and what the model is told about it."""

    reason: str
    detail: str
    correction: str


def fault_in(
    text: str, conversation: Conversation, scenario: Scenario, *, stops: bool, is_cut: bool
) -> CallerFault | None:
    """Return the first fault in a caller's next words, or None.

    Args:
        text: The words, without an end mark.
        conversation: What was said until now.
        scenario: What the caller wants and knows.
        stops: The caller ends the conversation with them, so that they may be empty.
        is_cut: They did not come to an end.
    """
    return next(_faults(text, conversation, scenario, stops=stops, is_cut=is_cut), None)


def _faults(
    text: str, conversation: Conversation, scenario: Scenario, *, stops: bool, is_cut: bool
) -> Iterator[CallerFault]:
    plain = text.replace("\u2019", "'")
    if not text and not stops:
        yield CallerFault("empty_reply", "it said nothing", "You said nothing.")
    if is_cut:
        yield CallerFault("endless_reply", _shown(text), "That was far too long; one or two short sentences.")
    if found := _OUT_OF_PART.search(plain):
        yield CallerFault("left_its_part", _shown(text, found.start()), "Stay the caller; never speak about your part.")
    if found := _OTHER_SIDE.search(plain) or _AS_AGENT.search(plain):
        yield CallerFault("spoke_as_agent", _shown(text, found.start()), "You spoke as the agent; you are the caller.")
    if _echoes(text, conversation):
        yield CallerFault("spoke_as_agent", _shown(text), "You repeated the agent's words; you are the caller.")
    if code := _invented(text, conversation, scenario):
        yield CallerFault(
            "contradicted_facts", f"{code!r} is not among the facts: {_shown(text)}", f"You do not know {code!r}."
        )


def _echoes(text: str, conversation: Conversation) -> bool:
    said = " ".join(text.split())
    if len(said) < ECHO_CHARS:
        return False
    return any(said in " ".join(turn.text.split()) for turn in conversation.turns if turn.role == "agent")


def _invented(text: str, conversation: Conversation, scenario: Scenario) -> str | None:
    """Return a number or code of three digits or more that nobody has told the caller."""
    if not scenario.facts:
        return None
    told = [scenario.goal, scenario.opening, *scenario.lines, *scenario.facts.values()]
    known = _bare(" ".join([*told, *(turn.text for turn in conversation.turns)]))
    codes = (match[0] for match in _CODE.finditer(text) if not _DATE_OR_YEAR.fullmatch(match[0]))
    return next((code for code in codes if _bare(code) not in known), None)


def _bare(text: str) -> str:
    return "".join(char for char in text.lower() if char.isalnum())


def _shown(text: str, at: int = 0) -> str:
    start = max(0, at - SHOWN_CHARS // 2)
    piece = " ".join(text[start : start + SHOWN_CHARS].split())
    return f"“{piece}{'…' if len(text) > start + SHOWN_CHARS else ''}”"
