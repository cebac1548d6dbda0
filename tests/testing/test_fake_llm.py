"""The scripted model does what its script says."""

from __future__ import annotations

import pytest

from convai_lab.clock import VirtualClock
from convai_lab.conversations.turn import ToolCall
from convai_lab.errors import ProviderError
from convai_lab.providers.base import LLM, ChatMessage, ChatRequest, Done, LLMEvent, TextDelta
from convai_lab.testing.fake_llm import FakeLLM, Reply, as_reply, call

HELLO = ChatRequest(messages=[ChatMessage(role="user", content="Hi")])


async def read(llm: LLM) -> list[LLMEvent]:
    return [event async for event in llm.stream(HELLO)]


async def test_it_is_a_language_model() -> None:
    assert isinstance(FakeLLM(), LLM)


async def test_the_pieces_of_a_text_join_to_the_text() -> None:
    events = await read(FakeLLM(["It ships  tomorrow, at noon."]))
    assert "".join(e.text for e in events if isinstance(e, TextDelta)) == "It ships  tomorrow, at noon."
    assert isinstance(events[-1], Done)
    assert events[-1].finish_reason == "stop"


async def test_tool_calls_come_whole_and_end_the_answer_as_such() -> None:
    events = await read(FakeLLM([[call("a", x=1), call("b", {"y": 2})]]))
    assert [(e.name, e.arguments) for e in events if isinstance(e, ToolCall)] == [("a", {"x": 1}), ("b", {"y": 2})]
    assert isinstance(events[-1], Done)
    assert events[-1].finish_reason == "tool_calls"


async def test_an_error_is_raised_after_the_text_before_it() -> None:
    stream = FakeLLM([Reply("Well", error=ProviderError("broke", provider="fake"))]).stream(HELLO)
    assert await anext(stream) == TextDelta("Well")
    with pytest.raises(ProviderError):
        await anext(stream)


async def test_requests_are_kept_and_an_empty_script_says_so() -> None:
    llm = FakeLLM(["one"])
    await read(llm)
    with pytest.raises(AssertionError, match="request 2 has no reply left"):
        await read(llm)
    assert llm.requests == [HELLO, HELLO]


async def test_a_function_may_answer() -> None:
    events = await read(FakeLLM(lambda request: request.messages[-1].content.upper()))
    assert events[0] == TextDelta("HI")


async def test_leaving_early_is_counted() -> None:
    llm = FakeLLM(["one two three"])
    stream = llm.stream(HELLO)
    await anext(stream)
    await stream.aclose()
    assert llm.cancelled == 1


def test_delays_pass_on_the_given_clock() -> None:
    clock = VirtualClock()
    llm = FakeLLM([Reply("a b c", delay_secs=2, piece_secs=0.5)], clock=clock)
    clock.run(read(llm))
    assert clock.now() == 3.0


def test_a_script_refuses_what_it_cannot_say() -> None:
    with pytest.raises(TypeError, match="not int"):
        as_reply(7)  # type: ignore[arg-type]
