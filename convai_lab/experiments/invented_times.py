"""Invented times: what is left of a conversation's times where nobody waited for anything?"""

from __future__ import annotations

from dataclasses import fields, replace
from typing import Any, Literal

from convai_lab.conversations.conversation import Conversation
from convai_lab.conversations.turn import TurnMetrics

NOT_MEASURED: dict[str, Any] = {field.name: None for field in fields(TurnMetrics) if field.name.endswith("_ms")}


def has_real_times(mode: Literal["text", "voice"], *, is_invented: bool) -> bool:
    """Say whether a conversation's times mean something: rules answer at once, but in a call endpointing takes time."""
    return mode == "voice" or not is_invented


def without_dates(conversation: Conversation) -> Conversation:
    """Return a conversation whose time was virtual without the day on which it says it was held: there was none."""
    return conversation.with_changes(
        started_at=None, turns=tuple(turn.with_changes(started_at=None) for turn in conversation.turns)
    )


def without_times(conversation: Conversation) -> Conversation:
    """Return a typed conversation of rules with rules without how long it and its replies took: nobody measured it."""
    return conversation.with_changes(
        duration_secs=None,
        turns=tuple(
            turn.with_changes(metrics=replace(turn.metrics, **NOT_MEASURED)) if turn.role == "agent" else turn
            for turn in conversation.turns
        ),
    )
