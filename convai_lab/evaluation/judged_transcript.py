"""Judged transcript: how is a conversation shown to a judge, so that nothing in it can pass for an instruction?

One JSON object a line, in which no ``<`` stands as it is: nothing in it can end its line, its text or the fence around
it. A conversation that is too long is cut in the middle, with a mark; its tool calls are kept.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from convai_lab.conversations.conversation import Conversation
from convai_lab.conversations.turn import ToolCall, ToolResult, Turn
from convai_lab.dialogue.outside_text import as_text, well_formed

MAX_CHARS = 60_000
"""So much of a conversation is shown to a judge, about 15,000 tokens of English."""

SAID_CHARS = 4_000
VALUE_CHARS = 1_500
BRIEF_CHARS = 200
"""How much of arguments and results is kept of a tool call in the part that is cut out."""

_JSON = json.JSONEncoder(ensure_ascii=False, default=str)
_ESCAPED = {ord(char): f"\\u{ord(char):04x}" for char in "<\x85\u2028\u2029"}
"""JSON lets these stand as they are; the last three are ends of lines to whoever reads Unicode."""

TOOLS_SHARE = 4
"""One part in so many is for the tool calls of what is cut out."""


class Material(NamedTuple):
    """A conversation as it is shown to a judge; `is_cut` when something is left out."""

    text: str
    is_cut: bool


def transcript_of(conversation: Conversation, *, max_chars: int = MAX_CHARS) -> Material:
    """Return the conversation as lines of JSON, at most about `max_chars` long."""
    head = _line(_about(conversation))
    turns = [_line(_turn(index, turn)) for index, turn in enumerate(conversation.turns)]
    whole = _size(turns) <= max_chars
    if not whole:
        return Material("\n".join([head, *_cut(turns, conversation.turns, max_chars)]), True)
    is_cut = any(
        len(line) > VALUE_CHARS and _is_long(turn) for line, turn in zip(turns, conversation.turns, strict=True)
    )
    return Material("\n".join([head, *turns]), is_cut)


def is_empty(conversation: Conversation) -> bool:
    """Say whether nobody said or did anything that could be judged."""
    return not any(turn.text.strip() or turn.tool_calls or turn.tool_results for turn in conversation.turns)


def shortened(text: str, limit: int) -> str:
    """Return a text, cut in the middle with a mark when it is longer than `limit`.

    Example:
        >>> shortened("0123456789", 4)
        '01 … [6 characters left out] … 89'
    """
    if len(text) <= limit:
        return text
    half = limit // 2
    return f"{text[:half]} … [{len(text) - 2 * half:,} characters left out] … {text[-half:]}"


def safe_json(value: Any) -> str:
    """Return JSON on one line in which nothing looks like the end of a fence, nor of the line."""
    return well_formed(_JSON.encode(value)).translate(_ESCAPED)


def _cut(lines: Sequence[str], turns: Sequence[Turn], max_chars: int) -> list[str]:
    """Keep the beginning and the end; of what lies between, a mark and the tool calls."""
    side = max_chars * (TOOLS_SHARE - 1) // TOOLS_SHARE // 2
    first = _fitting(lines, side)
    last = len(lines) - _fitting(lines[first:][::-1], side)
    calls = [_line(call) for index in range(first, last) for call in _brief_calls(index, turns[index])]
    mark = _line({"left_out": f"turns {first} to {last - 1}; their tool calls follow"})
    return [*lines[:first], mark, *_cut_calls(calls, max_chars // TOOLS_SHARE), *lines[last:]]


def _cut_calls(lines: Sequence[str], max_chars: int) -> list[str]:
    if _size(lines) <= max_chars:
        return list(lines)
    first = _fitting(lines, max_chars // 2)
    last = len(lines) - _fitting(lines[first:][::-1], max_chars // 2)
    return [*lines[:first], _line({"left_out": f"{last - first} more tool calls"}), *lines[last:]]


def _fitting(lines: Iterable[str], max_chars: int) -> int:
    """Count the lines that fit."""
    left = max_chars
    count = 0
    for line in lines:
        left -= len(line) + 1
        if left < 0:
            break
        count += 1
    return count


def _size(lines: Iterable[str]) -> int:
    return sum(len(line) + 1 for line in lines)


def _line(value: Mapping[str, Any]) -> str:
    return safe_json({name: part for name, part in value.items() if part not in (None, "", [])})


def _about(conversation: Conversation) -> dict[str, Any]:
    ended = [shortened(text, BRIEF_CHARS) for text in (conversation.ended_by, conversation.end_reason) if text]
    about = {"channel": conversation.channel, "turns": len(conversation.turns), "ended": ", ".join(ended)}
    return {"conversation": {name: value for name, value in about.items() if value != ""}}


def _turn(index: int, turn: Turn) -> dict[str, Any]:
    return {
        "turn": index,
        "speaker": turn.role,
        "said": shortened(turn.text if turn.text_heard is None else turn.text_heard, SAID_CHARS),
        "interrupted": _interruption(turn),
        "tool_calls": list(_calls(turn, VALUE_CHARS)),
    }


def _interruption(turn: Turn) -> str | bool | None:
    if not turn.interrupted:
        return None
    return True if turn.text_heard is not None else "how much of it was heard is not known"


def _brief_calls(index: int, turn: Turn) -> Iterator[dict[str, Any]]:
    for call in _calls(turn, BRIEF_CHARS):
        yield {"turn": index, **call}


def _calls(turn: Turn, limit: int) -> Iterator[dict[str, Any]]:
    results = {result.call_id: result for result in turn.tool_results}
    for call in turn.tool_calls:
        yield {**_asked(call, limit), **_answered(results.pop(call.id, None), limit)}
    for result in results.values():
        yield {"tool": shortened(result.name, BRIEF_CHARS), **_answered(result, limit)}


def _asked(call: ToolCall, limit: int) -> dict[str, Any]:
    return {"tool": shortened(call.name, BRIEF_CHARS), "arguments": shortened(as_text(dict(call.arguments)), limit)}


def _answered(result: ToolResult | None, limit: int) -> dict[str, Any]:
    if result is None:
        return {"result": "(no result)"}
    return {"failed" if result.is_error else "result": shortened(result.value, limit)}


def _is_long(turn: Turn) -> bool:
    values = (*(result.value for result in turn.tool_results), *(as_text(dict(c.arguments)) for c in turn.tool_calls))
    return len(turn.text) > SAID_CHARS or any(len(value) > VALUE_CHARS for value in values)
