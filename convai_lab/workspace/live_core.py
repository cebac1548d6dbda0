"""Live core: what is known of a live session on every thread, and its life on the background loop, start to end."""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextlib
import logging
import threading
import time
from collections.abc import Callable, Mapping
from typing import Any

from convai_lab import background
from convai_lab.agents.agent import Agent
from convai_lab.agents.wire_format import agent_to_wire
from convai_lab.conversations.conversation import Conversation
from convai_lab.conversations.turn import Turn
from convai_lab.errors import ConvaiLabError, ConversationClosedError, NotSupportedError
from convai_lab.settings import scrub
from convai_lab.workspace import live_events as live
from convai_lab.workspace.chat import Opening
from convai_lab.workspace.events import Ended, Started
from convai_lab.workspace.live_call import LiveCall
from convai_lab.workspace.live_line import LiveLine

logger = logging.getLogger("convai_lab.workspace")

ENDED_HERE = "you ended the session"
UNSENT = "you ended the session before it was connected; what you said was not sent"
LAST_WORDS_SECS = 15.0
"""So long an ended session that is still being connected waits to hand over what was said."""
SYSTEM_REASONS = {"silence": "nobody said anything any more", "end_call": "the agent ended the conversation"}
"""How what a record says of its end is said to a person."""
RECORD_SECS = 15.0
LOOK_SECS = 0.2
"""Who waits looks so often, because on some systems an interrupt is heard only between two looks."""


class LiveCore:
    """One live session, without a reference to whoever holds it.

    Its attributes are replaced whole, on the loop's thread, and may be read from any.
    """

    def __init__(self, line: LiveLine, agent: Agent, opening: Opening) -> None:
        self.agent, self.platform = agent, line.platform
        self.state: live.LiveState = "connecting"
        self.end_reason: str | None = None
        self.engines = live.EngineNames()
        self.conversation = Conversation(
            id="",
            agent_id=agent.id or "",
            agent_name=agent.name,
            first_version=agent.version,
            last_version=agent.version,
            platform=line.platform,
            channel="voice",
            status="initiated",
        )
        self.media_kind: live.MediaKind = "text"
        self.is_muted = False
        self._line, self._opening = line, opening
        self._over: concurrent.futures.Future[Conversation] = concurrent.futures.Future()
        self._subscribers: list[Callable[[live.LiveEvent], object]] = []
        self._failing: list[Callable[[live.LiveEvent], object]] = []
        self._lock = threading.Lock()
        self._outgoing: asyncio.Queue[Mapping[str, Any]] = asyncio.Queue()
        self._end_asked, self._has_words = asyncio.Event(), False
        self._call: LiveCall | None = None
        self._task: asyncio.Task[None] | None = None

    # From any thread

    def start(self) -> None:
        """Begin, on the background loop."""
        background.loop().call_soon_threadsafe(self._start)

    def post(self, frame: Mapping[str, Any]) -> None:
        """Send a frame, in order; what is sent before the session is connected waits for it."""
        if not self._over.done():
            self._has_words = self._has_words or frame.get("type") == "user_message"
            background.loop().call_soon_threadsafe(self._outgoing.put_nowait, frame)

    def mute(self, on: bool) -> None:
        """Let the agent hear silence, or the user again, and tell whoever shows it."""
        self.is_muted = on
        self.post({"type": "live_mute", "on": on})
        background.loop().call_soon_threadsafe(self._tell, live.Muted(on))

    def end(self) -> None:
        """Begin to end."""
        if not self._over.done():
            with contextlib.suppress(RuntimeError):  # the loop is gone with the process
                background.loop().call_soon_threadsafe(self._end_asked.set)

    def wait(self, timeout_secs: float | None) -> Conversation:
        """Wait for the record; an interrupt leaves the session as it is."""
        until = None if timeout_secs is None else time.monotonic() + timeout_secs
        while True:
            left = LOOK_SECS if until is None else until - time.monotonic()
            try:
                return self._over.result(max(0.0, min(left, LOOK_SECS)))
            except concurrent.futures.TimeoutError:
                if until is not None and left <= LOOK_SECS:
                    raise TimeoutError(f"the session is still {self.state} after {timeout_secs:g} s") from None

    async def ended(self) -> Conversation:
        """Await the record on any loop; giving up leaves the session as it is."""
        return await asyncio.shield(asyncio.wrap_future(self._over))

    def subscribe(self, callback: Callable[[live.LiveEvent], object]) -> Callable[[], None]:
        """Tell `callback` every event from now on."""
        with self._lock:
            self._subscribers = [*self._subscribers, callback]

        def unsubscribe() -> None:
            with self._lock:
                self._subscribers = [one for one in self._subscribers if one is not callback]

        return unsubscribe

    def check_open(self) -> None:
        """Refuse what can no longer be done.

        Raises:
            ConversationClosedError: The session is over; says why.
        """
        if self.state == "ended":
            raise ConversationClosedError(f"the session is over ({self.end_reason}): start a new one")

    # On the background loop

    async def use_agent(self, agent: Agent) -> None:
        """Let another agent speak from its next turn on."""
        self.check_open()
        if not await self._line.is_ours():
            raise NotSupportedError(
                f"{self._line.who} keeps the agent that a session began with: end it, and start a new one"
            )
        if self._call is None or self.state == "connecting":
            raise ConvaiLabError("the session has not begun to talk: change the agent and start a new one")
        await self._call.use_agent(agent, _document(agent))
        self.agent = agent

    def _start(self) -> None:
        self._task = asyncio.get_running_loop().create_task(self._live())

    async def _live(self) -> None:
        """Open, carry frames until the end, and bring the record home."""
        try:
            reason = await self._held()
        except ConvaiLabError as error:
            reason = scrub(str(error))
        except asyncio.CancelledError:
            self._finish("this process ended")
            raise
        except Exception as error:  # the edge: one session
            logger.error("a live session failed", exc_info=error)
            reason = f"something went wrong here ({type(error).__name__}): what was said so far is stored"
        await self._bring_home()
        self._finish(SYSTEM_REASONS.get(self.conversation.end_reason or "", reason))

    async def _held(self) -> str:
        call = self._call = await self._opened()
        if call is None:
            return UNSENT if self._has_words else ENDED_HERE
        sender, over, asked = (
            asyncio.create_task(work) for work in (self._send(call), call.over(), self._end_asked.wait())
        )
        try:
            await asyncio.wait({over, asked}, return_when=asyncio.FIRST_COMPLETED)
            if not over.done():
                sender.cancel()
                await self._hand_over(call)
                await call.close()
                return ENDED_HERE
            return self._reason(call, str(over.result()))
        finally:
            for task in (sender, over, asked):
                task.cancel()
            await asyncio.gather(sender, over, asked, return_exceptions=True)
            await call.abandon()

    async def _opened(self) -> LiveCall | None:
        """Open the session; None when it was ended before it stood, and nothing had been said."""
        opening = asyncio.create_task(self._line.open(self.agent, self._opening, self._watch))
        asked = asyncio.create_task(self._end_asked.wait())
        try:
            await asyncio.wait({opening, asked}, return_when=asyncio.FIRST_COMPLETED)
            if self._has_words:  # they belong into the record
                await asyncio.wait({opening}, timeout=LAST_WORDS_SECS)
            return opening.result() if opening.done() else None
        finally:
            for task in (opening, asked):
                task.cancel()
            await asyncio.gather(opening, asked, return_exceptions=True)

    async def _hand_over(self, call: LiveCall) -> None:
        """Send what was said before the end, and learn under which id it is recorded."""
        while not self._outgoing.empty():
            await call.post(self._outgoing.get_nowait())
        if self._has_words and not self.conversation.id:
            await call.begun(LAST_WORDS_SECS)
            self.conversation = self.conversation.with_changes(id=call.conversation_id or "")

    def _reason(self, call: LiveCall, said: str) -> str:
        if not call.was_lost:
            return said
        ours = "the platform process is gone" if self.platform == "local" else "the connection to the platform was lost"
        return f"{ours}; what was said so far is stored: start a new session to go on"

    async def _send(self, call: LiveCall) -> None:
        while True:
            await call.post(await self._outgoing.get())

    async def _bring_home(self) -> None:
        """Fetch the record; when that fails, what is known of it here stays."""
        if not self.conversation.id:
            return
        with contextlib.suppress(ConvaiLabError, TimeoutError):
            async with asyncio.timeout(RECORD_SECS):
                self.conversation = await self._line.record(self.conversation.id)

    def _finish(self, reason: str) -> None:
        if self._over.done():
            return
        if self.conversation.status in ("initiated", "in-progress"):
            self.conversation = self.conversation.with_changes(status="done", end_reason=reason)
        self.end_reason, self.state = reason, "ended"
        self._tell(live.StateChanged("ended", reason))
        self._over.set_result(self.conversation)
        with self._lock:
            self._subscribers, self._failing = [], []

    # What happens

    def _watch(self, event: live.LiveEvent) -> None:
        match event:
            case Started(conversation_id=conversation_id):
                self.conversation = self.conversation.with_changes(
                    id=conversation_id, status="in-progress", started_at=self._line.clock.wall()
                )
            case live.StateChanged(state=state):
                self.state = state
            case live.EnginesKnown(engines=engines):
                self.engines = engines
            case live.TurnStored(index=index, turn=turn):
                self.conversation = _with_turn(self.conversation, index, turn)
            case Ended():
                logger.debug("a live session ended")
        self._tell(event)

    def _tell(self, event: live.LiveEvent) -> None:
        for callback in self._subscribers:
            try:
                callback(event)
            except Exception as error:  # the edge: somebody else's callback
                if callback not in self._failing:  # it is told once, not ten times a second
                    self._failing.append(callback)
                    logger.error("a listener of a live session failed on %s", type(event).__name__, exc_info=error)


def _document(agent: Agent) -> dict[str, Any]:
    """Return an agent's document with what its turns are signed with."""
    return {**agent_to_wire(agent), "agent_id": agent.id, "metadata": {"version": agent.version}}


def _with_turn(conversation: Conversation, index: int, turn: Turn) -> Conversation:
    """Return the record with a turn in its place; one that would leave a gap goes to the end."""
    turns = conversation.turns
    changed = (*turns[:index], turn, *turns[index + 1 :])
    return conversation.with_changes(turns=changed, last_version=turn.agent_version or conversation.last_version)
