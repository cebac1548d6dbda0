"""Live media: which way does the sound of a live session travel, and what of it is still to be heard?

One queue holds what the user says, whichever way it comes; what the agent says goes the way that was chosen. When the
way changes, what was sent and not heard yet goes on the new one.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING

from convai_lab.clock import Clock
from convai_lab.errors import ConvaiLabError, InvalidValueError
from convai_lab.server import live_frames as live
from convai_lab.server.live_clips import decode_clip
from convai_lab.server.live_frames import MediaKind
from convai_lab.server.socket_events import Event
from convai_lab.server.voice_socket import UserAudio
from convai_lab.voice.audio import SAMPLE_BYTES, SESSION_RATE_HZ, AudioFormat, Resampler, rms_dbfs
from convai_lab.voice.ear import LATE_SECS
from convai_lab.voice.sound import checked_rate
from convai_lab.voice.transit import Transit
from convai_lab.voice.transport import AgentAudio, Heard

if TYPE_CHECKING:
    from convai_lab.voice.webrtc import LineState, WebRTCLine

LEVEL_SECS = 0.1
QUIETEST_DBFS = -60.0
STEADY_SECS = 0.5
LIVE_PIECE_SECS = 0.25
"""Pages send sound in pieces of 20 or 60 ms; who sends more at once has no microphone."""
MAX_CLIPS_WAITING = 5
PREPARE_SECS = 0.3
"""Nobody has chosen how the sound travels by then: a page is on its way."""


class Level:
    """How loud the newest piece of sound is, from 0 (-60 dBFS or less) to 1 (full scale)."""

    def __init__(self) -> None:
        self._pcm = bytearray()

    def hear(self, pcm: bytes) -> None:
        """Hear a piece."""
        self._pcm += pcm
        del self._pcm[: max(0, len(self._pcm) - int(LEVEL_SECS * SESSION_RATE_HZ) * SAMPLE_BYTES)]

    def take(self) -> float:
        """Return the level of what was heard since it was asked last."""
        level = loudness(bytes(self._pcm))
        self._pcm.clear()
        return level


def loudness(pcm: bytes) -> float:
    """Return the level of a sound from 0 to 1."""
    return round(max(0.0, 1 - rms_dbfs(pcm) / QUIETEST_DBFS), 3) if pcm else 0.0


class LiveAudio(UserAudio):
    """What the user says, in one queue; muted, it is as long and silent."""

    def __init__(self, clock: Clock) -> None:
        super().__init__(AudioFormat.parse(f"pcm_{SESSION_RATE_HZ}"), clock)
        self.is_muted = False
        self.level = Level()
        self._steady_from = self._came_at = clock.now()

    @property
    def is_steady(self) -> bool:
        """Say whether it comes as from a microphone: piece by piece for a while, without a pause."""
        return self._came_at - self._steady_from >= STEADY_SECS

    def put(self, data: bytes) -> None:
        """Add sound at 16 kHz."""
        now = self._clock.now()
        if now - self._came_at > LATE_SECS or len(data) > LIVE_PIECE_SECS * SESSION_RATE_HZ * SAMPLE_BYTES:
            self._steady_from = now
        self._came_at = now
        if self.is_muted:
            data = bytes(len(data))
        self.level.hear(data)
        super().put(data)


class Ahead:
    """What was sent of the agent's speech and is not heard yet, if it plays as it was sent."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._pieces: deque[Heard] = deque()

    def send(self, audio: AgentAudio) -> None:
        """Note that this plays after what was sent before."""
        now = self._clock.now()
        while self._pieces and self._pieces[0].until < now - LEVEL_SECS:
            self._pieces.popleft()
        if audio.pcm:
            self._pieces.append(Heard(max(now, self._pieces[-1].until if self._pieces else now), audio))

    def cut(self, turn_id: int) -> None:
        """Note that nothing more of a turn and of those before it will be heard."""
        self._pieces = deque(one for one in self._pieces if one.audio.turn_id > turn_id)

    @property
    def until(self) -> float:
        """Return the instant at which all of it will have been heard."""
        return self._pieces[-1].until if self._pieces else self._clock.now()

    def take(self) -> list[AgentAudio]:
        """Return what is not heard yet, and forget it."""
        now, pieces = self._clock.now(), self._pieces
        self._pieces = deque()
        return [_rest(one.audio, max(0.0, now - one.at)) for one in pieces if one.until > now]

    def level(self) -> float:
        """Return how loud it is just now."""
        now = self._clock.now()
        for at, audio in self._pieces:
            begin = round((now - LEVEL_SECS - at) * audio.rate_hz)
            end = round((now - at) * audio.rate_hz)
            if end > 0 and begin < len(audio.pcm) // SAMPLE_BYTES:
                return loudness(audio.pcm[max(0, begin) * SAMPLE_BYTES : end * SAMPLE_BYTES])
        return 0.0


class LiveMedia:
    """The sound of one live session, both ways.

    `tell` sends a private event. `send_audio` sends the agent's speech over the socket, `cut_audio` takes back what
    was sent of it there, so that it can be said again, and `sound_takes` hears how long sound takes, as measured in
    the page; whoever holds the session sets them.
    """

    def __init__(self, clock: Clock, tell: Callable[[Event], None]) -> None:
        self.user = LiveAudio(clock)
        self.kind: MediaKind | None = None
        self.began = asyncio.Event()
        self.send_audio: Callable[[AgentAudio], None] = lambda _: None
        self.cut_audio: Callable[[int], None] = lambda _: None
        self.sound_takes: Callable[[Transit], None] = lambda _: None
        self._clock, self._tell = clock, tell
        self._ahead = Ahead(clock)
        self._line: WebRTCLine | None = None
        self._clips: asyncio.Queue[live.Clip] = asyncio.Queue(MAX_CLIPS_WAITING)
        self._resampler: Resampler | None = None
        self._tasks = [asyncio.create_task(work()) for work in (self._measure, self._hear_clips, self._prepare)]

    async def close(self) -> None:
        """Hang up; nothing of it is left."""
        self.user.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        line, self._line = self._line, None
        if line is not None:
            await line.close()

    # What comes from the client

    async def take(self, message: object) -> bool:
        """Do what a private message about sound asks for; false when it is none."""
        try:
            match message:
                case live.Choose(kind=kind):
                    await self._choose(kind)
                case live.PageSignal(message=inner):
                    self._signal(inner)
                case live.UserSound(pcm=pcm, rate_hz=rate_hz):
                    self._hear_at(pcm, rate_hz)
                case live.Clip():
                    self._take_clip(message)
                case live.Mute(on=on):
                    self.user.is_muted = on
                case live.SoundTakes(transit=transit, number=number):
                    self._tell(live.sound_timed(number, self._clock.now()))
                    if transit is not None:
                        self.sound_takes(transit)
                case _:
                    return False
        except ConvaiLabError as error:
            self._tell(live.refused(str(error)))
        return True

    def begin(self) -> None:
        """Let the session begin, whichever way the sound travels."""
        self.began.set()

    async def _choose(self, kind: MediaKind) -> None:
        before, self.kind = self.kind, kind
        if kind == "webrtc":
            await self._connect()
            return
        if before == "webrtc":
            self._move()
        self._tell(live.media_changed(kind))
        self.begin()

    async def _connect(self) -> None:
        """Open the line to the page; the agent's sound keeps its way until it is connected."""
        if self._line is not None and self._line.state in ("connecting", "connected"):
            self._line_changed(self._line.state, None)
            return
        try:
            await asyncio.to_thread(_load_webrtc)
            self._line = self._line or self._new_line()
        except ConvaiLabError as error:
            self._tell(live.media_changed("webrtc", is_connected=False, reason=str(error)))
            return
        self._line.join()

    def _new_line(self) -> WebRTCLine:
        from convai_lab.voice.webrtc import WebRTCLine

        return WebRTCLine(
            hear=self._hear_page,
            tell=lambda message: self._tell(live.signal(message)),
            changed=self._line_changed,
            refuse=lambda why: self._tell(live.refused(why)),
            clock=self._clock,
        )

    def _line_changed(self, state: LineState, why: str | None) -> None:
        if self.kind != "webrtc":
            return
        self._tell(live.media_changed("webrtc", is_connected=state == "connected", reason=why))
        if state == "connected":
            self._move()
            self.begin()
        elif state == "failed":
            self._move()

    def _signal(self, message: object) -> None:
        if self._line is None:
            raise InvalidValueError("came before the sound was chosen to travel by WebRTC", field="signal")
        self._line.signal(message)

    def _hear_page(self, pcm: bytes) -> None:
        if self.kind == "webrtc":
            self.user.put(pcm)

    def hear_comm(self, base64_audio: str) -> str | None:
        """Hear a piece of the user's sound from the socket; returns what is odd about it."""
        return None if self.is_by_webrtc else self.user.take(base64_audio)

    def _hear_at(self, pcm: bytes, rate_hz: object) -> None:
        rate = checked_rate(rate_hz)  # type: ignore[arg-type]
        if self._resampler is None or self._resampler.from_hz != rate:
            self._resampler = Resampler(rate, SESSION_RATE_HZ)
        if not self.is_by_webrtc:
            self._hear(self._resampler.feed(pcm), "sound")

    def _hear(self, pcm: bytes, field: str) -> None:
        """Let the agent hear this, unless far too much is waiting already."""
        if not self.user.has_room(len(pcm)):
            raise InvalidValueError("was not taken: too much is waiting to be heard; wait for the agent", field=field)
        self.user.put(pcm)

    def _take_clip(self, clip: live.Clip) -> None:
        if self.user.is_muted:
            raise InvalidValueError("was not heard: you are muted", field="clip")
        try:
            self._clips.put_nowait(clip)
        except asyncio.QueueFull:
            raise InvalidValueError("was not taken: others are waiting to be heard", field="clip") from None

    async def _hear_clips(self) -> None:
        while True:
            clip = await self._clips.get()
            try:
                self._hear(await decode_clip(clip.data), "clip")
                self.begin()
            except ConvaiLabError as error:
                self._tell(live.refused(str(error)))

    # What the agent says

    @property
    def is_by_webrtc(self) -> bool:
        """Say whether the sound travels straight between the page and us now."""
        return self.kind == "webrtc" and self._line is not None and self._line.state == "connected"

    @property
    def is_steady(self) -> bool:
        """Say whether the user's sound comes without a pause now: what does not come is late, and not silence."""
        return self.is_by_webrtc or (self.kind == "comm" and self.user.is_steady)

    @property
    def plays_until(self) -> float:
        """Return the instant at which all that was sent will have been heard."""
        return self._ahead.until

    def send(self, audio: AgentAudio) -> None:
        """Send a piece of the agent's speech."""
        self._ahead.send(audio)
        if self.is_by_webrtc and self._line is not None:
            self._line.speaker.play(audio)
        else:
            self.send_audio(audio)

    def flush(self, turn_id: int) -> None:
        """Drop what was not heard of a turn and of those before it, as every client does."""
        self._ahead.cut(turn_id)
        if self._line is not None:
            self._line.speaker.flush(turn_id)

    def _move(self) -> None:
        """Say what was not heard yet on the way that the sound takes now."""
        rest = self._ahead.take()
        if self._line is not None:
            self._line.speaker.flush()
        for turn_id in dict.fromkeys(audio.turn_id for audio in rest):
            self.cut_audio(turn_id)
        for audio in rest:
            self.send(audio)

    async def _prepare(self) -> None:
        """Load what WebRTC needs while a page is still asking its user for the microphone."""
        await self._clock.sleep(PREPARE_SECS)
        if self.kind is None:
            with contextlib.suppress(ConvaiLabError):  # told when it is chosen
                await asyncio.to_thread(_load_webrtc)

    async def _measure(self) -> None:
        """Tell about ten times a second how loud both sides are, as long as one of them is heard."""
        before: tuple[float, float] | None = None
        while True:
            await self._clock.sleep(LEVEL_SECS)
            levels = (self.user.level.take(), self._ahead.level())
            if levels != before:
                self._tell(live.level(*levels))
            before = levels


def _rest(audio: AgentAudio, heard_secs: float) -> AgentAudio:
    """Return what is left of a piece after so much of it was heard; its characters stay with what was heard."""
    if heard_secs <= 0:
        return audio
    return replace(audio, pcm=audio.pcm[SAMPLE_BYTES * round(heard_secs * audio.rate_hz) :], alignment=None)


def _load_webrtc() -> None:
    """Load what WebRTC needs, in a thread: the first time takes about a second."""
    from convai_lab.voice.webrtc import load_aiortc

    load_aiortc()
    with contextlib.suppress(ImportError):
        import convai_lab.voice.webrtc_track  # noqa: F401
