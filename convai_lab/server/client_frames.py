"""Client frames: what did the client say on the conversation socket?"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from convai_lab.server.limits import parse_json
from convai_lab.server.socket_events import REFUSED, Problem

MAX_FRAME_BYTES = 1024 * 1024
MAX_AUDIO_FRAME_BYTES = 12 * 1024 * 1024
"""Audio may come in chunks of up to 8 MB, which is a third more as text."""
MAX_MESSAGE_CHARS = 100_000


@dataclass(frozen=True, kw_only=True)
class Initiation:
    """How the client wants this conversation to be: overrides, variables, who is asking."""

    overrides: Mapping[str, Any] = field(default_factory=dict)
    variables: Mapping[str, Any] = field(default_factory=dict)
    extra_body: Mapping[str, Any] = field(default_factory=dict)
    user_id: str | None = None
    source: str | None = None
    source_version: str | None = None


@dataclass(frozen=True, kw_only=True)
class UserMessage:
    """The user typed something."""

    text: str


@dataclass(frozen=True, kw_only=True)
class UserActivity:
    """The user is still there."""


@dataclass(frozen=True, kw_only=True)
class ContextUpdate:
    """Something the agent should know, without answering to it."""

    text: str


@dataclass(frozen=True, kw_only=True)
class ToolAnswer:
    """The client ran a tool, or failed to."""

    call_id: str
    value: str
    is_error: bool = False


@dataclass(frozen=True, kw_only=True)
class Pong:
    """The client answers a ping."""

    event_id: int


@dataclass(frozen=True, kw_only=True)
class Feedback:
    """The user likes or dislikes an answer; None takes it back."""

    score: Literal["like", "dislike"] | None
    event_id: int | None


@dataclass(frozen=True, kw_only=True)
class AudioChunk:
    """A piece of sound from the user's microphone, still as it came."""

    base64_pcm: str


@dataclass(frozen=True, kw_only=True)
class Unsupported:
    """Something this platform cannot take; the client is told, and the conversation goes on."""

    what: str


Frame = (
    Initiation | UserMessage | UserActivity | ContextUpdate | ToolAnswer | Pong | Feedback | AudioChunk | Unsupported
)


_PLAIN_AUDIO = re.compile(r'\s*\{\s*"user_audio_chunk"\s*:\s*"([A-Za-z0-9+/=]*)"\s*\}\s*')
"""How audio frames look that come by the hundred; others of the kind are parsed like any frame."""


def read_frame(text: str | None) -> Frame | None:
    """Return what a frame means; None for a type we do not know, which is ignored.

    Raises:
        Problem: The frame is binary, too large, or malformed: the conversation is closed.
    """
    if text is None:
        raise _bad("frames must be JSON text; this one is binary")
    if len(text) <= MAX_AUDIO_FRAME_BYTES and (audio := _PLAIN_AUDIO.fullmatch(text)):
        return AudioChunk(base64_pcm=audio[1])
    if len(text) > MAX_FRAME_BYTES or len(text.encode("utf-8", "surrogatepass")) > MAX_FRAME_BYTES:
        raise _bad(f"a frame may hold {MAX_FRAME_BYTES // 1024} KB at most")
    try:
        body = parse_json(text)
    except ValueError as error:
        raise _bad(str(error)) from None
    if not isinstance(body, dict):
        raise _bad("a frame must be a JSON object")
    if "user_audio_chunk" in body:
        return AudioChunk(base64_pcm=_text(body, "user_audio_chunk"))
    reader = _READERS.get(body["type"]) if isinstance(body.get("type"), str) else None
    return reader(body) if reader else None


def _initiation(body: dict[str, Any]) -> Frame:
    source = _object(body, "source_info")
    return Initiation(
        overrides=_object(body, "conversation_config_override"),
        variables=_object(body, "dynamic_variables"),
        extra_body=_object(body, "custom_llm_extra_body"),
        user_id=_optional_text(body, "user_id"),
        source=_optional_text(source, "source"),
        source_version=_optional_text(source, "version"),
    )


def _user_message(body: dict[str, Any]) -> Frame:
    if body.get("text") is None:
        return UserActivity()  # the Python client may send a message without text
    return UserMessage(text=_text(body, "text"))


def _multimodal(body: dict[str, Any]) -> Frame | None:
    inner = _object(body, "text")
    if body.get("file") or body.get("files"):
        return Unsupported(what="files are not supported by the local platform: send the message as text")
    return UserMessage(text=_text(inner, "text")) if inner.get("text") is not None else None


def _context(body: dict[str, Any]) -> Frame:
    return ContextUpdate(text=_text(body, "text"))


def _tool_answer(body: dict[str, Any]) -> Frame:
    result = body.get("result")
    shown = result if isinstance(result, str) else json.dumps(result, ensure_ascii=False)
    return ToolAnswer(call_id=_text(body, "tool_call_id"), value=shown, is_error=body.get("is_error") is True)


def _pong(body: dict[str, Any]) -> Frame | None:
    event_id = _whole(body.get("event_id"))
    return None if event_id is None else Pong(event_id=event_id)


def _feedback(body: dict[str, Any]) -> Frame:
    score = body.get("score")
    if score not in ("like", "dislike", None):
        raise _bad("feedback: score must be like, dislike or null")
    return Feedback(score=score, event_id=_whole(body.get("event_id")))


_READERS = {
    "conversation_initiation_client_data": _initiation,
    "user_message": _user_message,
    "multimodal_message": _multimodal,
    "user_activity": lambda _: UserActivity(),
    "contextual_update": _context,
    "client_tool_result": _tool_answer,
    "pong": _pong,
    "feedback": _feedback,
}


def _text(body: Mapping[str, Any], name: str) -> str:
    value = body.get(name)
    if not isinstance(value, str):
        raise _bad(f"{body.get('type', 'the frame')}: {name} must be a text")
    if name != "user_audio_chunk" and len(value) > MAX_MESSAGE_CHARS:
        raise _bad(f"{body.get('type', 'the frame')}: {name} may hold {MAX_MESSAGE_CHARS} characters at most")
    return value


def _optional_text(body: Mapping[str, Any], name: str) -> str | None:
    value = body.get(name)
    return value[:200] if isinstance(value, str) and value else None


def _object(body: Mapping[str, Any], name: str) -> dict[str, Any]:
    value = body.get(name)
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise _bad(f"{body.get('type', 'the frame')}: {name} must be an object")
    return value


def _whole(value: Any) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) and abs(value) < 2**53 else None


def _bad(message: str) -> Problem:
    return Problem(REFUSED, "bad_message", message[:300])
