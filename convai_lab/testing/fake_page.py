"""Fake page: how do I test a live session over WebRTC without a browser?

A `FakePage` does what a notebook's page does: it waits for the platform's join, offers, trickles its candidates,
speaks what the test says into its microphone, and keeps what it hears. aiortc is the other end.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import threading
import time
from collections.abc import Callable, Coroutine, Mapping
from typing import Any, TypeVar

from convai_lab.clock import SystemClock
from convai_lab.voice.audio import rms_dbfs
from convai_lab.voice.transport import AgentAudio
from convai_lab.voice.webrtc import Speaker, load_aiortc

T = TypeVar("T")

ROOM_ID = "page"
LIMIT_SECS = 60.0
LOUD_DBFS = -40.0
FRAME_BYTES = 640


def loud_secs(pcm: bytes) -> float:
    """Return for how long something is to be heard in a sound: 16-bit PCM at 16 kHz."""
    frames = [pcm[at : at + FRAME_BYTES] for at in range(0, len(pcm), FRAME_BYTES)]
    return sum(len(frame) / 32000 for frame in frames if rms_dbfs(frame) > LOUD_DBFS)


class FakePage:
    """A page in a thread of its own; a context manager that leaves nothing behind.

    `send` gets its signalling. `is_deaf` keeps every address from it and its own to itself: it never connects.
    """

    def __init__(self, send: Callable[[dict[str, Any]], None], *, is_deaf: bool = False) -> None:
        self.heard: list[tuple[float, bytes]] = []
        """What arrived: when (`time.monotonic`), and 16-bit PCM at 16 kHz."""
        self.states: list[str] = []
        self._send, self._is_deaf = send, is_deaf
        self._microphone = Speaker()
        self._connection: Any = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._signals: set[concurrent.futures.Future[None]] = set()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="fake-page", daemon=True)

    def __enter__(self) -> FakePage:
        load_aiortc()
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(LIMIT_SECS)
        self._loop.close()

    def signal(self, message: Mapping[str, Any]) -> None:
        """Take a message of the platform, from any thread."""
        taken = self._submit(self._take(message))
        self._signals.add(taken)
        taken.add_done_callback(self._signals.discard)

    def say(self, pcm: bytes, rate_hz: int = 16000) -> None:
        """Speak into the microphone, at the pace at which it is spoken."""
        self._loop.call_soon_threadsafe(self._microphone.play, AgentAudio(pcm, rate_hz, 0))

    def close(self) -> None:
        """Leave, as a page does that is closed."""
        for taken in list(self._signals):
            taken.cancel()
        self._submit(self._close()).result(LIMIT_SECS)

    def pcm_heard(self, since: float = 0.0) -> bytes:
        """Return what was heard since an instant, in one piece."""
        return b"".join(pcm for at, pcm in self.heard if at >= since)

    def loud_secs(self, since: float = 0.0) -> float:
        """Return for how long something was to be heard since an instant."""
        return sum(len(pcm) / 32000 for at, pcm in self.heard if at >= since and rms_dbfs(pcm) > LOUD_DBFS)

    def until(self, is_true: Callable[[], bool], limit_secs: float = LIMIT_SECS) -> None:
        """Wait until something is true of what was heard.

        Raises:
            AssertionError: It was not in time.
        """
        deadline = time.monotonic() + limit_secs
        while not is_true():
            if time.monotonic() > deadline:
                raise AssertionError(f"not in {limit_secs:g} s: {self.loud_secs():.1f} s of sound were heard")
            time.sleep(0.01)

    def _submit(self, work: Coroutine[Any, Any, T]) -> concurrent.futures.Future[T]:
        return asyncio.run_coroutine_threadsafe(work, self._loop)

    async def _take(self, message: Mapping[str, Any]) -> None:
        if message.get("type") == "join":
            await self._offer(str(message["room_id"]))
        elif not self._is_deaf and message.get("to") == ROOM_ID and isinstance(sdp := message.get("sdp"), Mapping):
            rtc = load_aiortc()
            await self._connection.setRemoteDescription(rtc.RTCSessionDescription(sdp["sdp"], sdp["type"]))

    async def _offer(self, to: str) -> None:
        from convai_lab.voice.webrtc_track import SpeakerTrack, hear_at_once

        await self._close()
        rtc = load_aiortc()
        connection = self._connection = rtc.RTCPeerConnection(rtc.RTCConfiguration(iceServers=[]))
        connection.addTrack(SpeakerTrack(self._microphone, SystemClock()))
        connection.on("track", self._hear)
        connection.on("track", lambda _: hear_at_once(connection))
        connection.on("connectionstatechange", lambda: self.states.append(connection.connectionState))
        await connection.setLocalDescription(await connection.createOffer())
        sdp = connection.localDescription.sdp
        lines = sdp.split("\r\n")
        kept = "\r\n".join(line for line in lines if not line.startswith(("a=candidate:", "a=end-of-candidates")))
        self._send({"sdp": {"type": "offer", "sdp": kept}, "room_id": ROOM_ID, "to": to})
        for line in () if self._is_deaf else lines:
            if line.startswith("a=candidate:"):
                candidate = {"candidate": line[2:], "sdpMid": "0", "sdpMLineIndex": 0}
                self._send({"candidate": candidate, "room_id": ROOM_ID, "to": to})
        self._send({"candidate": None, "room_id": ROOM_ID, "to": to})

    def _hear(self, track: Any) -> None:
        task = self._loop.create_task(self._listen(track))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _listen(self, track: Any) -> None:
        from convai_lab.voice.webrtc_track import pieces_of

        async for pcm in pieces_of(track):
            self.heard.append((time.monotonic(), pcm))

    async def _close(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            await connection.close()
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
