"""Wire turns: how does one turn, with its tool calls, times and tokens, become the platform's JSON and back?"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from typing import Any

from convai_lab.conversations import wire_table as table
from convai_lab.conversations.turn import ToolCall, ToolResult, Turn, TurnMetrics
from convai_lab.conversations.wire_table import ABSENT, Row
from convai_lab.errors import InvalidValueError

NEAREST_KIND = {
    "api_integration_webhook": "webhook",
    "api_integration_mcp": "mcp",
    "workflow": "system",
    "code": "webhook",
    "smb": "system",
}
"""Kinds of tools that only the platform has, and what they are to us; their own name stays in `extra`."""

VENDOR_METRICS = {"llm_ttft_ms": "convai_llm_service_ttfb", "tts_ttfb_ms": "convai_tts_service_ttfb"}
"""Our milliseconds, and what the platform calls them (in seconds)."""

UNKNOWN_MODEL = "unknown"
MS_DIGITS = 6


def turn_to_wire(turn: Turn) -> dict[str, Any]:
    """Return the turn in the platform's shape; what it has no place for is under ``"convai_lab"``."""
    return table.write_fields(_flat(turn), _TURN, turn.extra)


def turn_from_wire(doc: Mapping[str, Any], where: str = "") -> Turn:
    """Read a turn of the platform; `where` is its path, for messages.

    Raises:
        InvalidValueError: A field has a wrong type; `field` is its path.
    """
    values, extra = table.read_fields(doc, _TURN, where)
    message, original, in_full = (values.pop(name) for name in ("message", "original", "heard_in_full"))
    if original is not None and original == message:
        extra["original_message"] = original
    usage: _Usage = values.pop("usage")
    metrics = {name: values.pop(name) for name in _TIMES} | {"cost_is_estimate": values.pop("cost_is_estimate")}
    return Turn(
        text=message if original is None else original,
        text_heard=message if in_full or original is not None else None,
        metrics=TurnMetrics(**metrics, **usage.tokens_and_cost()),
        extra=extra,
        **values,
    )


def _flat(turn: Turn) -> dict[str, Any]:
    """Return the fields of the table for a turn: what was said as the platform splits it, metrics one by one."""
    values = {name: getattr(turn, name) for name in _TURN_NAMES}
    text, heard = turn.text, turn.text_heard
    in_full = heard == text and turn.extra.get("original_message") != text
    corrected = heard is not None and not in_full
    values |= {
        "message": heard if corrected else text,
        "original": text if corrected else None,
        "heard_in_full": in_full,
        "usage": _Usage.of(turn),
    }
    return values | {name: getattr(turn.metrics, name) for name in _METRIC_NAMES}


@dataclass(frozen=True)
class _Usage:
    """Tokens and cost of a turn. On the platform they are kept by model; to us their sum counts."""

    input_tokens: int | None = None
    output_tokens: int | None = None
    cached_tokens: int | None = None
    cost_usd: float | None = None
    model: str = field(default=UNKNOWN_MODEL, compare=False)

    @classmethod
    def of(cls, turn: Turn) -> _Usage:
        m = turn.metrics
        model = turn.llm_served or turn.llm_requested or UNKNOWN_MODEL
        return cls(m.input_tokens, m.output_tokens, m.cached_tokens, m.cost_usd, model)

    def tokens_and_cost(self) -> dict[str, Any]:
        return {f.name: getattr(self, f.name) for f in fields(self) if f.compare}

    def to_wire(self) -> dict[str, Any] | None:
        """Write one model; the whole cost stands beside the output, because we do not know its parts."""
        if self == _Usage():
            return None
        fresh = self.input_tokens
        if fresh is not None and self.cached_tokens is not None:
            fresh = max(fresh - self.cached_tokens, 0)
        by_kind: dict[str, dict[str, float | None]] = {
            "input": {"tokens": fresh},
            "input_cache_read": {"tokens": self.cached_tokens},
            "output_total": {"tokens": self.output_tokens, "price": self.cost_usd},
        }
        known = {kind: {k: v for k, v in part.items() if v is not None} for kind, part in by_kind.items()}
        return {"model_usage": {self.model: {kind: part for kind, part in known.items() if part}}}

    @classmethod
    def from_wire(cls, value: Any, where: str) -> _Usage:
        """Add up all models; what no model tells is None, never 0."""
        models = table.mapping(table.object_at(value, where).get("model_usage"), f"{where}.model_usage")
        tokens: dict[str, list[int]] = {
            "input": [],
            "input_cache_read": [],
            "input_cache_write": [],
            "output_total": [],
        }
        prices: list[float] = []
        for model, usage in models.items():
            at = f"{where}.model_usage.{model}"
            for kind, found in tokens.items():
                part = table.mapping(table.mapping(usage, at).get(kind), f"{at}.{kind}")
                found += _known(table.whole_number(part.get("tokens"), f"{at}.{kind}.tokens"))
                prices += _known(table.number(part.get("price"), f"{at}.{kind}.price"))
        given = [*tokens["input"], *tokens["input_cache_read"], *tokens["input_cache_write"]]
        answered, cached = tokens["output_total"], tokens["input_cache_read"]
        model = next(iter(models), UNKNOWN_MODEL)
        return cls(_total(given), _total(answered), _total(cached), _total(prices), model)

    @classmethod
    def from_own(cls, value: Any, where: str) -> _Usage:
        own = table.mapping(value, where)
        given, answered, cached = (table.whole_number(own.get(name), f"{where}.{name}") for name in _COUNTS)
        cost = table.number(own.get("cost_usd"), f"{where}.cost_usd")
        return cls(given, answered, cached, cost, table.text(own.get("model"), f"{where}.model"))


_COUNTS = ("input_tokens", "output_tokens", "cached_tokens")
_TURN_NAMES = tuple(f.name for f in fields(Turn))
_METRIC_NAMES = tuple(f.name for f in fields(TurnMetrics))
_TIMES = tuple(name for name in _METRIC_NAMES if name.endswith("_ms"))


def _known(value: Any) -> list[Any]:
    return [] if value is None else [value]


def _total(found: Sequence[Any]) -> Any:
    return sum(found) if found else None


def _call_to_wire(call: ToolCall) -> dict[str, Any]:
    values = {f.name: getattr(call, f.name) for f in fields(call)}
    return table.write_fields(values, _CALL, call.extra, _called)


def _call_from_wire(doc: Any, where: str) -> ToolCall:
    values, extra = table.read_fields(doc, _CALL, where, _called)
    return ToolCall(**values, extra=extra)


def _result_to_wire(result: ToolResult) -> dict[str, Any]:
    values = {f.name: getattr(result, f.name) for f in fields(result)}
    return table.write_fields(values, _RESULT, result.extra, _called)


def _result_from_wire(doc: Any, where: str) -> ToolResult:
    values, extra = table.read_fields(doc, _RESULT, where, _called)
    return ToolResult(**values, extra=extra)


def _called(values: Mapping[str, Any]) -> Mapping[tuple[str, ...], Any]:  # noqa: ARG001 - a table.Defaults
    return {("tool_has_been_called",): True}


def _kind_from_wire(value: Any, where: str) -> str:
    name = table.text(value, where)
    return name if name in _KINDS else NEAREST_KIND.get(name, "client")


def _arguments_to_wire(arguments: Mapping[str, Any]) -> str:
    try:
        return json.dumps(arguments, ensure_ascii=False)
    except (TypeError, ValueError, RecursionError) as error:
        raise InvalidValueError(f"cannot be shown as JSON ({error})", field="tool_calls.arguments") from None


def whole_secs(secs: float | None) -> int:
    """Return seconds as the platform counts them: whole, and 0 where it wants a number for nothing."""
    return math.floor(secs) if secs is not None and math.isfinite(secs) else 0


def _or_absent(value: Any) -> Any:
    return ABSENT if value is None else value


def _secs_to_ms(value: Any, where: str) -> float | None:
    secs = table.number(value, where)
    return None if secs is None else round(secs * 1000, MS_DIGITS)


def _ms_to_secs(ms: float | None) -> Any:
    return ABSENT if ms is None or not math.isfinite(ms) else round(ms / 1000, MS_DIGITS + 3)


def _time_row(name: str) -> Row:
    if name not in VENDOR_METRICS:
        return Row(field=name, check=table.number)
    path = ("conversation_turn_metrics", "metrics", VENDOR_METRICS[name], "elapsed_time")
    return Row(field=name, check=table.number, path=path, read=_secs_to_ms, write=_ms_to_secs)


_KINDS = ("client", "webhook", "system", "mcp")

_CALL = (
    Row(field="id", check=table.text, path=("request_id",), default=""),
    Row(field="name", check=table.text, path=("tool_name",), default=""),
    Row(field="kind", check=table.one_of(*_KINDS), path=("type",), default="client", read=_kind_from_wire),
    Row(
        field="arguments",
        check=table.mapping,
        path=("params_as_json",),
        default={},
        read=table.arguments_in,
        write=_arguments_to_wire,
    ),
)

_RESULT = (
    Row(field="call_id", check=table.text, path=("request_id",), default=""),
    Row(field="name", check=table.text, path=("tool_name",), default=""),
    Row(field="value", check=table.text, path=("result_value",), default=""),
    Row(field="is_error", check=table.flag, path=("is_error",), default=False),
    Row(field="kind", check=table.one_of(*_KINDS), path=("type",), default="client", read=_kind_from_wire),
    Row(field="latency_secs", check=table.number, path=("tool_latency_secs",), write=_or_absent),
    Row(field="error_type", check=table.text_or_none, path=("error_type",), read=table.said, write=_or_absent),
)

_TURN = (
    Row(field="role", check=table.one_of("user", "agent"), path=("role",), required=True),
    Row(field="message", check=table.text, path=("message",), default="", write=lambda said: said or None),
    Row(field="original", check=table.text_or_none, path=("original_message",)),
    Row(field="heard_in_full", check=table.flag, default=False),
    Row(field="start_secs", check=table.number, path=("time_in_call_secs",), read=table.seconds, write=whole_secs),
    Row(field="end_secs", check=table.number),
    Row(field="started_at", check=table.number),
    Row(field="interrupted", check=table.flag, path=("interrupted",), default=False),
    Row(field="interrupted_at_secs", check=table.number),
    Row(field="agent_id", check=table.text_or_none, path=("agent_metadata", "agent_id"), write=_or_absent),
    Row(field="agent_version", check=table.whole_number),
    Row(field="prompt_hash", check=table.text_or_none),
    Row(field="llm_requested", check=table.text_or_none),
    Row(field="llm_served", check=table.text_or_none, path=("producing_llm",)),
    Row(
        field="asr_engine",
        check=table.text_or_none,
        path=("conversation_turn_metrics", "convai_asr_provider"),
        write=_or_absent,
    ),
    Row(field="asr_confidence", check=table.number),
    Row(
        field="tts_engine",
        check=table.text_or_none,
        path=("conversation_turn_metrics", "convai_tts_model"),
        write=_or_absent,
    ),
    Row(field="voice", check=table.text_or_none),
    Row(
        field="tool_calls",
        check=table.list_of(_call_from_wire),
        path=("tool_calls",),
        default=(),
        write=lambda calls: [_call_to_wire(call) for call in calls],
        lossless=True,
        fresh=True,
    ),
    Row(
        field="tool_results",
        check=table.list_of(_result_from_wire),
        path=("tool_results",),
        default=(),
        write=lambda results: [_result_to_wire(result) for result in results],
        lossless=True,
        fresh=True,
    ),
    Row(
        field="usage",
        check=_Usage.from_own,
        path=("llm_usage",),
        default=_Usage(),
        read=_Usage.from_wire,
        write=_Usage.to_wire,
        own=asdict,
    ),
    Row(field="cost_is_estimate", check=table.flag_or_none),
    Row(field="finish_reason", check=table.text_or_none),
    Row(field="error", check=table.text_or_none),
    Row(field="marks", check=table.texts, default=(), own=list),
    *(_time_row(name) for name in _TIMES),
)
