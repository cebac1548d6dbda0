"""Wire format: how does a conversation become the platform's JSON and back, without losing anything either way?

The shape is that of ``GET /v1/convai/conversations/{id}``. Fields the platform has no place for, and numbers it
would round, are under ``"convai_lab"`` at the level they belong to.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import fields
from typing import Any, get_args

from convai_lab.conversations import wire_table as table
from convai_lab.conversations.conversation import (
    Analysis,
    Channel,
    Conversation,
    CriterionResult,
    Outcome,
    Source,
    Status,
)
from convai_lab.conversations.cost import cost_of_turn, total_cost
from convai_lab.conversations.wire_table import OURS, Row
from convai_lab.conversations.wire_turns import turn_from_wire, turn_to_wire, whole_secs
from convai_lab.errors import InvalidValueError

__all__ = ["conversation_from_wire", "conversation_to_wire", "summary_to_wire", "turn_from_wire", "turn_to_wire"]

LOCAL = "local"


def conversation_to_wire(conversation: Conversation) -> dict[str, Any]:
    """Return the whole conversation in the platform's shape, every required key included."""
    c = conversation
    values = {f.name: getattr(c, f.name) for f in fields(c)}
    return table.write_fields(values, _CONVERSATION, c.extra, _defaults)


def conversation_from_wire(doc: Mapping[str, Any], *, platform: str = LOCAL) -> Conversation:
    """Read a conversation of a platform; `platform` says which one answered.

    Raises:
        InvalidValueError: This is no conversation, or a field has a wrong type; `field` is its path.
    """
    try:
        return _read(table.object_at(doc, "conversation"), platform)
    except RecursionError:
        raise InvalidValueError("is nested too deeply", field="conversation") from None


def _read(doc: Mapping[str, Any], platform: str) -> Conversation:
    values, extra = table.read_fields(doc, _CONVERSATION, "", _defaults)
    own = doc.get(OURS) or {}
    if "platform" not in own:
        values["platform"] = platform
    if (
        "channel" not in own
        and values["channel"] == "voice"
        and table.dig(doc, _PHONE_CALL) not in (None, table.ABSENT)
    ):
        values["channel"] = "phone"
    return Conversation(**values, extra=extra)


def summary_to_wire(
    conversation: Conversation, *, message_count: int | None = None, tool_names: Sequence[str] | None = None
) -> dict[str, Any]:
    """Return the conversation as a row of the platform's list.

    Args:
        message_count: How many turns it has, when `conversation` was read without them.
        tool_names: Which tools were called, when `conversation` was read without its turns.
    """
    c = conversation
    called = [call.name for turn in c.turns for call in turn.tool_calls] if tool_names is None else tool_names
    return {
        "agent_id": c.agent_id,
        "agent_name": c.agent_name,
        "branch_id": c.extra.get("branch_id"),
        "version_id": c.extra.get("version_id"),
        "conversation_id": c.id,
        "start_time_unix_secs": whole_secs(c.started_at),
        "call_duration_secs": whole_secs(c.duration_secs),
        "message_count": len(c.turns) if message_count is None else message_count,
        "status": c.status,
        "termination_reason": c.end_reason or "",
        "call_successful": c.analysis.success or "unknown",
        "transcript_summary": c.analysis.summary,
        "call_summary_title": c.analysis.extra.get("call_summary_title"),
        "main_language": c.language,
        "tool_names": list(dict.fromkeys(called)),
        "tag_ids": list(c.tags),
        "direction": _found(c.extra, (*_PHONE_CALL, "direction")),
        "rating": _found(c.extra, ("metadata", "feedback", "rating")),
        "conversation_initiation_source": _found(c.extra, ("metadata", "conversation_initiation_source")),
        OURS: {name: value for name in _SUMMARY if (value := getattr(c, name)) is not None},
    }


def _found(extra: Mapping[str, Any], path: Sequence[str]) -> Any:
    value = table.dig(extra, path)
    return None if value is table.ABSENT else value


def _defaults(values: Mapping[str, Any]) -> Mapping[tuple[str, ...], Any]:
    """Return the required keys that no field of ours stands for."""
    return {
        ("has_user_audio",): values["has_audio"],
        ("has_response_audio",): values["has_audio"],
        ("has_auxiliary_audio",): False,
        ("metadata", "cost_fiat"): total_cost(cost_of_turn(turn) for turn in values["turns"]),
    }


def _analysis_to_wire(analysis: Analysis) -> dict[str, Any] | None:
    if analysis == Analysis():
        return None
    values = {f.name: getattr(analysis, f.name) for f in fields(analysis)}
    return table.write_fields(values, _ANALYSIS, analysis.extra)


def _analysis_from_wire(doc: Any, where: str) -> Analysis:
    values, extra = table.read_fields(doc, _ANALYSIS, where)
    return Analysis(**values, extra=extra)


def _always(path: tuple[str, ...], value: Any) -> table.Defaults:
    return lambda _: {path: value}


def _results_row(field: str, path: str, id_key: str, value_key: str) -> Row:
    """Make the row of the criteria or of the collected data: an object of results by id."""
    rows = (
        Row(field="value", check=table.any_value, path=(value_key,)),
        Row(
            field="rationale",
            check=table.text_or_none,
            path=("rationale",),
            read=table.said,
            write=lambda why: why or "",
        ),
    )

    def read(value: Any, where: str) -> dict[str, CriterionResult]:
        found = {}
        for name, doc in table.mapping(value, where).items():
            values, extra = table.read_fields(doc, rows, f"{where}.{name}", _always((id_key,), name))
            found[name] = CriterionResult(**values, extra=extra)
        return found

    def write(results: Mapping[str, CriterionResult]) -> dict[str, Any]:
        return {
            name: table.write_fields(vars(result), rows, result.extra, _always((id_key,), name))
            for name, result in results.items()
        }

    return Row(field=field, check=read, path=(path,), default={}, write=write, lossless=True)


_PHONE_CALL = ("metadata", "phone_call")
_SUMMARY = (
    "source",
    "channel",
    "platform",
    "started_at",
    "duration_secs",
    "first_version",
    "last_version",
    "scenario",
    "variant",
    "parent_id",
)

_ANALYSIS = (
    Row(
        field="success",
        check=lambda value, where: None if value is None else table.one_of(*get_args(Outcome))(value, where),
        path=("call_successful",),
        write=lambda success: success or "unknown",
    ),
    Row(
        field="summary",
        check=table.text_or_none,
        path=("transcript_summary",),
        read=table.said,
        write=lambda summary: summary or "",
    ),
    _results_row("criteria", "evaluation_criteria_results", "criteria_id", "result"),
    _results_row("data", "data_collection_results", "data_collection_id", "value"),
)

_CONVERSATION = (
    Row(field="id", check=table.text, path=("conversation_id",), required=True),
    Row(field="agent_id", check=table.text, path=("agent_id",), required=True),
    Row(field="agent_name", check=table.text_or_none, path=("agent_name",)),
    Row(field="first_version", check=table.whole_number),
    Row(field="last_version", check=table.whole_number),
    Row(field="platform", check=table.text, default=LOCAL),
    Row(
        field="channel",
        check=table.one_of(*get_args(Channel)),
        path=("metadata", "text_only"),
        default="voice",
        read=lambda value, where: "text" if table.flag(value, where) else "voice",
        write=lambda channel: channel == "text",
    ),
    Row(field="source", check=table.one_of(*get_args(Source)), default="live"),
    Row(field="status", check=table.one_of(*get_args(Status)), path=("status",), default="done"),
    Row(field="scenario", check=table.text_or_none),
    Row(field="variant", check=table.text_or_none),
    Row(field="seed", check=table.whole_number),
    Row(
        field="started_at",
        check=table.number,
        path=("metadata", "start_time_unix_secs"),
        read=table.seconds,
        write=whole_secs,
    ),
    Row(
        field="duration_secs",
        check=table.number,
        path=("metadata", "call_duration_secs"),
        read=table.seconds,
        write=whole_secs,
    ),
    Row(
        field="end_reason",
        check=table.text_or_none,
        path=("metadata", "termination_reason"),
        read=table.said,
        write=lambda reason: reason or "",
    ),
    Row(field="ended_by", check=table.text_or_none),
    Row(
        field="turns",
        check=table.list_of(turn_from_wire),
        path=("transcript",),
        required=True,
        write=lambda turns: [turn_to_wire(turn) for turn in turns],
        lossless=True,
        fresh=True,
    ),
    Row(
        field="variables",
        check=table.mapping,
        path=("conversation_initiation_client_data", "dynamic_variables"),
        default={},
    ),
    Row(field="tags", check=table.texts, path=("tag_ids",), default=(), write=list),
    Row(field="language", check=table.text_or_none, path=("metadata", "main_language")),
    Row(field="has_audio", check=table.flag, path=("has_audio",), default=False),
    Row(field="audio_problem", check=table.text_or_none),
    Row(field="parent_id", check=table.text_or_none),
    Row(field="cassette", check=table.text_or_none),
    Row(field="user_id", check=table.text_or_none, path=("user_id",)),
    Row(
        field="analysis",
        check=_analysis_from_wire,
        path=("analysis",),
        default=Analysis(),
        write=_analysis_to_wire,
        lossless=True,
    ),
)
