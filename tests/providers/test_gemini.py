"""Gemini's dialect: parts, signatures that must go back, function calls without ids."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from convai_lab.clock import SystemClock
from convai_lab.conversations.turn import ToolCall
from convai_lab.errors import ProviderAuthError, ProviderStreamError
from convai_lab.providers.base import LLM, ChatMessage, ChatRequest, Done, LLMEvent, TextDelta, ToolSpec, Usage
from convai_lab.providers.gemini import GeminiLLM
from convai_lab.testing.fake_vendors import BadKey, Raw, Sent, call, fake_gemini

Read = Callable[[LLM, ChatRequest], Awaitable[list[LLMEvent]]]
Build = Callable[..., Any]
USER = ChatMessage(role="user", content="Hi")
ASK = ChatRequest(messages=[USER])


def body_of(model: str = "gemini-2.5-flash", messages: Any = (USER,), **asked: Any) -> dict[str, Any]:
    llm = GeminiLLM(model, api_key=None, http=None, clock=SystemClock(), base_url="http://x")  # type: ignore[arg-type]
    return llm.body(ChatRequest(messages=messages, **asked))


def responses(*documents: Any) -> Raw:
    return Raw(body=b"".join(b"data: " + json.dumps(d).encode() + b"\r\n\r\n" for d in documents))


def candidate(*parts: Any, end: str | None = None, **more: Any) -> dict[str, Any]:
    return {"candidates": [{"content": {"role": "model", "parts": list(parts)}, "finishReason": end}], **more}


def test_roles_are_user_and_model_and_the_system_prompt_goes_apart() -> None:
    agent = ChatMessage(role="assistant", content="Hello!")
    body = body_of(messages=[ChatMessage(role="system", content="Be kind."), agent, USER])
    assert body["systemInstruction"] == {"parts": [{"text": "Be kind."}]}
    assert [content["role"] for content in body["contents"]] == ["user", "model", "user"]


def test_settings_have_their_own_names() -> None:
    body = body_of(temperature=0.2, max_tokens=9, seed=4)
    assert body["generationConfig"] == {"temperature": 0.2, "maxOutputTokens": 9, "seed": 4}
    assert "generationConfig" not in body_of()


@pytest.mark.parametrize(
    ("model", "effort", "thinking"),
    [
        ("gemini-2.5-flash", "none", {"thinkingBudget": 0}),
        ("gemini-2.5-pro", "none", {"thinkingBudget": 128}),
        ("gemini-2.5-flash", "low", {"thinkingBudget": 1024}),
        ("gemini-3-pro-preview", "low", {"thinkingLevel": "low"}),
        ("gemini-3.5-flash", "none", {"thinkingLevel": "minimal"}),
        ("gemini-10-flash", "max", {"thinkingLevel": "high"}),
    ],
)
def test_effort_is_a_budget_or_a_level(model: str, effort: str, thinking: dict[str, Any]) -> None:
    assert body_of(model, reasoning_effort=effort)["generationConfig"] == {"thinkingConfig": thinking}


def test_a_thinking_budget_is_sent_as_it_is() -> None:
    assert body_of(thinking_budget=0)["generationConfig"] == {"thinkingConfig": {"thinkingBudget": 0}}


def test_tools_without_parameters_have_none() -> None:
    tools = [ToolSpec(name="end_call"), ToolSpec(name="t", parameters={"properties": {"a": {"type": "string"}}})]
    first, second = body_of(tools=tools)["tools"][0]["functionDeclarations"]
    assert "parameters" not in first
    assert second["parameters"] == {"type": "object", "properties": {"a": {"type": "string"}}}


async def test_the_key_travels_in_a_header_and_the_model_in_the_path(llm_at: Build, read: Read) -> None:
    with fake_gemini(["Hi"]) as server:
        await read(llm_at("google", server, model="gemini-2.5-flash"), ASK)
        request = server.requests[0]
    assert request.path == "/v1beta/models/gemini-2.5-flash:streamGenerateContent"
    assert request.query == {"alt": "sse"}
    assert "x-goog-api-key" in request.headers


async def test_a_model_name_cannot_leave_its_place_in_the_path(llm_at: Build, read: Read) -> None:
    with fake_gemini(["Hi"]) as server:
        await read(llm_at("google", server, model="../../x?y=1#z"), ASK)
        assert server.requests[0].path == "/v1beta/models/../../x?y=1#z:streamGenerateContent"
        assert server.requests[0].query == {"alt": "sse"}


async def test_signatures_and_ids_go_back_where_they_came_from(llm_at: Build, read: Read) -> None:
    parts = (
        {"functionCall": {"name": "a", "args": {"q": 1}, "id": "v1"}, "thoughtSignature": "c2ln"},
        {"functionCall": {"name": "b"}},
    )
    with fake_gemini([responses(candidate(*parts, end="STOP")), "Done."]) as server:
        llm = llm_at("google", server, model="gemini-3-flash-preview")
        first, second, done = await read(llm, ASK)
        assert isinstance(first, ToolCall)
        assert isinstance(second, ToolCall)
        assert isinstance(done, Done)
        assert (first.id, second.id[:5], done.finish_reason) == ("v1", "call_", "tool_calls")
        results = [
            ChatMessage(role="tool", tool_call_id="v1", content='{"ok": true}'),
            ChatMessage(role="tool", tool_call_id=second.id, content="broken", is_error=True),
        ]
        history = [USER, ChatMessage(role="assistant", content="See.", tool_calls=(first, second)), *results]
        await read(llm, ChatRequest(messages=history))
        _, asked, answered = server.requests[1].body["contents"]
    assert asked["parts"] == [
        {"text": "See."},
        {"functionCall": {"name": "a", "args": {"q": 1}, "id": "v1"}, "thoughtSignature": "c2ln"},
        {"functionCall": {"name": "b", "args": {}}},
    ]
    assert answered["parts"] == [
        {"functionResponse": {"name": "a", "response": {"ok": True}, "id": "v1"}},
        {"functionResponse": {"name": "b", "response": {"error": "broken"}}},
    ]


def test_calls_of_another_model_get_the_documented_stand_in_for_a_signature() -> None:
    history = [USER, ChatMessage(role="assistant", tool_calls=(call("a"), call("b", id="c2")))]
    sent = body_of("gemini-3.5-flash", history)["contents"][1]["parts"]
    assert [part.get("thoughtSignature") for part in sent] == ["skip_thought_signature_validator", None]
    assert "thoughtSignature" not in body_of("gemini-2.5-flash", history)["contents"][1]["parts"][0]


@pytest.mark.parametrize("content", ["plain", "[1]", "17", "", "{"])
def test_a_tool_answer_is_always_an_object(content: str) -> None:
    history = [USER, ChatMessage(role="assistant", tool_calls=(call("a"),)), ChatMessage(role="tool", content=content)]
    [part] = body_of(messages=history)["contents"][2]["parts"]
    assert part["functionResponse"]["response"] == {"result": content}


async def test_thoughts_are_not_said_but_counted(llm_at: Build, read: Read) -> None:
    usage = {"promptTokenCount": 10, "candidatesTokenCount": 5, "thoughtsTokenCount": 7, "cachedContentTokenCount": 4}
    said = candidate({"text": "hm", "thought": True}, {"text": "Hi"}, {"thoughtSignature": "x"}, end="STOP")
    with fake_gemini([responses(said | {"usageMetadata": usage, "modelVersion": "gemini-x-001"})]) as server:
        text, done = await read(llm_at("google", server), ASK)
    assert text == TextDelta("Hi")
    assert done == Done("stop", "gemini-x-001", Usage(10, 12, 4, None, 7))


@pytest.mark.parametrize(
    ("reason", "expected"),
    [
        ("SAFETY", "content_filter"),
        ("MAX_TOKENS", "length"),
        ("MALFORMED_FUNCTION_CALL", "other"),
        ("NEW_ONE", "other"),
    ],
)
async def test_every_reason_to_stop_is_understood(reason: str, expected: str, llm_at: Build, read: Read) -> None:
    with fake_gemini([responses(candidate(end=reason))]) as server:
        [done] = await read(llm_at("google", server), ASK)
    assert isinstance(done, Done)
    assert done.finish_reason == expected


async def test_a_blocked_prompt_is_a_filtered_answer(llm_at: Build, read: Read) -> None:
    with fake_gemini([responses({"promptFeedback": {"blockReason": "OTHER"}})]) as server:
        [done] = await read(llm_at("google", server), ASK)
    assert isinstance(done, Done)
    assert done.finish_reason == "content_filter"


async def test_odd_responses_are_survived(llm_at: Build, read: Read) -> None:
    odd = [
        {"candidates": None},
        {"candidates": [5]},
        {"candidates": [{"content": {"parts": [None, {"text": 5}, {"functionCall": 5}, {"inlineData": {}}]}}]},
        {"candidates": [{"content": {"parts": [{"functionCall": {"name": None, "args": [1]}}]}}], "modelVersion": 5},
        candidate({"text": "Hi"}, end="STOP", usageMetadata={"promptTokenCount": "x"}),
    ]
    with fake_gemini([responses(*odd)]) as server:
        made, text, done = await read(llm_at("google", server), ASK)
    assert isinstance(made, ToolCall)
    assert made.extra == {"raw_arguments": "[1]"}
    assert text == TextDelta("Hi")
    assert isinstance(done, Done)
    assert done.usage == Usage()


async def test_an_answer_without_a_finish_reason_was_cut(llm_at: Build, read: Read) -> None:
    with (
        fake_gemini([Sent("Hello there", stop_after=1)]) as server,
        pytest.raises(ProviderStreamError, match="cut off"),
    ):
        await read(llm_at("google", server), ASK)


async def test_a_bad_key_is_a_400_here_and_still_a_bad_key(llm_at: Build, read: Read) -> None:
    with fake_gemini([BadKey()]) as server, pytest.raises(ProviderAuthError) as caught:
        await read(llm_at("google", server), ASK)
    assert caught.value.status == 400
