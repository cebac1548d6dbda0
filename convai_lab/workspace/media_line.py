"""Media line: how does the sound of a voice session get in and out of this process, where it has to?"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Protocol

from convai_lab.workspace.live_events import MediaKind


class MediaPort(Protocol):
    """What a media line needs of its session."""

    @property
    def media_kind(self) -> MediaKind:
        """Return the kind that was chosen last."""

    def post(self, frame: Mapping[str, Any]) -> None:
        """Send a frame to the platform, in order, from any thread; nothing happens when the session is over."""


class MediaLine:
    """The sound of one session. Every call returns at once and may be made from any thread."""

    def __init__(self, port: MediaPort, choose: Callable[[MediaKind], None]) -> None:
        self._port, self._choose = port, choose

    @property
    def kind(self) -> MediaKind:
        """Return how the sound is to travel."""
        return self._port.media_kind

    def choose(self, kind: MediaKind) -> None:
        """Choose how the sound travels; the agent begins to speak when the first one chosen is ready.

        With ``webrtc`` the platform sends a join as a `Signal`; the page answers it with its offer, and once the
        sound is connected a `MediaChanged` says so. Until then the sound keeps the way that it had. To be changed
        at any time; what is being said is not lost.
        """
        raise NotImplementedError

    def signal(self, message: Mapping[str, Any]) -> None:
        """Pass on the page's signalling as it is: ``join``, ``sdp`` or ``candidate`` of an ipywebrtc room."""
        raise NotImplementedError

    def push(self, pcm: bytes, rate_hz: int = 16000) -> None:
        """Say this: the page's microphone as 16-bit mono PCM; at the pace at which it is spoken."""
        raise NotImplementedError

    def push_clip(self, data: bytes, mime: str) -> None:
        """Say a recorded clip: what a page's recorder made, such as ``audio/webm``."""
        raise NotImplementedError
