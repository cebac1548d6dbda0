"""Phone: how does an invented caller speak to a voice session and know when to, in virtual time?"""

from __future__ import annotations

import asyncio
import zlib
from collections import deque
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from convai_lab.clock import Clock
from convai_lab.simulation.acoustics import AcousticLine, Acoustics, Arrival
from convai_lab.voice import events
from convai_lab.voice.audio import FRAME_BYTES, FRAME_MS
from convai_lab.voice.transport import AgentAudio, MemoryTransport

PATIENCE_SECS = 30.0
"""A caller waits so long for the agent, then goes on."""
SHORTEST_SECS = 1e-5
"""A virtual clock counts microseconds: less than this may never pass."""


class Phone:
    """A caller's end of one call: what they say goes in frame by frame, what they hear and when is known.

    `run` is its microphone, a task of whoever holds the call. Pass `on_event` to the session. `happened` is every
    event with its instant, and `transport.log` every piece of audio.

    Args:
        seed: What noise and losses depend on.
        is_always_on: Silence is sent too, instead of nothing, while nobody speaks.
    """

    def __init__(
        self, clock: Clock, *, seed: int = 0, acoustics: Acoustics | None = None, is_always_on: bool = False
    ) -> None:
        self.transport = TracedTransport(clock)
        self.happened: list[tuple[float, events.VoiceEvent]] = []
        self.microphone = Microphone(clock, self.transport, AcousticLine(acoustics or Acoustics(), seed), is_always_on)
        self._clock, self._news = clock, asyncio.Event()
        self._state = "connecting"
        self._answers, self._answers_before, self._spoke_after = 0, -1, 0

    @property
    def is_over(self) -> bool:
        """Say whether the session has ended."""
        return self._state == "ended"

    def on_event(self, event: events.VoiceEvent) -> None:
        """Take what the session tells."""
        self.happened.append((self._clock.now(), event))
        if isinstance(event, events.StateChanged):
            self._answers += self._state in ("thinking", "speaking") and event.state == "listening"
            self._state = event.state
            self._news.set()

    def begin(self) -> None:
        """Note that the caller says something now: words are counted from here."""
        self._spoke_after = len(self.transport.sent)

    def finished(self) -> None:
        """Note that the caller has said it: the next answer is the answer to it."""
        self._answers_before = self._answers

    async def speak(self, pcm: bytes) -> None:
        """Say this now, and wait until it is said."""
        self.begin()
        self.microphone.say(pcm)
        await self.microphone.done.wait()
        self.finished()

    async def agent_done(self) -> None:
        """Wait until the agent has answered what was said last, the call is over, or patience is."""
        await self.until(self._is_answered)

    async def words(self, number: int, *, or_answered: bool = False) -> bool:
        """Wait until the agent has said so many words since the caller spoke last; says whether it has.

        With `or_answered` the end of a shorter answer is the end of waiting too.
        """

        def begun() -> list[float]:
            return self.transport.word_starts(self._spoke_after)

        while True:
            await self.until(lambda: len(begun()) > number or (or_answered and self._is_answered()))
            if len(starts := begun()) <= number:
                return False
            if (left := starts[number] - self._clock.now()) < SHORTEST_SECS:
                return True
            await self._clock.sleep(left)

    async def until(self, is_so: Callable[[], bool]) -> None:
        """Wait until something is so, for as long as a caller has patience."""
        try:
            async with self._clock.timeout(PATIENCE_SECS):
                while not is_so():
                    self._news.clear()
                    await self._next_news()
        except TimeoutError:
            return

    def _is_answered(self) -> bool:
        return self.is_over or (self._state == "listening" and self._answers > self._answers_before)

    async def _next_news(self) -> None:
        waits = [asyncio.ensure_future(self._news.wait()), asyncio.ensure_future(self.transport.next_news())]
        try:
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for wait in waits:
                wait.cancel()


class Microphone:
    """What a caller sends, frame by frame at the pace of the clock; `done` is set while there is nothing to say."""

    def __init__(self, clock: Clock, transport: MemoryTransport, line: AcousticLine, is_always_on: bool) -> None:
        self.done = asyncio.Event()
        self._clock, self._transport, self._line, self._is_always_on = clock, transport, line, is_always_on
        self._waiting, self._started = bytearray(), asyncio.Event()
        self._late: deque[Arrival] = deque()

    def say(self, pcm: bytes) -> None:
        """Speak from now on."""
        self._waiting += pcm
        self.done.clear()
        self._started.set()

    def use_noise(self, dbfs: float | None) -> None:
        """Let there be noise at this level from now on; None is quiet."""
        self._line.acoustics = replace(self._line.acoustics, noise_dbfs=dbfs)
        self._started.set()

    async def run(self) -> None:
        """Send a frame every 20 ms while there is something to send."""
        first, sent = self._clock.now(), 0
        while True:
            if not self._waiting and not self._late and not self._line.has_noise and not self._is_always_on:
                self.done.set()
                self._started.clear()
                await self._started.wait()
                first, sent = self._clock.now(), 0
            self._send()
            sent += 1
            await self._clock.sleep(max(0.0, first + sent * FRAME_MS / 1000 - self._clock.now()))
            if not self._waiting:
                self.done.set()

    def _send(self) -> None:
        """Put the next frame on the line, and let arrive what has come to its end."""
        now = self._clock.now()
        if self._waiting or self._line.has_noise or self._is_always_on or not self._late:
            frame = bytes(self._waiting[:FRAME_BYTES]).ljust(FRAME_BYTES, b"\0")
            del self._waiting[:FRAME_BYTES]
            self._late.append(self._line.send(frame, at=now))
        while self._late and self._late[0].at <= now:
            self._transport.speak(self._late.popleft().pcm)


class TracedTransport(MemoryTransport):
    """A `MemoryTransport` that notes everything with its instant."""

    def __init__(self, clock: Clock) -> None:
        super().__init__(clock)
        self.log: list[tuple[float, list[Any]]] = []
        self.starts: list[float] = []
        self._own_clock = clock

    def send(self, audio: AgentAudio) -> None:
        """Play this, and note when it begins."""
        self.starts.append(max(self._own_clock.now(), self.plays_until))
        super().send(audio)
        self.log.append((self._own_clock.now(), ["audio", audio.turn_id, len(audio.pcm), zlib.crc32(audio.pcm)]))

    def flush(self, turn_id: int) -> None:
        """Stop playing this turn, and note it."""
        super().flush(turn_id)
        self.log.append((self._own_clock.now(), ["flush", turn_id]))

    def word_starts(self, after: int) -> list[float]:
        """Return the instants at which the words of the audio sent since then begin to be heard."""
        starts: list[float] = []
        for at, audio in list(zip(self.starts, self.sent, strict=True))[after:]:
            before = " "
            for char, start_ms, _ in audio.alignment or ():
                if before.isspace() and not char.isspace():
                    starts.append(at + start_ms / 1000)
                before = char
        return starts
