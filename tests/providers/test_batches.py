"""What arrives together stays together, and nothing is lost or left open."""

from __future__ import annotations

import doctest
from collections.abc import AsyncIterator, Sequence

from convai_lab.conversations.turn import ToolCall
from convai_lab.providers import batches
from convai_lab.providers.base import ChatMessage, ChatRequest, Done, LLMEvent, TextDelta, Usage
from convai_lab.providers.batches import flat, joined, stream_batches

HELLO = ChatRequest(messages=[ChatMessage(role="user", content="Hello")])
CALL, DONE = ToolCall(id="1", name="look"), Done("stop", "m", Usage())


class Plain:
    """A model that only streams."""

    provider, model, is_offline = "p", "m", False
    is_closed = False

    async def stream(self, request: ChatRequest) -> AsyncIterator[LLMEvent]:
        try:
            yield TextDelta("a")
            yield DONE
        finally:
            self.is_closed = True


class Batching(Plain):
    """A model that tells what arrived together."""

    async def stream_batches(self, request: ChatRequest) -> AsyncIterator[Sequence[LLMEvent]]:
        try:
            yield [TextDelta("a"), TextDelta("b")]
            yield [DONE]
        finally:
            self.is_closed = True


async def test_a_model_that_only_streams_gives_each_event_apart() -> None:
    assert [list(some) async for some in stream_batches(Plain(), HELLO)] == [[TextDelta("a")], [DONE]]


async def test_a_model_that_tells_gives_what_came_together() -> None:
    given = [list(some) async for some in stream_batches(Batching(), HELLO)]
    assert given == [[TextDelta("a"), TextDelta("b")], [DONE]]
    assert [event async for event in flat(stream_batches(Batching(), HELLO))] == [TextDelta("a"), TextDelta("b"), DONE]


async def test_leaving_early_closes_the_model() -> None:
    for model in (Plain(), Batching()):
        events = flat(stream_batches(model, HELLO))
        assert await anext(events) == TextDelta("a")
        await events.aclose()
        assert model.is_closed


def test_only_neighbouring_texts_are_joined() -> None:
    events = [TextDelta("a"), TextDelta("b"), CALL, TextDelta("c"), DONE]
    assert joined(events) == [TextDelta("ab"), CALL, TextDelta("c"), DONE]
    assert joined([CALL, TextDelta("a"), TextDelta("")]) == [CALL, TextDelta("a")]
    assert joined([]) == []


def test_the_example_in_the_docstring_holds() -> None:
    assert doctest.testmod(batches).failed == 0
