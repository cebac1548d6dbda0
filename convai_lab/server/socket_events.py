"""Socket events: what does the platform say on a conversation socket, word for word?"""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence
from typing import Any, Literal

from convai_lab import errors
from convai_lab.conversations.turn import ToolCall, ToolResult
from convai_lab.settings import scrub

Event = dict[str, Any]

NORMAL, OPERATIONAL, REFUSED, CRASHED, RESTARTING = 1000, 1002, 1008, 1011, 1012
"""Close codes: an ordinary end, something we depend on failed, the client did wrong, we did, we are stopped."""

MAX_REASON_BYTES = 123
FULL_RESULT_CHARS = 10_000

ALWAYS_SENT = frozenset(
    {
        "conversation_initiation_metadata",
        "ping",
        "client_tool_call",
        "agent_response",
        "user_transcript",
        "interruption",
        "agent_response_correction",
        "error",
    }
)
"""Sent whatever `client_events` says: official clients expect them even of agents whose list leaves them out."""


BY_DEFAULT = ("audio", "interruption", "agent_response", "user_transcript", "tentative_user_transcript")
"""What is sent when an agent leaves `client_events` to its platform."""


def is_wanted(event_type: str, client_events: Collection[str], *, text_only: bool) -> bool:
    """Say whether a client gets events of this type; text conversations stream the parts of a response anyway."""
    if event_type in ALWAYS_SENT or event_type in client_events:
        return True
    return text_only and event_type == "agent_chat_response_part"


def metadata(conversation_id: str, *, agent_format: str, user_format: str) -> Event:
    """Return the first event of every conversation."""
    return {
        "type": "conversation_initiation_metadata",
        "conversation_initiation_metadata_event": {
            "conversation_id": conversation_id,
            "agent_output_audio_format": agent_format,
            "user_input_audio_format": user_format,
        },
    }


def ping(event_id: int, ping_ms: int | None) -> Event:
    """Return a ping, with the round trip that the last one took."""
    return {"type": "ping", "ping_event": {"event_id": event_id, "ping_ms": ping_ms}}


def response_part(kind: Literal["start", "delta", "stop"], text: str, event_id: int) -> Event:
    """Return a piece of a response as it is written."""
    part = {"text": text, "type": kind, "event_id": event_id}
    return {"type": "agent_chat_response_part", "text_response_part": part}


def response(text: str, event_id: int) -> Event:
    """Return the whole text of an agent's turn."""
    return {"type": "agent_response", "agent_response_event": {"agent_response": text, "event_id": event_id}}


def interruption(event_id: int) -> Event:
    """Say that the turn with this id was cut short."""
    return {"type": "interruption", "interruption_event": {"event_id": event_id}}


def correction(original: str, corrected: str, event_id: int) -> Event:
    """Say how much of an interrupted turn counts as said."""
    return {
        "type": "agent_response_correction",
        "agent_response_correction_event": {
            "original_agent_response": original,
            "corrected_agent_response": corrected,
            "event_id": event_id,
        },
    }


def audio(encoded: str, event_id: int, times: Sequence[tuple[str, int, int]] | None) -> Event:
    """Return a piece of the agent's speech, in base64; `times` are its characters, each with start and length in ms."""
    event: Event = {"audio_base_64": encoded, "event_id": event_id}
    if times is not None:
        chars, starts, lengths = zip(*times, strict=True) if times else ((), (), ())
        event["alignment"] = {"chars": chars, "char_start_times_ms": starts, "char_durations_ms": lengths}
    return {"type": "audio", "audio_event": event}


def user_transcript(text: str, event_id: int) -> Event:
    """Say what the user said."""
    event = {"user_transcript": text, "event_id": event_id}
    return {"type": "user_transcript", "user_transcription_event": event}


def tentative_user_transcript(text: str, event_id: int) -> Event:
    """Say what the user seems to be saying."""
    event = {"user_transcript": text, "event_id": event_id}
    return {"type": "tentative_user_transcript", "tentative_user_transcription_event": event}


def vad_score(score: float) -> Event:
    """Say how likely the user is speaking now."""
    return {"type": "vad_score", "vad_score_event": {"vad_score": round(score, 4)}}


def client_tool_call(call: ToolCall, event_id: int) -> Event:
    """Ask the client to run one of its tools."""
    return {
        "type": "client_tool_call",
        "client_tool_call": {
            "tool_name": call.name,
            "tool_call_id": call.id,
            "parameters": dict(call.arguments),
            "event_id": event_id,
        },
    }


def tool_request(call: ToolCall, event_id: int) -> Event:
    """Say that the agent asked for a tool, of whichever kind."""
    return {
        "type": "agent_tool_request",
        "agent_tool_request": {
            "tool_name": call.name,
            "tool_call_id": call.id,
            "tool_type": call.kind,
            "event_id": event_id,
        },
    }


def tool_response(result: ToolResult, event_id: int) -> Event:
    """Say that a tool answered."""
    return {"type": "agent_tool_response", "agent_tool_response": _tool_answer(result, event_id)}


def full_tool_response(result: ToolResult, event_id: int) -> Event:
    """Say what a tool answered."""
    payload = {
        **_tool_answer(result, event_id),
        "full_tool_result": result.value[:FULL_RESULT_CHARS],
        "truncated": len(result.value) > FULL_RESULT_CHARS,
    }
    return {"type": "agent_tool_response_full_payload", "agent_tool_response_full_payload": payload}


def error(problem: Problem) -> Event:
    """Return the error event that goes before a close, or stands alone for what does no lasting harm."""
    return {
        "type": "error",
        "error_event": {
            "code": problem.code,
            "message": problem.message,
            "error_type": problem.kind,
            "reason": close_reason(problem.message),
            "debug_message": None,
            "details": dict(problem.details),
        },
    }


class Problem(Exception):
    """What ends a conversation before its time: the close code, the kind of error, one sentence, and details."""

    def __init__(self, code: int, kind: str, message: str, details: Mapping[str, Any] | None = None) -> None:
        self.code, self.kind, self.message, self.details = code, kind, scrub(message), details or {}
        super().__init__(self.message)


def problem_of(failure: errors.ConvaiLabError) -> Problem:
    """Return how an expected error is told to the client."""
    text = str(failure)
    match failure:
        case errors.MissingKeyError():
            return Problem(OPERATIONAL, "missing_key", text, {"variable": failure.variable})
        case errors.MissingVariableError():
            return Problem(REFUSED, "missing_dynamic_variable", text, {"names": list(failure.names)})
        case errors.ModelNotFoundError():
            suggestions = {"suggestions": list(failure.suggestions)}
            return Problem(OPERATIONAL, "model_not_found", text, _provider_details(failure, suggestions))
        case errors.ProviderTimeoutError():
            return Problem(OPERATIONAL, "llm_timeout", text, _provider_details(failure))
        case errors.ProviderAuthError():
            return Problem(OPERATIONAL, "provider_auth_error", text, _provider_details(failure))
        case errors.ProviderRateLimitError():
            wait = {"retry_after": failure.retry_after}
            return Problem(OPERATIONAL, "provider_rate_limit", text, _provider_details(failure, wait))
        case errors.ProviderError():
            return Problem(OPERATIONAL, "provider_error", text, _provider_details(failure))
        case errors.InvalidValueError():
            return Problem(REFUSED, "invalid_value", text, {"field": failure.field})
        case errors.NotFoundError():
            return Problem(REFUSED, "not_found", text)
        case errors.StorageError():
            return Problem(CRASHED, "storage_error", text)
        case _:
            return Problem(OPERATIONAL, _snake(type(failure).__name__.removesuffix("Error")), text)


def close_reason(message: str) -> str:
    """Shorten a sentence to what fits into a close frame, without cutting a character in two."""
    encoded = message.encode("utf-8", "replace")
    if len(encoded) <= MAX_REASON_BYTES:
        return encoded.decode("utf-8")
    return encoded[: MAX_REASON_BYTES - 3].decode("utf-8", "ignore") + "…"


def as_text(event: Event) -> str:
    """Return an event as it goes over the wire."""
    return json.dumps(event, separators=(",", ":"))


def _tool_answer(result: ToolResult, event_id: int) -> dict[str, Any]:
    return {
        "tool_name": result.name,
        "tool_call_id": result.call_id,
        "tool_type": result.kind,
        "is_error": result.is_error,
        "is_called": True,
        "event_id": event_id,
    }


def _provider_details(failure: errors.ProviderError, more: Mapping[str, Any] | None = None) -> dict[str, Any]:
    found = {"provider": failure.provider, "model": failure.model, "status": failure.status, **(more or {})}
    return {name: value for name, value in found.items() if value not in (None, "")}


def _snake(name: str) -> str:
    return "".join(f"_{c.lower()}" if c.isupper() and i else c.lower() for i, c in enumerate(name))
