"""Messages: how do our messages fit vendors that want the system prompt apart and the roles to alternate?"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from convai_lab.providers.base import ChatMessage

OPENING = "(The conversation begins.)"
"""What stands for the user where a vendor wants the user to speak first, and the agent did."""
SILENCE = "(The user says nothing.)"
"""What stands for the user where a vendor wants the user to speak last, and the agent did."""


class Side(NamedTuple):
    """What one side says without the other: its messages, in order."""

    is_model: bool
    messages: tuple[ChatMessage, ...]


class SplitMessages(NamedTuple):
    """A request's messages as a system prompt and alternating sides, the user's first and last."""

    system: str
    sides: tuple[Side, ...]


def alternate(messages: Sequence[ChatMessage]) -> SplitMessages:
    """Split messages into the system prompt and alternating sides.

    The system messages before all others are the system prompt; later ones become notes on the user's side, at
    their place. Messages without any content are left out, except the results of tools.
    """
    start = next((i for i, message in enumerate(messages) if message.role != "system"), len(messages))
    system = "\n\n".join(message.content for message in messages[:start] if message.content.strip())
    sides: list[tuple[bool, list[ChatMessage]]] = []
    for message in messages[start:]:
        if not (message.content.strip() or message.tool_calls or message.role == "tool"):
            continue
        is_model = message.role == "assistant"
        if not sides or sides[-1][0] != is_model:
            sides.append((is_model, []))
        sides[-1][1].append(message)
    if not sides or sides[0][0]:
        sides.insert(0, (False, [ChatMessage(role="user", content=OPENING)]))
    if sides[-1][0]:
        sides.append((False, [ChatMessage(role="user", content=SILENCE)]))
    return SplitMessages(system, tuple(Side(is_model, tuple(said)) for is_model, said in sides))
