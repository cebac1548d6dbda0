"""Reply writer: how does the client see one reply as it is made?"""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing

from convai_lab.conversations.turn import ToolResult
from convai_lab.dialogue.reply import ReplyDone, ReplyEvent, ReplyText, ToolFinished, ToolStarted
from convai_lab.server import socket_events as events
from convai_lab.server.socket_wire import Outbox

END_CALL = "end_call"


class ReplyWriter:
    """Sends one reply: its parts as they come, tool calls, then the whole response, once.

    A reply has more than one turn when the conversation is handed to another agent; the client gets one response.
    What a finished `end_call` has to say is held back until the response is out, because browsers leave at once
    when they hear of it.
    """

    def __init__(self, outbox: Outbox, event_id: int) -> None:
        self.event_id = event_id
        self.said = ""
        self.is_done = False
        self._outbox = outbox
        self._started = False
        self._is_new_turn = False
        self._held_back: list[ToolResult] = []

    async def write(self, reply: AsyncGenerator[ReplyEvent, None]) -> None:
        """Send a reply to its end; when this is cancelled, the reply is closed and records what was said so far."""
        async with aclosing(reply):
            async for event in reply:
                await self._write(event)
        self.is_done = True
        await self._finish()

    async def say(self, text: str) -> None:
        """Send a turn that is there as a whole, such as the first message."""
        await self._part(text)
        await self._finish()

    async def interrupted(self) -> None:
        """Tell the client that the reply was cut short, and how much of it counts as said."""
        if self._started:
            await self._outbox.send(events.response_part("stop", "", self.event_id))
        await self._outbox.send(events.interruption(self.event_id))
        await self._outbox.send(events.correction(self.said, self.said, self.event_id))

    async def _write(self, event: ReplyEvent) -> None:
        match event:
            case ReplyText(text=text):
                await self._part(text)
            case ToolStarted(call=call):
                await self._outbox.send(events.tool_request(call, self.event_id))
            case ToolFinished(result=result) if result.name == END_CALL and not result.is_error:
                self._held_back.append(result)
            case ToolFinished(result=result):
                await self._send_result(result)
            case ReplyDone():
                self._is_new_turn = True

    async def _part(self, text: str) -> None:
        await self._start()
        if self._is_new_turn and self.said and not self.said[-1].isspace():
            text = f" {text}"
        self._is_new_turn = False
        self.said += text
        await self._outbox.send(events.response_part("delta", text, self.event_id))

    async def _start(self) -> None:
        if not self._started:
            self._started = True
            await self._outbox.send(events.response_part("start", "", self.event_id))

    async def _finish(self) -> None:
        await self._start()
        await self._outbox.send(events.response_part("stop", "", self.event_id))
        await self._outbox.send(events.response(self.said, self.event_id))
        for result in self._held_back:
            await self._send_result(result)

    async def _send_result(self, result: ToolResult) -> None:
        await self._outbox.send(events.tool_response(result, self.event_id))
        await self._outbox.send(events.full_tool_response(result, self.event_id))
