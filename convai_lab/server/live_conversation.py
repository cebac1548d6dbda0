"""Live conversation: what is different when a notebook holds a voice conversation on a private session socket?

The agent begins once the sound has a way, the sound may travel past the socket, the client hears of every turn that
is stored, and the agent may be another one from its next turn on.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from convai_lab.agents.agent import Agent
from convai_lab.agents.wire_format import agent_from_wire
from convai_lab.agents.wire_rules import problems_in
from convai_lab.clock import Clock
from convai_lab.conversations.conversation import Conversation
from convai_lab.conversations.turn import Turn
from convai_lab.dialogue.conversation_loop import ConversationLoop
from convai_lab.dialogue.record import Recorder
from convai_lab.errors import ConvaiLabError, InvalidValueError
from convai_lab.providers.base import LLM, SpeechEngines
from convai_lab.server import client_frames as frames
from convai_lab.server import live_frames as live
from convai_lab.server.admission import Admitted
from convai_lab.server.context import Platform
from convai_lab.server.conversation_session import OFFLINE, ConversationSession, Ending, SessionOver
from convai_lab.server.initiation import Tailored
from convai_lab.server.live_media import LiveMedia
from convai_lab.server.socket_events import NORMAL, REFUSED, Event, Problem
from convai_lab.server.socket_wire import Gone, Inbox, Outbox
from convai_lab.server.spoken_conversation import SpokenConversation
from convai_lab.server.typed_conversation import TypedConversation
from convai_lab.server.voice_socket import DRAIN_SECS, UserAudio, VoiceSocket
from convai_lab.voice import events as voice
from convai_lab.voice.audio import AudioFormat
from convai_lab.voice.transport import AgentAudio

MAX_WAIT_SECS = 600.0
"""So long nobody may choose how the sound travels, before the session ends."""
NOT_BEGUN = "the session has not begun: choose how the sound travels first, or start another one"
NEVER_CHOSEN = "nobody chose how the sound travels for a long time: start a new session"
MAX_LETTERS = 50_000
"""More than this waits only for a client that has stopped to read: it gets no more."""


class LiveOutbox(Outbox):
    """Writes every event, whatever the agent's `client_events` say: the notebook shows all of them."""

    def wants(self, event_type: str) -> bool:
        """Say that the notebook gets everything but scores, which it has as levels."""
        return event_type != "vad_score"


class LivePost:
    """Sends private events that have no place among the conversation's; levels only while the client keeps up."""

    def __init__(self, outbox: Outbox) -> None:
        self._outbox = outbox
        self._letters: deque[Event] = deque()
        self._news, self._empty = asyncio.Event(), asyncio.Event()
        self._empty.set()
        self._task = asyncio.create_task(self._write())

    def tell(self, event: Event) -> None:
        """Send an event soon."""
        if len(self._letters) < (2 if event["type"] == "live_level" else MAX_LETTERS):
            self._letters.append(event)
            self._empty.clear()
            self._news.set()

    async def close(self) -> None:
        """Send what is left, as long as the client takes it, and stop."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(DRAIN_SECS):
                await self._empty.wait()
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)

    async def _write(self) -> None:
        while True:
            while self._letters:
                await self._outbox.send(self._letters.popleft())
            self._empty.set()
            self._news.clear()
            await self._news.wait()


class LiveSocket(VoiceSocket):
    """The session's transport: sound by way of the media, everything else on the socket."""

    def __init__(self, outbox: Outbox, *, media: LiveMedia, spoken_in: AudioFormat, clock: Clock) -> None:
        super().__init__(outbox, user=media.user, spoken_in=spoken_in, clock=clock)
        self._media = media
        media.send_audio, media.cut_audio = super().send, self.take_back

    @property
    def is_steady(self) -> bool:
        """Say whether the page's microphone never pauses."""
        return self._media.is_steady

    def send(self, audio: AgentAudio) -> None:
        """Send the agent's speech the way that was chosen."""
        self.ids.of(audio.turn_id)
        self._media.send(audio)

    def flush(self, turn_id: int) -> None:
        """Drop what was not heard yet."""
        self._media.flush(turn_id)
        super().flush(turn_id)

    def take_back(self, turn_id: int) -> None:
        """Let the client drop what it has of this speech; what is sent of it now has a larger number."""
        self._letters = deque(one for one in self._letters if one.audio is None or one.audio.turn_id != turn_id)
        self.tell({"type": "live_flush", "event_id": self.ids.of_sound(turn_id)})
        self.ids.renew(turn_id)


class LiveConversation(SpokenConversation):
    """A spoken conversation whose sound is in a `LiveMedia`."""

    def __init__(self, *args: Any, media: LiveMedia, **options: Any) -> None:
        self._media = media
        super().__init__(*args, **options)
        media.sound_takes = self._session.sound_takes

    def tell(self, event: Event) -> None:
        """Send a private event after what was told before."""
        self._socket.tell(event)

    async def hear(self, base64_audio: str) -> None:
        """Take a chunk of the user's audio, unless it comes another way."""
        if odd := self._media.hear_comm(base64_audio):
            self._socket.tell(live.refused(odd))

    def _new_user(self, spoken_in: AudioFormat, clock: Clock) -> UserAudio:  # noqa: ARG002 - it is always the same
        return self._media.user

    def _new_socket(self, spoken_in: AudioFormat, clock: Clock) -> VoiceSocket:
        return LiveSocket(self._outbox, media=self._media, spoken_in=spoken_in, clock=clock)

    def _happened(self, event: voice.VoiceEvent) -> None:
        if isinstance(event, voice.StateChanged):
            self._socket.tell(live.state(event.state))
        else:
            super()._happened(event)


class TellingRecorder:
    """Keeps a conversation, and tells of every turn that was kept."""

    def __init__(self, recorder: Recorder, tell: Callable[[int, Turn], None]) -> None:
        self._recorder, self._tell = recorder, tell

    def add_turn(self, conversation_id: str, turn: Turn, *, index: int) -> None:
        """Keep a new turn."""
        self._recorder.add_turn(conversation_id, turn, index=index)
        self._tell(index, turn)

    def replace_turn(self, conversation_id: str, index: int, turn: Turn) -> None:
        """Keep a turn that changed."""
        self._recorder.replace_turn(conversation_id, index, turn)
        self._tell(index, turn)

    def update(self, conversation: Conversation) -> None:
        """Keep everything but the turns."""
        self._recorder.update(conversation)


class LiveSession(ConversationSession):
    """One live conversation on one private socket."""

    def __init__(self, platform: Platform, admitted: Admitted, inbox: Inbox, outbox: Outbox) -> None:
        super().__init__(platform, admitted, inbox, outbox)
        self._post = LivePost(outbox)
        self._media = LiveMedia(platform.clock, self._post.tell)

    async def run(self) -> None:
        """Hold the conversation; when this returns, nothing of it is left but the record."""
        try:
            await super().run()
        finally:
            await self._media.close()
            await self._post.close()

    @property
    def _spoken_kind(self) -> Callable[..., SpokenConversation]:
        return partial(LiveConversation, media=self._media)

    @property
    def _recorder(self) -> Recorder:
        return TellingRecorder(self._platform.conversations, self._turn_stored)

    def _turn_stored(self, index: int, turn: Turn) -> None:
        event = live.turn_stored(index, turn)
        if isinstance(self._talk, LiveConversation):
            self._talk.tell(event)
        else:
            self._post.tell(event)

    async def _in_text(self, tailored: Tailored, wishes: frames.Initiation) -> TypedConversation:  # noqa: ARG002
        raise Problem(REFUSED, "invalid_value", f"text_only: {tailored.agent.name} takes no voice: chat with it")

    def _new_loop(self, tailored: Tailored, wishes: frames.Initiation, llm: LLM) -> ConversationLoop:
        """The conversation begins now: the time until somebody could hear the agent is none of it."""
        record = self._record
        record.conversation = record.conversation.with_changes(started_at=self._clock.wall())
        return super()._new_loop(tailored, wishes, llm)

    async def _when_ready(self, agent: Agent, engines: SpeechEngines) -> None:
        """Say what serves the session, and wait until the sound has a way, or the user types."""
        names = {"asr": engines.asr.name, "tts": engines.tts.name, "vad": engines.vad.name}
        self._post.tell(live.engines(llm=agent.llm or OFFLINE, **names))
        self._post.tell(live.state("connecting"))
        early, self._early = self._early, []
        for message in early:
            await self._take_early(message)
        with contextlib.suppress(TimeoutError):
            async with self._clock.timeout(MAX_WAIT_SECS):
                await self._until_begun()
        if not self._media.began.is_set():
            raise SessionOver(Ending(NEVER_CHOSEN, "system", NORMAL, Problem(NORMAL, "never_chosen", NEVER_CHOSEN)))

    async def _until_begun(self) -> None:
        """Take messages until the session may begin; the inbox alone waits for the client."""
        began = asyncio.create_task(self._media.began.wait())
        try:
            while not self._media.began.is_set():
                message = asyncio.create_task(self._inbox.get())
                try:
                    await asyncio.wait({began, message}, return_when=asyncio.FIRST_COMPLETED)
                finally:
                    if not message.done():
                        message.cancel()
                        await asyncio.gather(message, return_exceptions=True)
                if not message.cancelled():
                    await self._take_early(message.result())
        finally:
            began.cancel()
            await asyncio.gather(began, return_exceptions=True)

    async def _take_early(self, message: object) -> None:
        """Take what comes before the session began; what belongs to the conversation waits for it."""
        if isinstance(message, Gone):
            raise SessionOver(Ending(message.reason, "system" if message.was_stopped else "user"))
        if isinstance(message, Problem):
            raise message
        if isinstance(message, live.UseAgent):
            self._post.tell(live.agent_used(NOT_BEGUN))
        elif isinstance(message, frames.Unsupported):
            self._post.tell(live.refused(message.what))
        elif isinstance(message, frames.Pong):
            self._pings.answered(message.event_id)
        elif not await self._media.take(message):
            self._early.append(message)
            if isinstance(message, frames.UserMessage):
                self._media.begin()

    async def _take(self, message: object, talk: Any) -> None:
        if isinstance(message, live.UseAgent):
            self._post.tell(live.agent_used(self._use_agent(message.document)))
        elif isinstance(message, frames.Unsupported):
            self._post.tell(live.refused(message.what))
        elif not await self._media.take(message):
            await super()._take(message, talk)

    def _use_agent(self, document: Mapping[str, Any]) -> str | None:
        """Let another agent speak from its next turn on; returns why not."""
        assert self._loop is not None
        try:
            agent = _checked_agent(document)
            self._loop.use_agent(agent, self._find_llm(agent))
        except ConvaiLabError as error:
            return str(error)
        return None


def _checked_agent(document: Mapping[str, Any]) -> Agent:
    changeable = {name: value for name, value in document.items() if name not in ("agent_id", "metadata")}
    if problems := problems_in(changeable):
        field = ".".join(str(part) for part in problems[0].loc)
        raise InvalidValueError(problems[0].msg, field=field)
    return agent_from_wire(document)
