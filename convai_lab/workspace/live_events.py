"""Live events: what happens in a voice session, beyond what every conversation tells?"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal, get_args

from convai_lab.conversations.turn import Turn
from convai_lab.workspace.events import SessionEvent

LiveState = Literal["connecting", "listening", "thinking", "speaking", "ended"]
LIVE_STATES: tuple[LiveState, ...] = get_args(LiveState)

MediaKind = Literal["webrtc", "comm", "push_to_talk", "text"]
"""How the sound travels.

``webrtc``: both ways between the page and the platform process, never through this process. In all others the
agent's sound comes as `AgentAudio`, and the user's as `MediaLine.push` (``comm``), as recorded clips
(``push_to_talk``), or not at all (``text``).
"""
MEDIA_KINDS: tuple[MediaKind, ...] = get_args(MediaKind)


@dataclass(frozen=True)
class EngineNames:
    """What serves a session; "" until it is known, or when the platform does not tell."""

    llm: str = ""
    asr: str = ""
    tts: str = ""
    vad: str = ""


@dataclass(frozen=True)
class StateChanged:
    """The session is doing something else now; `reason` says why it ended."""

    state: LiveState
    reason: str | None = None


@dataclass(frozen=True)
class UserPartial:
    """What the user seems to be saying; later ones replace it, the next `UserTurn` ends it."""

    text: str


@dataclass(frozen=True)
class Signal:
    """A message of the WebRTC signalling for the page: give it to the room's `on_room_msg` as it is."""

    message: dict[str, Any]


@dataclass(frozen=True)
class AgentAudio:
    """A piece of the agent's speech, 16-bit mono PCM, to be played after the pieces before it.

    It comes only where the sound does not travel by WebRTC. `event_id` numbers what was said: see `Flush`.
    """

    pcm: bytes
    rate_hz: int
    event_id: int


@dataclass(frozen=True)
class Flush:
    """Stop playing at once, and play nothing more whose `event_id` is this one or smaller."""

    event_id: int


@dataclass(frozen=True)
class Interrupted:
    """The user cut the agent short; how much of the turn was heard comes as `AgentCutShort` and `TurnStored`."""


@dataclass(frozen=True)
class TurnStored:
    """A turn of the record was written, or corrected: with metrics, tool calls and results, and what was heard."""

    index: int
    turn: Turn


@dataclass(frozen=True)
class MediaChanged:
    """The sound travels this way now, or is to: `is_connected` is false while WebRTC is not (or no longer) connected.

    `reason` is a sentence when something failed.
    """

    kind: MediaKind
    is_connected: bool = True
    reason: str | None = None


@dataclass(frozen=True)
class EnginesKnown:
    """Which engines serve this session."""

    engines: EngineNames


@dataclass(frozen=True)
class ToolPrinted:
    """A client tool printed something while it ran."""

    name: str
    text: str


@dataclass(frozen=True)
class Level:
    """How loud both sides are now, from 0 to 1 (0 is -60 dBFS or less); about ten times a second."""

    user: float
    agent: float


@dataclass(frozen=True)
class Refused:
    """The platform did not take something that was sent (a signal, a clip); the session goes on."""

    message: str


@dataclass(frozen=True)
class SoundTimed:
    """The platform got the measurement of this number (`MediaLine.sound_takes`) just now, `at` by its clock."""

    number: int
    at: float


@dataclass(frozen=True)
class Muted:
    """The agent hears silence from now on, or the user again."""

    on: bool


@dataclass(frozen=True)
class WindowReady:
    """The platform has a page for this session; the token opens it, once."""

    token: str = field(repr=False)


LiveEvent = (
    SessionEvent
    | StateChanged
    | UserPartial
    | Signal
    | AgentAudio
    | Flush
    | Interrupted
    | TurnStored
    | MediaChanged
    | EnginesKnown
    | ToolPrinted
    | Level
    | Refused
    | SoundTimed
    | Muted
    | WindowReady
)
"""Everything that a voice session tells."""
