"""Conversations that were held elsewhere are kept on the local platform, apart from those of people."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from convai_lab.conversations.conversation import Conversation
from convai_lab.conversations.turn import Turn
from convai_lab.conversations.wire_format import conversation_to_wire

Make = Callable[..., Any]

ROUTE = "/v1/local/conversations"


def held(number: int = 0, **changes: Any) -> Conversation:
    made = Conversation(
        id=f"conv_{number:032d}",
        agent_id="agent_1",
        agent_name="Sam",
        source="simulated",
        scenario="order",
        variant="gpt-4o-mini",
        seed=7,
        started_at=1_700_000_000.0,
        turns=(Turn(role="user", text="Where is it?"), Turn(role="agent", text="On its way.")),
    )
    return made.with_changes(**changes)


def body(*conversations: Conversation) -> dict[str, Any]:
    return {"conversations": [conversation_to_wire(one) for one in conversations]}


async def test_they_are_kept_whole_and_listed_only_when_asked_for(bench: Make) -> None:
    platform = bench()
    async with platform.client() as client:
        answer = await client.post(ROUTE, json=body(held(1), held(2)))
        assert (answer.status_code, answer.json()) == (200, {"stored": 2})
        assert (await client.get("/v1/convai/conversations")).json()["conversations"] == []
        listed = (await client.get("/v1/convai/conversations", params={"source": "simulated"})).json()
        assert len(listed["conversations"]) == 2
    kept = platform.platform.conversations.get(held(1).id)
    assert (kept.variant, kept.scenario, kept.seed, kept.source) == ("gpt-4o-mini", "order", 7, "simulated")
    assert [turn.text for turn in kept] == ["Where is it?", "On its way."]


async def test_the_same_again_changes_nothing_and_a_newer_one_replaces_it(bench: Make) -> None:
    platform = bench()
    async with platform.client() as client:
        for _ in range(2):
            await client.post(ROUTE, json=body(held(1), held(1)))
        newer = held(1, turns=(Turn(role="user", text="Again?"),))
        await client.post(ROUTE, json=body(newer))
    assert len(platform.platform.conversations.list(source=("simulated",)).items) == 1
    assert [turn.text for turn in platform.platform.conversations.get(held(1).id)] == ["Again?"]


async def test_what_people_said_is_never_replaced(bench: Make) -> None:
    platform = bench()
    platform.platform.conversations.start(held(1, source="live", turns=(Turn(role="user", text="Mine."),)))
    async with platform.client() as client:
        answer = await client.post(ROUTE, json=body(held(1)))
    assert answer.json() == {"stored": 0}
    assert platform.platform.conversations.get(held(1).id).turns[0].text == "Mine."


@pytest.mark.parametrize(
    ("sent", "said"),
    [
        ({}, "a list of at most 1000 conversations"),
        ({"conversations": "all"}, "a list of at most 1000 conversations"),
        ({"conversations": [{}] * 1001}, "a list of at most 1000 conversations"),
        ({"conversations": [3]}, "conversation"),
        ({"conversations": [{}]}, "conversation_id"),
        (body(held(1), held(2, source="live")), "only conversations of source simulated, replay, import"),
        (body(held(1), held(2, status="in-progress")), "must have an id and be over"),
        (body(held(1), held(2, id="")), "must have an id"),
    ],
)
async def test_what_is_wrong_is_refused_whole(bench: Make, sent: dict[str, Any], said: str) -> None:
    platform = bench()
    async with platform.client() as client:
        answer = await client.post(ROUTE, json=sent)
    assert answer.status_code == 422, answer.text
    assert said in answer.text
    assert platform.platform.conversations.list(source=("simulated", "live")).items == ()


async def test_nobody_without_the_key_adds_any(bench: Make) -> None:
    platform = bench()
    async with platform.client(key=None) as client:
        assert (await client.post(ROUTE, json=body(held(1)))).status_code == 401


async def test_a_list_can_be_of_one_source_or_status(bench: Make) -> None:
    platform = bench()
    platform.platform.conversations.start(held(9, source="live"))
    async with platform.client() as client:
        await client.post(ROUTE, json=body(held(1), held(2, status="failed")))

        async def ids(**query: str) -> list[int]:
            answer = await client.get("/v1/convai/conversations", params=query)
            return sorted(int(row["conversation_id"][5:]) for row in answer.json()["conversations"])

        assert await ids() == [9]
        assert await ids(source="simulated") == [1, 2]
        assert await ids(source="all") == [1, 2, 9]
        assert await ids(source="all", status="failed") == [2]
        for wrong in ({"source": "dreams"}, {"status": "odd"}):
            assert (await client.get("/v1/convai/conversations", params=wrong)).status_code == 422
