"""Plain turns: which turns are sure to be read back as they were stored, so that nobody has to try?

A turn that we made ourselves holds texts and numbers in fields of ours, and nothing from outside: no tool call with
its arguments, no result, no field of the platform that we do not know. Storing one happens several times in every
exchange, and reading each back to see whether it can be read would cost as much as all the rest of storing it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from operator import attrgetter
from typing import Any, get_args

from convai_lab.conversations.turn import Role, Turn, TurnMetrics

BIGGEST = 1e15
"""Numbers are plain below it: they stay what they are in milliseconds, in seconds, and as text."""


def is_plain(turn: Turn) -> bool:
    """Say whether nothing in the turn could keep it from being read back, judging by the types alone."""
    return type(turn.metrics) is TurnMetrics and all(map(_call, _CHECKS, _VALUES(turn)))


def _call(is_fine: Callable[[Any], bool], value: Any) -> bool:
    return is_fine(value)


def _is_text(value: Any) -> bool:
    return type(value) is str


def _is_text_or_none(value: Any) -> bool:
    return value is None or type(value) is str


def _is_number_or_none(value: Any) -> bool:
    return value is None or (type(value) in (int, float) and -BIGGEST < value < BIGGEST)


def _is_count_or_none(value: Any) -> bool:
    return value is None or (type(value) is int and -BIGGEST < value < BIGGEST)


def _is_flag(value: Any) -> bool:
    return type(value) is bool


def _is_flag_or_none(value: Any) -> bool:
    return value is None or type(value) is bool


def _is_role(value: Any) -> bool:
    return type(value) is str and value in _ROLES


def _are_texts(value: Any) -> bool:
    return type(value) is tuple and all(type(item) is str for item in value)


def _is_nothing(value: Any) -> bool:
    return type(value) in (tuple, dict) and not value


_ROLES = get_args(Role)
_FIELDS: Mapping[Callable[[Any], bool], str] = {
    _is_role: "role",
    _is_text: "text",
    _is_text_or_none: "text_heard agent_id prompt_hash llm_requested llm_served asr_engine tts_engine voice "
    "finish_reason error",
    _is_number_or_none: "started_at start_secs end_secs interrupted_at_secs asr_confidence metrics.cost_usd "
    "metrics.endpointing_ms metrics.asr_ms metrics.llm_ttft_ms metrics.llm_total_ms metrics.first_sentence_ms "
    "metrics.tts_ttfb_ms metrics.playout_ms metrics.transport_ms metrics.voice_to_voice_ms metrics.unexplained_ms "
    "metrics.tool_ms metrics.total_ms",
    _is_count_or_none: "agent_version metrics.input_tokens metrics.output_tokens metrics.cached_tokens",
    _is_flag: "interrupted",
    _is_flag_or_none: "metrics.cost_is_estimate",
    _are_texts: "marks",
    _is_nothing: "tool_calls tool_results extra",
}
"""Every field of a turn and of its metrics, by what is plain in it; a test sees to it that none is missing."""

FIELDS: tuple[str, ...] = tuple(name for names in _FIELDS.values() for name in names.split())
_CHECKS = tuple(check for check, names in _FIELDS.items() for _ in names.split())
_VALUES = attrgetter(*FIELDS)
