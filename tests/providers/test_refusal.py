"""Error answers mean the same in every dialect, and never show a key."""

from __future__ import annotations

import json
from typing import Any

import pytest

from convai_lab.errors import (
    ModelNotFoundError,
    ProviderAuthError,
    ProviderError,
    ProviderRateLimitError,
    ProviderRequestError,
    ProviderTimeoutError,
)
from convai_lab.providers.refusal import Asker, Refused, close_names, refusal, stream_refusal
from convai_lab.settings import Secret

KEY = Secret("short-key")
ASKER = Asker("vendor", "gpt-4p-mini", KEY, ["gpt-4o-mini", "gpt-4o", "o3"])


def answer(status: int, body: Any) -> Refused:
    return refusal(ASKER, status, body if isinstance(body, str) else json.dumps(body))


MISSING = {
    "openai": (404, {"error": {"message": "The model `x` does not exist or you do not have access to it."}}),
    "openai code": (404, {"error": {"message": "?", "code": "model_not_found"}}),
    "openai project": (403, {"error": {"message": "Project `p` does not have access to model `x`"}}),
    "openai retired": (404, {"error": {"message": "The model `gpt-4-0314` has been deprecated, learn more here"}}),
    "openai id": (400, {"error": {"message": "invalid model ID", "type": "invalid_request_error"}}),
    "anthropic": (404, {"type": "error", "error": {"type": "not_found_error", "message": "model: claude-x"}}),
    "gemini": (
        404,
        {"error": {"code": 404, "message": "models/x is not found for API version", "status": "NOT_FOUND"}},
    ),
    "gemini list": (
        404,
        [{"error": {"code": 404, "message": "Requested entity was not found.", "status": "NOT_FOUND"}}],
    ),
    "gemini retired": (404, {"error": {"message": "This model models/x is no longer available to new users."}}),
    "ollama": (404, {"error": {"message": 'model "x" not found, try pulling it first', "type": "not_found_error"}}),
    "ollama native": (404, {"error": "model 'x' not found"}),
    "vllm": (
        404,
        {"object": "error", "message": "The model `x` does not exist.", "type": "NotFoundError", "code": 404},
    ),
    "lm studio": (400, {"error": {"message": 'Invalid model identifier "x".', "code": "model_not_found"}}),
    "openrouter": (400, {"error": {"message": "x/y is not a valid model ID", "code": 400}}),
    "groq": (400, {"error": {"message": "The model `x` has been decommissioned", "code": "model_decommissioned"}}),
}


@pytest.mark.parametrize("dialect", MISSING)
def test_no_such_model_is_understood_in_every_dialect(dialect: str) -> None:
    refused = answer(*MISSING[dialect])
    assert isinstance(refused.error, ModelNotFoundError)
    assert refused.error.suggestions == ("gpt-4o-mini", "gpt-4o")
    assert "did you mean gpt-4o-mini" in str(refused.error)
    assert not refused.passing


@pytest.mark.parametrize(
    "message",
    [
        "`temperature` is deprecated for this model.",
        "Unsupported parameter: 'max_tokens' is not supported with this model. Use 'max_completion_tokens' instead.",
        "This model's maximum context length is 8192 tokens.",
        "messages: text content blocks must be non-empty",
        "tool `x` not found",
    ],
)
def test_other_complaints_are_not_mistaken_for_a_missing_model(message: str) -> None:
    assert type(answer(400, {"error": {"message": message}}).error) is ProviderRequestError


@pytest.mark.parametrize(
    ("status", "body", "kind"),
    [
        (401, {"error": {"message": "Incorrect API key provided"}}, ProviderAuthError),
        (403, "", ProviderAuthError),
        (
            400,
            {"error": {"message": "API key not valid.", "details": [{"reason": "API_KEY_INVALID"}]}},
            ProviderAuthError,
        ),
        (400, {"error": {"message": "API key expired. Please renew the API key."}}, ProviderAuthError),
        (402, {"error": {"type": "billing_error", "message": "pay"}}, ProviderRateLimitError),
        (429, {"error": {"status": "RESOURCE_EXHAUSTED", "message": "quota"}}, ProviderRateLimitError),
        (408, "", ProviderTimeoutError),
        (504, {"error": {"status": "DEADLINE_EXCEEDED"}}, ProviderTimeoutError),
        (404, "<html>404</html>", ProviderRequestError),
        (405, "", ProviderRequestError),
        (422, {"detail": [{"msg": "no"}]}, ProviderRequestError),
        (302, "", ProviderError),
        (500, "plain words", ProviderError),
        (599, "\x00\xff", ProviderError),
    ],
)
def test_statuses_and_bodies_have_their_error(status: int, body: Any, kind: type[ProviderError]) -> None:
    error = answer(status, body).error
    assert type(error) is kind
    assert error.status == status
    assert "<html>" not in str(error)


@pytest.mark.parametrize("body", ["", "null", "[]", "17", '"x"', "{}", '{"error": []}', '{"error": {"message": {}}}'])
@pytest.mark.parametrize("status", [400, 404, 429, 500])
def test_bodies_without_sense_are_survived(status: int, body: str) -> None:
    assert answer(status, body).error.status == status


def test_a_body_nested_too_deep_is_survived() -> None:
    assert answer(500, '{"error":' * 50_000).error.status == 500


def test_the_vendors_words_are_on_one_line_short_and_without_keys() -> None:
    message = "bad\nkey short-key and sk-abcdefghijklmnop1234\r\n" + "blah " * 200
    said = str(answer(401, {"error": {"message": message}}).error)
    assert "bad key ********" in said
    assert "short-key" not in said
    assert "abcdefghijklmnop" not in said
    assert "\n" not in said
    assert len(said) < 600


@pytest.mark.parametrize(
    ("error", "status"),
    [
        ({"type": "overloaded_error", "message": "Overloaded"}, 529),
        ({"type": "rate_limit_error"}, 429),
        ({"code": 503, "status": "UNAVAILABLE"}, 503),
        ({"code": "server_error"}, 500),
        ({"code": True}, 500),
        ("words", 500),
        ([], 500),
    ],
)
def test_errors_inside_a_stream_have_a_status_too(error: Any, status: int) -> None:
    assert stream_refusal(ASKER, error).error.status == status


def test_suggestions_ignore_case_and_come_closest_first() -> None:
    assert close_names("GPT-4O-MINI", ["gpt-4o", "gpt-4o-mini"]) == ["gpt-4o-mini", "gpt-4o"]
    assert close_names("zzz", ["gpt-4o"]) == []
