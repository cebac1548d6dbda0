"""Dataframes: conversations as tidy pandas tables.

Every function takes conversations in any form the library hands out (a `Conversation`, several, the lazy list of a
workspace, platform JSON) and returns the same columns with the same dtypes, also for none at all. What was not
measured is NA, never 0. Column names carry their units.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

from convai_lab.conversations.conversation import Conversation, CriterionResult
from convai_lab.conversations.turn import ToolResult, Turn
from convai_lab.errors import InvalidValueError

if TYPE_CHECKING:
    import pandas as pd

INSTANT = "datetime64[us, UTC]"


class Column(NamedTuple):
    """One column of a table: its dtype, and what it holds."""

    dtype: str
    about: str


TURN_COLUMNS: dict[str, Column] = {
    "conversation_id": Column("string", "id of the conversation"),
    "turn_index": Column("Int64", "position in the conversation, from 0"),
    "role": Column("string", "user or agent"),
    "text": Column("string", "what was said or generated"),
    "text_heard": Column("string", "what the listener can have heard of it; NA: not a voice turn"),
    "started_at": Column(INSTANT, "when the turn started"),
    "start_secs": Column("Float64", "start, in seconds from the start of the conversation"),
    "end_secs": Column("Float64", "end, likewise"),
    "interrupted": Column("boolean", "cut off by the other side, or by a stop"),
    "interrupted_at_secs": Column("Float64", "when it was cut off"),
    "agent_id": Column("string", "the agent"),
    "agent_version": Column("Int64", "its version; NA on platforms without numbers"),
    "llm_requested": Column("string", "model asked for"),
    "llm_served": Column("string", "model that answered"),
    "asr_engine": Column("string", "recogniser of a spoken user turn"),
    "asr_confidence": Column("Float64", "its confidence, 0 to 1"),
    "tts_engine": Column("string", "voice engine of a spoken agent turn"),
    "voice": Column("string", "its voice"),
    "endpointing_ms": Column("Float64", "wait until the user's turn was taken as ended"),
    "asr_ms": Column("Float64", "finalisation of recognition"),
    "llm_ttft_ms": Column("Float64", "time to the first token of the turn's first request"),
    "first_sentence_ms": Column("Float64", "from the first token until a sentence could be spoken"),
    "tts_ttfb_ms": Column("Float64", "time to the first byte of speech"),
    "playout_ms": Column("Float64", "from the first byte of speech to its first audible sample"),
    "transport_ms": Column("Float64", "between the user's page and the platform, both ways; NA: nobody measured it"),
    "voice_to_voice_ms": Column("Float64", "end of user speech to first audible agent sample"),
    "unexplained_ms": Column("Float64", "voice to voice less the measured stages"),
    "total_ms": Column("Float64", "end of the user's turn to the end of the reply's text"),
    "tools": Column("string", "names of the tools called, in order; NA: none"),
    "n_tool_calls": Column("Int64", "how many"),
    "tool_ms": Column("Float64", "time spent in tools"),
    "tool_error": Column("boolean", "a tool failed; NA: none was called"),
    "input_tokens": Column("Int64", "tokens sent, over all requests of the turn"),
    "output_tokens": Column("Int64", "tokens answered"),
    "cached_tokens": Column("Int64", "those of the input that came from the vendor's cache"),
    "cost_usd": Column("Float64", "price of the turn; NA: unknown"),
    "cost_is_estimate": Column("boolean", "the price list had to be guessed at"),
    "finish_reason": Column("string", "why the model stopped"),
    "error": Column("string", "what went wrong; NA: nothing"),
}
"""The columns of `turns_df`."""

CONVERSATION_COLUMNS: dict[str, Column] = {
    "id": Column("string", "id of the conversation"),
    "agent": Column("string", "name of the agent"),
    "agent_id": Column("string", "id of the agent"),
    "first_version": Column("Int64", "version of the agent at the start"),
    "last_version": Column("Int64", "and at the end"),
    "platform": Column("string", "local, elevenlabs, ..."),
    "channel": Column("string", "text, voice or phone"),
    "source": Column("string", "live, simulated, replay or import"),
    "status": Column("string", "in-progress, done, failed, ..."),
    "scenario": Column("string", "scenario of a simulated conversation"),
    "variant": Column("string", "variant of a comparison"),
    "seed": Column("Int64", "seed of a simulated conversation"),
    "started_at": Column(INSTANT, "when it started"),
    "duration_secs": Column("Float64", "how long it took"),
    "end_reason": Column("string", "why it ended"),
    "ended_by": Column("string", "who ended it"),
    "n_turns": Column("Int64", "turns of both sides"),
    "n_interruptions": Column("Int64", "agent turns that were cut off"),
    "user_talk_share": Column("Float64", "user speech as a share of all speech; NA: not a voice conversation"),
    "agent_talk_share": Column("Float64", "agent speech, likewise"),
    "voice_to_voice_p50_ms": Column("Float64", "median voice-to-voice latency"),
    "voice_to_voice_p95_ms": Column("Float64", "95th percentile of it"),
    "llm_ttft_p50_ms": Column("Float64", "median time to first token"),
    "llm_ttft_p95_ms": Column("Float64", "95th percentile of it"),
    "cost_usd": Column("Float64", "price; NA when any turn's price is unknown"),
    "success": Column("string", "success, failure or unknown; NA: not judged"),
    "variables": Column("string", "dynamic variables as JSON"),
    "tags": Column("string", "tags, joined by commas"),
    "language": Column("string", "language code"),
    "has_audio": Column("boolean", "a recording exists"),
    "parent_id": Column("string", "conversation that this one replays or continues"),
    "cassette": Column("string", "recording of the providers' answers"),
}
"""The fixed columns of `conversations_df`; ``criteria_*`` and ``data_*`` follow as they occur."""

TOOL_CALL_COLUMNS: dict[str, Column] = {
    "conversation_id": Column("string", "id of the conversation"),
    "turn_index": Column("Int64", "turn that called the tool"),
    "call_index": Column("Int64", "position among the calls of that turn"),
    "agent_id": Column("string", "the agent"),
    "agent_version": Column("Int64", "its version"),
    "tool": Column("string", "name of the tool"),
    "kind": Column("string", "client, webhook, system or mcp"),
    "arguments": Column("string", "arguments as JSON"),
    "result": Column("string", "what the tool answered; NA: nothing"),
    "is_error": Column("boolean", "the answer is an error; NA: no answer"),
    "error_type": Column("string", "kind of error"),
    "latency_ms": Column("Float64", "time the tool took"),
}
"""The columns of `tool_calls_df`."""


def turns_df(conversations: Any) -> pd.DataFrame:
    """Return one row a turn, with the columns of `TURN_COLUMNS`.

    Args:
        conversations: One conversation or any number of them.

    Raises:
        InvalidValueError: Something in it is not a conversation.
    """
    rows = [_turn_row(c, index, turn) for c in each_conversation(conversations) for index, turn in enumerate(c)]
    return _frame(rows, TURN_COLUMNS)


def conversations_df(conversations: Any) -> pd.DataFrame:
    """Return one row a conversation, with the columns of `CONVERSATION_COLUMNS`, then ``criteria_*`` and ``data_*``.

    Args:
        conversations: One conversation or any number of them.

    Raises:
        InvalidValueError: Something in it is not a conversation.
    """
    rows, found = [], {}
    for conversation in each_conversation(conversations):
        outcomes = _outcomes(conversation)
        found.update(dict.fromkeys(outcomes))
        rows.append({**_conversation_row(conversation), **outcomes})
    columns = dict(CONVERSATION_COLUMNS)
    columns.update({name: Column("string", "") for name in sorted(found) if name.startswith("criteria_")})
    columns.update({name: Column("object", "") for name in sorted(found) if name.startswith("data_")})
    return _frame(rows, columns)


def tool_calls_df(conversations: Any) -> pd.DataFrame:
    """Return one row a tool call, with the columns of `TOOL_CALL_COLUMNS`.

    Args:
        conversations: One conversation or any number of them.

    Raises:
        InvalidValueError: Something in it is not a conversation.
    """
    rows = [
        row
        for conversation in each_conversation(conversations)
        for index, turn in enumerate(conversation)
        for row in _tool_rows(conversation, index, turn)
    ]
    return _frame(rows, TOOL_CALL_COLUMNS)


def each_conversation(given: Any) -> Iterator[Conversation]:
    """Go through conversations in any of the forms in which they come.

    Raises:
        InvalidValueError: Something in it is not a conversation; says which and what it is.
    """
    if isinstance(given, (Conversation, Mapping)):
        given = [given]
    if isinstance(given, (str, bytes)) or not isinstance(given, Iterable):
        raise InvalidValueError(f"expected conversations, got {type(given).__name__}", field="conversations")
    for index, item in enumerate(given):
        yield _as_conversation(item, index)


def _as_conversation(item: Any, index: int) -> Conversation:
    if isinstance(item, Conversation):
        return item
    if isinstance(item, Mapping):
        from convai_lab.conversations.wire_format import conversation_from_wire

        return conversation_from_wire(dict(item))
    load: Callable[[], Conversation] | None = getattr(item, "load", None)
    if load is not None:
        return load()
    raise InvalidValueError(f"expected a conversation, got {type(item).__name__}", field=f"conversations[{index}]")


def _turn_row(conversation: Conversation, index: int, turn: Turn) -> dict[str, Any]:
    known = {name: getattr(turn, name) for name in TURN_COLUMNS if hasattr(turn, name)}
    measured = {name: getattr(turn.metrics, name) for name in TURN_COLUMNS if hasattr(turn.metrics, name)}
    return {
        **known,
        **measured,
        "conversation_id": conversation.id,
        "turn_index": index,
        "agent_id": turn.agent_id or conversation.agent_id,
        "tools": ", ".join(call.name for call in turn.tool_calls) or None,
        "n_tool_calls": len(turn.tool_calls),
        "tool_error": any(result.is_error for result in turn.tool_results) if turn.tool_results else None,
    }


def _conversation_row(conversation: Conversation) -> dict[str, Any]:
    known = {name: getattr(conversation, name) for name in CONVERSATION_COLUMNS if hasattr(conversation, name)}
    replies = [turn for turn in conversation.turns if turn.role == "agent"]
    user_share, agent_share = _talk_shares(conversation)
    return {
        **known,
        "agent": conversation.agent_name,
        "n_turns": len(conversation.turns),
        "n_interruptions": sum(turn.interrupted for turn in replies),
        "user_talk_share": user_share,
        "agent_talk_share": agent_share,
        **_percentiles("voice_to_voice", [turn.metrics.voice_to_voice_ms for turn in replies]),
        **_percentiles("llm_ttft", [turn.metrics.llm_ttft_ms for turn in replies]),
        "cost_usd": _cost(replies),
        "success": conversation.analysis.success,
        "variables": json.dumps(dict(conversation.variables), ensure_ascii=False, default=str, sort_keys=True),
        "tags": ", ".join(conversation.tags),
    }


def _tool_rows(conversation: Conversation, index: int, turn: Turn) -> Iterator[dict[str, Any]]:
    answers: dict[str, ToolResult] = {result.call_id: result for result in turn.tool_results}
    for at, call in enumerate(turn.tool_calls):
        answer = answers.get(call.id)
        yield {
            "conversation_id": conversation.id,
            "turn_index": index,
            "call_index": at,
            "agent_id": turn.agent_id or conversation.agent_id,
            "agent_version": turn.agent_version,
            "tool": call.name,
            "kind": call.kind,
            "arguments": json.dumps(dict(call.arguments), ensure_ascii=False, default=str),
            "result": answer.value if answer else None,
            "is_error": answer.is_error if answer else None,
            "error_type": answer.error_type if answer else None,
            "latency_ms": answer.latency_secs * 1000 if answer and answer.latency_secs is not None else None,
        }


def _talk_shares(conversation: Conversation) -> tuple[float | None, float | None]:
    if conversation.channel == "text":
        return None, None
    spoken = {"user": 0.0, "agent": 0.0}
    for turn in conversation.turns:
        if turn.start_secs is not None and turn.end_secs is not None:
            spoken[turn.role] += turn.end_secs - turn.start_secs
    total = spoken["user"] + spoken["agent"]
    return (spoken["user"] / total, spoken["agent"] / total) if total else (None, None)


def _percentiles(name: str, values: list[float | None]) -> dict[str, float | None]:
    import numpy as np

    measured = [value for value in values if value is not None]
    p50, p95 = (float(p) for p in np.percentile(measured, [50, 95])) if measured else (None, None)
    return {f"{name}_p50_ms": p50, f"{name}_p95_ms": p95}


def _cost(replies: list[Turn]) -> float | None:
    """Sum the prices of the turns that a model answered; unknown as soon as one of them is."""
    costs = [turn.metrics.cost_usd for turn in replies if turn.llm_requested or turn.metrics.cost_usd is not None]
    known = [cost for cost in costs if cost is not None]
    return sum(known) if known and len(known) == len(costs) else None


def _outcomes(conversation: Conversation) -> dict[str, Any]:
    analysis = conversation.analysis
    return {
        **{f"criteria_{name}": _value(result) for name, result in analysis.criteria.items()},
        **{f"data_{name}": _value(result) for name, result in analysis.data.items()},
    }


def _value(result: CriterionResult) -> Any:
    return result.value


def _frame(rows: list[dict[str, Any]], columns: Mapping[str, Column]) -> pd.DataFrame:
    import pandas as pd

    return pd.DataFrame({name: _series([row.get(name) for row in rows], c.dtype) for name, c in columns.items()})


def _series(values: list[Any], dtype: str) -> pd.Series[Any]:
    import pandas as pd

    if dtype == INSTANT:
        return pd.to_datetime(pd.Series(values, dtype="Float64"), unit="s", utc=True).dt.as_unit("us")
    made: pd.Series[Any] = pd.Series(values, dtype=dtype)
    return made
