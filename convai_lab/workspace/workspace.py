"""Workspace: one Agents platform, local or cloud, as Python calls."""

from __future__ import annotations

import asyncio
import itertools
import os
import weakref
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, overload

from convai_lab import background, settings
from convai_lab.conversations.conversation import Conversation
from convai_lab.conversations.wire_format import conversation_from_wire
from convai_lab.errors import InvalidValueError, NotSupportedError
from convai_lab.workspace.agents import AgentRef, Agents
from convai_lab.workspace.caller import AsyncCaller, BlockingCaller, OnEvent
from convai_lab.workspace.chat import Held, Line, Opening
from convai_lab.workspace.conversations import ConversationRef, Conversations, conversation_id_of
from convai_lab.workspace.devices import Speech
from convai_lab.workspace.listing import background_twin
from convai_lab.workspace.live_line import LiveLine
from convai_lab.workspace.live_session import LiveSession, OnLiveEvent
from convai_lab.workspace.names import number, path_part
from convai_lab.workspace.session import Session
from convai_lab.workspace.talk import new_script, talk
from convai_lab.workspace.tools import BoundTools
from convai_lab.workspace.transport import Transport
from convai_lab.workspace.window import Window, WindowOpening

if TYPE_CHECKING:
    from convai_lab.workspace.conversational_ai import ConversationalAI


@dataclass(frozen=True, kw_only=True)
class PlatformStatus:
    """Which platform answers, where, and which provider keys it has (never the keys themselves)."""

    platform: str
    url: str
    version: str | None = None
    pid: int | None = None
    home: str | None = None
    started_at: float | None = None
    keys: Mapping[str, bool] = field(default_factory=dict)


class Workspace:
    """The agents and conversations of one platform; made by `connect`.

    Calls block, also inside a running notebook kernel; each has a twin to be awaited, with an ``a`` before its
    name, that works on any event loop.
    """

    def __init__(self, transport: Transport) -> None:
        self._transport = transport
        bound = BoundTools()
        self.agents = Agents(transport, bound)
        self.conversations = Conversations(transport)
        self._line = Line(transport, self.agents, self.conversations, bound)
        self._live = LiveLine(transport, self.agents, self.conversations, bound)
        self._sessions: weakref.WeakValueDictionary[int, LiveSession] = weakref.WeakValueDictionary()
        self._numbers = itertools.count()

    @property
    def platform(self) -> str:
        """Return ``local``, ``elevenlabs``, or the URL of the platform."""
        return self._transport.platform.name

    @property
    def conversational_ai(self) -> ConversationalAI:
        """Offer the calls of the vendor's older Python package, on this platform."""
        from convai_lab.workspace.conversational_ai import ConversationalAI

        return ConversationalAI(self._transport)

    def chat(
        self,
        agent: AgentRef,
        messages: str | Sequence[str],
        *,
        variables: Mapping[str, Any] | None = None,
        continue_from: ConversationRef | None = None,
        on_event: OnEvent | None = None,
        user_id: str | None = None,
    ) -> Conversation:
        """Say each message, wait for each reply, and return the conversation.

        Python tools and `on_event` run on the calling thread. An error or interrupt carries what was said until
        then as `conversation_id` and `conversation` (see `partial_conversation`).

        Args:
            continue_from: A conversation to go on with. The cloud cannot do that: there, a new conversation is
                told the transcript of the earlier one, and the `Started` event says so.

        Raises:
            MissingVariableError: The prompt names a variable that has no value.
            MissingKeyError: The agent's model needs a key that is not set.
            ToolNotAvailableError: The agent called a tool that no function here answers.
            ConversationClosedError: The conversation ended before everything was said.
        """
        caller, held = BlockingCaller(on_event), Held()
        opening = Opening(agent, variables, continue_from, user_id)
        calls = caller.waiting()
        try:
            return background.run(self._line.chat(opening, messages, caller, held), calls=calls)
        except BaseException as error:
            held.attach(error)
            raise

    async def achat(
        self,
        agent: AgentRef,
        messages: str | Sequence[str],
        *,
        variables: Mapping[str, Any] | None = None,
        continue_from: ConversationRef | None = None,
        on_event: OnEvent | None = None,
        user_id: str | None = None,
    ) -> Conversation:
        """Do what `chat` does, awaited; tools run in worker threads, `on_event` on the awaiting loop."""
        caller, held = AsyncCaller(asyncio.get_running_loop(), on_event), Held()
        opening = Opening(agent, variables, continue_from, user_id)
        try:
            return await background_twin(self._line.chat(opening, messages, caller, held))
        except BaseException as error:
            held.attach(error)
            raise

    def talk(
        self,
        agent: AgentRef,
        audio: Speech | Sequence[Speech],
        *,
        variables: Mapping[str, Any] | None = None,
        out: str | os.PathLike[str] | None = None,
        on_event: OnEvent | None = None,
        realtime: bool = True,
        user_id: str | None = None,
    ) -> Conversation:
        """Hold a voice conversation in which the user is a sound, and return the conversation.

        The agent's first message is heard out, then the sound is said; it ends once the agent has answered and is
        quiet. Several sounds are said one after the other, each once the one before is answered. Python tools and
        `on_event` run on the calling thread.

        Args:
            audio: The path of a WAV file, the bytes of one, or a `Sound`; or a list of those.
            out: A WAV file to write: the user left, the agent right, as a client hears it.
            realtime: Say it at the pace at which it was spoken; else it is sent at once, and heard as it is taken.

        Raises:
            InvalidValueError: The audio cannot be read, or the agent takes no voice.
            MissingVariableError: The prompt names a variable that has no value.
            ConversationClosedError: The platform ended the conversation with an error.
        """
        caller, held = BlockingCaller(on_event), Held()
        opening, script = Opening(agent, variables, None, user_id), new_script(audio, out, realtime=realtime)
        calls = caller.waiting()
        try:
            return background.run(talk(self._line, opening, script, caller, held), calls=calls)
        except BaseException as error:
            held.attach(error)
            raise

    async def atalk(
        self,
        agent: AgentRef,
        audio: Speech | Sequence[Speech],
        *,
        variables: Mapping[str, Any] | None = None,
        out: str | os.PathLike[str] | None = None,
        on_event: OnEvent | None = None,
        realtime: bool = True,
        user_id: str | None = None,
    ) -> Conversation:
        """Do what `talk` does, awaited; tools run in worker threads, `on_event` on the awaiting loop."""
        caller, held = AsyncCaller(asyncio.get_running_loop(), on_event), Held()
        opening = Opening(agent, variables, None, user_id)
        script = await asyncio.to_thread(new_script, audio, out, realtime=realtime)
        try:
            return await background_twin(talk(self._line, opening, script, caller, held))
        except BaseException as error:
            held.attach(error)
            raise

    @overload
    def start_session(
        self,
        agent: AgentRef,
        *,
        voice: Literal[False] = False,
        variables: Mapping[str, Any] | None = None,
        continue_from: ConversationRef | None = None,
        on_event: OnEvent | None = None,
        user_id: str | None = None,
    ) -> Session: ...

    @overload
    def start_session(
        self,
        agent: AgentRef,
        *,
        voice: Literal[True],
        variables: Mapping[str, Any] | None = None,
        on_event: OnLiveEvent | None = None,
        user_id: str | None = None,
    ) -> LiveSession: ...

    def start_session(
        self,
        agent: AgentRef,
        *,
        voice: bool = False,
        variables: Mapping[str, Any] | None = None,
        continue_from: ConversationRef | None = None,
        on_event: Any = None,
        user_id: str | None = None,
    ) -> Session | LiveSession:
        """Open a conversation that you hold yourself: `say`, `context`, `end`.

        In text each `say` waits for its answer. With ``voice=True`` it goes on by itself while this process does
        other things; see `LiveSession`.

        Raises:
            InvalidValueError: The agent takes no voice, or a voice session is to go on with a conversation.
        """
        opening = Opening(agent, variables, continue_from, user_id)
        if not voice:
            return Session(self._line, opening, BlockingCaller(on_event)).start()
        _check_new(continue_from)
        return self._kept(LiveSession(self._live, background.run(self._live.prepared(opening)), opening, on_event))

    @overload
    async def astart_session(
        self,
        agent: AgentRef,
        *,
        voice: Literal[False] = False,
        variables: Mapping[str, Any] | None = None,
        continue_from: ConversationRef | None = None,
        user_id: str | None = None,
    ) -> Session: ...

    @overload
    async def astart_session(
        self,
        agent: AgentRef,
        *,
        voice: Literal[True],
        variables: Mapping[str, Any] | None = None,
        on_event: OnLiveEvent | None = None,
        user_id: str | None = None,
    ) -> LiveSession: ...

    async def astart_session(
        self,
        agent: AgentRef,
        *,
        voice: bool = False,
        variables: Mapping[str, Any] | None = None,
        continue_from: ConversationRef | None = None,
        on_event: OnLiveEvent | None = None,
        user_id: str | None = None,
    ) -> Session | LiveSession:
        """Do what `start_session` does, awaited; in text, use `asay`, `acontext` and `aend` on it."""
        opening = Opening(agent, variables, continue_from, user_id)
        if not voice:
            return await Session(self._line, opening, BlockingCaller()).astart()
        _check_new(continue_from)
        agent_now = await background_twin(self._live.prepared(opening))
        return self._kept(LiveSession(self._live, agent_now, opening, on_event))

    def open_window(self, agent: AgentRef, *, variables: Mapping[str, Any] | None = None) -> Window:
        """Begin a voice session that is held in a page of its own, and return the link to it, and the session.

        For places where a notebook shows no widgets. The link works once, within ten minutes, on this machine. This
        process stays the session's owner: it answers the agent's Python tools, and the session ends with it.

        Raises:
            InvalidValueError: The agent takes no voice.
            ConversationClosedError: The platform refused the session; says why.
        """
        opening = WindowOpening()
        session = self.start_session(agent, voice=True, variables=variables, on_event=opening.hear)
        return opening.opened(session, background.run(self._live.place()).url)

    def window_url(self, agent: AgentRef, *, variables: Mapping[str, Any] | None = None) -> str:
        """Return the link of `open_window` alone."""
        return self.open_window(agent, variables=variables).url

    @property
    def open_sessions(self) -> list[LiveSession]:
        """Return the voice sessions of this workspace that are not over, oldest first."""
        return [session for session in self._sessions.values() if session.state != "ended"]

    def undo(self, conversation: ConversationRef) -> Conversation:
        """Take back the last exchange of a conversation, and return what remains.

        Raises:
            NotSupportedError: The platform is not ours: what was said there stays said.
        """
        return background.run(self._undo(conversation_id_of(conversation)))

    async def aundo(self, conversation: ConversationRef) -> Conversation:
        """Do what `undo` does, awaited."""
        return await background_twin(self._undo(conversation_id_of(conversation)))

    def status(self) -> PlatformStatus:
        """Ask the platform who it is; starts the local one."""
        return background.run(self._status())

    async def astatus(self) -> PlatformStatus:
        """Do what `status` does, awaited."""
        return await background_twin(self._status())

    def __repr__(self) -> str:
        return f"<Workspace on {self.platform}>"

    def _kept(self, session: LiveSession) -> LiveSession:
        self._sessions[next(self._numbers)] = session
        return session

    async def _undo(self, conversation_id: str) -> Conversation:
        if not await self._transport.is_ours():
            raise NotSupportedError(
                f"{self._transport.who} cannot take back what was said; "
                "start a new conversation, or use the local platform"
            )
        path = f"/v1/local/conversations/{path_part(conversation_id, field='conversation')}/undo"
        answer = await self._transport.document("POST", path)
        remaining = answer.get("conversation")
        if isinstance(remaining, dict):
            return conversation_from_wire(remaining, platform=self.platform)
        return await self.conversations.fetch(conversation_id)

    async def _status(self) -> PlatformStatus:
        if not await self._transport.is_ours():
            await self._transport.document("GET", "/v1/convai/agents", params={"page_size": 1})
            place = await self._transport.locate()
            return PlatformStatus(platform=self.platform, url=place.url, keys=settings.key_status())
        answer = await self._transport.document("GET", "/v1/local/status")
        place, pid, keys = await self._transport.locate(), number(answer.get("pid")), answer.get("keys")
        return PlatformStatus(
            platform=self.platform,
            url=place.url,
            version=str(answer.get("version") or "") or None,
            pid=None if pid is None else int(pid),
            home=str(answer.get("home") or "") or None,
            started_at=number(answer.get("started_at_unix_secs")),
            keys={str(name): value is True for name, value in keys.items()} if isinstance(keys, dict) else {},
        )


def _check_new(continue_from: object) -> None:
    if continue_from is not None:
        raise InvalidValueError("a voice session begins a new conversation: leave it out", field="continue_from")
