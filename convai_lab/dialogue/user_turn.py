"""User turn: is what a user said, as it comes from outside, something we can record?"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from typing import Any

from convai_lab.conversations.turn import Turn
from convai_lab.dialogue.outside_text import MAX_USER_CHARS, well_formed
from convai_lab.errors import InvalidValueError

_DETAILS = frozenset(field.name for field in fields(Turn)) - {"role", "text"}


def user_text(text: Any) -> str:
    """Return what a user said, well formed.

    Raises:
        InvalidValueError: It is no text, or far too long.
    """
    if not isinstance(text, str):
        raise InvalidValueError(f"must be a text, not {type(text).__name__}", field="text")
    if len(text) > MAX_USER_CHARS:
        raise InvalidValueError(f"is {len(text):,} characters long; send at most {MAX_USER_CHARS:,}", field="text")
    return well_formed(text)


def user_turn(text: Any, times: Mapping[str, float], details: Mapping[str, Any]) -> Turn:
    """Return the user's turn; `details` win over `times`.

    Raises:
        InvalidValueError: The text is no text or far too long, or a detail is no field of a turn.
    """
    said = user_text(text)
    if unknown := sorted(set(details) - _DETAILS):
        raise InvalidValueError(f"is no field of a user's turn ({', '.join(sorted(_DETAILS))})", field=unknown[0])
    return Turn(role="user", text=said, **{**times, **details})
