"""Batches: which events of a model's answer arrived together?

A model may offer `stream_batches(request)` beside `stream`. Passing on what came in one packet as one thing saves most
of the work where thousands of answers are read.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Sequence

from convai_lab.providers.base import LLM, ChatRequest, LLMEvent, TextDelta

Batches = AsyncGenerator[Sequence[LLMEvent], None]


def stream_batches(llm: LLM, request: ChatRequest) -> Batches:
    """Stream an answer by what arrives together; event by event from a model that does not tell."""
    offered = getattr(llm, "stream_batches", None)
    if offered is None:
        return one_by_one(llm.stream(request))
    batches: Batches = offered(request)
    return batches


async def one_by_one(events: AsyncIterator[LLMEvent]) -> Batches:
    """Yield every event as a batch of its own."""
    try:
        async for event in events:
            yield (event,)
    finally:
        if (close := getattr(events, "aclose", None)) is not None:
            await close()


async def flat(batches: Batches) -> AsyncGenerator[LLMEvent, None]:
    """Yield the events of batches, one after the other."""
    try:
        async for events in batches:
            for event in events:
                yield event
    finally:
        await batches.aclose()


def joined(events: Sequence[LLMEvent]) -> Sequence[LLMEvent]:
    """Return the events of a batch with neighbouring pieces of text as one.

    Example:
        >>> joined([TextDelta("Good "), TextDelta("day.")])
        [TextDelta(text='Good day.')]
    """
    if len(events) < 2:
        return events
    found: list[LLMEvent] = []
    texts: list[str] = []
    for event in events:
        if isinstance(event, TextDelta):
            texts.append(event.text)
            continue
        if texts:
            found.append(TextDelta("".join(texts)))
            texts.clear()
        found.append(event)
    return [*found, TextDelta("".join(texts))] if texts else found
