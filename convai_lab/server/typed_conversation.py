"""Typed conversation: how is a conversation held in text on one socket?"""

from __future__ import annotations

from collections.abc import Callable

from convai_lab.dialogue.conversation_loop import ConversationLoop
from convai_lab.server import socket_events as events
from convai_lab.server.current_reply import CurrentReply, ReplyOver
from convai_lab.server.reply_writer import ReplyWriter
from convai_lab.server.socket_events import REFUSED, Problem
from convai_lab.server.socket_wire import Outbox

IN_TEXT = "this conversation is held in text, so nobody listens: send user_message, or start one without text_only"


class TypedConversation:
    """Answers messages one at a time; a new message interrupts the reply to the one before."""

    def __init__(
        self,
        loop: ConversationLoop,
        outbox: Outbox,
        *,
        tell: Callable[[object], None],
        said: Callable[[int, int], None],
    ) -> None:
        self.event_id = 0
        self._loop, self._outbox, self._said = loop, outbox, said
        self._reply = CurrentReply(loop, outbox, when_over=tell)
        self._refused_audio = False

    async def begin(self) -> None:
        """Say the first message."""
        if (turn := await self._loop.open()) is not None:
            self.event_id += 1
            await ReplyWriter(self._outbox, self.event_id).say(turn.text)
            self._said(self.event_id, len(self._loop.conversation.turns) - 1)

    @property
    def is_over(self) -> bool:
        """Say whether the conversation has ended by itself."""
        return self._loop.ended

    @property
    def is_busy(self) -> bool:
        """Say whether silence means nothing now, because a reply is being made."""
        return self._reply.is_running

    async def typed(self, text: str) -> None:
        """Answer the user; a reply that is still being made is interrupted first."""
        await self._reply.interrupt()
        if not self._loop.ended:
            self._loop.user_said(text, soon=True)
            self.event_id += 1
            self._reply.begin(self.event_id)

    async def time_is_up(self) -> None:
        """Say the agent's farewell, because the conversation has lasted as long as it may; a reply is cut short."""
        if self._loop.ended:
            await self._reply.finish()
            return
        await self._reply.interrupt()
        if (turn := self._loop.time_is_up()) is not None:
            self.event_id += 1
            await ReplyWriter(self._outbox, self.event_id).say(turn.text)
            self._said(self.event_id, len(self._loop.conversation.turns) - 1)

    async def hear(self, base64_audio: str) -> None:  # noqa: ARG002
        """Say once that nobody listens; the conversation goes on in text."""
        if not self._refused_audio:
            self._refused_audio = True
            await self._outbox.send(events.error(Problem(REFUSED, "voice_not_available", IN_TEXT)))

    def add_context(self, text: str) -> None:
        """Tell the agent something without a turn."""
        self._loop.add_context(text)

    def user_activity(self) -> None:
        """Hear that the user is still there; the message itself has ended the silence."""

    def reply_over(self, over: ReplyOver) -> None:
        """Take note of a reply that came to its end; what went wrong ends the conversation.

        Raises:
            Problem: The reply failed.
        """
        if over.problem is not None:
            raise over.problem
        self._said(over.event_id, over.turn_index)

    async def stop(self, reason: str, *, by: str) -> None:  # noqa: ARG002
        """End a reply that is still being made."""
        await self._reply.stop()
