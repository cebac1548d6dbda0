"""Transport: how does audio get from the user to the session, and from the agent to the user?

A session sees only the `Transport`. `MemoryTransport` is one whose other end is a test or a simulated caller.
"""

from __future__ import annotations

import asyncio
from collections import deque
from dataclasses import dataclass
from typing import NamedTuple, Protocol

from convai_lab.clock import Clock
from convai_lab.errors import InvalidValueError
from convai_lab.voice.audio import SAMPLE_BYTES, SESSION_RATE_HZ


class CharTime(NamedTuple):
    """When one character is spoken, counted from the start of the audio it came with."""

    char: str
    start_ms: int
    duration_ms: int


@dataclass(frozen=True, slots=True)
class AgentAudio:
    """A piece of the agent's speech: 16-bit mono PCM of one turn, and the characters spoken in it, if known."""

    pcm: bytes
    rate_hz: int
    turn_id: int
    alignment: tuple[CharTime, ...] | None = None

    @property
    def secs(self) -> float:
        """Return how long it lasts."""
        return len(self.pcm) // SAMPLE_BYTES / self.rate_hz


class Transport(Protocol):
    """Frames in, frames out, flush; what a session needs of a browser, a phone, a socket or a file."""

    async def receive(self) -> bytes | None:
        """Return the user's next audio at 16 kHz, of any size; None when the other side is gone."""

    def send(self, audio: AgentAudio) -> None:
        """Play this after what was sent before; never blocks."""

    def flush(self, turn_id: int) -> None:
        """Drop what was sent of this turn and not played yet."""


class Heard(NamedTuple):
    """Agent audio that began to play at an instant of the clock, and how much of it was or will be played."""

    at: float
    audio: AgentAudio


class MemoryTransport:
    """A transport in memory, both ends of it: the session's, and the user's for tests and simulated callers.

    The user's end speaks with `speak`, leaves with `hang_up`, and hears as a loudspeaker does: what is sent plays
    at once or after what still plays, and `flush` stops it at that instant of `clock`. All of it is in `heard`.
    `sent` and `flushed` are what the session did, in order.
    """

    def __init__(self, clock: Clock) -> None:
        self.sent: list[AgentAudio] = []
        self.flushed: list[int] = []
        self.heard: list[Heard] = []
        self._clock = clock
        self._incoming: deque[bytes] = deque()
        self._gone = False
        self._arrived = asyncio.Event()
        self._news = asyncio.Event()

    async def receive(self) -> bytes | None:
        """Return the user's next audio; what was said before hanging up still arrives."""
        while not self._incoming and not self._gone:
            self._arrived.clear()
            await self._arrived.wait()
        return self._incoming.popleft() if self._incoming else None

    def send(self, audio: AgentAudio) -> None:
        """Play this after what still plays."""
        self.sent.append(audio)
        if audio.pcm and not self._gone:
            self.heard.append(Heard(max(self._clock.now(), self.plays_until), audio))
        self._news.set()

    def flush(self, turn_id: int) -> None:
        """Stop playing this turn: what was not heard by now never will be."""
        self.flushed.append(turn_id)
        self._cut(turn_id)
        self._news.set()

    def speak(self, pcm: bytes) -> None:
        """Say this to the session now: 16-bit mono PCM at 16 kHz, any number of bytes."""
        if self._gone:
            raise InvalidValueError("the caller has hung up and cannot speak any more")
        self._incoming.append(bytes(pcm))
        self._arrived.set()

    def hang_up(self) -> None:
        """Leave: the session receives None after what was said before, and nothing plays any more."""
        if not self._gone:
            self._gone = True
            self._cut(None)
        self._arrived.set()
        self._news.set()

    @property
    def plays_until(self) -> float:
        """Return the instant at which everything sent so far will have been played."""
        return self.heard[-1].at + self.heard[-1].audio.secs if self.heard else 0.0

    @property
    def is_playing(self) -> bool:
        """Say whether the user hears the agent right now."""
        now = self._clock.now()
        return any(one.at <= now < one.at + one.audio.secs for one in reversed(self.heard[-2:]))

    async def next_news(self) -> None:
        """Wait until the session sends or flushes something, or the user hangs up."""
        self._news.clear()
        await self._news.wait()

    def pcm_heard(self, rate_hz: int = SESSION_RATE_HZ, *, until: float | None = None) -> bytes:
        """Return what the user heard from the clock's zero on, silences included, as one track.

        Raises:
            InvalidValueError: The agent spoke at another rate.
        """
        now = self._clock.now() if until is None else until
        track = bytearray(SAMPLE_BYTES * round(now * rate_hz))
        for at, audio in self.heard:
            if audio.rate_hz != rate_hz:
                raise InvalidValueError(f"the agent spoke at {audio.rate_hz} Hz, not at {rate_hz}", field="rate_hz")
            start = SAMPLE_BYTES * round(at * rate_hz)
            piece = audio.pcm[: max(0, len(track) - start)]
            track[start : start + len(piece)] = piece
        return bytes(track)

    def _cut(self, turn_id: int | None) -> None:
        """Leave out of `heard` what would play from now on; what other turns sent moves up."""
        now, kept = self._clock.now(), list[Heard]()
        for at, audio in self.heard:
            if at + audio.secs <= now:
                kept.append(Heard(at, audio))
            elif turn_id is not None and audio.turn_id != turn_id:
                kept.append(Heard(max(at, now) if not kept else max(min(at, now), _end(kept[-1])), audio))
            elif at < now:
                played = SAMPLE_BYTES * round((now - at) * audio.rate_hz)
                kept.append(Heard(at, AgentAudio(audio.pcm[:played], audio.rate_hz, audio.turn_id, audio.alignment)))
        self.heard = kept


def _end(heard: Heard) -> float:
    return heard.at + heard.audio.secs
