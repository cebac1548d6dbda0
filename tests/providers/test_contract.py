"""Every language model in the registry keeps the same promises."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import pytest

from convai_lab.clock import SystemClock
from convai_lab.conversations.turn import ToolCall
from convai_lab.errors import (
    ModelNotFoundError,
    ProviderAuthError,
    ProviderConnectionError,
    ProviderError,
    ProviderRateLimitError,
    ProviderRequestError,
    ProviderStreamError,
)
from convai_lab.providers.base import LLM, ChatMessage, ChatRequest, Done, LLMEvent, TextDelta, ToolSpec, Usage
from convai_lab.providers.registry import VENDORS, load_adapter
from convai_lab.testing.fake_vendors import (
    BadKey,
    FakeVendor,
    HangUp,
    NoSuchModel,
    Raw,
    Reply,
    Sent,
    Status,
    call,
    fake_anthropic,
    fake_gemini,
    fake_openai,
)

Read = Callable[[LLM, ChatRequest], Awaitable[list[LLMEvent]]]
Build = Callable[..., Any]

FAKES = {"anthropic": fake_anthropic, "google": fake_gemini}
"""Everybody else speaks OpenAI's dialect."""
WEB_VENDORS = [name for name in VENDORS if name != "offline"]
KEY = "sk-test-0123456789abcdefghij"

every_vendor = pytest.mark.parametrize("vendor", WEB_VENDORS)


def fake(vendor: str, replies: Sequence[Any]) -> FakeVendor:
    return FAKES.get(vendor, fake_openai)(replies)


def text_of(events: Sequence[LLMEvent]) -> str:
    return "".join(event.text for event in events if isinstance(event, TextDelta))


def done(events: Sequence[LLMEvent]) -> Done:
    assert sum(isinstance(event, Done) for event in events) == 1
    assert isinstance(events[-1], Done)
    return events[-1]


@pytest.mark.parametrize("vendor", VENDORS)
def test_it_is_a_language_model(vendor: str) -> None:
    llm = load_adapter(VENDORS[vendor])("m-1", api_key=None, http=None, clock=SystemClock())
    assert isinstance(llm, LLM)
    assert llm.is_offline is (vendor == "offline")


async def test_the_offline_model_answers_without_anything(read: Read, hello: ChatRequest) -> None:
    llm = load_adapter(VENDORS["offline"])("offline", api_key=None, http=None, clock=SystemClock())
    events = await read(llm, hello)
    assert text_of(events)
    assert done(events).model_served == "offline"


@every_vendor
async def test_text_arrives_in_pieces(vendor: str, llm_at: Build, read: Read, hello: ChatRequest) -> None:
    with fake(vendor, ["Grüß Gott, schöne Welt 😀"]) as server:
        events = await read(llm_at(vendor, server), hello)
    assert text_of(events) == "Grüß Gott, schöne Welt 😀"
    assert len(events) > 3
    assert done(events).finish_reason == "stop"


@every_vendor
async def test_odd_but_legal_streams_read_the_same(vendor: str, llm_at: Build, read: Read, hello: ChatRequest) -> None:
    reply = Reply("Größe: 5 €, 東京 😀", [call("look_up", q="Ä")])
    odd = [
        Sent(reply, piece_bytes=1),
        Sent(reply, newline="\r\n", comments=True),
        Sent(reply, newline="\r", bom=True, piece_bytes=3),
        Sent(reply, no_final_newline=True),
    ]
    with fake(vendor, [reply, *odd]) as server:
        llm = llm_at(vendor, server)
        first, *others = [await read(llm, hello) for _ in range(5)]
    assert text_of(first) == reply.text
    for events in others:
        assert text_of(events) == text_of(first)
        assert done(events) == done(first)


@every_vendor
async def test_a_tool_call_arrives_whole(vendor: str, llm_at: Build, read: Read, hello: ChatRequest) -> None:
    with fake(vendor, [Reply("One moment.", [call("look_up", q="Zürich", n=3)])]) as server:
        events = await read(llm_at(vendor, server), hello)
    [tool_call] = [event for event in events if isinstance(event, ToolCall)]
    assert (tool_call.name, tool_call.arguments) == ("look_up", {"q": "Zürich", "n": 3})
    assert tool_call.id
    assert text_of(events) == "One moment."
    assert done(events).finish_reason == "tool_calls"


@every_vendor
async def test_parallel_tool_calls_keep_their_order(vendor: str, llm_at: Build, read: Read, hello: ChatRequest) -> None:
    calls = [call("look_up", q="a", id="c1"), call("look_up", q="b", id="c2"), call("end_call", id="c3")]
    with fake(vendor, [calls]) as server:
        events = await read(llm_at(vendor, server), hello)
    got = [event for event in events if isinstance(event, ToolCall)]
    assert [(c.name, c.arguments) for c in got] == [(c.name, c.arguments) for c in calls]
    assert len({c.id for c in got}) == 3


@every_vendor
async def test_odd_tool_names_go_out_safe_and_come_back_as_they_were(vendor: str, llm_at: Build, read: Read) -> None:
    request = ChatRequest(
        messages=[ChatMessage(role="user", content="Hi")],
        tools=[ToolSpec(name="Bestellung prüfen!"), ToolSpec(name="Bestellung_pr_fen_"), ToolSpec(name="x" * 90)],
    )
    with fake(vendor, [[call("Bestellung_pr_fen__2"), call("x" * 64)]]) as server:
        events = await read(llm_at(vendor, server), request)
        sent = str(server.requests[0].body)
    assert [e.name for e in events if isinstance(e, ToolCall)] == ["Bestellung prüfen!", "x" * 90]
    assert "prüfen" not in sent
    assert "x" * 65 not in sent


@every_vendor
async def test_a_bare_tool_has_a_schema_and_no_empty_description(vendor: str, llm_at: Build, read: Read) -> None:
    tools = [ToolSpec(name="bare", parameters={}), ToolSpec(name="full", description="Does it.")]
    with fake(vendor, ["Hi"]) as server:
        await read(llm_at(vendor, server), ChatRequest(messages=[], tools=tools))
        sent = str(server.requests[0].body["tools"])
    assert "''" not in sent
    assert sent.count("'description': 'Does it.'") == 1
    assert vendor == "google" or sent.count("'type': 'object'") == 2


@every_vendor
async def test_usage_and_the_model_served_are_reported(
    vendor: str, llm_at: Build, read: Read, hello: ChatRequest
) -> None:
    reply = Reply("Hi", usage=Usage(input=100, output=20, cached_input=30, reasoning=5), model_served="m-1-2026-01-01")
    with fake(vendor, [reply]) as server:
        end = done(await read(llm_at(vendor, server), hello))
    assert end.model_served == "m-1-2026-01-01"
    assert end.usage._replace(cache_write=None) == Usage(100, 20, 30, None, 5)


@every_vendor
async def test_a_limit_of_tokens_and_a_filter_are_told_apart(
    vendor: str, llm_at: Build, read: Read, hello: ChatRequest
) -> None:
    replies = [Reply("Hi", finish_reason="length"), Reply("Hi", finish_reason="content_filter")]
    with fake(vendor, replies) as server:
        llm = llm_at(vendor, server)
        assert [done(await read(llm, hello)).finish_reason for _ in replies] == ["length", "content_filter"]


@every_vendor
async def test_a_whole_tool_exchange_can_be_sent_back(vendor: str, llm_at: Build, read: Read) -> None:
    with fake(vendor, [Reply("Let me see.", [call("look_up", q="a"), call("look_up", q="b")]), "Found."]) as server:
        llm = llm_at(vendor, server)
        user = ChatMessage(role="user", content="Hi")
        events = await read(llm, ChatRequest(messages=[user], tools=[ToolSpec(name="look_up")]))
        calls = tuple(event for event in events if isinstance(event, ToolCall))
        answers = [ChatMessage(role="tool", tool_call_id=c.id, name=c.name, content=f"r{c.arguments}") for c in calls]
        history = [user, ChatMessage(role="assistant", content="Let me see.", tool_calls=calls), *answers]
        assert text_of(await read(llm, ChatRequest(messages=history))) == "Found."
        body = str(server.requests[1].body)
    for one in calls:
        assert str(one.arguments["q"]) in body


ERRORS: list[tuple[Any, type[ProviderError]]] = [
    (BadKey(), ProviderAuthError),
    (Status(code=403), ProviderAuthError),
    (NoSuchModel(), ModelNotFoundError),
    (Status(code=400), ProviderRequestError),
    (Status(code=413), ProviderRequestError),
    (Status(code=429, headers={"retry-after": "7"}), ProviderRateLimitError),
    (Status(code=500), ProviderError),
    (Status(code=529), ProviderError),
    (Status(code=503, body=b"<html>busy</html>"), ProviderError),
    (Status(code=400, body=b'[[[{"error": 5}]]]'), ProviderRequestError),
    (HangUp(), ProviderConnectionError),
    (Sent("Hello there", cut_after=2), ProviderStreamError),
    (Sent("Hello there", stop_after=2), ProviderStreamError),
    (Sent("Hello there", garbage_after=1), ProviderStreamError),
    (Raw(), ProviderStreamError),
    (Raw(body=b": only a comment\n\n"), ProviderStreamError),
    (Raw(body=b"data: 17\n\n"), ProviderStreamError),
    (Raw(body=b"data: {}\n\n"), ProviderStreamError),
    (Raw(body=b"<html>log in</html>", content_type="text/html"), ProviderStreamError),
    (Raw(body=b"data: " + b"x" * (5 << 20) + b"\n\n"), ProviderStreamError),
]


@pytest.mark.parametrize("vendor", ["openai", "anthropic", "google", "custom-llm"])
@pytest.mark.parametrize(("fault", "expected"), ERRORS, ids=lambda v: str(v)[:40] if not isinstance(v, type) else "")
async def test_every_failure_has_its_error(
    vendor: str, fault: Any, expected: type[ProviderError], llm_at: Build, read: Read, hello: ChatRequest
) -> None:
    with fake(vendor, [fault]) as server, pytest.raises(expected) as caught:
        await read(llm_at(vendor, server), hello)
    assert caught.value.provider == vendor
    assert caught.value.model == "m-1"
    assert str(caught.value).startswith(f"{vendor}: ")
    assert len(str(caught.value)) < 700
    if isinstance(fault, Status):
        assert caught.value.status == fault.code
    if isinstance(caught.value, ProviderRateLimitError):
        assert caught.value.retry_after == 7


@every_vendor
async def test_an_error_in_the_middle_of_the_stream_is_an_error(vendor: str, llm_at: Build, hello: ChatRequest) -> None:
    with fake(vendor, [Reply("Well", error=RuntimeError("it broke"))]) as server:
        stream = llm_at(vendor, server).stream(hello)
        assert await anext(stream) == TextDelta("Well")
        with pytest.raises(ProviderError, match="it broke"):
            await anext(stream)


@every_vendor
async def test_the_key_is_sent_and_never_shown(vendor: str, llm_at: Build, read: Read, hello: ChatRequest) -> None:
    with fake(vendor, [BadKey(f"the key {KEY} is wrong"), "Hi"]) as server:
        llm = llm_at(vendor, server)
        with pytest.raises(ProviderAuthError) as caught:
            await read(llm, hello)
        request = server.requests[0]
    assert KEY in str(request.headers)
    assert KEY not in str(request.query) + request.path
    assert KEY not in str(caught.value) + repr(llm) + repr(vars(caught.value))


@every_vendor
async def test_a_refused_connection_says_what_to_check(
    vendor: str, llm_at: Build, read: Read, hello: ChatRequest
) -> None:
    with fake(vendor, []) as server:
        llm = llm_at(vendor, server)
    with pytest.raises(ProviderConnectionError, match="could not connect"):
        await read(llm, hello)


@every_vendor
async def test_cancelling_closes_the_answer(vendor: str, llm_at: Build, hello: ChatRequest) -> None:
    with fake(vendor, [Sent("Hello there my friend", hang_after=4)]) as server:
        heard = asyncio.Event()

        async def listen() -> None:
            async for _ in llm_at(vendor, server).stream(hello):
                heard.set()

        task = asyncio.create_task(listen())
        await asyncio.wait_for(heard.wait(), 10)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert await asyncio.to_thread(server.wait_until_left)


@every_vendor
async def test_leaving_the_stream_closes_the_answer(vendor: str, llm_at: Build, hello: ChatRequest) -> None:
    with fake(vendor, [Sent("Hello there my friend", hang_after=4)]) as server:
        stream = llm_at(vendor, server).stream(hello)
        await anext(stream)
        await stream.aclose()
        assert await asyncio.to_thread(server.wait_until_left)


@every_vendor
async def test_connections_are_used_again(vendor: str, llm_at: Build, read: Read, hello: ChatRequest) -> None:
    with fake(vendor, ["a", "b", Status(code=400), "c"]) as server:
        llm = llm_at(vendor, server)
        for _ in range(2):
            await read(llm, hello)
        with pytest.raises(ProviderRequestError):
            await read(llm, hello)
        await read(llm, hello)
        assert server.connections == 1
