"""Transcript: how does a conversation look on paper (text) and in a notebook (HTML)?"""

from __future__ import annotations

import textwrap
from collections.abc import Iterator

from convai_lab.conversations import transcript_words as words
from convai_lab.conversations.conversation import Conversation
from convai_lab.conversations.transcript_html import transcript_html
from convai_lab.conversations.turn import Turn

__all__ = ["transcript_html", "transcript_text"]

INDENT = "    "
VALUE_CHARS = 2_000


def transcript_text(conversation: Conversation) -> str:
    """Return the conversation as plain text, fit to be pasted into an issue."""
    c = conversation
    agent = words.clean(f"{c.agent_name} ({c.agent_id})" if c.agent_name else c.agent_id)
    lines = [f"Conversation {words.clean(c.id)} with {agent}", " · ".join(words.facts(c))]
    if c.analysis.summary:
        lines.append(f"Summary: {words.clean(c.analysis.summary)}")
    for index, turn in enumerate(c.turns):
        lines += ["", *_turn_lines(c, turn, index)]
    if not c.turns:
        lines += ["", "No turns yet."]
    return "\n".join(lines)


def _turn_lines(conversation: Conversation, turn: Turn, index: int) -> Iterator[str]:
    about = [
        f"[{index}] {words.speaker(conversation, turn)}",
        words.offset(turn.start_secs),
        words.model(turn),
        words.recognition(turn),
        *words.latency(conversation, turn),
        *(f"[{badge}]" for badge in words.badges(turn)),
    ]
    yield " · ".join(part for part in about if part)
    for use in words.tool_uses(turn):
        asked = words.arguments(use.call) if use.call else "(no call)"
        yield f"{INDENT}tool {words.clean(use.name)} {words.shortened(asked, VALUE_CHARS)} ({use.outcome})"
        if use.result is not None:
            yield _indented("-> " + words.shortened(words.clean(use.result.value), VALUE_CHARS), INDENT * 2)
    said = words.spoken(turn)
    if said.heard or not said.unheard:
        yield _indented(words.clean(said.heard) or "(no words)")
    if said.unheard:
        yield _indented(f"[not heard: {words.clean(said.unheard).strip()}]")
    if interrupted := words.interruption(turn):
        yield f"{INDENT}({interrupted.partition(':')[0]})"
    if turn.error:
        yield _indented(f"error: {words.clean(turn.error)}")


def _indented(text: str, indent: str = INDENT) -> str:
    return textwrap.indent(text, indent, lambda _: True)
