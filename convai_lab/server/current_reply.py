"""Current reply: is the agent answering right now, and what happens when the user does not wait?"""

from __future__ import annotations

import asyncio
import logging
import secrets
from collections.abc import Callable
from typing import NamedTuple

from convai_lab.dialogue.conversation_loop import ConversationLoop
from convai_lab.errors import ConvaiLabError
from convai_lab.server.reply_writer import ReplyWriter
from convai_lab.server.socket_events import CRASHED, Problem, problem_of
from convai_lab.server.socket_wire import Outbox

logger = logging.getLogger("convai_lab.server")


class ReplyOver(NamedTuple):
    """A reply came to its end by itself: its event id, the index of its turn, or what went wrong."""

    event_id: int
    turn_index: int
    problem: Problem | None = None


class SpeechOver(NamedTuple):
    """A voice session has ended by itself; what went wrong, if something did."""

    problem: Problem | None = None


class CurrentReply:
    """Makes one reply at a time; `when_over` hears of every one that was not interrupted."""

    def __init__(self, loop: ConversationLoop, outbox: Outbox, *, when_over: Callable[[ReplyOver], None]) -> None:
        self._loop, self._outbox, self._when_over = loop, outbox, when_over
        self._task: asyncio.Task[None] | None = None
        self._writer = ReplyWriter(outbox, 0)

    @property
    def is_running(self) -> bool:
        """Say whether a reply is being made."""
        return self._task is not None and not self._task.done()

    def begin(self, event_id: int) -> None:
        """Start the reply to what the user said last."""
        self._writer = ReplyWriter(self._outbox, event_id)
        self._task = asyncio.get_running_loop().create_task(self._make(self._writer))

    async def interrupt(self) -> None:
        """Cut the reply short because the user said something new, and tell the client so."""
        was_running = self.is_running
        await self.stop()
        if was_running and not self._writer.is_done:
            await self._writer.interrupted()

    async def finish(self) -> None:
        """Wait until the reply has come to its end."""
        if self._task is not None:
            await asyncio.gather(self._task, return_exceptions=True)

    async def stop(self) -> None:
        """End the reply, which records what was said so far; one that is complete is sent to its end."""
        task, self._task = self._task, None
        if task is None:
            return
        if not self._writer.is_done:
            task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    async def _make(self, writer: ReplyWriter) -> None:
        problem: Problem | None = None
        try:
            await writer.write(self._loop.reply())
        except ConvaiLabError as error:
            problem = problem_of(error)
        except Exception as error:  # the edge: one reply
            problem = crash(error)
        self._when_over(ReplyOver(writer.event_id, len(self._loop.conversation.turns) - 1, problem))


def crash(error: Exception) -> Problem:
    """Log the stack trace under a short id, and give the client the id alone."""
    incident = secrets.token_hex(4)
    logger.error("incident %s", incident, exc_info=error)
    return Problem(CRASHED, "internal_error", f"something went wrong in the local platform (log: {incident})")
