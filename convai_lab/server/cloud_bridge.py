"""Cloud bridge: how does a notebook's voice session reach an agent on another platform?

This process holds the conversation socket of the other platform. The page's sound goes there in its format, its
agent's sound goes to the page by WebRTC or to the notebook; every other event is passed on as it is. The address holds
a signature: it is in no log, no error and no answer.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import contextlib
from collections import deque
from collections.abc import Mapping
from typing import Any

from convai_lab.conversations.turn import Turn
from convai_lab.errors import ConvaiLabError, InvalidValueError
from convai_lab.server import live_frames as live
from convai_lab.server import socket_events as events
from convai_lab.server.client_frames import AudioChunk, Unsupported
from convai_lab.server.cloud_address import opened
from convai_lab.server.cloud_record import CloudRecord
from convai_lab.server.context import Platform
from convai_lab.server.live_conversation import MAX_WAIT_SECS, NEVER_CHOSEN, LivePost
from convai_lab.server.live_media import LiveMedia
from convai_lab.server.socket_events import CRASHED, NORMAL, OPERATIONAL, REFUSED, Problem
from convai_lab.server.socket_wire import Gone, Inbox, Outbox
from convai_lab.server.voice_socket import EventIds
from convai_lab.voice.audio import SAMPLE_BYTES, SESSION_RATE_HZ, AudioFormat, Framer, Resampler, silence
from convai_lab.voice.ear import LATE_SECS
from convai_lab.voice.transport import AgentAudio
from convai_lab.workspace.socket import Closed, Socket, SocketClosed

ADDRESS_SECS = 10.0
SILENCE_SECS = 0.2
"""When no sound comes for so long, silence is sent: the other platform hears pauses only in sound."""
MAX_AHEAD_SECS = 0.5
STATE_SECS = 0.05
PRIVATE = "live_"
"""Messages of this name are ours alone: another platform may not send them."""
TOLD_CODES = (NORMAL, OPERATIONAL, REFUSED, CRASHED)


class CloudBridge:
    """One session between a private socket and a conversation socket elsewhere."""

    def __init__(self, platform: Platform, inbox: Inbox, outbox: Outbox) -> None:
        self._clock, self._inbox, self._outbox = platform.clock, inbox, outbox
        self._post = LivePost(outbox)
        self._media = LiveMedia(platform.clock, self._post.tell)
        self._media.send_audio, self._media.cut_audio = self._send_audio, self._take_back
        self._record = CloudRecord(platform.clock, self._turn_stored)
        self._user = self._agent = AudioFormat.parse(f"pcm_{SESSION_RATE_HZ}")
        self._samples = Framer(SAMPLE_BYTES)
        self._ids, self._audio_ids = EventIds(), dict[int, int]()
        self._early: deque[dict[str, Any]] = deque()
        self._formats_known = asyncio.Event()
        self._is_thinking = self._is_quiet = False
        self._cut = 0
        self._cloud: Socket | None = None

    async def run(self) -> None:
        """Hold the session to its end, then tell the notebook how it ended."""
        try:
            address = await self._address()
            await self._until_begun()
            cloud = self._cloud = await opened(address)
            how = await self._between(cloud)
        except _LeftError:
            how = Closed(NORMAL, "")
        finally:
            if self._cloud is not None:
                await self._cloud.close()
            await self._media.close()
            await self._post.close()
        await self._outbox.close(how.code if how.code in TOLD_CODES else CRASHED, how.reason)

    async def _address(self) -> live.CloudAddress:
        with contextlib.suppress(TimeoutError):
            async with self._clock.timeout(ADDRESS_SECS):
                first = await self._inbox.get()
                if isinstance(first, live.CloudAddress):
                    return first
        raise Problem(REFUSED, "bad_message", "live_cloud must come first, with the address of the conversation")

    async def _until_begun(self) -> None:
        """Take messages until the sound has a way, or the user types."""
        self._post.tell(live.state("connecting"))
        try:
            async with self._clock.timeout(MAX_WAIT_SECS):
                while not self._media.began.is_set():
                    await self._either(self._media.began.wait(), self._take_next())
        except TimeoutError:
            raise Problem(NORMAL, "never_chosen", NEVER_CHOSEN) from None

    async def _either(self, one: Any, other: Any) -> None:
        """Wait for the first of two, and cancel the other."""
        tasks = [asyncio.create_task(one), asyncio.create_task(other)]
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in tasks:
                task.cancel()
            ended = await asyncio.gather(*tasks, return_exceptions=True)
        for problem in ended:
            if isinstance(problem, Exception):
                raise problem

    async def _between(self, cloud: Socket) -> Closed:
        """Carry everything both ways until one side is gone; returns how the cloud closed."""
        works = (self._from_client(cloud), self._hear_cloud(cloud), self._speak(cloud), self._tell_state())
        tasks = [asyncio.create_task(work) for work in works]
        try:
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()
        except SocketClosed as closed:
            return closed.how
        except ConvaiLabError as error:
            raise Problem(OPERATIONAL, "cloud_failed", str(error)) from None
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
        return Closed(NORMAL, "")

    # From the notebook

    async def _from_client(self, cloud: Socket) -> None:
        while True:
            while self._early:
                await _told(cloud, self._early.popleft())
            await self._take_next()

    async def _take_next(self) -> None:
        """Take one message of the notebook."""
        match message := await self._inbox.get():
            case Gone():
                raise _LeftError
            case Problem():
                raise message
            case AudioChunk(base64_pcm=audio):
                if odd := self._media.hear_comm(audio):
                    self._post.tell(live.refused(odd))
            case live.Passed(frame=frame):
                self._pass_on(frame)
            case live.UseAgent():
                self._post.tell(live.agent_used("a session on this platform keeps its agent: start a new one"))
            case Unsupported(what=what):
                self._post.tell(live.refused(what))
            case _:
                await self._media.take(message)

    def _pass_on(self, frame: dict[str, Any]) -> None:
        if frame.get("type") != "pong":  # ours answers every ping at once
            self._early.append(frame)
        if frame.get("type") == "client_tool_result":
            self._record.answered_here(frame)
        if frame.get("type") == "user_message":
            self._record.typed(str(frame.get("text") or ""))
            self._is_thinking = True
            self._media.begin()

    async def _speak(self, cloud: Socket) -> None:
        """Send what the user says at the pace at which it is spoken, and silence where nothing is."""
        await self._formats_known.wait()
        resampler, sent_until = Resampler(SESSION_RATE_HZ, self._user.rate_hz), self._clock.now()
        while True:
            pcm = await self._next_sound()
            sound = self._user.encode(resampler.feed(pcm))
            if sound:
                await _told(cloud, {"user_audio_chunk": base64.b64encode(sound).decode("ascii")})
            sent_until = max(sent_until, self._clock.now()) + len(pcm) / SAMPLE_BYTES / SESSION_RATE_HZ
            await self._clock.sleep(max(0.0, sent_until - self._clock.now() - MAX_AHEAD_SECS))

    async def _next_sound(self) -> bytes:
        is_late = self._media.is_steady and not self._is_quiet
        try:
            async with self._clock.timeout(LATE_SECS if is_late else SILENCE_SECS):
                pcm = await self._media.user.receive() or b""
                self._is_quiet = False
                return pcm
        except TimeoutError:
            self._is_quiet = True
            return silence(SILENCE_SECS)

    # From the other platform

    async def _hear_cloud(self, cloud: Socket) -> None:
        while True:
            frame = await cloud.receive()
            match frame.get("type"):
                case "ping":
                    await _told(cloud, {"type": "pong", "event_id": _inner(frame, "ping_event").get("event_id")})
                case "conversation_initiation_metadata":
                    await self._outbox.send(self._begun(frame))
                case "audio":
                    self._heard(_inner(frame, "audio_event"))
                case "interruption":
                    self._interrupted(frame)
                case str(kind) if not kind.startswith(PRIVATE):
                    self._learn(frame)
                    self._post.tell(frame)

    def _begun(self, frame: Mapping[str, Any]) -> dict[str, Any]:
        """Learn the formats of the other platform, and say ours."""
        name = "conversation_initiation_metadata_event"
        told = dict(_inner(frame, name))
        try:
            self._user = AudioFormat.parse(str(told.get("user_input_audio_format") or "pcm_16000"))
            self._agent = AudioFormat.parse(str(told.get("agent_output_audio_format") or "pcm_16000"))
        except InvalidValueError as error:
            raise Problem(OPERATIONAL, "cloud_failed", f"the platform's sound cannot be used: {error}") from None
        self._samples = Framer(self._agent.sample_bytes)
        self._formats_known.set()
        told["user_input_audio_format"] = f"pcm_{SESSION_RATE_HZ}"
        told["agent_output_audio_format"] = f"pcm_{self._agent.rate_hz}"
        return {**frame, name: told}

    def _heard(self, event: Mapping[str, Any]) -> None:
        """Hear a piece of the agent's speech; one of what was cut comes too late."""
        number = event.get("event_id")
        turn_id = number if isinstance(number, int) else 0
        try:
            data = base64.b64decode(event.get("audio_base_64") or "", validate=True)
        except (binascii.Error, ValueError, TypeError):
            raise Problem(OPERATIONAL, "cloud_failed", "the platform sent audio that is not base64") from None
        if turn_id <= self._cut and self._cut:
            return
        self._is_thinking = False
        pcm = self._agent.decode(self._samples.whole(data))
        self._media.send(AgentAudio(pcm, self._agent.rate_hz, turn_id))

    def _interrupted(self, frame: Mapping[str, Any]) -> None:
        number = _inner(frame, "interruption_event").get("event_id")
        self._cut = max(self._cut, number if isinstance(number, int) else 0)
        self._media.flush(self._cut)
        newest = max((ours for turn_id, ours in self._audio_ids.items() if turn_id <= self._cut), default=0)
        self._post.tell({**frame, "interruption_event": {"event_id": newest}})

    def _learn(self, frame: Mapping[str, Any]) -> None:
        if frame.get("type") == "user_transcript":
            self._is_thinking = True
        self._record.take(frame)

    # To the notebook

    def _send_audio(self, audio: AgentAudio) -> None:
        encoded = base64.b64encode(audio.pcm).decode("ascii")
        self._post.tell(events.audio(encoded, self._audio_id(audio.turn_id), None))

    def _take_back(self, turn_id: int) -> None:
        self._post.tell({"type": "live_flush", "event_id": self._audio_id(turn_id)})
        self._audio_ids[turn_id] = self._ids.new()

    def _audio_id(self, turn_id: int) -> int:
        if turn_id not in self._audio_ids:
            self._audio_ids[turn_id] = self._ids.new()
        return self._audio_ids[turn_id]

    def _turn_stored(self, index: int, turn: Turn) -> None:
        self._post.tell(live.turn_stored(index, turn))

    async def _tell_state(self) -> None:
        """Say what the session is doing, by what is heard."""
        before = ""
        while True:
            is_speaking = self._media.plays_until > self._clock.now()
            state = "speaking" if is_speaking else "thinking" if self._is_thinking else "listening"
            if state != before:
                self._post.tell(live.state(state))
            before = state
            await self._clock.sleep(STATE_SECS)


class _LeftError(Exception):
    """The notebook has ended the session."""


async def _told(cloud: Socket, frame: Mapping[str, Any]) -> None:
    """Send a frame; on a closed connection nothing happens: why it was closed may still be there to be read."""
    with contextlib.suppress(SocketClosed):
        await cloud.send(frame)


def _inner(frame: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    inner = frame.get(name)
    return inner if isinstance(inner, Mapping) else {}
