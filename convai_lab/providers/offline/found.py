"""Found: where in the caller's words does a value stand, and did they take it back?"""

from __future__ import annotations

import re
from typing import NamedTuple


class Found(NamedTuple):
    """A value, where it stands in the text, and whether the caller took it back (``not 1234``)."""

    value: str
    start: int
    end: int
    negated: bool = False


def is_negated(text: str, start: int) -> bool:
    """Say whether the words just before take the value back (``not 1234``)."""
    return bool(_NEGATION.search(text[max(0, start - 40) : start]))


def inside(found: Found, others: tuple[Found, ...]) -> bool:
    """Say whether a value overlaps one of the others."""
    return any(o.start < found.end and found.start < o.end for o in others)


_NEGATION = re.compile(r"\b(?:not|isn't|instead of|rather than|wasn't|never)\s+(?:(?!but\b)\w+\s+){0,2}#?$", re.I)
