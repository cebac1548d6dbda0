"""Samples: conversations to try every table and plot on before the first call of your own."""

from __future__ import annotations

import json
from importlib import resources

from convai_lab.conversations.conversation import Conversation
from convai_lab.conversations.wire_format import conversation_from_wire

FILE = "samples.jsonl"


def sample_conversations() -> list[Conversation]:
    """Return 24 invented voice conversations of a support agent, with tool calls, interruptions and latencies.

    They are marked ``source="simulated"`` and tagged ``sample``; half were answered by each of two models.

    Example:
        >>> len(sample_conversations())
        24
    """
    text = resources.files("convai_lab.analysis").joinpath(FILE).read_text(encoding="utf-8")
    return [conversation_from_wire(json.loads(line), platform="sample") for line in text.splitlines()]
