"""Conversation session: what happens between the first and the last event of a conversation socket?

A short script over named parts: the inbox says what comes, `CurrentReply` answers, the record keeps. Whatever ends
the session becomes an `Ending`: the conversation is recorded with its reason, the client is told.
"""

from __future__ import annotations

import logging
from typing import NamedTuple

from convai_lab.agents.agent import Agent
from convai_lab.agents.wire_format import agent_from_wire
from convai_lab.dialogue.conversation_loop import OUT_OF_TIME, SILENCE, ConversationLoop
from convai_lab.dialogue.system_tools import NextAgent
from convai_lab.dialogue.tool_runner import ToolRunner
from convai_lab.errors import ConvaiLabError
from convai_lab.providers.base import LLM
from convai_lab.server import client_frames as frames
from convai_lab.server import socket_events as events
from convai_lab.server.admission import Admitted
from convai_lab.server.client_tools import ClientToolCalls
from convai_lab.server.context import Platform
from convai_lab.server.conversation_record import ConversationRecord
from convai_lab.server.current_reply import CurrentReply, ReplyOver, crash
from convai_lab.server.initiation import Tailored, tailor
from convai_lab.server.pings import Pings
from convai_lab.server.reply_writer import ReplyWriter
from convai_lab.server.socket_events import NORMAL, OPERATIONAL, REFUSED, Problem, problem_of
from convai_lab.server.socket_wire import STOPPED, Gone, Inbox, Outbox

logger = logging.getLogger("convai_lab.server")

OFFLINE, SYSTEM = "offline", "system"
NO_VOICE = "voice arrives with the voice engine: this platform holds text conversations so far, send user_message"


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
        self._record = ConversationRecord(platform, admitted)
        self._tools = ClientToolCalls(outbox, platform.clock, event_id=lambda: self._event_id)
        self._pings = Pings(outbox, platform.clock, every_secs=platform.times.ping)
        self._own_ports = platform.own_ports()
        self._event_id = 0
        self._early: list[object] = []
        self._refused_audio = False
        self._loop: ConversationLoop | None = None
        self._reply: CurrentReply | None = None

    async def run(self) -> None:
        """Hold the conversation; when this returns it is recorded and the socket is closed."""
        await self._outbox.send(self._record.first_event())
        ending = Ending(STOPPED, SYSTEM, events.RESTARTING)
        try:
            async with self._pings:
                ending = await self._held()
        finally:
            if self._reply is not None:
                await self._reply.stop()
            await self._end(ending)

    async def _held(self) -> Ending:
        """Hold the conversation and return how it ended, whatever happens."""
        try:
            self._record.begin()
            wishes = await self._wishes()
            return await self._converse(tailor(self._document, wishes), wishes)
        except _Over as over:
            return over.ending
        except Problem as problem:
            return _failed(problem)
        except ConvaiLabError as error:
            return _failed(problem_of(error))
        except Exception as error:  # the edge: one socket
            return _failed(crash(error))

    async def _wishes(self) -> frames.Initiation:
        """Wait a moment for the client's initiation data; one that says something else first has none."""
        try:
            async with self._clock.timeout(self._times.initiation):
                while not isinstance(message := await self._inbox.get(), frames.Initiation):
                    self._early.append(message)
                    if not isinstance(message, frames.Pong):
                        return frames.Initiation()
                return message
        except TimeoutError:
            return frames.Initiation()

    async def _converse(self, tailored: Tailored, wishes: frames.Initiation) -> Ending:
        agent = tailored.agent
        self._outbox.prefer(agent.client_events or (), text_only=agent.text_only)
        loop = self._loop = self._new_loop(tailored, wishes)
        reply = self._reply = CurrentReply(loop, self._outbox, when_over=self._inbox.put)
        await self._first_message(loop)
        while not loop.ended:
            await self._take(await self._next_message(loop, reply), loop, reply)
        return _too_long(agent) if loop.end_reason == OUT_OF_TIME else Ending(loop.end_reason or "", "agent")

    def _new_loop(self, tailored: Tailored, wishes: frames.Initiation) -> ConversationLoop:
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
            llm=self._find_llm(agent),
            tools=tools,
            clock=self._clock,
            recorder=self._platform.conversations,
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

    async def _first_message(self, loop: ConversationLoop) -> None:
        if (turn := await loop.open()) is not None:
            self._event_id += 1
            await ReplyWriter(self._outbox, self._event_id).say(turn.text)
            self._record.said(self._event_id, len(loop.conversation.turns) - 1)

    async def _next_message(self, loop: ConversationLoop, reply: CurrentReply) -> object:
        """Return what comes next; too long a silence and too long a conversation end it."""
        if self._early:
            return self._early.pop(0)
        left, silence = loop.seconds_left, loop.agent.turn.silence_end_call_secs
        patience = self._times.no_input if silence is None else silence
        is_quiet = patience < left and not reply.is_running
        try:
            async with self._clock.timeout(patience if is_quiet else left):
                return await self._inbox.get()
        except TimeoutError:
            raise _Over(self._too_quiet(silence) if is_quiet else _too_long(loop.agent)) from None

    def _too_quiet(self, silence: float | None) -> Ending:
        if silence is not None:
            return Ending(SILENCE, SYSTEM)
        message = f"the user said nothing for {self._times.no_input:g} seconds"
        return Ending(message, SYSTEM, OPERATIONAL, Problem(OPERATIONAL, "no_user_input", message))

    async def _take(self, message: object, loop: ConversationLoop, reply: CurrentReply) -> None:
        """Do what one message asks for."""
        match message:
            case frames.UserMessage(text=text):
                await self._answer(text, loop, reply)
            case frames.ContextUpdate(text=text):
                loop.add_context(text)
            case frames.ToolAnswer():
                self._tools.answered(message)
            case frames.Pong(event_id=number):
                self._pings.answered(number)
            case frames.Feedback(score=score, event_id=event_id):
                self._record.rated(loop.conversation, score, event_id or self._event_id)
            case frames.AudioChunk():
                await self._refuse_audio()
            case frames.Unsupported(what=what):
                await self._outbox.send(events.error(Problem(REFUSED, "not_supported", what)))
            case ReplyOver(problem=None, event_id=event_id, turn_index=index):
                self._record.said(event_id, index)
            case ReplyOver(problem=Problem() as problem):
                raise problem
            case Gone():
                raise _Over(Ending(message.reason, SYSTEM if message.was_stopped else "user"))
            case Problem():
                raise message

    async def _answer(self, text: str, loop: ConversationLoop, reply: CurrentReply) -> None:
        """Answer the user; a reply that is still being made is interrupted first."""
        await reply.interrupt()
        if not loop.ended:
            loop.user_said(text)
            self._event_id += 1
            reply.begin(self._event_id)

    async def _refuse_audio(self) -> None:
        """Say once that nobody listens; the conversation goes on in text."""
        if not self._refused_audio:
            self._refused_audio = True
            await self._outbox.send(events.error(Problem(REFUSED, "voice_not_available", NO_VOICE)))

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
            conversation = await self._loop.end(ending.reason, by=ending.by, failed=failed)
        else:
            conversation = self._record.never_began(ending.reason, ending.by, failed=failed)
        if failed and ending.problem is not None:
            self._record.failed(conversation, ending.problem)


class _Over(Exception):
    """The session is over without a fault."""

    def __init__(self, ending: Ending) -> None:
        super().__init__(ending.reason)
        self.ending = ending


def _too_long(agent: Agent) -> Ending:
    message = f"the conversation reached its limit of {agent.max_duration_secs} seconds"
    return Ending(message, SYSTEM, NORMAL, Problem(NORMAL, "max_duration_exceeded", message))


def _failed(problem: Problem) -> Ending:
    return Ending(problem.message, SYSTEM, problem.code, problem)
