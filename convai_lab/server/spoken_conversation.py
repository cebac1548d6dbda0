"""Spoken conversation: how is a conversation held by voice on one socket?

The voice session does the talking; here its events become those of the socket, and the client's messages its input.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import NamedTuple

from convai_lab.clock import Clock
from convai_lab.conversations.turn import ToolResult
from convai_lab.dialogue.conversation_loop import ConversationLoop
from convai_lab.errors import ConvaiLabError
from convai_lab.providers.base import SpeechEngines
from convai_lab.server import socket_events as events
from convai_lab.server.current_reply import SpeechOver, crash
from convai_lab.server.reply_writer import END_CALL
from convai_lab.server.socket_events import REFUSED, Problem, problem_of
from convai_lab.server.socket_wire import Outbox
from convai_lab.server.voice_socket import UserAudio, VoiceSocket, format_of
from convai_lab.voice import events as voice
from convai_lab.voice.audio import AudioFormat
from convai_lab.voice.recording import Recording
from convai_lab.voice.session import VoiceSession


class Formats(NamedTuple):
    """How both sides' audio is written on the wire."""

    user: AudioFormat
    agent: AudioFormat


def formats_of(user: str, agent: str) -> Formats:
    """Return the formats by their names.

    Raises:
        Problem: One is none that this platform speaks.
    """
    return Formats(format_of(user, "asr.user_input_audio_format"), format_of(agent, "tts.agent_output_audio_format"))


class SpokenConversation:
    """Holds a voice session on a socket."""

    def __init__(
        self,
        loop: ConversationLoop,
        outbox: Outbox,
        *,
        engines: SpeechEngines,
        formats: Formats,
        clock: Clock,
        recording: Recording | None,
        tell: Callable[[object], None],
        said: Callable[[int, int], None],
    ) -> None:
        self._loop, self._outbox, self._tell, self._said = loop, outbox, tell, said
        self._user = self._new_user(formats.user, clock)
        self._socket = self._new_socket(formats.agent, clock)
        self._session = VoiceSession(
            loop=loop,
            engines=engines,
            transport=self._socket,
            clock=clock,
            on_event=self._happened,
            recording=recording,
            output_rate_hz=formats.agent.rate_hz,
        )
        self._task: asyncio.Task[None] | None = None
        self._over: SpeechOver | None = None
        self._writing: int | None = None
        self._goodbye: list[ToolResult] = []

    def _new_user(self, spoken_in: AudioFormat, clock: Clock) -> UserAudio:
        return UserAudio(spoken_in, clock)

    def _new_socket(self, spoken_in: AudioFormat, clock: Clock) -> VoiceSocket:
        return VoiceSocket(self._outbox, user=self._user, spoken_in=spoken_in, clock=clock)

    @property
    def event_id(self) -> int:
        """Return the number of the newest thing that was said."""
        return self._socket.ids.newest

    @property
    def is_over(self) -> bool:
        """Say whether the session has ended, its last words heard."""
        return self._over is not None

    @property
    def is_busy(self) -> bool:
        """Say that the session itself minds the silence."""
        return True

    async def begin(self) -> None:
        """Start to talk."""
        self._socket.open()
        self._task = asyncio.get_running_loop().create_task(self._hold())
        await asyncio.sleep(0)  # from now on the session hears what is typed

    async def typed(self, text: str) -> None:
        """Take a message that the user typed."""
        if not self.is_over:
            self._session.hear_text(text)

    async def hear(self, base64_audio: str) -> None:
        """Take a chunk of the user's audio.

        Raises:
            Problem: It cannot be understood as audio, or there is too much of it.
        """
        if odd := self._user.take(base64_audio):
            self._socket.tell(events.error(Problem(REFUSED, "audio_pace", odd)))

    def add_context(self, text: str) -> None:
        """Tell the agent something without a turn."""
        self._session.add_context(text)

    def user_activity(self) -> None:
        """Hear that the user is still there."""
        self._session.user_activity()

    def speech_over(self, over: SpeechOver) -> None:
        """Take note of the end of the session.

        Raises:
            Problem: It failed.
        """
        self._over = over
        if over.problem is not None:
            raise over.problem

    async def stop(self, reason: str, *, by: str) -> None:
        """End the session, and send the client what it has not got yet."""
        self._user.close()
        if (task := self._task) is not None:
            if not task.done():
                await self._session.end(reason, by=by)
            await asyncio.gather(task, return_exceptions=True)
        for result in self._goodbye:
            self._tell_result(result)
        await self._socket.close()

    async def _hold(self) -> None:
        problem: Problem | None = None
        try:
            await self._session.run()
        except ConvaiLabError as error:
            problem = problem_of(error)
        except Exception as error:  # the edge: one session
            problem = crash(error)
        if problem is None and (failure := self._session.failure) is not None:
            is_ours = isinstance(failure, ConvaiLabError)
            problem = problem_of(failure) if is_ours else crash(failure)  # type: ignore[arg-type]
        self._tell(SpeechOver(problem))

    def _happened(self, event: voice.VoiceEvent) -> None:
        socket, ids = self._socket, self._socket.ids
        match event:
            case voice.UserPartial(text=text):
                socket.tell(events.tentative_user_transcript(text, ids.newest))
            case voice.UserFinal(text=text):
                socket.tell(events.user_transcript(text, ids.new()))
            case voice.AgentText(text=text, turn_id=turn_id):
                self._part(text, ids.of(turn_id))
            case voice.AgentTurn(text=text, turn_id=turn_id):
                self._end_part()
                socket.tell(events.response(text, ids.of(turn_id)))
                self._said(ids.of(turn_id), len(self._loop.conversation.turns) - 1)
            case voice.ToolStarted(call=call):
                socket.tell(events.tool_request(call, ids.newest))
            case voice.ToolFinished(result=result) if result.name == END_CALL and not result.is_error:
                self._goodbye.append(result)
            case voice.ToolFinished(result=result):
                self._tell_result(result)
            case voice.Interrupted(turn_id=turn_id):
                self._end_part()
                socket.interrupt(turn_id)
            case voice.AgentCorrected(original=original, heard=heard, turn_id=turn_id):
                socket.tell(events.correction(original, heard, ids.of(turn_id)))
            case voice.VadScore(score=score):
                socket.tell(events.vad_score(score))

    def _part(self, text: str, event_id: int) -> None:
        if self._writing != event_id:
            self._end_part()
            self._writing = event_id
            self._socket.tell(events.response_part("start", "", event_id))
        self._socket.tell(events.response_part("delta", text, event_id))

    def _end_part(self) -> None:
        if self._writing is not None:
            self._socket.tell(events.response_part("stop", "", self._writing))
            self._writing = None

    def _tell_result(self, result: ToolResult) -> None:
        self._socket.tell(events.tool_response(result, self.event_id))
        self._socket.tell(events.full_tool_response(result, self.event_id))
