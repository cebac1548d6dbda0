"""Transcript words: how is each fact about a turn said, so that text and HTML tell the same story?

What was not measured is said, never shown as 0. Text that came from outside loses the characters that could move
the cursor of a terminal or turn the line around.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any, NamedTuple

from convai_lab.conversations.conversation import Conversation
from convai_lab.conversations.cost import cost_of_turn, dollars, total_cost
from convai_lab.conversations.turn import ToolCall, ToolResult, Turn

OFFLINE_BADGE = "offline rules, not a language model"
NOT_MEASURED = "not measured"

_MARKS = {
    "offline": OFFLINE_BADGE,
    "fallback": "fallback model",
    "low_confidence": "not sure what was heard",
    "live_edit": "agent edited during the conversation",
    "first_message": "first message",
}
_UNSAFE = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ufeff\ud800-\udfff]")
_PLAIN_STATUS = {"in-progress": "in progress", "processing": "being analysed", "initiated": "not answered yet"}


class Spoken(NamedTuple):
    """What was heard of a turn, and what was generated but not heard."""

    heard: str
    unheard: str = ""


class ToolUse(NamedTuple):
    """A tool call beside its result; one of them may be missing."""

    call: ToolCall | None
    result: ToolResult | None

    @property
    def name(self) -> str:
        """Return the tool's name."""
        known = self.call or self.result
        return known.name if known else ""

    @property
    def outcome(self) -> str:
        """Say in a few words how it went."""
        if self.result is None:
            return "no result"
        took = duration(self.result.latency_secs)
        if self.result.is_error:
            kind = f" ({self.result.error_type})" if self.result.error_type else ""
            return f"failed{kind}, {took}"
        return took


def clean(text: str) -> str:
    """Return `text` with control characters and direction overrides written out, line ends as they are."""
    return _UNSAFE.sub(lambda found: f"\\u{ord(found[0]):04x}", text.replace("\r\n", "\n").replace("\r", "\n"))


def spoken(turn: Turn) -> Spoken:
    """Split a turn into what was heard and what was cut off."""
    text, heard = turn.text, turn.text_heard
    if heard is None or heard == text:
        return Spoken(text)
    begun = heard.rstrip(".… ")
    if text.startswith(heard):
        return Spoken(heard, text[len(heard) :])
    return Spoken(text[: len(begun)], text[len(begun) :]) if text.startswith(begun) else Spoken(heard, text)


def interruption(turn: Turn) -> str:
    """Say that the turn was interrupted, and what is known about it; empty when it was not."""
    cut = bool(spoken(turn).unheard)
    if not turn.interrupted and not cut:
        return ""
    when = f" at {duration(turn.interrupted_at_secs)}" if turn.interrupted_at_secs is not None else ""
    if cut:
        return f"interrupted{when}: what is struck through was not heard"
    return f"interrupted{when}" + ("" if turn.text_heard is not None else "; what was heard is not known")


def speaker(conversation: Conversation, turn: Turn) -> str:
    """Return who spoke: the user, or the agent with its version."""
    if turn.role == "user":
        return "user"
    moved = turn.agent_id is not None and turn.agent_id != conversation.agent_id
    name = turn.agent_id if moved else conversation.agent_name or conversation.agent_id or "agent"
    return clean(f"{name}@{turn.agent_version}" if turn.agent_version is not None else str(name))


def model(turn: Turn) -> str:
    """Return the model that served the turn, and the one asked for when that was another."""
    served, asked = turn.llm_served, turn.llm_requested
    if served and asked and served != asked:
        return clean(f"{served} (asked for {asked})")
    if asked and not served:
        return clean(f"asked for {asked}; which model served is not known")
    return clean(served or "")


def is_offline(turn: Turn) -> bool:
    """Say whether the deterministic stand-in spoke."""
    return "offline" in turn.marks or (turn.llm_served or turn.llm_requested or "").split("/")[0] == "offline"


def badges(turn: Turn) -> list[str]:
    """Return what a reader must know about the turn, in words."""
    marks = [mark for mark in turn.marks if mark != "offline"]
    return ([OFFLINE_BADGE] if is_offline(turn) else []) + [clean(_MARKS.get(mark, mark)) for mark in marks]


def latency(conversation: Conversation, turn: Turn) -> list[str]:
    """Return the times of a turn in words; a turn of the user or without a model has those that were measured."""
    m = turn.metrics
    expected = cost_of_turn(turn).used_model
    shown = [("first token", m.llm_ttft_ms, expected), ("in tools", m.tool_ms, False), ("total", m.total_ms, False)]
    if conversation.channel != "text":
        shown.insert(0, ("voice to voice", m.voice_to_voice_ms, expected))
    return [f"{name} {_ms(value)}" for name, value, always in shown if always or value is not None]


def recognition(turn: Turn) -> str:
    """Say which recogniser heard the user, and how sure it was."""
    if not turn.asr_engine:
        return ""
    sure = "" if turn.asr_confidence is None else f", confidence {turn.asr_confidence:.2f}"
    return clean(f"heard by {turn.asr_engine}{sure}")


def tool_uses(turn: Turn) -> Iterator[ToolUse]:
    """Yield each tool call beside its result, then results that no call asked for."""
    left = list(turn.tool_results)
    for call in turn.tool_calls:
        result = next((r for r in left if r.call_id == call.id), None)
        if result is not None:
            left.remove(result)
        yield ToolUse(call, result)
    yield from (ToolUse(None, result) for result in left)


def arguments(call: ToolCall) -> str:
    """Return the arguments as JSON, or what the model wrote when that was no JSON."""
    raw = call.extra.get("params_as_json")
    if not call.arguments and isinstance(raw, str):
        return clean(raw)
    return clean(json.dumps(call.arguments, ensure_ascii=False, default=str))


def facts(conversation: Conversation) -> list[str]:
    """Return what is known about the whole conversation, for its first lines."""
    c = conversation
    return [
        part
        for part in (
            c.channel,
            "" if c.source == "live" else c.source,
            "" if c.platform == "local" else f"on {clean(c.platform)}",
            _start(c),
            f"took {duration(c.duration_secs)}" if c.duration_secs is not None else f"duration {NOT_MEASURED}",
            ending(c),
            cost(c),
            "" if c.analysis.success is None else f"judged {c.analysis.success}",
        )
        if part
    ]


def _start(conversation: Conversation) -> str:
    """Say when it began; an invented conversation began on no day."""
    if conversation.started_at is not None:
        return f"started {instant(conversation.started_at)}"
    return "" if conversation.source == "simulated" else "start not known"


def ending(conversation: Conversation) -> str:
    """Say how the conversation ended, or that it has not."""
    c = conversation
    if c.status in _PLAIN_STATUS:
        return _PLAIN_STATUS[c.status]
    why = f": {clean(c.end_reason)}" if c.end_reason else ""
    by = f" (by {clean(c.ended_by)})" if c.ended_by else ""
    return f"{'failed' if c.status == 'failed' else 'ended'}{why}{by}"


def cost(conversation: Conversation) -> str:
    """Return the cost in words; a cost that is partly known is still unknown."""
    costs = [cost_of_turn(turn) for turn in conversation.turns]
    total = total_cost(costs)
    if total is None:
        known = sum(c.usd for c in costs if c.usd is not None)
        return f"cost unknown (at least {dollars(known)})" if known else "cost unknown"
    estimated = any(turn.metrics.cost_is_estimate for turn in conversation.turns)
    return f"cost {dollars(total)}" + (" (estimate)" if estimated else "")


def instant(seconds: float) -> str:
    """Return a moment in UTC."""
    try:
        return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
    except (ValueError, OverflowError, OSError):
        return f"at {seconds} s since 1970"


def duration(secs: float | None) -> str:
    """Return a duration in words."""
    if secs is None:
        return NOT_MEASURED
    if abs(secs) < 10:
        return _ms(secs * 1000) if abs(secs) < 1 else f"{secs:.1f} s"
    minutes, rest = divmod(round(secs), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours} h {minutes} min"
    return f"{minutes} min {rest} s" if minutes else f"{secs:.1f} s"


def offset(secs: float | None) -> str:
    """Return a position in the conversation as minutes and seconds; empty when it is not known."""
    if secs is None:
        return ""
    minutes, rest = divmod(max(int(secs), 0), 60)
    return f"{minutes}:{rest:02d}"


def shortened(text: str, limit: int) -> str:
    """Return `text`, or its start and how much is left out."""
    return text if len(text) <= limit else f"{text[:limit]} … ({len(text) - limit:,} more characters)"


def _ms(value: Any) -> str:
    if value is None:
        return NOT_MEASURED
    return (
        f"{value / 1000:,.1f} s"
        if abs(value) >= 10_000
        else f"{value:,.0f} ms"
        if abs(value) >= 1
        else f"{value:.2g} ms"
    )
