"""Anthropic's dialect: alternating roles, blocks, thinking that must go back, models that refuse a temperature."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from convai_lab.clock import SystemClock
from convai_lab.conversations.turn import ToolCall
from convai_lab.errors import ProviderStreamError
from convai_lab.providers.anthropic import AnthropicLLM
from convai_lab.providers.base import LLM, ChatMessage, ChatRequest, Done, LLMEvent, TextDelta
from convai_lab.testing.fake_vendors import Raw, Status, call, fake_anthropic

Read = Callable[[LLM, ChatRequest], Awaitable[list[LLMEvent]]]
Build = Callable[..., Any]
USER = ChatMessage(role="user", content="Hi")


def body_of(model: str = "claude-sonnet-4-5", messages: Any = (USER,), **asked: Any) -> dict[str, Any]:
    llm = AnthropicLLM(model, api_key=None, http=None, clock=SystemClock(), base_url="http://x")  # type: ignore[arg-type]
    return llm.body(ChatRequest(messages=messages, **asked))


def roles(body: dict[str, Any]) -> list[str]:
    return [message["role"] for message in body["messages"]]


def events(*kinds: dict[str, Any]) -> Raw:
    return Raw(body=b"".join(f"event: {k['type']}\ndata: {json.dumps(k)}\n\n".encode() for k in kinds))


END = ({"type": "message_delta", "delta": {"stop_reason": "end_turn"}}, {"type": "message_stop"})


def block(index: int, start: dict[str, Any], *deltas: dict[str, Any]) -> list[dict[str, Any]]:
    return [
        {"type": "content_block_start", "index": index, "content_block": start},
        *({"type": "content_block_delta", "index": index, "delta": delta} for delta in deltas),
        {"type": "content_block_stop", "index": index},
    ]


def test_the_system_prompt_goes_apart_and_later_notes_stay_in_place() -> None:
    note = ChatMessage(role="system", content="The user opened the cart.")
    body = body_of(
        messages=[ChatMessage(role="system", content="A"), ChatMessage(role="system", content="B"), USER, note]
    )
    assert body["system"] == "A\n\nB"
    assert [b["text"] for b in body["messages"][0]["content"]] == ["Hi", "The user opened the cart."]


def test_roles_alternate_and_the_user_is_first_and_last() -> None:
    agent = ChatMessage(role="assistant", content="Hello!")
    assert roles(body_of(messages=[agent, agent, USER, USER, agent])) == [
        "user",
        "assistant",
        "user",
        "assistant",
        "user",
    ]
    assert roles(body_of(messages=[])) == ["user"]


def test_empty_texts_are_left_out() -> None:
    blank = ChatMessage(role="assistant", content=" \n")
    body = body_of(messages=[USER, blank, USER])
    assert roles(body) == ["user"]
    assert [b["text"] for b in body["messages"][0]["content"]] == ["Hi", "Hi"]


def test_results_of_parallel_calls_come_together_before_the_words() -> None:
    asked = ChatMessage(role="assistant", content="See.", tool_calls=(call("a", id="c1"), call("b", id="c2")))
    results = [
        ChatMessage(role="tool", tool_call_id="c1", content="1"),
        ChatMessage(role="user", content="And?"),
        ChatMessage(role="tool", tool_call_id="c2", content="broken", is_error=True),
    ]
    body = body_of(messages=[USER, asked, *results])
    assert [b["type"] for b in body["messages"][1]["content"]] == ["text", "tool_use", "tool_use"]
    assert body["messages"][2]["content"] == [
        {"type": "tool_result", "tool_use_id": "c1", "content": "1"},
        {"type": "tool_result", "tool_use_id": "c2", "content": "broken", "is_error": True},
        {"type": "text", "text": "And?"},
    ]


@pytest.mark.parametrize("model", ["claude-opus-4-7", "claude-opus-4-8", "claude-sonnet-5", "claude-haiku-5-20270101"])
def test_newer_models_get_no_temperature_and_decide_how_much_to_think(model: str) -> None:
    body = body_of(model, temperature=0.3, thinking_budget=2000, reasoning_effort="xhigh")
    assert "temperature" not in body
    assert body["thinking"] == {"type": "adaptive"}
    assert body["output_config"] == {"effort": "xhigh"}
    assert body_of(model, reasoning_effort="none")["thinking"] == {"type": "disabled"}


@pytest.mark.parametrize("model", ["claude-3-5-sonnet", "claude-sonnet-4", "claude-opus-4-20250514", "claude-opus-4-6"])
def test_older_models_get_a_temperature_within_their_range(model: str) -> None:
    assert body_of(model, temperature=0.3)["temperature"] == 0.3
    assert body_of(model, temperature=2.0)["temperature"] == 1.0


def test_a_thinking_budget_leaves_room_for_the_answer_and_no_temperature() -> None:
    body = body_of("claude-sonnet-4-5", thinking_budget=100, temperature=0.5, max_tokens=300)
    assert body["thinking"] == {"type": "enabled", "budget_tokens": 1024}
    assert body["max_tokens"] == 1324
    assert "temperature" not in body


def test_there_is_always_a_limit_of_tokens() -> None:
    assert body_of("claude-3-haiku")["max_tokens"] == 4096
    assert body_of()["max_tokens"] == 8192
    assert body_of(max_tokens=5)["max_tokens"] == 5


async def test_a_refused_temperature_is_left_out(llm_at: Build, read: Read) -> None:
    refused = Status(code=400, message="`temperature` is deprecated for this model.")
    with fake_anthropic([refused, "Hi"]) as server:
        await read(llm_at("anthropic", server), ChatRequest(messages=[USER], temperature=0.1))
        assert "temperature" not in server.requests[1].body


async def test_thinking_is_not_said_but_goes_back_with_the_call(llm_at: Build, read: Read) -> None:
    thinking = block(
        0,
        {"type": "thinking", "thinking": "", "signature": ""},
        {"type": "thinking_delta", "thinking": "Hm"},
        {"type": "thinking_delta", "thinking": "m."},
        {"type": "signature_delta", "signature": "c2ln"},
    )
    secret = block(1, {"type": "redacted_thinking", "data": "xyz"})
    use = block(2, {"type": "tool_use", "id": "t1", "name": "a", "input": {}})
    with fake_anthropic([events(*thinking, *secret, *use, *END), "Done."]) as server:
        llm = llm_at("anthropic", server)
        made, done = await read(llm, ChatRequest(messages=[USER]))
        assert isinstance(made, ToolCall)
        assert isinstance(done, Done)
        assert done.finish_reason == "tool_calls"
        result = ChatMessage(role="tool", tool_call_id="t1", content="ok")
        await read(llm, ChatRequest(messages=[USER, ChatMessage(role="assistant", tool_calls=(made,)), result]))
        sent = server.requests[1].body["messages"][1]["content"]
    assert sent == [
        {"type": "thinking", "thinking": "Hmm.", "signature": "c2ln"},
        {"type": "redacted_thinking", "data": "xyz"},
        {"type": "tool_use", "id": "t1", "name": "a", "input": {}},
    ]


async def test_usage_counts_the_cache_as_input_and_the_last_count_wins(llm_at: Build, read: Read) -> None:
    first = {"input_tokens": 10, "cache_read_input_tokens": 5, "cache_creation_input_tokens": 2, "output_tokens": 1}
    start = {"type": "message_start", "message": {"model": "claude-x-1", "usage": first}}
    delta = {
        "type": "message_delta",
        "delta": {"stop_reason": "max_tokens"},
        "usage": {"output_tokens": 40, "output_tokens_details": {"thinking_tokens": 9}},
    }
    with fake_anthropic([events(start, delta, {"type": "message_stop"})]) as server:
        [done] = await read(llm_at("anthropic", server), ChatRequest(messages=[USER]))
    assert isinstance(done, Done)
    assert done.usage._asdict() == {"input": 17, "output": 40, "cached_input": 5, "cache_write": 2, "reasoning": 9}
    assert (done.finish_reason, done.model_served) == ("length", "claude-x-1")


async def test_odd_events_are_survived(llm_at: Build, read: Read) -> None:
    odd: list[dict[str, Any]] = [
        {"type": "message_start", "message": None},
        {"type": "from_the_future", "x": 1},
        {"type": "content_block_delta", "index": 9, "delta": {"type": "text_delta", "text": "Hi"}},
        {"type": "content_block_delta", "index": 9, "delta": None},
        {"type": "content_block_delta", "delta": {"type": "citations_delta"}},
        {"type": "content_block_stop", "index": 77},
        *block(1, {"type": "server_tool_use", "id": "s", "name": "web"}, {"type": "input_json_delta"}),
        {"type": "ping"},
    ]
    with fake_anthropic([events(*odd, *END)]) as server:
        text, done = await read(llm_at("anthropic", server), ChatRequest(messages=[USER]))
    assert text == TextDelta("Hi")
    assert isinstance(done, Done)


async def test_a_tool_block_that_was_never_closed_is_still_a_call(llm_at: Build, read: Read) -> None:
    opened = block(0, {"type": "tool_use", "id": "t", "name": "a"}, {"type": "input_json_delta", "partial_json": "{"})[
        :-1
    ]
    with fake_anthropic([events(*opened, *END)]) as server:
        made, _ = await read(llm_at("anthropic", server), ChatRequest(messages=[USER]))
    assert isinstance(made, ToolCall)
    assert made.extra == {"raw_arguments": "{"}


async def test_an_answer_without_a_stop_reason_was_cut(llm_at: Build, read: Read) -> None:
    with (
        fake_anthropic([events(*block(0, {"type": "text", "text": "Hi"}))]) as server,
        pytest.raises(ProviderStreamError),
    ):
        await read(llm_at("anthropic", server), ChatRequest(messages=[USER]))


async def test_the_version_of_the_api_is_named(llm_at: Build, read: Read) -> None:
    with fake_anthropic(["Hi"]) as server:
        await read(llm_at("anthropic", server), ChatRequest(messages=[USER]))
        assert server.requests[0].path == "/v1/messages"
        assert server.requests[0].headers["anthropic-version"] == "2023-06-01"
