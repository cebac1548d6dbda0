"""Live: one text conversation as it happens, from the first frame to the last."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Mapping
from typing import Any

from convai_lab.agents.agent import Agent
from convai_lab.clock import Clock
from convai_lab.errors import ConversationClosedError, PlatformError
from convai_lab.workspace.caller import Caller
from convai_lab.workspace.closing import closed_error, failure_in
from convai_lab.workspace.events import Ended, SessionEvent, Started, UserTurn
from convai_lab.workspace.reply import REPLY_FRAMES, ReplyTracker
from convai_lab.workspace.socket import NORMAL_CLOSE, Closed, Socket, SocketClosed
from convai_lab.workspace.tools import ToolDesk

OPEN_LIMIT_SECS = 20.0
FIRST_MESSAGE_SECS = 10.0
"""How long a first message that the agent is known to have may take; text agents on the cloud may not send it."""
REPLY_LIMIT_SECS = 90.0
"""How long nothing may happen in a reply; tools of ours that are still running do not count."""
FOLLOWED = frozenset({"client_tool_call", "error", *REPLY_FRAMES})
"""The frames that are kept in order; all others, such as audio, are passed over as they arrive."""
FAILURE_SECS = 2.0
"""How long after an error event the close may take."""
CLOSED_SECS = 10.0
"""How long it may take to read why a connection was closed on which nothing can be sent any more."""


class LiveConversation:
    """Talks over a socket: `open`, then `say` and `context`, then `close`."""

    def __init__(
        self,
        socket: Socket,
        *,
        desk: ToolDesk,
        caller: Caller,
        clock: Clock,
        grace_secs: float = 0.0,
        reply_limit_secs: float = REPLY_LIMIT_SECS,
        model: str = "",
    ) -> None:
        self.conversation_id: str | None = None
        self.closed: Closed | None = None
        self._socket, self._desk, self._caller, self._clock = socket, desk, caller, clock
        self._reply_limit_secs, self._model = reply_limit_secs, model
        self._reply = ReplyTracker(grace_secs=grace_secs)
        self._frames: asyncio.Queue[dict[str, Any] | Closed | BaseException] = asyncio.Queue()
        self._changed = asyncio.Event()
        self._failure: Exception | None = None
        self._crash: BaseException | None = None
        self._is_taking = False
        self._tasks: set[asyncio.Task[None]] = set()

    @classmethod
    def check(cls, agent: Agent) -> None:
        """Refuse an agent with which a conversation of this kind cannot be held; in text it always can."""

    @property
    def ended(self) -> bool:
        """Say whether the conversation is over."""
        return self.closed is not None

    async def open(self, initiation: Mapping[str, Any], *, has_first_message: bool, note: str | None = None) -> None:
        """Start the conversation, and hear the first message out when the agent has one."""
        self._start(self._read())
        with contextlib.suppress(SocketClosed):  # whoever closed at once may have said why: that is read below
            await self._socket.send(initiation)
        await self._until(lambda: self.conversation_id is not None, OPEN_LIMIT_SECS, "start the conversation")
        await self._tell(Started(self.conversation_id or "", note))
        self._start(self._follow())
        if has_first_message:
            with contextlib.suppress(TimeoutError):
                async with self._clock.timeout(FIRST_MESSAGE_SECS):
                    await self._reply_is_over()

    async def say(self, text: str) -> str:
        """Send the user's message and return the agent's whole reply.

        Raises:
            ConversationClosedError: The conversation ended before the reply did, or had ended already.
            ToolNotAvailableError: The agent called a tool that nobody here can run; it went on without.
        """
        if self.closed is not None:
            raise self._ended_before()
        self._reply.begin()
        await self._send({"type": "user_message", "text": text})
        await self._tell(UserTurn(text))
        await self._reply_is_over()
        self._desk.raise_if_missing()
        return self._reply.text

    async def context(self, text: str) -> None:
        """Tell the agent something without asking it to answer."""
        if self.closed is not None:
            raise self._ended_before()
        await self._send({"type": "contextual_update", "text": text})

    async def close(self) -> None:
        """End the conversation from this side; harmless when it is over."""
        if self.closed is not None:
            return await self.abandon()
        self.closed = Closed(NORMAL_CLOSE, "user")
        await self.abandon()
        return await self._caller.tell(Ended("user"))

    async def abandon(self) -> None:
        """Stop everything without telling anybody; harmless when repeated."""
        tasks, self._tasks = set(self._tasks), set()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        with contextlib.suppress(SocketClosed):
            await self._socket.close()

    @property
    def _is_idle(self) -> bool:
        """Say whether every frame that came has been told."""
        return self._frames.empty() and not self._is_taking

    def _start(self, work: Any) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _read(self) -> None:
        """Read the socket to its end: answer pings at once, queue everything else in order."""
        try:
            while True:
                frame = await self._socket.receive()
                kind = frame.get("type")
                if kind == "ping":
                    event = frame.get("ping_event")
                    with contextlib.suppress(SocketClosed):  # what came before the close is still to be read
                        await self._socket.send({"type": "pong", "event_id": (event or {}).get("event_id")})
                elif kind == "conversation_initiation_metadata":
                    self._begun(frame)
                else:
                    self._arrived(frame)
        except SocketClosed as closed:
            self._finished(closed.how)
        except Exception as error:
            self._finished(error)

    def _arrived(self, frame: dict[str, Any]) -> None:
        """Keep a frame for its turn, if it is one that matters."""
        if frame.get("type") in FOLLOWED:
            self._frames.put_nowait(frame)

    def _begun(self, frame: Mapping[str, Any]) -> None:
        event = frame.get("conversation_initiation_metadata_event")
        given = event.get("conversation_id") if isinstance(event, Mapping) else None
        if self.conversation_id is None and isinstance(given, str) and given:
            self.conversation_id = given
            self._changed.set()

    def _finished(self, how: Closed | BaseException) -> None:
        """Pass the end on, after the frames that came before it."""
        if self.conversation_id is None:
            self._drain_failures()
            self._end(how)
        else:
            self._frames.put_nowait(how)

    def _drain_failures(self) -> None:
        while not self._frames.empty():
            frame = self._frames.get_nowait()
            if isinstance(frame, dict):
                self._failure = self._failure or failure_in(frame, model=self._model)

    def _end(self, how: Closed | BaseException) -> None:
        if isinstance(how, Closed):
            self.closed = how
        else:
            self._crash = how
            self.closed = Closed(NORMAL_CLOSE, str(how))
        self._changed.set()

    async def _follow(self) -> None:
        """Take the frames one by one, and tell what they mean in the order in which they came."""
        try:
            while True:
                frame = await self._frames.get()
                self._is_taking = True
                if not isinstance(frame, dict):
                    if self._reply.patience_secs is None or isinstance(frame, Closed):
                        await self._tell(*self._reply.flush())
                    if isinstance(frame, Closed):
                        await self._tell(Ended(self._ending(frame)))
                    return self._end(frame)
                await self._take(frame)
                self._is_taking = False
                self._changed.set()
        except Exception as error:
            self._end(error)

    async def _take(self, frame: Mapping[str, Any]) -> None:
        kind = frame.get("type")
        if kind == "client_tool_call":
            await self._tool_called(frame.get("client_tool_call"))
        elif kind == "error":
            self._failure = failure_in(frame, model=self._model)
        elif kind == _TOOL_DONE:
            await self._tell(self._reply.tool_answered(**frame["done"]))
        else:
            events = self._reply.take(frame)
            if events:
                self._failure = None  # it went on: the error was not the end
            await self._tell(*events)

    async def _tool_called(self, call: Any) -> None:
        if not isinstance(call, Mapping) or not isinstance(call.get("tool_name"), str):
            raise ConversationClosedError("the platform sent a tool call without a tool's name")
        call_id, name = call.get("tool_call_id"), call["tool_name"]
        arguments = call.get("parameters")
        arguments = arguments if isinstance(arguments, Mapping) else {}
        answers = self._desk.is_answered(name)
        await self._tell(self._reply.tool_called(str(call_id), name, arguments, answers=answers))
        self._start(self._run_tool(call_id, name, arguments, answers=answers))

    async def _run_tool(self, call_id: Any, name: str, arguments: Mapping[str, Any], *, answers: bool) -> None:
        value, is_error = await self._desk.run(name, arguments, self._caller)
        done = {"call_id": str(call_id), "name": name, "value": value, "is_error": is_error, "answers": answers}
        if answers:
            result = {"type": "client_tool_result", "tool_call_id": call_id, "result": value, "is_error": is_error}
            with contextlib.suppress(SocketClosed):  # a result that comes too late is nobody's
                await self._socket.send(result)
        self._frames.put_nowait({"type": _TOOL_DONE, "done": done})

    async def _tell(self, *events: SessionEvent) -> None:
        for event in events:
            await self._caller.tell(event)

    async def _send(self, frame: Mapping[str, Any]) -> None:
        try:
            await self._socket.send(frame)
        except SocketClosed:
            await self._until(lambda: False, CLOSED_SECS, "say why it closed")

    async def _reply_is_over(self) -> None:
        """Wait until the reply is complete; a conversation that ends normally completes it too."""
        while self.closed is None:
            self._changed.clear()
            if not self._is_idle:  # the caller's own functions may take as long as they like
                await self._changes(None)
                continue
            patience = self._reply.patience_secs
            limit = FAILURE_SECS if self._failure else self._reply_limit_secs if patience is None else patience
            if limit and await self._changes(limit):
                continue
            if self._failure is not None:
                raise self._failure
            if patience is not None:
                await self._tell(*self._reply.flush())
                return
            if not self._reply.waits_for_us:
                raise self._too_slow("finish its reply", limit)
        if self._crash is not None or self._failure is not None or self.closed.code != NORMAL_CLOSE:
            raise self._error()

    async def _until(self, is_true: Any, limit: float, what: str) -> None:
        while not is_true():
            if self.closed is not None:
                raise self._error()
            self._changed.clear()
            if not await self._changes(limit):
                raise self._failure or self._too_slow(what, limit)

    async def _changes(self, limit: float | None) -> bool:
        """Wait for something to happen; false when nothing did."""
        try:
            async with self._clock.timeout(limit):
                await self._changed.wait()
        except TimeoutError:
            return False
        return True

    def _too_slow(self, what: str, limit: float) -> PlatformError:
        return ConversationClosedError(
            f"the platform did not {what} within {limit:.0f} s; the conversation was closed "
            "(an agent whose client_events leave out agent_response cannot be followed)"
        )

    def _ending(self, how: Closed) -> str:
        if self._failure is not None:
            return str(self._failure)
        return how.reason or ("the agent ended the conversation" if how.code == NORMAL_CLOSE else f"code {how.code}")

    def _error(self) -> BaseException:
        if self._crash is not None:
            return self._crash
        if self._failure is not None:
            return self._failure
        return closed_error(self.closed or Closed(NORMAL_CLOSE, ""), during_reply=True)

    def _ended_before(self) -> BaseException:
        if self._crash is not None or self._failure is not None:
            return self._error()
        return closed_error(self.closed or Closed(NORMAL_CLOSE, ""), during_reply=False)


_TOOL_DONE = "\x00 a tool of ours is done"
