"""Conversations over HTTP: lists, documents, feedback, signed URLs, and the private bulk routes."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from convai_lab.conversations.conversation import Conversation
from convai_lab.conversations.turn import ToolCall, Turn

Make = Callable[..., Any]

CONVERSATIONS = "/v1/convai/conversations"


def stored(bench: Any, agent_id: str, count: int, **changes: Any) -> list[str]:
    """Store finished conversations, the first one oldest."""
    ids = []
    for number in range(count):
        conversation = Conversation(
            id=f"conv_{changes.get('source', 'live')}_{number:027d}",
            agent_id=agent_id,
            started_at=1_700_000_000.0 + number,
            duration_secs=10.0 * number,
            **{"status": "done", **changes},
            turns=(
                Turn(role="agent", text="Hi."),
                Turn(role="user", text=f"Question {number}"),
                Turn(role="agent", text="Answer.", tool_calls=(ToolCall(id="c", name="lookup"),) if number % 2 else ()),
            ),
        )
        bench.platform.conversations.start(conversation)
        ids.append(conversation.id)
    return ids


async def test_conversations_are_listed_newest_first_page_by_page(bench: Make) -> None:
    a_bench = bench()
    ids = stored(a_bench, a_bench.make_agent(), 5)
    async with a_bench.client() as client:
        first = (await client.get(CONVERSATIONS, params={"page_size": 3})).json()
        second = (await client.get(CONVERSATIONS, params={"page_size": 3, "cursor": first["next_cursor"]})).json()
    assert [row["conversation_id"] for row in first["conversations"] + second["conversations"]] == ids[::-1]
    assert (first["has_more"], second["has_more"]) == (True, False)
    needed = {"agent_id", "start_time_unix_secs", "call_duration_secs", "message_count", "status", "call_successful"}
    assert needed <= first["conversations"][0].keys()
    assert first["conversations"][0]["message_count"] == 3


@pytest.mark.parametrize(
    ("params", "numbers"),
    [
        ({"call_start_after_unix": 1_700_000_003}, [4, 3]),
        ({"call_start_before_unix": 1_700_000_002}, [1, 0]),
        ({"call_duration_min_secs": 25}, [4, 3]),
        ({"call_duration_max_secs": 15}, [1, 0]),
        ({"search": "QUESTION 2"}, [2]),
        ({"tool_names": "lookup"}, [3, 1]),
        ({"tool_names": "lookup", "page_size": 1}, [3]),
        ({"exclude_statuses": "done"}, []),
        ({"text_only": "false"}, []),
        ({"text_only": "true", "sort_direction": "asc"}, [0, 1, 2, 3, 4]),
        ({"agent_id": "agent_other"}, []),
        ({"rating_min": 1}, []),
    ],
)
async def test_lists_are_filtered(bench: Make, params: dict[str, Any], numbers: list[int]) -> None:
    a_bench = bench()
    ids = stored(a_bench, a_bench.make_agent(), 5)
    async with a_bench.client() as client:
        rows = (await client.get(CONVERSATIONS, params=params)).json()["conversations"]
    assert [row["conversation_id"] for row in rows] == [ids[number] for number in numbers]


@pytest.mark.parametrize(
    "params",
    [
        {"page_size": "1000"},
        {"cursor": "zzz"},
        {"call_start_after_unix": "yesterday"},
        {"call_duration_min_secs": "nan"},
        {"call_successful": "perhaps"},
        {"exclude_statuses": "tired"},
        {"evaluation_params": "a=b"},
        {"rating_min": "9"},
        {"text_only": "2"},
        {"summary_mode": "long"},
    ],
)
async def test_wrong_and_unknown_filters_are_refused_by_name(bench: Make, params: dict[str, str]) -> None:
    async with bench().client() as client:
        answer = await client.get(CONVERSATIONS, params=params)
    assert answer.status_code == 422
    assert answer.json()["detail"][0]["loc"][:2] == ["query", next(iter(params))]


async def test_a_conversation_is_read_and_deleted(bench: Make) -> None:
    a_bench = bench()
    [conversation_id] = stored(a_bench, a_bench.make_agent(), 1)
    async with a_bench.client() as client:
        got = (await client.get(f"{CONVERSATIONS}/{conversation_id}")).json()
        assert [turn["message"] for turn in got["transcript"]] == ["Hi.", "Question 0", "Answer."]
        assert {"has_audio", "has_user_audio", "has_response_audio", "has_auxiliary_audio", "metadata"} <= got.keys()
        audio = await client.get(f"{CONVERSATIONS}/{conversation_id}/audio")
        assert audio.json()["detail"]["status"] == "audio_not_found"
        assert (await client.delete(f"{CONVERSATIONS}/{conversation_id}")).status_code == 200
        gone = await client.get(f"{CONVERSATIONS}/{conversation_id}")
        assert (gone.status_code, gone.json()["detail"]["status"]) == (404, "conversation_not_found")


async def test_a_page_leaves_feedback_without_a_key(bench: Make) -> None:
    a_bench = bench()
    [conversation_id] = stored(a_bench, a_bench.make_agent(), 1)
    path = f"{CONVERSATIONS}/{conversation_id}/feedback"
    async with a_bench.client(key=None, origin="http://localhost:1") as page:
        asked = await page.options(path, headers={"access-control-request-method": "POST"})
        assert asked.status_code == 204
        assert "POST" in asked.headers["access-control-allow-methods"]
        assert asked.headers["access-control-allow-headers"] == "content-type"
        body = {"feedback": "like", "rating": 5, "comment": "Very good 👍"}
        assert (await page.post(path, json=body)).status_code == 200
        for wrong in ({"feedback": "love"}, {"rating": 6}, {"rating": True}, {"comment": "x" * 20_000}, [], "x"):
            assert (await page.post(path, json=wrong)).status_code == 422
    async with a_bench.client() as client:
        feedback = (await client.get(f"{CONVERSATIONS}/{conversation_id}")).json()["metadata"]["feedback"]
        rated = (await client.get(CONVERSATIONS, params={"rating_min": 4})).json()["conversations"]
    assert (feedback["overall_score"], feedback["likes"], feedback["rating"]) == ("like", 1, 5)
    assert len(rated) == 1


@pytest.mark.parametrize("spelling", ["get-signed-url", "get_signed_url"])
async def test_a_signed_url_leads_to_this_platform_for_fifteen_minutes(bench: Make, spelling: str) -> None:
    a_bench = bench()
    agent_id = a_bench.make_agent()
    async with a_bench.client() as client:
        path = f"/v1/convai/conversation/{spelling}"
        answer = await client.get(path, params={"agent_id": agent_id, "include_conversation_id": "true"})
        missing = await client.get(path)
        unknown = await client.get(path, params={"agent_id": "agent_none"})
    url = urlsplit(answer.json()["signed_url"])
    query = {name: values[0] for name, values in parse_qs(url.query).items()}
    assert (url.scheme, url.netloc, url.path) == ("ws", "127.0.0.1:8300", "/v1/convai/conversation")
    signed = a_bench.platform.door.signer.verify(agent_id, query["conversation_signature"])
    assert signed is not None
    assert 0 < signed.expires_at - a_bench.clock.wall() <= 15 * 60
    assert signed.conversation_id == query["conversation_id"]
    assert missing.status_code == 422
    assert unknown.status_code == 404


async def test_the_token_route_says_what_to_use_instead(bench: Make) -> None:
    a_bench = bench()
    agent_id = a_bench.make_agent()
    async with a_bench.client(key=None, origin="http://localhost:1") as page:
        answer = await page.get("/v1/convai/conversation/token", params={"agent_id": agent_id})
    assert answer.status_code == 400
    assert "connectionType 'websocket'" in answer.json()["detail"]["message"]
    assert answer.headers["access-control-allow-origin"] == "http://localhost:1"


async def test_whole_documents_are_streamed_a_line_each(bench: Make) -> None:
    a_bench = bench()
    agent_id = a_bench.make_agent()
    ids = stored(a_bench, agent_id, 4)
    simulated = stored(a_bench, agent_id, 1, source="simulated")
    async with a_bench.client() as client:

        async def lines(**params: Any) -> list[str]:
            answer = await client.get("/v1/local/conversations.ndjson", params=params)
            assert answer.status_code == 200, answer.text
            assert answer.headers["content-type"].startswith("application/x-ndjson")
            documents = [json.loads(line) for line in answer.text.splitlines()]
            assert all("transcript" in document for document in documents)
            return [document["conversation_id"] for document in documents]

        assert await lines() == ids[::-1]
        assert await lines(limit=2) == ids[:1:-1]
        assert await lines(limit=0) == []
        assert await lines(source="simulated") == simulated
        assert set(await lines(source="all")) == {*ids, *simulated}
        assert await lines(since_unix=1_700_000_002) == ids[:1:-1]
        assert await lines(conversation_id=ids[1]) == [ids[1]]
        assert await lines(agent_id="agent_other") == []
        for wrong in ({"source": "dreams"}, {"limit": "-1"}, {"since_unix": "x"}):
            assert (await client.get("/v1/local/conversations.ndjson", params=wrong)).status_code == 422


async def test_undo_takes_back_the_last_exchange(bench: Make) -> None:
    a_bench = bench()
    [conversation_id] = stored(a_bench, a_bench.make_agent(), 1)
    async with a_bench.client() as client:
        path = f"/v1/local/conversations/{conversation_id}/undo"
        answer = (await client.post(path)).json()
        assert answer["removed"] == 2
        assert [turn["message"] for turn in answer["conversation"]["transcript"]] == ["Hi."]
        assert (await client.post(path)).json()["removed"] == 0
        assert (await client.post("/v1/local/conversations/conv_none/undo")).status_code == 404


async def test_a_conversation_that_a_session_holds_is_409(bench: Make) -> None:
    a_bench = bench()
    a_bench.platform.live.release_secs = 0
    [conversation_id] = stored(a_bench, a_bench.make_agent(), 1)
    with a_bench.platform.live.hold(conversation_id):
        async with a_bench.client() as client:
            for method, path in (
                ("POST", f"/v1/local/conversations/{conversation_id}/undo"),
                ("DELETE", f"{CONVERSATIONS}/{conversation_id}"),
            ):
                answer = await client.request(method, path)
                assert answer.status_code == 409
                assert answer.json()["detail"]["status"] == "conversation_busy"


async def test_calling_out_says_that_there_is_no_number(bench: Make) -> None:
    a_bench = bench()
    body = {"agent_id": a_bench.make_agent(), "agent_phone_number_id": "phnum_1", "to_number": "+15550100"}
    async with a_bench.client() as client:
        answer = await client.post("/v1/convai/twilio/outbound-call", json=body)
        assert (answer.status_code, answer.json()["detail"]["status"]) == (404, "phone_number_not_found")
        missing = await client.post("/v1/convai/twilio/outbound-call", json={"to_number": 5})
        assert missing.status_code == 422
        assert len(missing.json()["detail"]) == 3
        assert (await client.get("/v1/convai/phone-numbers")).json() == []
