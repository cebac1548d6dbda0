"""Client tools: how does a tool run in the client's own program, and what if no answer comes?"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace

from convai_lab.clock import Clock
from convai_lab.conversations.turn import ToolCall, ToolResult
from convai_lab.errors import ToolTimeoutError
from convai_lab.server import socket_events as events
from convai_lab.server.client_frames import ToolAnswer
from convai_lab.server.socket_wire import Outbox


class ClientToolCalls:
    """Asks the client to run its tools and waits for the answers.

    An answer that comes too late, twice, or to a question that nobody asked is dropped.
    """

    def __init__(self, outbox: Outbox, clock: Clock, *, event_id: Callable[[], int]) -> None:
        self._outbox, self._clock, self._event_id = outbox, clock, event_id
        self._waiting: dict[str, asyncio.Future[ToolAnswer]] = {}

    async def run(self, call: ToolCall, timeout_secs: float) -> ToolResult:
        """Run one call in the client.

        Raises:
            ToolTimeoutError: The client did not answer in time.
        """
        call_id = self._free_id(call.id)
        answer = self._waiting[call_id] = asyncio.get_running_loop().create_future()
        try:
            async with self._clock.timeout(timeout_secs):
                await self._outbox.send(events.client_tool_call(replace(call, id=call_id), self._event_id()))
                return _result(call, await answer)
        except TimeoutError:
            raise ToolTimeoutError(
                f"the client did not answer within {timeout_secs:g} seconds", tool=call.name
            ) from None
        finally:
            del self._waiting[call_id]

    def answered(self, answer: ToolAnswer) -> None:
        """Take an answer of the client."""
        waiting = self._waiting.get(answer.call_id)
        if waiting is not None and not waiting.done():
            waiting.set_result(answer)

    def _free_id(self, call_id: str) -> str:
        """Return an id under which nobody waits yet: models do repeat ids, or leave them out."""
        free, number = call_id or "call", 2
        while free in self._waiting:
            free, number = f"{call_id or 'call'}_{number}", number + 1
        return free


def _result(call: ToolCall, answer: ToolAnswer) -> ToolResult:
    return ToolResult(
        call_id=call.id,
        name=call.name,
        value=answer.value,
        is_error=answer.is_error,
        kind=call.kind,
        error_type="tool_error" if answer.is_error else None,
    )
