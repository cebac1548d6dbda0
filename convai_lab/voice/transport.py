"""Transport: how does audio get from the user to the session, and from the agent to the user?

A session sees only the `Transport`. `MemoryTransport` is one whose other end is a test or a simulated caller.
"""

from __future__ import annotations

import asyncio
from bisect import bisect_right
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import NamedTuple, Protocol

from convai_lab.clock import Clock
from convai_lab.errors import ConvaiLabError
from convai_lab.voice.audio import SAMPLE_BYTES, SESSION_RATE_HZ, resample


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

    def first(self, secs: float) -> AgentAudio:
        """Return the beginning of it, with the characters that begin in it."""
        alignment = (
            None if self.alignment is None else tuple(one for one in self.alignment if one.start_ms < secs * 1000)
        )
        return replace(self, pcm=self.pcm[: SAMPLE_BYTES * round(secs * self.rate_hz)], alignment=alignment)


class Transport(Protocol):
    """Frames in, frames out, flush; what a session needs of a browser, a phone, a socket or a file."""

    @property
    def is_steady(self) -> bool:
        """Say whether sound comes without a pause, silence too: what does not come is late, and not silence."""

    async def receive(self) -> bytes | None:
        """Return the user's next audio at 16 kHz, of any size; None when the other side is gone."""

    def send(self, audio: AgentAudio) -> None:
        """Play this after what was sent before; never blocks."""

    def flush(self, turn_id: int) -> None:
        """Drop what was sent of this turn and not played yet."""


class Heard(NamedTuple):
    """A piece of the agent's speech as the user hears it: from an instant of the clock on, and no more than heard."""

    at: float
    audio: AgentAudio

    @property
    def until(self) -> float:
        """Return the instant at which it is over."""
        return self.at + self.audio.secs


class MemoryTransport:
    """A transport in memory, both ends of it: the session's, and the user's for tests and simulated callers.

    The user's end speaks with `speak`, leaves with `hang_up`, and hears as a loudspeaker does: what is sent plays
    at once or after what still plays, and `flush` stops it at that instant of `clock`. All of it is in `heard`.
    `sent` and `flushed` are what the session did, in order. A user whose microphone never pauses is `is_steady`.
    """

    def __init__(self, clock: Clock, *, is_steady: bool = False) -> None:
        self.is_steady = is_steady
        self.sent: list[AgentAudio] = []
        self.flushed: list[int] = []
        self.heard: list[Heard] = []
        self._clock, self._began = clock, clock.now()
        self._incoming: deque[bytes] = deque()
        self._gone = False
        self._arrived, self._news = asyncio.Event(), asyncio.Event()

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
        self._stop_playing(lambda audio: audio.turn_id == turn_id)
        self._news.set()

    def speak(self, pcm: bytes) -> None:
        """Say this to the session now: 16-bit mono PCM at 16 kHz, any number of bytes.

        Raises:
            ConvaiLabError: The user has hung up.
        """
        if self._gone:
            raise ConvaiLabError("the user has hung up, and cannot say any more")
        if pcm:
            self._incoming.append(bytes(pcm))
            self._arrived.set()

    def hang_up(self) -> None:
        """Leave: the session receives None after what was said before, and the user hears no more."""
        self._gone = True
        self._stop_playing(lambda _: True)
        self._arrived.set()
        self._news.set()

    @property
    def plays_until(self) -> float:
        """Return the instant at which everything sent so far will have been played."""
        return self.heard[-1].until if self.heard else self._began

    @property
    def is_playing(self) -> bool:
        """Say whether the user hears the agent right now."""
        now = self._clock.now()
        index = bisect_right(self.heard, now, key=lambda one: one.at) - 1
        return index >= 0 and now < self.heard[index].until

    async def next_news(self) -> None:
        """Wait until the session sends or flushes something, or the user hangs up."""
        self._news.clear()
        await self._news.wait()

    def pcm_heard(self, rate_hz: int = SESSION_RATE_HZ) -> bytes:
        """Return what the user has heard up to now since this transport was made, silences included, as one track."""
        track = bytearray(SAMPLE_BYTES * round((self._clock.now() - self._began) * rate_hz))
        for at, audio in self.heard:
            start = SAMPLE_BYTES * round((at - self._began) * rate_hz)
            piece = resample(audio.pcm, audio.rate_hz, rate_hz)[: max(0, len(track) - start)]
            track[start : start + len(piece)] = piece
        return bytes(track)

    def _stop_playing(self, is_dropped: Callable[[AgentAudio], bool]) -> None:
        """Leave out of `heard` what would be heard from now on; what is not dropped moves up."""
        now, kept = self._clock.now(), list[Heard]()
        for one in self.heard:
            if one.until <= now:
                kept.append(one)
            elif not is_dropped(one.audio):
                kept.append(
                    Heard(one.at if one.at <= now else max([now, *(last.until for last in kept[-1:])]), one.audio)
                )
            elif one.at < now:
                kept.append(Heard(one.at, one.audio.first(now - one.at)))
        self.heard = kept
