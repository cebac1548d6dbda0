"""Wording: how does a persona say a sentence, without a model?

What is said stays what it was: words are added, left out or asked back, and numbers and names are never touched.
The same style, words and chance give the same sentence.
"""

from __future__ import annotations

import random
import re
from collections.abc import Mapping
from typing import NamedTuple


class Wording(NamedTuple):
    """How a style changes sentences: what may come before and after, and what is left out."""

    before: tuple[str, ...] = ()
    after: tuple[str, ...] = ()
    left_out: str = ""
    chance: float = 0.7


_POLITE = r"\b(?:hello|hi|good morning|good afternoon|please|thank you|thanks)\b[,.! ]*"

WORDINGS: Mapping[str, Wording] = {
    "patient": Wording(("Of course.", "Sure, no problem.", "Take your time."), ("Thank you.", "Thanks for your help.")),
    "hurried": Wording(("Quickly, please.", "I am in a hurry."), ("Make it quick.",), _POLITE),
    "confused": Wording(
        ("Um, let me think.", "Wait, I am not sure I follow.", "Hm, I am a bit lost."),
        ("I think.", "If I understood you."),
    ),
    "hostile": Wording(
        ("This is ridiculous.", "I have had enough of this.", "Are you even listening?"),
        ("Get on with it.", "This is the worst service ever."),
        _POLITE,
    ),
    "non_native": Wording(
        ("Sorry, my English is not so good.", "Excuse me, how you say."),
        ("I hope you understand.",),
        r"\b(?:a|an|the)\b ",
    ),
    "elderly": Wording(
        ("Oh dear, one moment.", "You must speak up a little, young friend.", "Let me get my glasses."),
        ("My dear.", "I am not good with these machines."),
    ),
    "talkative": Wording(
        (
            "You know, my neighbour always says one should simply call, so here I am.",
            "It has been quite a week, with the rain and the cat and everything.",
            "I was just telling my sister about this.",
        ),
        ("But that is another story.", "Anyway, that is how it is."),
        chance=1.0,
    ),
    "terse": Wording(left_out=_POLITE, chance=1.0),
    "shy": Wording(("Um, sorry.", "I hope I am not bothering you."), ("If that is okay.", "Sorry.")),
}
"""What each style of a persona adds and leaves out."""


def worded(text: str, style: str, chance: random.Random) -> str:
    """Return a sentence as this style says it.

    Example:
        >>> worded("Hello, where is my order 1234, please?", "terse", random.Random(0))
        'Where is my order 1234?'
    """
    wording = WORDINGS.get(style)
    if wording is None:
        return text
    parts = [_without(text, wording.left_out)]
    if wording.before and chance.random() < wording.chance:
        parts.insert(0, chance.choice(wording.before))
    if wording.after and chance.random() < wording.chance / 2:
        parts.append(chance.choice(wording.after))
    if len(parts) > 1 and parts[-2][-1:] not in ".!?":
        parts[-2] += "."
    return " ".join(parts)


def _without(text: str, pattern: str) -> str:
    if not pattern:
        return text
    short = re.sub(pattern, "", text, flags=re.IGNORECASE if pattern is _POLITE else 0)
    short = re.sub(r"[\s,]+([.?!]|$)", r"\1", short).strip(" ,")
    return short[:1].upper() + short[1:] if short.strip(" .,!?") else text
