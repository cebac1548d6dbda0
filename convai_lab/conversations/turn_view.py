"""Turn view: what does a voice panel show of one turn, in words?"""

from __future__ import annotations

import json
import shlex
from typing import Any

from convai_lab.conversations import transcript_words as words
from convai_lab.conversations.conversation import Conversation
from convai_lab.conversations.turn import Turn, TurnMetrics

TEXT_CHARS = 4_000
VALUE_CHARS = 2_000
TURNS_SHOWN = 30
"""A panel shows the newest turns."""

STAGES = (
    ("endpointing_ms", "waiting for the end of the turn"),
    ("asr_ms", "speech recognition"),
    ("llm_ttft_ms", "the model's first token"),
    ("tts_ttfb_ms", "the voice's first sound"),
    ("transport_ms", "the way to the page and back"),
    ("unexplained_ms", "unexplained"),
)


def newest_turns(conversation: Conversation) -> list[dict[str, Any]]:
    """Return the newest turns as a panel shows them."""
    first = max(0, len(conversation.turns) - TURNS_SHOWN)
    return [turn_view(conversation, index) for index in range(first, len(conversation.turns))]


def turn_view(conversation: Conversation, index: int) -> dict[str, Any]:
    """Return a turn as a panel shows it; all of it is text."""
    turn = conversation.turns[index]
    said = words.spoken(turn)
    recognition = words.recognition(turn)
    return {
        "index": index,
        "role": turn.role,
        "who": words.speaker(conversation, turn),
        "marks": words.badges(turn),
        "heard": text_view(said.heard),
        "unheard": text_view(said.unheard),
        "interruption": words.interruption(turn).partition(":")[0],
        "tools": [_tool(use) for use in words.tool_uses(turn)],
        "times": [part for part in (latency(turn) or unmeasured(conversation, index), recognition) if part],
        "error": text_view(turn.error or ""),
    }


def text_view(text: str) -> str:
    """Return a text without control characters, and not too long to be shown."""
    return words.shortened(words.clean(text), TEXT_CHARS)


def latency(turn: Turn) -> str:
    """Say how long the user waited for the agent's voice, and for what most of the time; empty when not measured."""
    total = turn.metrics.voice_to_voice_ms
    if total is None:
        return ""
    largest = largest_stage(turn.metrics)
    why = f", most of it {largest[0]} ({largest[1]:,.0f} ms)" if largest else ""
    return f"answered after {total:,.0f} ms{why}"


def unmeasured(conversation: Conversation, index: int) -> str:
    """Say that nobody knows how long an answer of another platform took: its events do not tell it."""
    is_ours = conversation.platform == "local" or "://" in conversation.platform
    is_answer = conversation.turns[index].role == "agent" and any(
        turn.role == "user" for turn in conversation.turns[:index]
    )
    return f"how long the answer took: {words.NOT_MEASURED}" if is_answer and not is_ours else ""


def largest_stage(metrics: TurnMetrics) -> tuple[str, float] | None:
    """Return the stage that took longest, and its milliseconds; None when none was measured."""
    measured = [(name, value) for field, name in STAGES if (value := getattr(metrics, field)) is not None]
    return max(measured, key=lambda stage: stage[1], default=None)


def as_code(conversation: Conversation) -> str:
    """Return a cell that says to the agent what the user said."""
    given = "".join(f" --var {_argument(name)}={_argument(value)}" for name, value in conversation.variables.items())
    said = [" ".join(turn.text.split()) for turn in conversation.turns if turn.role == "user"]
    return "\n".join(
        [f"%%chat {_argument(conversation.agent_name or conversation.agent_id)}{given}", *filter(None, said)]
    )


def as_test(conversation: Conversation) -> str:
    """Return a scenario (JSON, which is YAML too) that opens as this user did and expects the tools of this call."""
    said = [turn.text for turn in conversation.turns if turn.role == "user" and turn.text]
    called = list(dict.fromkeys(call.name for turn in conversation.turns for call in turn.tool_calls))
    scenario = {
        "id": conversation.id,
        "opening": said[0] if said else "",
        "goal": " ".join(said[1:]) or "Get an answer to the opening question.",
        "variables": dict(conversation.variables),
        "expected_tool_calls": called,
    }
    return json.dumps([scenario], ensure_ascii=False, indent=2, default=str)


def _argument(value: Any) -> str:
    return shlex.quote(words.clean(str(value)).replace("\n", " "))


def _tool(use: words.ToolUse) -> dict[str, Any]:
    return {
        "name": words.clean(use.name),
        "outcome": words.clean(use.outcome),
        "arguments": words.shortened(words.arguments(use.call), VALUE_CHARS) if use.call else "",
        "result": None if use.result is None else words.shortened(words.clean(use.result.value), VALUE_CHARS),
        "is_error": use.result is not None and use.result.is_error,
    }
