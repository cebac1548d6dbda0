"""Talk: how is a voice conversation held from files, as if somebody spoke them into a microphone?

The sound is sent at the pace at which it is spoken, and silence where nothing is said, as a microphone does. What the
agent answers is played on a loudspeaker that nobody hears, so that it is known when the agent has finished.
"""

from __future__ import annotations

import base64
import binascii
import contextlib
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import convai_lab
from convai_lab.agents.agent import Agent
from convai_lab.clock import Clock
from convai_lab.conversations.conversation import Conversation
from convai_lab.errors import ConversationClosedError, InvalidValueError
from convai_lab.workspace.caller import Caller
from convai_lab.workspace.chat import Held, Line, Opening
from convai_lab.workspace.devices import Loudspeaker, Microphone, Pace, Speech, read_sounds, speech_end_secs
from convai_lab.workspace.events import AgentCutShort, UserTurn
from convai_lab.workspace.live import CLOSED_SECS, FIRST_MESSAGE_SECS, FOLLOWED, LiveConversation
from convai_lab.workspace.socket import NORMAL_CLOSE, SocketClosed

QUIET_SECS = 1.0
"""The agent has finished when it has been silent for so long after its answer."""
UNHEARD_SECS = 6.0
"""So long after the end of a sound in which nothing was recognised, nobody waits for an answer to it any more."""
AUDIO_SECS = 3.0
"""So long after the text of an answer its sound may begin."""
SPOKEN = frozenset({"user_transcript", "agent_response_correction"})


@dataclass(frozen=True)
class Script:
    """What is to be said, where both sides are recorded, and whether at the pace at which it is spoken."""

    sounds: Sequence[convai_lab.Sound]
    out: Path | None = None
    realtime: bool = True


def new_script(
    audio: Speech | Sequence[Speech], out: str | os.PathLike[str] | None = None, *, realtime: bool = True
) -> Script:
    """Read the sounds, and check that `out` can be written, before anybody is called.

    Raises:
        InvalidValueError: A sound cannot be read, or `out` not be written.
    """
    sounds = read_sounds(audio)
    if out is None:
        return Script(sounds, realtime=realtime)
    target = Path(out).expanduser()
    if target.is_dir():
        raise InvalidValueError(f"{target} is a folder: name a file in it, such as {target / 'call.wav'}", field="out")
    if target.suffix.lower() != ".wav":
        raise InvalidValueError(f"is written as WAV: name it {target.stem or 'out'}.wav", field="out")
    place = target if target.exists() else target.parent
    if not place.exists() or not os.access(place, os.W_OK):
        raise InvalidValueError(f"{target} cannot be written: there is no such folder, or it is closed", field="out")
    return Script(sounds, target, realtime)


async def talk(line: Line, opening: Opening, script: Script, caller: Caller, held: Held) -> Conversation:
    """Hold a conversation by voice and return the record; `held` has what there is if it fails."""
    live: SpokenConversation | None = None
    try:
        live = await line.open_as(SpokenConversation, opening, caller, text_only=False, script=script)
        held.conversation_id = live.conversation_id
        await live.hold()
        await live.close()
        live.stop_recording()
        return await line.record(live.conversation_id or "", opening)
    except BaseException as error:
        held.conversation_id = live.conversation_id if live else getattr(error, "conversation_id", None)
        if live is not None:
            await live.abandon()
            with contextlib.suppress(InvalidValueError):
                live.stop_recording()
        await line.keep(opening, held)
        raise


class SpokenConversation(LiveConversation):
    """A live conversation whose user is a row of sounds."""

    def __init__(self, *args: Any, script: Script, clock: Clock, **options: Any) -> None:
        super().__init__(*args, clock=clock, **options)
        self._script = script
        self._has_first_message = False
        self._speaker = Loudspeaker()
        self._microphone: Microphone | None = None
        self._agent_format: convai_lab.AudioFormat | None = None
        self._recording: Any = None
        self._started = self._last_frame_at = clock.now()
        self._recognised_at = self._answered_at = self._audio_at = self._heard_until = float("-inf")

    @classmethod
    def check(cls, agent: Agent) -> None:
        """Refuse an agent that nobody can talk to.

        Raises:
            InvalidValueError: It is held in text, or does not send its voice.
        """
        if agent.text_only:
            raise InvalidValueError(
                f"{agent.name} takes no voice: chat with it, or set this to false", field="text_only"
            )
        if agent.client_events is not None and "audio" not in agent.client_events:
            raise InvalidValueError(f"{agent.name} sends no sound: add audio to them", field="client_events")

    async def open(self, initiation: Mapping[str, Any], *, has_first_message: bool, note: str | None = None) -> None:
        """Start the conversation; the first message is heard in `hold`, because a microphone is open meanwhile."""
        self._has_first_message = has_first_message
        await super().open(initiation, has_first_message=False, note=note)

    async def hold(self) -> None:
        """Say every sound, each once the agent has answered the one before and is quiet.

        Raises:
            ConversationClosedError: The platform closed the conversation with an error.
        """
        pump = Pace(self._clock)
        await self._silence_until(self._has_greeted, pump)
        for sound in self._script.sounds:
            assert self._microphone is not None
            self._microphone.say(sound)
            began = self._clock.now()
            while self._microphone.is_speaking and not self.ended:
                await self._send_frame(pump)
            last_word_at = min(began + speech_end_secs(sound), self._clock.now())
            ended_at = self._heard_until = max(began + sound.secs, self._clock.now())
            await self._silence_until(lambda: self._is_answered(last_word_at, ended_at), pump)  # noqa: B023
            self._desk.raise_if_missing()
        if self._crash is not None or (self.closed is not None and self.closed.code != NORMAL_CLOSE):
            raise self._error()

    def stop_recording(self) -> None:
        """Close the file with both sides; what was not heard by now is left out."""
        if self._recording is not None:
            self._recording.stop(self._sample(self._clock.now()))
            if problem := self._recording.problem:
                raise InvalidValueError(problem, field="out")

    async def _silence_until(self, is_true: Any, pump: Pace) -> None:
        while not (self.ended or is_true()):
            await self._send_frame(pump)

    async def _send_frame(self, pump: Pace) -> None:
        """Send the next frame when it is due; after what was sent at once, once that has been heard at its pace."""
        await pump.next()
        if not self._script.realtime and self._clock.now() < self._heard_until:
            return
        microphone = self._microphone
        assert microphone is not None
        pcm = microphone.frame(whole=not self._script.realtime and microphone.is_speaking)
        if self._recording is not None:
            self._recording.user(pcm)
        try:
            await self._socket.send(microphone.encoded(pcm))
        except SocketClosed:
            with contextlib.suppress(ConversationClosedError):
                await self._until(lambda: self.ended, CLOSED_SECS, "say why it closed")

    def _has_greeted(self) -> bool:
        """Say whether the first message was heard out, or does not come."""
        if not self._has_first_message:
            return True
        if self._speaker.heard_anything:
            return self._is_quiet(QUIET_SECS / 2)
        return self._clock.now() - self._started > FIRST_MESSAGE_SECS

    def _is_answered(self, last_word_at: float, ended_at: float) -> bool:
        """Say whether the agent has answered what was said last, and is quiet."""
        now = self._clock.now()
        if self._reply.waits_for_us or not self._is_idle or not self._is_quiet(QUIET_SECS):
            return False
        if self._recognised_at < last_word_at:
            return now - ended_at > UNHEARD_SECS
        if self._reply.patience_secs is None:
            if now - max(self._last_frame_at, self._speaker.plays_until) > self._reply_limit_secs:
                raise self._too_slow("finish its reply", self._reply_limit_secs)
            return False
        return self._audio_at >= self._recognised_at or now - self._answered_at > AUDIO_SECS

    def _is_quiet(self, secs: float) -> bool:
        return self._clock.now() - self._speaker.plays_until > secs

    def _begun(self, frame: Mapping[str, Any]) -> None:
        told = frame.get("conversation_initiation_metadata_event")
        told = told if isinstance(told, Mapping) else {}
        user, agent = (
            convai_lab.AudioFormat.parse(told.get(name) or "pcm_16000")
            for name in ("user_input_audio_format", "agent_output_audio_format")
        )
        self._microphone, self._agent_format = Microphone(user), agent
        if self._script.out is not None:
            self._recording = convai_lab.Recording(self._script.out, rate_hz=user.rate_hz)
        self._started = self._clock.now()
        super()._begun(frame)

    def _arrived(self, frame: dict[str, Any]) -> None:
        now, kind = self._clock.now(), frame.get("type")
        self._last_frame_at = now
        if kind == "audio":
            self._play(frame.get("audio_event"), now)
        elif kind == "interruption":
            event = frame.get("interruption_event")
            self._speaker.cut(event.get("event_id") if isinstance(event, Mapping) else None, now)
            if self._recording is not None:
                self._recording.cut_agent(self._sample(now))
        elif kind in SPOKEN or kind in FOLLOWED:
            if kind == "user_transcript":  # here, as the sound: its answer may come before it is taken from the queue
                self._recognised_at = now
            self._frames.put_nowait(frame)

    def _play(self, event: Any, now: float) -> None:
        event, spoken_in = event if isinstance(event, Mapping) else {}, self._agent_format
        assert spoken_in is not None
        try:
            data = base64.b64decode(event.get("audio_base_64") or "", validate=True)
            pcm = spoken_in.decode(data[: len(data) // spoken_in.sample_bytes * spoken_in.sample_bytes])
        except (binascii.Error, ValueError, TypeError):
            raise ConversationClosedError("the platform sent audio that is not base64") from None
        begins = self._speaker.play(event.get("event_id"), len(pcm) / 2 / spoken_in.rate_hz, now)
        if begins is not None:
            self._audio_at = now
            if self._recording is not None:
                self._recording.agent(pcm, self._sample(begins), rate_hz=spoken_in.rate_hz)

    async def _take(self, frame: Mapping[str, Any]) -> None:
        kind = frame.get("type")
        if kind == "user_transcript":
            event = frame.get("user_transcription_event")
            text = event.get("user_transcript") if isinstance(event, Mapping) else None
            self._reply.begin()
            await self._tell(UserTurn(text if isinstance(text, str) else ""))
        elif kind == "agent_response_correction":
            event = frame.get("agent_response_correction_event")
            heard = event.get("corrected_agent_response") if isinstance(event, Mapping) else None
            await self._tell(AgentCutShort(heard if isinstance(heard, str) else ""))
        else:
            if kind == "agent_response":
                self._answered_at = self._clock.now()
            await super()._take(frame)

    def _sample(self, at: float) -> int:
        rate_hz: int = self._recording.rate_hz
        return max(0, round((at - self._started) * rate_hz))
