"""Asking: what does an agent's turn ask of the caller?"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import NamedTuple

_CONFIRM = re.compile(
    r"\b(?:go ahead|shall i|should i|would you like me to|do you want me to|want me to|"
    r"(?:is|are) (?:that|this|these|it|everything|all) (?:all )?(?:right|correct|okay|ok|fine)|"
    r"(?:can you|could you|please) confirm|"
    r"do you confirm|to confirm|are you sure|does that (?:work|sound)|sounds? good|correct\?|right\?)",
    re.IGNORECASE,
)
_AGAIN = re.compile(r"\b(?:would you like me to|do you want me to)\b", re.IGNORECASE)
_TRANSFER = re.compile(r"\b(?:put you through|transfer you|connect you)\b", re.IGNORECASE)
_NOT_FOUND = re.compile(
    r"\b(?:could ?n[o']t find|can(?:no|')t find|could not be found|not found|unable to (?:find|locate)|no (?:such )?"
    r"(?:order|booking|record|account|reservation)|does ?n[o']t exist|no match|"
    r"did(?: not|n't) work|(?:is|was) (?:not valid|invalid|wrong|incorrect))",
    re.IGNORECASE,
)
_MORE = re.compile(
    r"\b(?:anything else|something else|help (?:you )?(?:with )?(?:anything|further)|what else|other questions?)\b",
    re.IGNORECASE,
)
_HELP = re.compile(r"\b(?:how (?:can|may) i (?:help|assist)|what can i do for you|how may i be of)", re.IGNORECASE)
_BYE = re.compile(
    r"\b(?:goodbye|good-bye|bye|have a (?:nice|good|great|lovely|pleasant) (?:day|evening|one|time|week))\b",
    re.IGNORECASE,
)
_REFUSED = re.compile(
    r"\b(?:can(?:no|')t|can not|could ?n[o']t|unable|not able|not possible|sorry|not allowed|don't (?:have|know|do)|"
    r"do not (?:have|know|do)|unfortunately|unavailable|impossible)\b",
    re.IGNORECASE,
)
_WAIT = re.compile(
    r"\b(?:one moment|just a (?:moment|second|minute)|a moment|hold on|bear with me|"
    r"let me (?:check|look|see|find|pull))\b",
    re.IGNORECASE,
)
_REQUEST = re.compile(
    r"\b(?:please (?:tell|give|provide|share|say|let|repeat|spell)|(?:tell|give) me|let me know|i(?:'ll| will)? need|"
    r"may i (?:have|ask)|could you|can you|can i have|what is|what's)\b",
    re.IGNORECASE,
)
_SENTENCE = re.compile(r"[^.!?\n]+[.!?]*")
_WORD = re.compile(r"[^\W_]+(?:'[^\W_]+)?")

OTHER_NAMES: Mapping[str, tuple[str, ...]] = {
    "people": ("how many", "party", "guests", "number of persons", "group"),
    "party_size": ("how many", "people", "guests"),
    "date": ("which day", "what day", "for when", "what date"),
    "time": ("what time", "at what hour", "when would"),
    "name": ("your name", "under what name", "who is the booking for"),
    "email": ("e-mail", "email", "mail address"),
    "phone": ("phone", "telephone", "call you back"),
    "order_number": ("order number", "number of your order", "order id", "which order"),
    "booking_reference": ("reference", "booking number", "confirmation number"),
    "reason": ("why", "what is wrong", "what happened"),
}
"""What agents also call a fact, when they ask for it."""


class Asked(NamedTuple):
    """What a turn of the agent does, as far as a caller reacts to it."""

    confirm: bool
    transfer: bool
    not_found: bool
    anything_else: bool
    how_to_help: bool
    goodbye: bool
    refused: bool
    wait: bool
    question: bool


def asked_in(text: str) -> Asked:
    """Return what an agent's turn does.

    Example:
        >>> asked_in("I found it. Shall I go ahead?").confirm
        True
    """
    text = text.replace("\u2019", "'")
    return Asked(
        confirm=bool(_CONFIRM.search(text)),
        transfer=bool(_TRANSFER.search(text)),
        not_found=bool(_NOT_FOUND.search(text)),
        anything_else=bool(_MORE.search(text)),
        how_to_help=bool(_HELP.search(text)),
        goodbye=bool(_BYE.search(text)),
        wait=bool(_WAIT.search(text)),
        refused=bool(_REFUSED.search(text)),
        question="?" in text or bool(_REQUEST.search(text)),
    )


def offers(text: str) -> bool:
    """Say whether the agent offers to do something, which may be asked several times with the same answer."""
    return bool(_AGAIN.search(text))


def facts_asked(text: str, facts: Mapping[str, str]) -> list[str]:
    """Return the keys of the facts that a turn of the agent asks for, in the order of the facts.

    Example:
        >>> facts_asked("Could you tell me the order number?", {"order_number": "1234", "name": "Ada"})
        ['order_number']
    """
    lower = text.lower()
    asking = " ".join(part for part in _SENTENCE.findall(lower) if "?" in part or _REQUEST.search(part))
    found = [key for key in facts if _is_named(key, asking)]
    return found or [key for key in facts if _is_named(key, lower)][:1]


def question_key(text: str) -> str:
    """Return what makes two questions the same: the words of the last question, without what changes."""
    questions = [part for part in _SENTENCE.findall(text.lower()) if "?" in part] or [text.lower()]
    return " ".join(_WORD.findall(questions[-1]))


def wrong_value(text: str, key: str, facts: Mapping[str, str]) -> str | None:
    """Return a value that the agent said where the caller knows another, such as a wrong order number; None if none.

    Only values of one word with a digit can be compared: same form, not the same.

    Example:
        >>> wrong_value("I have order 1243 here.", "order_number", {"order_number": "1234"})
        '1243'
    """
    value = facts[key]
    if " " in value or not any(char.isdigit() for char in value) or len(value) < 3 or value.lower() in text.lower():
        return None
    if not any(word in text.lower() for word in key.split("_")):
        return None
    known = {other.lower() for other in facts.values()}
    words = (word for word in re.findall(r"[\w-]+", text) if len(word) == len(value))
    alike = [word for word in words if _form(word) == _form(value)]
    return next((word for word in alike if word.lower() not in known), None)


def _is_named(key: str, text: str) -> bool:
    words = key.replace("_", " ").lower().split()
    if words and all(word in text for word in words):
        return True
    return any(name in text for name in OTHER_NAMES.get(key, ()))


def _form(word: str) -> str:
    return "".join("d" if char.isdigit() else "a" if char.isalpha() else char for char in word)
