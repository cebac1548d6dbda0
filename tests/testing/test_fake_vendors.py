"""The fake servers speak the dialects, remember what they were asked, and break on request."""

from __future__ import annotations

import json
from collections.abc import Callable

import httpx
import pytest

from convai_lab.testing.fake_vendors import (
    BadKey,
    FakeVendor,
    HangUp,
    NoSuchModel,
    Sent,
    Status,
    call,
    fake_anthropic,
    fake_gemini,
    fake_openai,
)

ASK = {"model": "m-1", "stream": True, "messages": [{"role": "user", "content": "Hi"}]}


def post(server: FakeVendor, path: str, body: dict[str, object] | None = None) -> httpx.Response:
    return httpx.post(server.base_url + path, json=body or ASK, headers={"authorization": "Bearer k"})


def test_it_streams_a_reply_and_keeps_the_request() -> None:
    with fake_openai(["Grüße und Küsse"]) as server:
        answer = post(server, "/chat/completions?x=1")
    events = [json.loads(line[6:]) for line in answer.text.splitlines() if line.startswith("data: {")]
    assert "".join(e["choices"][0]["delta"].get("content", "") for e in events) == "Grüße und Küsse"
    assert answer.text.rstrip().endswith("data: [DONE]")
    assert server.requests[0].body == ASK
    assert server.requests[0].query == {"x": "1"}
    assert server.requests[0].headers["authorization"] == "Bearer k"


@pytest.mark.parametrize(
    ("make", "path"),
    [
        (fake_openai, "/chat/completions"),
        (fake_anthropic, "/v1/messages"),
        (fake_gemini, "/v1beta/models/m-1:generateContent"),
    ],
)
def test_it_answers_whole_when_not_asked_to_stream(make: Callable[..., FakeVendor], path: str) -> None:
    with make([[call("look", q="x")]]) as server:
        answer = post(server, path, {**ASK, "stream": False})
    assert answer.status_code == 200
    assert '"look"' in answer.text


@pytest.mark.parametrize("make", [fake_openai, fake_anthropic, fake_gemini])
def test_it_refuses_in_the_vendors_words(make: Callable[..., FakeVendor]) -> None:
    paths = {"openai": "/chat/completions", "anthropic": "/v1/messages"}
    script = [BadKey(), NoSuchModel(), Status(code=503, headers={"retry-after": "3"}), Status(code=500, body=b"<html>")]
    with make(script) as server:
        path = paths.get(server.dialect.name, "/v1beta/models/m-1:streamGenerateContent")
        answers = [post(server, path) for _ in range(5)]
    assert [a.status_code for a in answers] == [400 if server.dialect.name == "google" else 401, 404, 503, 500, 400]
    assert "m-1" in answers[1].text
    assert answers[2].headers["retry-after"] == "3"
    assert "used up" in answers[4].text


def test_it_can_cut_and_hang_up() -> None:
    with fake_openai([Sent("Hello there", cut_after=2), HangUp()]) as server:
        for _ in range(2):
            with pytest.raises(httpx.TransportError):
                post(server, "/chat/completions")


def test_one_connection_serves_many_requests() -> None:
    with fake_openai(["a", "b"]) as server, httpx.Client() as client:
        for _ in range(2):
            client.post(server.base_url + "/chat/completions", json=ASK)
        assert server.connections == 1


def test_it_knows_when_a_client_leaves_early() -> None:
    with fake_openai([Sent("Hello there", hang_after=2)]) as server:
        with httpx.stream("POST", server.base_url + "/chat/completions", json=ASK) as answer:
            next(answer.iter_bytes())
        assert server.wait_until_left()


def test_its_settings_point_the_vendor_at_it() -> None:
    with fake_gemini() as server:
        assert server.settings == {"GOOGLE_API_KEY": server.key, "GOOGLE_GEMINI_BASE_URL": server.base_url}


def test_it_lists_models_and_has_no_other_routes() -> None:
    with fake_openai(models=["a", "b"]) as server:
        assert [m["id"] for m in httpx.get(server.base_url + "/models").json()["data"]] == ["a", "b"]
        assert httpx.get(server.base_url + "/nowhere").status_code == 404
