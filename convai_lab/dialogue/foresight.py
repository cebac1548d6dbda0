"""Foresight: may the model begin to answer before it is sure that the user has finished?

In a spoken conversation the last part of every turn is silence. A model that is asked at its beginning has answered
when it ends; when the user goes on, the answer is thrown away. Its tokens were used all the same, and are not counted.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from convai_lab.providers.base import LLM, ChatRequest, LLMEvent


class Foresight:
    """A model that was asked already; what it says to that request is taken from what came so far."""

    def __init__(self, llm: LLM, request: ChatRequest) -> None:
        self.provider, self.model, self.is_offline = llm.provider, llm.model, llm.is_offline
        self.llm = llm
        self._request = request
        self._events: asyncio.Queue[LLMEvent | Exception | None] = asyncio.Queue()
        self._task: asyncio.Task[None] | None = asyncio.get_running_loop().create_task(self._read())

    async def stream(self, request: ChatRequest) -> AsyncIterator[LLMEvent]:
        """Answer the request that was foreseen from what came so far, and any other by the model itself."""
        if (
            self._task is not None
            and request.messages == self._request.messages
            and request.tools == self._request.tools
        ):
            async for event in self._foreseen(self._task):
                yield event
            return
        self.drop()
        async with _closing(self.llm.stream(request)) as events:
            async for event in events:
                yield event

    def of(self, llm: LLM) -> Foresight | None:
        """Return this if it is this model that was asked; otherwise what it answers is thrown away."""
        if self.llm is llm:
            return self
        self.drop()
        return None

    def drop(self) -> None:
        """Throw away what came; the model is told to stop."""
        if self._task is not None:
            self._task.cancel()
            self._task = None

    async def _foreseen(self, task: asyncio.Task[None]) -> AsyncIterator[LLMEvent]:
        self._task = None
        try:
            while (event := await self._events.get()) is not None:
                if isinstance(event, Exception):
                    raise event
                yield event
        finally:
            task.cancel()

    async def _read(self) -> None:
        try:
            async with _closing(self.llm.stream(self._request)) as events:
                async for event in events:
                    self._events.put_nowait(event)
        except Exception as error:  # told to whoever takes the answer, if anybody does
            self._events.put_nowait(error)
        self._events.put_nowait(None)


@asynccontextmanager
async def _closing(events: AsyncIterator[LLMEvent]) -> AsyncIterator[AsyncIterator[LLMEvent]]:
    try:
        yield events
    finally:
        if (close := getattr(events, "aclose", None)) is not None:
            await close()
