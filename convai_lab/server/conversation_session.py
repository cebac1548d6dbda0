"""Conversation session: what happens between the first and the last event of a conversation socket?

A short script over named parts: the inbox says what comes, a `TypedConversation` or a `SpokenConversation` answers,
the record keeps. Whatever ends the session becomes an `Ending`: the conversation is recorded with its reason, the
client is told.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple

from convai_lab.agents.agent import Agent
from convai_lab.agents.wire_format import agent_from_wire
from convai_lab.dialogue.conversation_loop import OUT_OF_TIME, SILENCE, ConversationLoop
from convai_lab.dialogue.record import Recorder
from convai_lab.dialogue.system_tools import NextAgent
from convai_lab.dialogue.tool_runner import ToolRunner
from convai_lab.errors import ConvaiLabError
from convai_lab.providers.base import LLM, SpeechEngines
from convai_lab.server import client_frames as frames
from convai_lab.server import socket_events as events
from convai_lab.server.admission import Admitted
from convai_lab.server.client_tools import ClientToolCalls
from convai_lab.server.context import Platform
from convai_lab.server.conversation_record import ConversationRecord
from convai_lab.server.current_reply import ReplyOver, SpeechOver, crash
from convai_lab.server.initiation import Tailored, tailor
from convai_lab.server.pings import Pings
from convai_lab.server.socket_events import NORMAL, OPERATIONAL, REFUSED, Problem, problem_of
from convai_lab.server.socket_wire import STOPPED, Gone, Inbox, Outbox
from convai_lab.server.typed_conversation import TypedConversation

if TYPE_CHECKING:
    from convai_lab.server.spoken_conversation import SpokenConversation

logger = logging.getLogger("convai_lab.server")

OFFLINE, SYSTEM = "offline", "system"


class Ending(NamedTuple):
    """Why the session is over: the reason for the record, who ended it, and what the client is told."""

    reason: str
    by: str
    code: int = NORMAL
    problem: Problem | None = None


class ConversationSession:
    """One conversation on one socket."""

    def __init__(self, platform: Platform, admitted: Admitted, inbox: Inbox, outbox: Outbox) -> None:
        self._platform, self._clock, self._times = platform, platform.clock, platform.times
        self._inbox, self._outbox, self._document = inbox, outbox, admitted.agent
        self._patience_secs = self._times.promised if admitted.says_wishes else self._times.initiation
        self._record = ConversationRecord(platform, admitted)
        self._tools = ClientToolCalls(outbox, platform.clock, event_id=lambda: self._talk.event_id if self._talk else 0)
        self._pings = Pings(outbox, platform.clock, every_secs=platform.times.ping)
        self._own_ports = platform.own_ports()
        self._early: list[object] = []
        self._loop: ConversationLoop | None = None
        self._talk: TypedConversation | SpokenConversation | None = None

    async def run(self) -> None:
        """Hold the conversation; when this returns it is recorded and the socket is closed."""
        await self._outbox.send(self._record.first_event())
        ending = Ending(STOPPED, SYSTEM, events.RESTARTING)
        try:
            async with self._pings:
                ending = await self._held()
        finally:
            if self._talk is not None:
                await self._talk.stop(ending.reason, by=ending.by)
            await self._end(ending)

    async def _held(self) -> Ending:
        """Hold the conversation and return how it ended, whatever happens."""
        try:
            self._record.begin()
            wishes = await self._wishes()
            return await self._converse(tailor(self._document, wishes), wishes)
        except SessionOver as over:
            return over.ending
        except Problem as problem:
            return _failed(problem)
        except ConvaiLabError as error:
            return _failed(problem_of(error))
        except Exception as error:  # the edge: one socket
            return _failed(crash(error))

    async def _wishes(self) -> frames.Initiation:
        """Wait a moment for the client's initiation data; one that says something else first has none.

        Audio may come before it: microphones do not wait.
        """
        try:
            async with self._clock.timeout(self._patience_secs):
                while not isinstance(message := await self._inbox.get(), frames.Initiation):
                    self._early.append(message)
                    if not isinstance(message, frames.Pong | frames.AudioChunk):
                        return frames.Initiation()
                return message
        except TimeoutError:
            return frames.Initiation()

    async def _converse(self, tailored: Tailored, wishes: frames.Initiation) -> Ending:
        agent = tailored.agent
        wanted = events.BY_DEFAULT if agent.client_events is None else agent.client_events
        self._outbox.prefer(wanted, text_only=agent.text_only)
        talk = self._talk = await (self._in_text if agent.text_only else self._by_voice)(tailored, wishes)
        await talk.begin()
        while not talk.is_over:
            await self._take(await self._next_message(talk), talk)
        assert self._loop is not None
        reason = self._loop.end_reason
        return _too_long(agent) if reason == OUT_OF_TIME else Ending(reason or "", "agent")

    async def _in_text(self, tailored: Tailored, wishes: frames.Initiation) -> TypedConversation:
        loop = self._loop = self._new_loop(tailored, wishes, self._find_llm(tailored.agent))
        return TypedConversation(loop, self._outbox, tell=self._inbox.put, said=self._record.said)

    async def _by_voice(self, tailored: Tailored, wishes: frames.Initiation) -> SpokenConversation:
        """Prepare a voice conversation; what it needs is loaded here, because text conversations do without."""
        from convai_lab.server.spoken_conversation import formats_of

        formats = formats_of(*self._record.formats)
        engines = await asyncio.to_thread(self._platform.find_engines, tailored.agent, clock=self._clock)
        llm = self._find_llm(tailored.agent)
        await self._when_ready(tailored.agent, engines)
        recording = self._record.new_recording()
        loop = self._loop = self._new_loop(tailored, wishes, llm)
        return self._spoken_kind(
            loop,
            self._outbox,
            engines=engines,
            formats=formats,
            clock=self._clock,
            recording=recording,
            tell=self._inbox.put,
            said=self._record.said,
        )

    async def _when_ready(self, agent: Agent, engines: SpeechEngines) -> None:
        """Wait until the client can hear the agent; one that has a socket can."""

    @property
    def _spoken_kind(self) -> Callable[..., SpokenConversation]:
        from convai_lab.server.spoken_conversation import SpokenConversation

        return SpokenConversation

    @property
    def _recorder(self) -> Recorder:
        return self._platform.conversations

    def _new_loop(self, tailored: Tailored, wishes: frames.Initiation, llm: LLM) -> ConversationLoop:
        agent = tailored.agent
        tools = ToolRunner(
            agent,
            client_tool=self._tools.run,
            clock=self._clock,
            own_ports=self._own_ports,
            find_agent=self._find_agent,
        )
        return ConversationLoop(
            agent=agent,
            conversation=self._record.tailored(wishes, tailored),
            llm=llm,
            tools=tools,
            clock=self._clock,
            recorder=self._recorder,
            llm_timeout_secs=self._times.llm,
            extra_body=wishes.extra_body,
        )

    def _find_llm(self, agent: Agent) -> LLM:
        return self._platform.find_llm(
            agent.llm or OFFLINE, custom=agent.custom_llm, clock=self._clock, own_ports=self._own_ports
        )

    async def _find_agent(self, agent_id: str) -> NextAgent:
        agent = agent_from_wire(self._platform.agents.get(agent_id))
        return NextAgent(agent, self._find_llm(agent))

    async def _next_message(self, talk: TypedConversation | SpokenConversation) -> object:
        """Return what comes next; too long a silence and too long a conversation end a conversation in text."""
        if self._early:
            return self._early.pop(0)
        if not isinstance(talk, TypedConversation):
            return await self._inbox.get()
        assert self._loop is not None
        left, silence = self._loop.seconds_left, self._loop.agent.turn.silence_end_call_secs
        patience = self._times.no_input if silence is None else silence
        is_quiet = patience < left and not talk.is_busy
        try:
            async with self._clock.timeout(patience if is_quiet else left):
                return await self._inbox.get()
        except TimeoutError:
            if is_quiet:
                raise SessionOver(self._too_quiet(silence)) from None
            await talk.time_is_up()
            raise SessionOver(_too_long(self._loop.agent)) from None

    def _too_quiet(self, silence: float | None) -> Ending:
        if silence is not None:
            return Ending(SILENCE, SYSTEM)
        message = f"the user said nothing for {self._times.no_input:g} seconds"
        return Ending(message, SYSTEM, OPERATIONAL, Problem(OPERATIONAL, "no_user_input", message))

    async def _take(self, message: object, talk: TypedConversation | SpokenConversation) -> None:
        """Do what one message asks for."""
        match message:
            case frames.AudioChunk(base64_pcm=audio):
                await talk.hear(audio)
            case frames.UserMessage(text=text):
                await talk.typed(text)
            case frames.UserActivity():
                talk.user_activity()
            case frames.ContextUpdate(text=text):
                talk.add_context(text)
            case frames.ToolAnswer():
                self._tools.answered(message)
            case frames.Pong(event_id=number):
                self._pings.answered(number)
            case frames.Feedback(score=score, event_id=event_id):
                assert self._loop is not None
                self._record.rated(self._loop, score, event_id or talk.event_id)
            case frames.Unsupported(what=what):
                await self._outbox.send(events.error(Problem(REFUSED, "not_supported", what)))
            case ReplyOver() if isinstance(talk, TypedConversation):
                talk.reply_over(message)
            case SpeechOver() if not isinstance(talk, TypedConversation):
                talk.speech_over(message)
            case Gone():
                raise SessionOver(Ending(message.reason, SYSTEM if message.was_stopped else "user"))
            case Problem():
                raise message

    async def _end(self, ending: Ending) -> None:
        """Record the end, then tell the client."""
        try:
            await self._record_end(ending)
        except ConvaiLabError as error:
            logger.error("a conversation's end was not recorded: %s", error)
        if ending.problem is not None:
            await self._outbox.fail(ending.problem)
        await self._outbox.close(ending.code, "" if ending.code == NORMAL else ending.reason)

    async def _record_end(self, ending: Ending) -> None:
        failed = ending.problem is not None and ending.code != NORMAL
        if self._loop is not None:
            conversation = self._record.sound_is_over(await self._loop.end(ending.reason, by=ending.by, failed=failed))
        else:
            conversation = self._record.never_began(ending.reason, ending.by, failed=failed)
        if failed and ending.problem is not None:
            self._record.failed(conversation, ending.problem)


class SessionOver(Exception):
    """The session is over without a fault."""

    def __init__(self, ending: Ending) -> None:
        super().__init__(ending.reason)
        self.ending = ending


def _too_long(agent: Agent) -> Ending:
    message = f"the conversation reached its limit of {agent.max_duration_secs} seconds"
    return Ending(message, SYSTEM, NORMAL, Problem(NORMAL, "max_duration_exceeded", message))


def _failed(problem: Problem) -> Ending:
    return Ending(problem.message, SYSTEM, problem.code, problem)
