"""Live frames: what is said on a private session socket, beyond the vendor's own events?

`session_routes` describes every message.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, get_args

from convai_lab.conversations.turn import Turn
from convai_lab.conversations.wire_format import turn_to_wire
from convai_lab.server import client_frames
from convai_lab.server.limits import parse_json
from convai_lab.server.socket_events import REFUSED, Event, Problem
from convai_lab.voice.transit import Transit

MediaKind = Literal["webrtc", "comm", "push_to_talk", "text"]
MEDIA_KINDS: tuple[MediaKind, ...] = get_args(MediaKind)
MAX_CLIP_BYTES = 8 * 1024 * 1024
"""A minute of Opus has about 1 MB, ten minutes at a recorder's usual rate some 5 MB."""
MAX_CLIP_FRAME_CHARS = MAX_CLIP_BYTES * 4 // 3 + 1_000
MAX_MIME_CHARS = 100
LONGEST_WAY_MS = 10_000
LARGEST_NUMBER = 2**53


@dataclass(frozen=True)
class Choose:
    """The sound is to travel this way."""

    kind: MediaKind


@dataclass(frozen=True)
class PageSignal:
    """A page's WebRTC signalling, not looked at yet."""

    message: Any


@dataclass(frozen=True)
class UserSound:
    """A piece of the user's sound at a rate of its own."""

    pcm: bytes
    rate_hz: Any


@dataclass(frozen=True)
class Clip:
    """Something that the user recorded."""

    data: bytes
    mime: str


@dataclass(frozen=True)
class Mute:
    """The agent is to hear silence, or the user again."""

    on: bool


@dataclass(frozen=True)
class SoundTakes:
    """How long the page measured sound to take (None: not known yet); `number` is sent back, so that it can measure."""

    transit: Transit | None
    number: int


@dataclass(frozen=True)
class UseAgent:
    """The session is to go on with this agent."""

    document: Mapping[str, Any]


@dataclass(frozen=True)
class CloudAddress:
    """Where a conversation on another platform is held; the address holds a signature, and is shown to nobody."""

    url: str
    who: str

    def __repr__(self) -> str:
        return f"CloudAddress(who={self.who!r})"


def read_live_frame(text: str | None) -> Any:
    """Return what a frame of a private session socket means, private or not.

    Raises:
        Problem: The frame is binary, too large, or malformed.
    """
    if text is None or not text.startswith(('{"type":"live_', '{"type": "live_')):
        return client_frames.read_frame(text)
    is_clip = text[9:].lstrip(' "').startswith("live_clip")
    if len(text) > (MAX_CLIP_FRAME_CHARS if is_clip else client_frames.MAX_FRAME_BYTES):
        return client_frames.Unsupported(what=f"the message is too large: {_limit(is_clip=is_clip)} at most")
    try:
        body = parse_json(text)
    except ValueError as error:
        raise Problem(REFUSED, "bad_message", str(error)[:300]) from None
    reader = _READERS.get(body["type"]) if isinstance(body["type"], str) else None
    try:
        return reader(body) if reader else None
    except _WrongError as wrong:
        return client_frames.Unsupported(what=f"{body['type']}: {wrong}")


@dataclass(frozen=True)
class Passed:
    """Something that is not for us: it is passed on as it is."""

    frame: dict[str, Any]


def read_bridge_frame(text: str | None) -> Any:
    """Return what a frame means to a bridge: sound and private messages are its own, everything else is passed on.

    Raises:
        Problem: The frame is binary, too large, or malformed.
    """
    if text is None or text.startswith(('{"type":"live_', '{"type": "live_')):
        return read_live_frame(text)
    read = client_frames.read_frame(text)
    return read if isinstance(read, client_frames.AudioChunk) else Passed(parse_json(text))


class _WrongError(Exception):
    """What is wrong with a message that does no harm."""


def _limit(*, is_clip: bool) -> str:
    return f"{MAX_CLIP_BYTES // 1024 // 1024} MB of sound" if is_clip else "1 MB"


def _choose(body: Mapping[str, Any]) -> Choose:
    kind = body.get("kind")
    if kind not in MEDIA_KINDS:
        raise _WrongError(f"kind must be one of {', '.join(MEDIA_KINDS)}")
    return Choose(kind)


def _sound(body: Mapping[str, Any]) -> UserSound:
    return UserSound(_bytes(body, "pcm"), body.get("rate_hz"))


def _clip(body: Mapping[str, Any]) -> Clip:
    mime = body.get("mime")
    if not isinstance(mime, str) or len(mime) > MAX_MIME_CHARS:
        raise _WrongError("mime must be a text such as audio/webm")
    return Clip(_bytes(body, "data"), mime)


def _mute(body: Mapping[str, Any]) -> Mute:
    if not isinstance(body.get("on"), bool):
        raise _WrongError("on must be true or false")
    return Mute(body["on"])


def _sound_takes(body: Mapping[str, Any]) -> SoundTakes:
    ways = [body.get(name) for name in ("to_agent_ms", "to_user_ms")]
    if not all(way is None or (type(way) in (int, float) and 0 <= way <= LONGEST_WAY_MS) for way in ways):
        raise _WrongError(f"to_agent_ms and to_user_ms must be milliseconds from 0 to {LONGEST_WAY_MS}, or null")
    number, heard_at = body.get("number"), body.get("heard_at")
    if type(number) is not int or not 0 <= number <= LARGEST_NUMBER:
        raise _WrongError("number must be a whole number, and not negative")
    if heard_at is not None and not (type(heard_at) in (int, float) and abs(heard_at) <= LARGEST_NUMBER):
        raise _WrongError("heard_at must be seconds of the platform's clock, or null")
    to_agent, to_user = (None if way is None else float(way) for way in ways)
    is_at_start = body.get("is_at_start") is True
    at = float(heard_at) if heard_at is not None and is_at_start else None
    if to_agent is None or to_user is None:
        return SoundTakes(None, number)
    return SoundTakes(Transit(to_agent, to_user, is_at_start, at), number)


def _use_agent(body: Mapping[str, Any]) -> UseAgent:
    if not isinstance(body.get("agent"), dict):
        raise _WrongError("agent must be an agent document")
    return UseAgent(body["agent"])


def _cloud(body: Mapping[str, Any]) -> CloudAddress:
    url, who = body.get("url"), body.get("who")
    if not isinstance(url, str) or not isinstance(who, str):
        raise _WrongError("url and who must be texts")
    return CloudAddress(url, who[:100])


def _bytes(body: Mapping[str, Any], name: str) -> bytes:
    try:
        return base64.b64decode(body.get(name) or "", validate=True)
    except (binascii.Error, ValueError, TypeError):
        raise _WrongError(f"{name} is not base64") from None


_READERS = {
    "live_choose": _choose,
    "live_signal": lambda body: PageSignal(body.get("message")),
    "live_sound": _sound,
    "live_clip": _clip,
    "live_mute": _mute,
    "live_sound_takes": _sound_takes,
    "live_use_agent": _use_agent,
    "live_cloud": _cloud,
}


def state(name: str) -> Event:
    """Say what the session is doing."""
    return {"type": "live_state", "state": name}


def engines(**names: str) -> Event:
    """Say what serves the session."""
    return {"type": "live_engines", "engines": names}


def turn_stored(index: int, turn: Turn) -> Event:
    """Return a turn of the record as it stands now."""
    return {"type": "live_turn_stored", "index": index, "turn": turn_to_wire(turn)}


def signal(message: Mapping[str, Any]) -> Event:
    """Return a message for the page's WebRTC room."""
    return {"type": "live_signal", "message": dict(message)}


def media_changed(kind: MediaKind, *, is_connected: bool = True, reason: str | None = None) -> Event:
    """Say how the sound travels, or why it does not."""
    return {"type": "live_media", "kind": kind, "is_connected": is_connected, "reason": reason}


def sound_timed(number: int, at: float) -> Event:
    """Answer a `live_sound_takes`, at once, with the time of our clock."""
    return {"type": "live_sound_timed", "number": number, "at": at}


def level(user: float, agent: float) -> Event:
    """Say how loud both sides are."""
    return {"type": "live_level", "user": user, "agent": agent}


def refused(message: str) -> Event:
    """Say that something was not taken; the session goes on."""
    return {"type": "live_refused", "message": message}


def agent_used(error: str | None = None) -> Event:
    """Answer a `live_use_agent`: it speaks from its next turn on, or why not."""
    return {"type": "live_agent_used", "error": error}
