"""WebRTC signals: what does a page say to open a connection, and is it something that we can use?

The messages are those of an ipywebrtc room: a join names who is there, then comes the page's offer, then its
candidates, addresses at which it might be reached, one by one.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from convai_lab.errors import InvalidValueError

MAX_SIGNAL_CHARS = 64 * 1024
"""An offer for sound and video has some 6,000 characters."""
MAX_CANDIDATE_CHARS = 1_000
MAX_ROOM_CHARS = 200


@dataclass(frozen=True)
class Join:
    """A page is there; it has this name."""

    room_id: str


@dataclass(frozen=True)
class Offer:
    """How the page wants to exchange sound."""

    room_id: str
    sdp: str


@dataclass(frozen=True)
class Candidate:
    """An address of the page; "" says that there are no more."""

    room_id: str
    candidate: str
    sdp_mid: str | None = None
    sdp_line: int | None = None


PageSignal = Join | Offer | Candidate


def read_signal(message: object) -> PageSignal:
    """Return what a page's signalling message says.

    Raises:
        InvalidValueError: It is none that a room sends to us, or far too large.
    """
    if not isinstance(message, Mapping):
        raise _wrong("must be an object: pass on what the room sends, as it is")
    if len(json.dumps(message, default=str)) > MAX_SIGNAL_CHARS:
        raise _wrong(f"may hold {MAX_SIGNAL_CHARS} characters at most")
    room_id = message.get("room_id")
    if not isinstance(room_id, str) or not 0 < len(room_id) <= MAX_ROOM_CHARS:
        raise _wrong(f"is missing, or no text of up to {MAX_ROOM_CHARS} characters", "signal.room_id")
    if message.get("type") == "join":
        return Join(room_id)
    if message.get("sdp") is not None:
        return Offer(room_id, _sdp(message["sdp"]))
    if "candidate" in message:
        return _candidate(room_id, message["candidate"])
    raise _wrong("must be a join, an sdp or a candidate")


def _sdp(given: Any) -> str:
    text = given.get("sdp") if isinstance(given, Mapping) else None
    if not isinstance(text, str) or not text.startswith("v=0"):
        raise _wrong("is no session description: it begins with v=0", "signal.sdp")
    if given.get("type") != "offer":
        raise _wrong("must be an offer: the page offers, and the platform answers", "signal.sdp.type")
    if "m=audio" not in text:
        raise _wrong("offers no sound: give the page's peer a stream with a microphone", "signal.sdp")
    return text


def _candidate(room_id: str, given: Any) -> Candidate:
    if given is None:
        return Candidate(room_id, "")
    text = given.get("candidate") if isinstance(given, Mapping) else None
    if not isinstance(text, str) or len(text) > MAX_CANDIDATE_CHARS:
        raise _wrong(f"is no text of up to {MAX_CANDIDATE_CHARS} characters", "signal.candidate.candidate")
    mid, line = given.get("sdpMid"), given.get("sdpMLineIndex")
    return Candidate(
        room_id,
        text,
        mid if isinstance(mid, str) else None,
        line if isinstance(line, int) and not isinstance(line, bool) else None,
    )


def _wrong(why: str, field: str = "signal") -> InvalidValueError:
    return InvalidValueError(why, field=field)
