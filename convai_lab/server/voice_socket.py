"""Voice socket: how does sound travel over a conversation socket, both ways?

In comes the user's audio as base64 text, in the format that the agent takes; out goes the agent's, with the time of
each character. Whatever the session tells is written in order; audio that was not sent yet when the user interrupts
is never sent.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
from collections import deque
from typing import Literal, NamedTuple

from convai_lab.clock import Clock
from convai_lab.errors import InvalidValueError
from convai_lab.server import socket_events as events
from convai_lab.server.socket_events import REFUSED, Event, Problem
from convai_lab.server.socket_wire import Outbox
from convai_lab.voice.audio import SESSION_RATE_HZ, AudioFormat, Framer, Resampler
from convai_lab.voice.transport import AgentAudio

MAX_WAITING_SECS = 900.0
"""So much audio may wait to be heard; it is heard at the pace at which it is spoken."""
PIECE_SECS = 1.0
"""Audio is converted in pieces of this length, so that a large chunk holds nobody else up."""
PACE_WINDOW_SECS, PACE_GAP_SECS = 10.0, 1.0
PACE_RANGE = (0.75, 1.3)
DRAIN_SECS = 2.0


class UserAudio:
    """The user's audio on its way to the session: any byte counts, any number of chunks, nothing lost."""

    def __init__(self, spoken_in: AudioFormat, clock: Clock) -> None:
        self._format, self._clock = spoken_in, clock
        self._samples = Framer(spoken_in.sample_bytes)
        self._resampler = Resampler(spoken_in.rate_hz, SESSION_RATE_HZ)
        self._pace = Pace(spoken_in.name)
        self._bytes_a_sec = spoken_in.rate_hz * spoken_in.sample_bytes
        self._waiting: deque[memoryview] = deque()
        self._waiting_bytes = 0
        self._is_over = False
        self._news = asyncio.Event()

    def take(self, base64_audio: str) -> str | None:
        """Take one chunk as the client sent it; returns what is odd about its pace, once.

        Raises:
            Problem: It is not base64, or far too much audio is waiting already.
        """
        try:
            data = base64.b64decode(base64_audio, validate=True)
        except (binascii.Error, ValueError):
            raise Problem(
                REFUSED, "bad_message", "user_audio_chunk is not base64: send the audio's bytes in standard base64"
            ) from None
        if not self.has_room(len(data)):
            raise Problem(
                REFUSED,
                "audio_flood",
                f"more than {MAX_WAITING_SECS / 60:g} minutes of audio are waiting to be heard: "
                "send audio at the pace at which it is spoken",
            )
        self.put(data)
        return self._pace.odd(len(data) / self._bytes_a_sec, self._clock.now())

    def has_room(self, size: int) -> bool:
        """Say whether so many bytes more may wait to be heard."""
        return self._waiting_bytes + size <= MAX_WAITING_SECS * self._bytes_a_sec

    def put(self, data: bytes) -> None:
        """Add audio in the agreed format to what waits to be heard."""
        if whole := self._samples.whole(data):
            self._waiting.append(memoryview(whole))
            self._waiting_bytes += len(whole)
            self._news.set()

    def close(self) -> None:
        """Hear that the user is gone; what has arrived is still heard."""
        self._is_over = True
        self._news.set()

    async def receive(self) -> bytes | None:
        """Return the next audio as 16-bit PCM at 16 kHz; None when the user is gone."""
        while True:
            while not self._waiting:
                if self._is_over:
                    return None
                self._news.clear()
                await self._news.wait()
            if pcm := self._resampler.feed(self._format.decode(bytes(self._next_piece()))):
                return pcm

    def _next_piece(self) -> memoryview:
        first = self._waiting.popleft()
        size = round(PIECE_SECS * self._format.rate_hz) * self._format.sample_bytes
        if len(first) > size:
            self._waiting.appendleft(first[size:])
            first = first[:size]
        self._waiting_bytes -= len(first)
        return first


class Pace:
    """Notices audio that steadily comes faster or slower than it is spoken: its rate is not the one agreed on.

    Only small chunks without a pause tell: a file sent in one piece, or a muted microphone, is no rate.
    """

    def __init__(self, format_name: str) -> None:
        self._format_name = format_name
        self._began: float | None = None
        self._last = 0.0
        self._secs = 0.0
        self._is_told = False

    def odd(self, secs: float, now: float) -> str | None:
        """Count a chunk; return what is odd, the first time that anything is."""
        if self._is_told:
            return None
        if self._began is None or now - self._last > PACE_GAP_SECS or secs > PACE_GAP_SECS:
            self._began, self._secs = now, 0.0
        else:
            self._secs += secs
        self._last = now
        if now - self._began < PACE_WINDOW_SECS:
            return None
        ratio = self._secs / (now - self._began)
        self._began = None
        if PACE_RANGE[0] <= ratio <= PACE_RANGE[1]:
            return None
        self._is_told = True
        return (
            f"the user's audio comes {ratio:.2f} times as fast as it is spoken: "
            f"is it really {self._format_name}, as this agent takes it?"
        )


class EventIds:
    """Numbers for what is sent: every new piece of speech has a larger one than all before it."""

    def __init__(self) -> None:
        self.newest = 0
        self._known: dict[int, int] = {}
        self._sounds: dict[int, int] = {}

    def new(self) -> int:
        """Return the next number."""
        self.newest += 1
        return self.newest

    def of(self, turn_id: int) -> int:
        """Return the number of a piece of the agent's speech."""
        if turn_id not in self._known:
            self._known[turn_id] = self.new()
        return self._known[turn_id]

    def of_sound(self, turn_id: int) -> int:
        """Return the number of the sound of that piece: the same, unless it was renewed."""
        return self._sounds.get(turn_id) or self.of(turn_id)

    def renew(self, turn_id: int) -> None:
        """Give the sound of that piece a larger number: what was sent of it was taken back, and is sent again."""
        self._sounds[turn_id] = self.new()


class _Letter(NamedTuple):
    """Something to send: an event, or audio that becomes one when its turn comes."""

    event: Event | None = None
    audio: AgentAudio | None = None


class VoiceSocket:
    """A conversation socket as the session's transport; `tell` sends any other event, in order with the audio."""

    def __init__(self, outbox: Outbox, *, user: UserAudio, spoken_in: AudioFormat, clock: Clock) -> None:
        self.ids = EventIds()
        self._outbox, self._user, self._format, self._clock = outbox, user, spoken_in, clock
        self._letters: deque[_Letter] = deque()
        self._news = asyncio.Event()
        self._cut: set[int] = set()
        self._is_closing = False
        self._task: asyncio.Task[None] | None = None

    def open(self) -> None:
        """Start to write; `close` ends it."""
        self._task = asyncio.get_running_loop().create_task(self._write())

    async def close(self) -> None:
        """Write what is left, as long as the client takes it, and stop."""
        self._is_closing = True
        self._news.set()
        if (task := self._task) is None:
            return
        try:
            async with self._clock.timeout(DRAIN_SECS):
                await asyncio.shield(task)
        except TimeoutError:
            task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    @property
    def is_steady(self) -> bool:
        """Say that clients may stop to send when they like."""
        return False

    async def receive(self) -> bytes | None:
        """Return the user's next audio; None when they are gone."""
        return await self._user.receive()

    def send(self, audio: AgentAudio) -> None:
        """Send the agent's speech."""
        self.ids.of(audio.turn_id)
        self._post(_Letter(audio=audio))

    def flush(self, turn_id: int) -> None:
        """Drop what was not sent yet, and let the client stop playing what was."""
        self._letters = deque(one for one in self._letters if one.audio is None or one.audio.turn_id != turn_id)
        self.interrupt(turn_id)

    def interrupt(self, turn_id: int) -> None:
        """Tell the client, once, that this speech was cut."""
        if turn_id not in self._cut:
            self._cut.add(turn_id)
            self._post(_Letter(event=events.interruption(self.ids.of_sound(turn_id))))

    def tell(self, event: Event) -> None:
        """Send an event after what was sent before, if the client wants it."""
        if self._outbox.wants(event["type"]):
            self._post(_Letter(event=event))

    def _post(self, letter: _Letter) -> None:
        self._letters.append(letter)
        self._news.set()

    async def _write(self) -> None:
        while self._letters or not self._is_closing:
            if not self._letters:
                self._news.clear()
                await self._news.wait()
                continue
            letter = self._letters.popleft()
            event = letter.event or self._audio_event(letter.audio)
            await self._outbox.send(event)

    def _audio_event(self, audio: AgentAudio | None) -> Event:
        assert audio is not None
        encoded = base64.b64encode(self._format.encode(audio.pcm)).decode("ascii")
        return events.audio(encoded, self.ids.of_sound(audio.turn_id), audio.alignment)


Direction = Literal["asr.user_input_audio_format", "tts.agent_output_audio_format"]


def format_of(name: str, where: Direction) -> AudioFormat:
    """Return an agent's audio format.

    Raises:
        Problem: It is none that this platform speaks.
    """
    try:
        return AudioFormat.parse(name)
    except InvalidValueError as error:
        raise Problem(REFUSED, "invalid_value", f"{where}: {error}", {"field": where}) from None
