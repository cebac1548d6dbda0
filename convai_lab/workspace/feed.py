"""Feed: how do many conversations travel without a request for each?"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from typing import Any, NamedTuple

from convai_lab.conversations.conversation import Conversation

BATCH = 50
"""How many conversations are handed over at once; twice as many are read ahead."""
BATCH_CHARS = 2_000_000
"""How large a request that brings conversations may become, before a long one is added."""


def batches(documents: Iterable[dict[str, Any]]) -> Iterator[list[dict[str, Any]]]:
    """Yield documents in groups that fit into one request each."""
    group: list[dict[str, Any]] = []
    chars = 0
    for document in documents:
        size = len(json.dumps(document, default=str))
        if group and (len(group) == BATCH or chars + size > BATCH_CHARS):
            yield group
            group, chars = [], 0
        group.append(document)
        chars += size
    if group:
        yield group


class End(NamedTuple):
    """The end of a source, or the error that ended it."""

    error: Exception | None


class Feed:
    """Reads an asynchronous source in one task of the background loop, a bounded batch ahead."""

    def __init__(self, source: Callable[[], AsyncIterator[Conversation]]) -> None:
        self._source = source
        self._task: asyncio.Task[None] | None = None
        self._queue: asyncio.Queue[Conversation | End] = asyncio.Queue(2 * BATCH)
        self._end: End | None = None

    async def batch(self) -> list[Conversation]:
        """Return the next conversations, none at the end."""
        if self._task is None:
            self._task = asyncio.get_running_loop().create_task(self._read())
        found: list[Conversation] = []
        while self._end is None and len(found) < BATCH and (not found or not self._queue.empty()):
            item = await self._queue.get()
            if isinstance(item, Conversation):
                found.append(item)
            else:
                self._end = item
        if not found and self._end is not None and self._end.error is not None:
            raise self._end.error
        return found

    async def close(self) -> None:
        """Stop reading."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def _read(self) -> None:
        error: Exception | None = None
        try:
            async for conversation in self._source():
                await self._queue.put(conversation)
        except Exception as raised:
            error = raised
        await self._queue.put(End(error))
