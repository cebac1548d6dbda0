"""Media line: how does the sound of a voice session get in and out of this process, where it has to?"""

from __future__ import annotations

import base64
import math
from collections.abc import Mapping
from typing import Any, Protocol

from convai_lab.errors import InvalidValueError
from convai_lab.workspace.live_events import MEDIA_KINDS, MediaKind

SESSION_RATE_HZ = 16000
MAX_CLIP_BYTES = 8 * 1024 * 1024
LONGEST_WAY_MS = 10_000
MAX_PIECE_BYTES = 700_000
"""Seven seconds at 48 kHz; a longer sound is sent in pieces."""


class MediaPort(Protocol):
    """What a media line needs of its session."""

    media_kind: MediaKind

    def post(self, frame: Mapping[str, Any]) -> None:
        """Send a frame to the platform, in order, from any thread; nothing happens when the session is over."""


class MediaLine:
    """The sound of one session. Every call returns at once and may be made from any thread."""

    def __init__(self, port: MediaPort) -> None:
        self._port = port

    @property
    def kind(self) -> MediaKind:
        """Return how the sound is to travel; ``text`` until something was chosen."""
        return self._port.media_kind

    def choose(self, kind: MediaKind) -> None:
        """Choose how the sound travels; the agent begins to speak when the first one chosen is ready.

        With ``webrtc`` the platform sends a join as a `Signal`; the page answers it with its offer, and once the
        sound is connected a `MediaChanged` says so. Until then the agent's sound keeps the way that it had. To be
        changed at any time; what is being said is not lost.
        """
        if kind not in MEDIA_KINDS:
            raise InvalidValueError(f"use one of {', '.join(MEDIA_KINDS)}, not {kind!r}", field="kind")
        self._port.media_kind = kind
        self._port.post({"type": "live_choose", "kind": kind})

    def signal(self, message: Mapping[str, Any]) -> None:
        """Pass on the page's signalling as it is: ``join``, ``sdp`` or ``candidate`` of an ipywebrtc room."""
        self._port.post({"type": "live_signal", "message": dict(message)})

    def push(self, pcm: bytes, rate_hz: int = SESSION_RATE_HZ) -> None:
        """Say this: the page's microphone as 16-bit mono PCM; at the pace at which it is spoken."""
        pcm = bytes(pcm)
        for at in range(0, len(pcm), MAX_PIECE_BYTES):
            encoded = base64.b64encode(pcm[at : at + MAX_PIECE_BYTES]).decode("ascii")
            if rate_hz == SESSION_RATE_HZ:
                self._port.post({"user_audio_chunk": encoded})
            else:
                self._port.post({"type": "live_sound", "pcm": encoded, "rate_hz": rate_hz})

    def sound_takes(
        self, to_agent_ms: float | None, to_user_ms: float | None, *, number: int = 0, is_at_start: bool = False,
        heard_at: float | None = None,
    ) -> None:  # fmt: skip
        """Tell how long sound takes each way, as measured at the user's end; None: not known.

        It becomes part of the wait that the metrics of a turn tell. Tell it about once a second, and when the agent
        begins to be heard (`is_at_start`), with the instant by the platform's clock if that is known (`heard_at`).
        A `SoundTimed` with the same number, and the time of that clock, comes back at once.

        Raises:
            InvalidValueError: It is no time from 0 to 10 seconds, or no instant.
        """
        for name, ms in (("to_agent_ms", to_agent_ms), ("to_user_ms", to_user_ms)):
            if ms is not None and not (type(ms) in (int, float) and 0 <= ms <= LONGEST_WAY_MS):
                raise InvalidValueError(f"must be milliseconds from 0 to {LONGEST_WAY_MS}, got {ms!r}", field=name)
        if heard_at is not None and not (type(heard_at) in (int, float) and math.isfinite(heard_at)):
            raise InvalidValueError(f"must be seconds of the platform's clock, got {heard_at!r}", field="heard_at")
        self._port.post(
            {
                "type": "live_sound_takes",
                "to_agent_ms": to_agent_ms,
                "to_user_ms": to_user_ms,
                "number": number,
                "is_at_start": is_at_start,
                "heard_at": heard_at,
            }
        )

    def push_clip(self, data: bytes, mime: str) -> None:
        """Say a recorded clip: what a page's recorder made, such as ``audio/webm``.

        Raises:
            InvalidValueError: It is empty, or larger than 8 MB.
        """
        data = bytes(data)
        if not 0 < len(data) <= MAX_CLIP_BYTES:
            limit = f"{MAX_CLIP_BYTES // 1024 // 1024} MB"
            raise InvalidValueError(f"has {len(data)} bytes: from 1 byte to {limit} can be sent", field="data")
        self._port.post({"type": "live_clip", "data": base64.b64encode(data).decode("ascii"), "mime": mime})
