"""OpenAI's dialect, and what the servers that imitate it do differently."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from convai_lab.clock import SystemClock
from convai_lab.conversations.turn import ToolCall
from convai_lab.errors import ModelNotFoundError, ProviderRequestError, ProviderStreamError
from convai_lab.providers.base import LLM, ChatMessage, ChatRequest, Done, LLMEvent, TextDelta, ToolSpec, Usage
from convai_lab.providers.openai_compatible import OpenAICompatibleLLM
from convai_lab.testing.fake_vendors import NoSuchModel, Raw, Status, call, fake_openai

Read = Callable[[LLM, ChatRequest], Awaitable[list[LLMEvent]]]
Build = Callable[..., Any]


def body_of(model: str, base_url: str = "https://api.openai.com/v1", **asked: Any) -> dict[str, Any]:
    request = ChatRequest(messages=[ChatMessage(role="user", content="Hi")], **asked)
    llm = OpenAICompatibleLLM(model, api_key=None, http=None, clock=SystemClock(), base_url=base_url)  # type: ignore[arg-type]
    return llm.body(request)


def chunks(*choices: dict[str, Any], end: str = "stop", usage: Any = None) -> Raw:
    events: list[dict[str, Any]] = [{"choices": [{"index": 0, "delta": delta}]} for delta in choices]
    events.append({"choices": [{"index": 0, "delta": {}, "finish_reason": end}], "usage": usage})
    return Raw(body=b"".join(b"data: " + json.dumps(e).encode() + b"\n\n" for e in events) + b"data: [DONE]\n\n")


def tool_delta(index: int | None, id: str | None, name: str | None, arguments: Any) -> dict[str, Any]:
    part = {"index": index, "id": id, "function": {"name": name, "arguments": arguments}}
    return {"tool_calls": [{key: value for key, value in part.items() if value is not None}]}


def test_usage_is_asked_for_and_only_what_was_set_is_sent() -> None:
    body = body_of("gpt-4o")
    assert body["stream_options"] == {"include_usage": True}
    assert set(body) == {"model", "messages", "stream", "stream_options"}


@pytest.mark.parametrize("model", ["o1", "o3-mini", "o4-mini", "gpt-5", "gpt-5.2-mini", "GPT-5-nano", "gpt-6"])
def test_models_that_think_get_no_temperature_and_the_newer_limit(model: str) -> None:
    body = body_of(model, temperature=0.3, max_tokens=50, reasoning_effort="low", base_url="http://127.0.0.1/v1")
    assert "temperature" not in body
    assert (body["max_completion_tokens"], body["reasoning_effort"]) == (50, "low")
    assert "max_tokens" not in body


@pytest.mark.parametrize("model", ["gpt-4o", "gpt-4-turbo", "gpt-5-chat-latest", "gpt-3.5-turbo", "llama-o1"])
def test_other_models_get_their_temperature(model: str) -> None:
    assert body_of(model, temperature=0.0)["temperature"] == 0.0


def test_other_servers_get_the_limit_they_know() -> None:
    assert body_of("gpt-4o", max_tokens=5)["max_completion_tokens"] == 5
    assert body_of("llama3.2", base_url="http://127.0.0.1:11434/v1", max_tokens=5)["max_tokens"] == 5


@pytest.mark.parametrize(
    ("message", "dropped", "instead"),
    [
        (
            "Unsupported parameter: 'max_tokens'. Use 'max_completion_tokens' instead.",
            "max_tokens",
            "max_completion_tokens",
        ),
        ("Unsupported value: 'temperature' does not support 0.3 with this model.", "temperature", None),
        ("Unrecognized request argument supplied: stream_options", "stream_options", None),
        ("Unknown parameter: 'seed'.", "seed", None),
    ],
)
async def test_a_parameter_that_the_model_refuses_is_left_out_from_then_on(
    message: str, dropped: str, instead: str | None, llm_at: Build, read: Read
) -> None:
    request = ChatRequest(
        messages=[ChatMessage(role="user", content="Hi")], temperature=0.3, max_tokens=9, seed=1, reasoning_effort="low"
    )
    with fake_openai([Status(code=400, message=message), "Hi", "Hi again"]) as server:
        llm = llm_at("openai", server)
        await read(llm, request)
        await read(llm, request)
        first, second, third = [set(r.body) for r in server.requests]
    assert first - second == {dropped}
    assert second == third
    assert instead is None or instead in second


async def test_what_the_user_put_into_extra_body_is_never_left_out(llm_at: Build, read: Read) -> None:
    request = ChatRequest(messages=[ChatMessage(role="user", content="Hi")], extra_body={"temperature": 2, "top_k": 1})
    with fake_openai([Status(code=400, message="Unsupported value: 'temperature'")]) as server:
        with pytest.raises(ProviderRequestError):
            await read(llm_at("openai", server), request)
        assert len(server.requests) == 1
        assert server.requests[0].body["top_k"] == 1


def test_messages_keep_tool_calls_results_and_their_ids() -> None:
    asked = ChatMessage(role="assistant", tool_calls=(call("look up", q="ü", id="odd id"),))
    result = ChatMessage(role="tool", tool_call_id="odd id", name="look up", content="42")
    llm = OpenAICompatibleLLM("gpt-4o", api_key=None, http=None, clock=SystemClock(), base_url="http://x/v1")  # type: ignore[arg-type]
    user = ChatMessage(role="user", content="Hi")
    _, sent, answered = llm.body(ChatRequest(messages=[user, asked, result]))["messages"]
    assert sent["content"] is None
    assert sent["tool_calls"][0]["function"] == {"name": "look_up", "arguments": '{"q": "ü"}'}
    assert sent["tool_calls"][0]["id"] == answered["tool_call_id"]
    assert answered["content"] == "42"


@pytest.mark.parametrize(
    ("deltas", "expected"),
    [
        ([tool_delta(0, "a", "t", "{"), tool_delta(1, "b", "t", "{"), tool_delta(0, None, None, "}"),
          tool_delta(1, None, None, "}")], ["a", "b"]),
        ([tool_delta(1, "b", "t", "{}"), tool_delta(0, "a", "t", "{}")], ["b", "a"]),
        ([tool_delta(0, "a", "t", "{}"), tool_delta(0, "b", "t", "{}")], ["a", "b"]),
        ([tool_delta(None, "a", "t", "{}"), tool_delta(None, "b", "t", "{}")], ["a", "b"]),
        ([tool_delta(None, "a", "t", "{"), tool_delta(None, None, None, "}")], ["a"]),
        ([tool_delta(0, "a", "t", ""), tool_delta(0, "a", "t", "{}")], ["a"]),
        ([tool_delta(0, "a", "t", {"k": 1})], ["a"]),
    ],
    ids=["interleaved", "any order", "all index 0", "no index", "no index, pieces", "repeated", "object"],
)  # fmt: skip
async def test_tool_call_deltas_find_their_call(
    deltas: list[dict[str, Any]], expected: list[str], llm_at: Build, read: Read, hello: ChatRequest
) -> None:
    with fake_openai([chunks(*deltas)]) as server:
        events = await read(llm_at("openai", server), hello)
    calls = [event for event in events if isinstance(event, ToolCall)]
    assert [c.id for c in calls] == expected
    assert not any(c.extra for c in calls)
    assert isinstance(events[-1], Done)
    assert events[-1].finish_reason == "tool_calls"


async def test_a_call_without_an_id_gets_one_and_bad_arguments_are_kept(
    llm_at: Build, read: Read, hello: ChatRequest
) -> None:
    with fake_openai([chunks(tool_delta(0, None, "t", '{"a": '))]) as server:
        events = await read(llm_at("openai", server), hello)
    [made] = [event for event in events if isinstance(event, ToolCall)]
    assert made.id.startswith("call_")
    assert (made.arguments, made.extra) == ({}, {"raw_arguments": '{"a": '})


async def test_odd_chunks_are_survived(llm_at: Build, read: Read, hello: ChatRequest) -> None:
    odd: list[Any] = [
        {"choices": None},
        {"choices": [None, 5, {"delta": None}, {"delta": {"content": None, "tool_calls": [None, {"function": 5}]}}]},
        {"choices": [{"index": 1, "delta": {"content": "another choice"}}]},
        {"choices": [{"delta": {"content": [{"type": "text", "text": "Hi"}, {"type": "image"}, 5]}}], "model": 7},
        {"choices": [{"delta": {"refusal": " no", "reasoning_content": "hm"}}], "error": None, "usage": "x"},
        {"choices": [{"delta": {}, "finish_reason": "eos"}]},
        {"choices": [], "usage": {"prompt_tokens": -1, "completion_tokens": True, "prompt_tokens_details": 5}},
    ]
    body = b"".join(b"data: " + json.dumps(chunk).encode() + b"\n\n" for chunk in odd)
    with fake_openai([Raw(body=body)]) as server:
        events = await read(llm_at("openai", server), hello)
    assert [e.text for e in events if isinstance(e, TextDelta)] == ["Hi", " no"]
    assert isinstance(events[-1], Done)
    assert events[-1].usage == Usage()
    assert events[-1].model_served == "m-1"


async def test_a_server_that_does_not_stream_is_understood(llm_at: Build, read: Read, hello: ChatRequest) -> None:
    message = {"content": "Hi", "tool_calls": [{"id": "a", "function": {"name": "t", "arguments": "{}"}}]}
    whole = {"model": "m-2", "choices": [{"message": message, "finish_reason": "tool_calls"}]}
    with fake_openai([Raw(body=json.dumps(whole).encode(), content_type="application/json")]) as server:
        text, made, done = await read(llm_at("custom-llm", server), hello)
    assert text == TextDelta("Hi")
    assert isinstance(made, ToolCall)
    assert isinstance(done, Done)
    assert done.model_served == "m-2"


async def test_a_stream_with_the_wrong_label_is_understood(llm_at: Build, read: Read, hello: ChatRequest) -> None:
    stream = chunks({"content": "Hi"})
    with fake_openai([Raw(body=stream.body, content_type="application/json")]) as server:
        text, done = await read(llm_at("custom-llm", server), hello)
    assert text == TextDelta("Hi")
    assert isinstance(done, Done)


@pytest.mark.parametrize("body", [b"", b"[]", b'{"choices": []}', b"null"])
async def test_a_whole_answer_without_sense_is_a_stream_error(
    body: bytes, llm_at: Build, read: Read, hello: ChatRequest
) -> None:
    with fake_openai([Raw(body=body, content_type="application/json")]) as server, pytest.raises(ProviderStreamError):
        await read(llm_at("openai", server), hello)


async def test_an_end_mark_alone_is_no_answer(llm_at: Build, read: Read, hello: ChatRequest) -> None:
    with fake_openai([Raw(body=b"data: [DONE]\n\n")]) as server, pytest.raises(ProviderStreamError):
        await read(llm_at("openai", server), hello)


async def test_a_local_server_is_asked_which_models_to_suggest(llm_at: Build, read: Read, hello: ChatRequest) -> None:
    fake = fake_openai([NoSuchModel()], models=["llama3.2:latest", "qwen3:4b"])
    with fake as server, pytest.raises(ModelNotFoundError) as caught:
        await read(llm_at("ollama", server, model="lama3.2"), hello)
    assert caught.value.suggestions == ("llama3.2:latest",)


async def test_half_characters_in_a_message_do_not_stop_it(llm_at: Build, read: Read) -> None:
    with fake_openai(["Hi"]) as server:
        await read(llm_at("openai", server), ChatRequest(messages=[ChatMessage(role="user", content="a\ud800")]))
        assert server.requests[0].body["messages"][0]["content"] == "a\ufffd"


async def test_what_cannot_be_json_is_said_before_it_is_sent(llm_at: Build, read: Read) -> None:
    tools = [ToolSpec(name="t", parameters={"default": float("nan")})]
    with fake_openai([]) as server, pytest.raises(ProviderRequestError, match="cannot be written as JSON"):
        await read(llm_at("openai", server), ChatRequest(messages=[], tools=tools))
