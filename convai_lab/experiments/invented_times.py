"""Invented times: what is left of a conversation's times where nobody waited for anything?"""

from __future__ import annotations

from dataclasses import fields, replace
from typing import Any

from convai_lab.clock import VIRTUAL_EPOCH
from convai_lab.conversations.conversation import Conversation
from convai_lab.conversations.turn import TurnMetrics

VIRTUAL_SECS = 86_400.0
"""No conversation in virtual time begins later than this on its clock."""
NOT_MEASURED: dict[str, Any] = {field.name: None for field in fields(TurnMetrics) if field.name.endswith("_ms")}


def without_times(conversation: Conversation) -> Conversation:
    """Return a typed conversation of rules with rules without how long it and its replies took: nobody measured it."""
    return conversation.with_changes(
        duration_secs=None,
        turns=tuple(
            turn.with_changes(metrics=replace(turn.metrics, **NOT_MEASURED)) if turn.role == "agent" else turn
            for turn in conversation.turns
        ),
    )


def dated(conversation: Conversation, now: float) -> Conversation:
    """Return a conversation held just now; if in virtual time, as begun at `now` (seconds since 1970, UTC).

    Whoever looks for today's transcripts finds it then; virtual clocks all begin on the same day.
    """
    begun = conversation.started_at
    if begun is None or not 0 <= begun - VIRTUAL_EPOCH < VIRTUAL_SECS:
        return conversation
    later = now - VIRTUAL_EPOCH
    turns = (t if t.started_at is None else t.with_changes(started_at=t.started_at + later) for t in conversation.turns)
    return conversation.with_changes(started_at=begun + later, turns=tuple(turns))
