"""WebRTC: how does sound travel straight between a page and this process?

A `WebRTCLine` is our end of it: it joins the page's room, answers its offer, hears its microphone, and plays the
agent at the pace at which it is heard, so that what is flushed is silent one frame later. No server on the internet
takes part: both ends are on one machine, or in one network. aiortc is imported when the first line is opened.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections import deque
from collections.abc import Callable, Coroutine, Mapping
from typing import TYPE_CHECKING, Any, Literal

from convai_lab.clock import Clock
from convai_lab.errors import InvalidValueError, MissingPackageError
from convai_lab.voice.audio import FRAME_MS, SAMPLE_BYTES, Resampler
from convai_lab.voice.transport import AgentAudio
from convai_lab.voice.webrtc_signals import Candidate, Join, Offer, PageSignal, read_signal

if TYPE_CHECKING:
    from aiortc import MediaStreamTrack, RTCPeerConnection

logger = logging.getLogger("convai_lab.voice")

ROOM_ID = "convai"
"""What we are called in the page's room."""
LINE_RATE_HZ = 48_000
FRAME_SAMPLES = LINE_RATE_HZ * FRAME_MS // 1000
CONNECT_SECS = 15.0
"""So long a connection may take; a page that has no way to us never says so."""
CLOSE_SECS = 3.0
MAX_CANDIDATES = 100
MAX_WAITING_SIGNALS = 200

LineState = Literal["new", "connecting", "connected", "failed", "closed"]


class Speaker:
    """The agent's sound on its way to the page: 20 ms at a time, silence where there is nothing to say."""

    def __init__(self) -> None:
        self._waiting: deque[AgentAudio] = deque()
        self._resampler: Resampler | None = None
        self._ready = bytearray()
        self._at = 0

    def play(self, audio: AgentAudio) -> None:
        """Play this after what waits."""
        if audio.pcm:
            self._waiting.append(audio)

    def flush(self, turn_id: int | None = None) -> None:
        """Drop what was not taken yet of a turn and of those before it; None drops everything."""
        if turn_id is None or (self._waiting and self._waiting[0].turn_id <= turn_id):
            self._at = 0
            self._ready.clear()
            self._resampler = None
        self._waiting = deque(one for one in self._waiting if turn_id is not None and one.turn_id > turn_id)

    def frame(self) -> bytes:
        """Return the next 20 ms at 48 kHz."""
        size = FRAME_SAMPLES * SAMPLE_BYTES
        while len(self._ready) < size and self._waiting:
            self._ready += self._next()
        if len(self._ready) < size and self._resampler is not None:
            self._ready += self._resampler.flush()
            self._resampler = None
        frame = bytes(self._ready[:size])
        del self._ready[:size]
        return frame.ljust(size, b"\0")

    def _next(self) -> bytes:
        """Return the next piece of what waits, about a frame, at 48 kHz."""
        audio = self._waiting[0]
        end = self._at + audio.rate_hz * FRAME_MS // 1000 * SAMPLE_BYTES
        piece, self._at = audio.pcm[self._at : end], end
        if end >= len(audio.pcm):
            self._waiting.popleft()
            self._at = 0
        if self._resampler is None or self._resampler.from_hz != audio.rate_hz:
            rest = self._resampler.flush() if self._resampler else b""
            self._resampler = Resampler(audio.rate_hz, LINE_RATE_HZ)
            return rest + self._resampler.feed(piece)
        return self._resampler.feed(piece)


class WebRTCLine:
    """Our end of the sound between a page and this process.

    `hear` gets the page's microphone as 16-bit mono PCM at 16 kHz, `tell` the signalling for the page, `changed` how
    the connection stands (with a sentence when it failed). All are called on the event loop. `close` ends it all.

    Raises:
        MissingPackageError: aiortc is not installed.
    """

    def __init__(
        self,
        *,
        hear: Callable[[bytes], None],
        tell: Callable[[dict[str, Any]], None],
        changed: Callable[[LineState, str | None], None],
        refuse: Callable[[str], None],
        clock: Clock,
    ) -> None:
        self._aiortc = load_aiortc()
        self.speaker = Speaker()
        self.state: LineState = "new"
        self._hear, self._tell, self._changed, self._refuse, self._clock = hear, tell, changed, refuse, clock
        self._connection: RTCPeerConnection | None = None
        self._page, self._sdp = "", ""
        self._candidates: set[str] = set()
        self._signals: asyncio.Queue[PageSignal] = asyncio.Queue(MAX_WAITING_SIGNALS)
        self._tasks: set[asyncio.Task[None]] = set()
        self._limit: asyncio.Task[None] | None = None
        self._start(self._answer_signals())

    def join(self) -> None:
        """Join the page's room: it answers with its offer."""
        self._become("connecting")
        self._tell({"type": "join", "room_id": ROOM_ID})
        self._limit_time()

    def signal(self, message: object) -> None:
        """Take a message of the page's room; what came before it is done first.

        Raises:
            InvalidValueError: It is not one that a room sends to us, or there are far too many.
        """
        read = read_signal(message)
        to = message.get("to") if isinstance(message, Mapping) else None
        if to not in (None, ROOM_ID):
            return  # for somebody else in the room
        try:
            self._signals.put_nowait(read)
        except asyncio.QueueFull:
            raise InvalidValueError("too many messages at once: connect again", field="signal") from None

    async def close(self) -> None:
        """Hang up: when this returns nothing of the line is left."""
        tasks, self._tasks = set(self._tasks), set()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await self._hang_up()
        self.state = "closed"

    # What the page says

    async def _answer_signals(self) -> None:
        while True:
            signal = await self._signals.get()
            try:
                await self._answer(signal)
            except InvalidValueError as error:
                self._refuse(str(error))
            except Exception as error:  # the edge: what a page sent, in somebody else's parser
                logger.info("a signal was not understood: %s", type(error).__name__)
                self._refuse("signal: the platform's WebRTC does not understand it; connect again, or use comm")

    async def _answer(self, signal: PageSignal) -> None:
        match signal:
            case Join() if self._sdp:  # the page was loaded again, and knows nothing of us
                await self._hang_up()
                self.join()
            case Offer(room_id=page, sdp=sdp):
                await self._offered(page, sdp)
            case Candidate():
                await self._found(signal)

    async def _offered(self, page: str, sdp: str) -> None:
        if sdp == self._sdp:
            return  # said twice
        await self._hang_up()
        self._page, self._sdp = page, sdp
        self._become("connecting")
        self._limit_time()
        connection = self._connection = self._open()
        await connection.setRemoteDescription(self._aiortc.RTCSessionDescription(sdp, "offer"))
        await connection.setLocalDescription(await connection.createAnswer())
        answer = connection.localDescription
        self._tell({"sdp": {"type": answer.type, "sdp": answer.sdp}, "room_id": ROOM_ID, "to": page})

    async def _found(self, found: Candidate) -> None:
        """Add an address at which the page may be reached."""
        connection = self._connection
        if connection is None or connection.connectionState == "closed":
            raise InvalidValueError("came before the offer that it belongs to", field="signal.candidate")
        if not found.candidate or found.candidate in self._candidates:
            return
        if len(self._candidates) >= MAX_CANDIDATES:
            raise InvalidValueError(f"a page may have {MAX_CANDIDATES} addresses at most", field="signal.candidate")
        self._candidates.add(found.candidate)
        try:
            read = self._aiortc.sdp.candidate_from_sdp(found.candidate.partition(":")[2])
        except (AssertionError, ValueError, IndexError):
            raise InvalidValueError("is no candidate of ICE", field="signal.candidate.candidate") from None
        read.sdpMid, read.sdpMLineIndex = found.sdp_mid, found.sdp_line
        await connection.addIceCandidate(read)

    # The connection

    def _open(self) -> RTCPeerConnection:
        from convai_lab.voice.webrtc_track import SpeakerTrack, hear_at_once

        rtc = self._aiortc
        connection: RTCPeerConnection = rtc.RTCPeerConnection(rtc.RTCConfiguration(iceServers=[]))
        connection.addTrack(SpeakerTrack(self.speaker, self._clock))
        connection.on("track", self._hear_track)
        connection.on("track", lambda _: hear_at_once(connection))

        def changed() -> None:
            self._state_of(connection)

        connection.on("connectionstatechange", changed)
        return connection

    def _hear_track(self, track: MediaStreamTrack) -> None:
        if track.kind == "audio":
            self._start(self._listen(track))

    async def _listen(self, track: MediaStreamTrack) -> None:
        """Hear the page's microphone until it is gone."""
        from convai_lab.voice.webrtc_track import pieces_of

        async for pcm in pieces_of(track):
            self._hear(pcm)

    def _state_of(self, connection: RTCPeerConnection) -> None:
        if connection is not self._connection:
            return
        state = connection.connectionState
        if state == "connected":
            self._end_limit()
            self.speaker.flush()
            self._become("connected")
        elif state in ("failed", "closed", "disconnected"):
            self._fail("the sound's connection to the page was lost: connect again, or use comm")

    def _limit_time(self) -> None:
        self._end_limit()
        self._limit = self._start(self._give_up())

    def _end_limit(self) -> None:
        if self._limit is not None:
            self._limit.cancel()
            self._limit = None

    async def _give_up(self) -> None:
        await self._clock.sleep(CONNECT_SECS)
        self._limit = None
        self._fail(f"the page's sound did not connect in {CONNECT_SECS:g} seconds: no network between us, or blocked")

    def _fail(self, why: str) -> None:
        if self.state in ("connecting", "connected"):
            self._become("failed", why)
            self._start(self._hang_up())

    async def _hang_up(self) -> None:
        """Close the connection, if there is one."""
        connection, self._connection = self._connection, None
        self._end_limit()
        self._sdp, self._candidates = "", set()
        if connection is not None:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(CLOSE_SECS):
                    await connection.close()

    def _become(self, state: LineState, why: str | None = None) -> None:
        if state != self.state:
            self.state = state
            self._changed(state, why)

    def _start(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task


def load_aiortc() -> Any:
    """Return the aiortc package; the first time takes about a second, so let a thread do it.

    Raises:
        MissingPackageError: It is not installed.
    """
    try:
        import aiortc
        import aiortc.sdp
    except ImportError:
        raise MissingPackageError("aiortc", extra="voice", needed_for="Sound over WebRTC") from None
    return aiortc
