"""Agents over HTTP: the vendor's shapes, and what is wrong said with its path."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

Make = Callable[..., Any]

BODY = {
    "name": "Support",
    "conversation_config": {
        "agent": {"first_message": "Hi!", "prompt": {"prompt": "You are Sam.", "llm": "gpt-4o-mini"}},
        "from_the_future": {"kept": True},
    },
    "tags": ["a"],
}
AGENTS = "/v1/convai/agents"


async def made(client: Any, **changes: Any) -> str:
    answer = await client.post(f"{AGENTS}/create", json={**BODY, **changes})
    assert answer.status_code == 200, answer.text
    return str(answer.json()["agent_id"])


async def test_an_agent_is_created_read_changed_and_deleted(bench: Make) -> None:
    async with bench().client() as client:
        agent_id = await made(client)
        got = (await client.get(f"{AGENTS}/{agent_id}")).json()
        assert got["name"] == "Support"
        assert got["conversation_config"]["agent"]["prompt"]["prompt"] == "You are Sam."
        assert got["conversation_config"]["from_the_future"] == {"kept": True}
        assert (await client.delete(f"{AGENTS}/{agent_id}")).status_code == 204
        gone = await client.get(f"{AGENTS}/{agent_id}")
        assert gone.status_code == 404
        assert gone.json()["detail"]["status"] == "agent_not_found"
        assert (await client.delete(f"{AGENTS}/{agent_id}")).status_code == 404


async def test_every_required_key_of_the_vendors_answer_is_there(bench: Make) -> None:
    async with bench().client() as client:
        got = (await client.get(f"{AGENTS}/{await made(client)}")).json()
    assert {"agent_id", "name", "conversation_config", "metadata", "platform_settings", "workflow"} <= got.keys()
    assert {"created_at_unix_secs", "updated_at_unix_secs", "version"} <= got["metadata"].keys()
    assert {"nodes", "edges", "prevent_subagent_loops"} <= got["workflow"].keys()
    assert got["phone_numbers"] == []
    assert {"asr", "turn", "tts", "conversation", "agent"} <= got["conversation_config"].keys()


async def test_a_partial_update_merges_objects_and_replaces_lists_and_values(bench: Make) -> None:
    async with bench().client() as client:
        agent_id = await made(client)
        patch = {"conversation_config": {"agent": {"prompt": {"temperature": 0.7}}}, "tags": ["b", "c"]}
        changed = await client.patch(f"{AGENTS}/{agent_id}", json={**patch, "version_description": "warmer"})
    assert changed.status_code == 200
    got = changed.json()
    assert got["conversation_config"]["agent"]["prompt"]["temperature"] == 0.7
    assert got["conversation_config"]["agent"]["prompt"]["prompt"] == "You are Sam."
    assert got["conversation_config"]["from_the_future"] == {"kept": True}
    assert got["tags"] == ["b", "c"]
    assert got["metadata"]["version"] == 2
    assert "version_description" not in {**got, "metadata": None}


async def test_versions_are_kept_and_an_old_one_can_be_read(bench: Make) -> None:
    async with bench().client() as client:
        agent_id = await made(client)
        for name in ("Two", "Two", "Three"):
            await client.patch(f"{AGENTS}/{agent_id}", json={"name": name})
        versions = (await client.get(f"/v1/local/agents/{agent_id}/versions")).json()["versions"]
        assert [(v["metadata"]["version"], v["name"]) for v in versions] == [(3, "Three"), (2, "Two"), (1, "Support")]
        old = (await client.get(f"{AGENTS}/{agent_id}", params={"version_id": versions[-1]["version_id"]})).json()
        assert old["name"] == "Support"
        wrong = await client.get(f"{AGENTS}/{agent_id}", params={"version_id": "agtvrsn_none"})
        assert wrong.status_code == 404


async def test_what_was_read_can_be_sent_back_unchanged(bench: Make) -> None:
    async with bench().client() as client:
        agent_id = await made(client)
        got = (await client.get(f"{AGENTS}/{agent_id}")).json()
        again = await client.patch(f"{AGENTS}/{agent_id}", json=got)
        assert again.status_code == 200
        assert again.json() == got


async def test_seed_shapes_are_taken_and_stored_in_todays(bench: Make) -> None:
    seed = {"name": "Old", "prompt": {"prompt": "Be kind.", "llm": "gpt-4-turbo", "temperature": 0.5}}
    async with bench().client() as client:
        agent_id = (await client.post(f"{AGENTS}/create", json=seed)).json()["agent_id"]
        got = (await client.get(f"{AGENTS}/{agent_id}")).json()
    assert got["conversation_config"]["agent"]["prompt"]["llm"] == "gpt-4-turbo"
    assert "prompt" not in got


async def test_a_list_is_paged_searched_and_sorted(bench: Make) -> None:
    async with bench().client() as client:
        for number in range(7):
            await made(client, name=f"Agent {number}", tags=["even"] if number % 2 == 0 else [])
        names, cursor = [], None
        while True:
            params = {
                "page_size": 3,
                "sort_by": "name",
                "sort_direction": "asc",
                **({"cursor": cursor} if cursor else {}),
            }
            page = (await client.get(AGENTS, params=params)).json()
            names += [row["name"] for row in page["agents"]]
            cursor = page["next_cursor"]
            if not page["has_more"]:
                break
        assert names == [f"Agent {number}" for number in range(7)]
        found = (await client.get(AGENTS, params={"search": "agent 3"})).json()["agents"]
        assert [row["name"] for row in found] == ["Agent 3"]
        assert {"agent_id", "name", "tags", "created_at_unix_secs", "access_info"} <= found[0].keys()
        even = (await client.get(AGENTS, params={"tags": "even", "page_size": 3})).json()
        rest = (await client.get(AGENTS, params={"tags": "even", "page_size": 3, "cursor": even["next_cursor"]})).json()
        assert len(even["agents"]) == 3
        assert len(rest["agents"]) == 1
        assert not rest["has_more"]


@pytest.mark.parametrize(
    "params",
    [
        {"page_size": "0"},
        {"page_size": "101"},
        {"page_size": "x"},
        {"page_size": "9" * 400},
        {"cursor": "not-a-cursor"},
        {"sort_by": "beauty"},
        {"sort_direction": "up"},
        {"archived": "maybe"},
    ],
)
async def test_wrong_list_parameters_are_422_with_their_name(bench: Make, params: dict[str, str]) -> None:
    async with bench().client() as client:
        answer = await client.get(AGENTS, params=params)
    assert answer.status_code == 422
    assert answer.json()["detail"][0]["loc"][:2] == ["query", next(iter(params))]


async def test_every_wrong_value_is_named_with_its_path(bench: Make) -> None:
    body = {"conversation_config": {"tts": {"speed": 9}, "turn": {"mode": "telepathy"}}, "tags": "x"}
    async with bench().client() as client:
        created = await client.post(f"{AGENTS}/create", json=body)
        changed = await client.patch(f"{AGENTS}/{await made(client)}", json=body)
    for answer in (created, changed):
        assert answer.status_code == 422
        places = [problem["loc"] for problem in answer.json()["detail"]]
        assert ["body", "conversation_config", "tts", "speed"] in places
        assert ["body", "conversation_config", "turn", "mode"] in places
        assert ["body", "tags"] in places


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"name": "no config"},
        {"conversation_config": None},
        {"conversation_config": 5},
        {"conversation_config": {}, "name": 5},
        {"conversation_config": {}, "name": "x" * 5000},
        {"conversation_config": {"agent": {"prompt": {"tools": [5]}}}},
        {"conversation_config": {"agent": {"prompt": {"tools": {"a": 1}}}}},
        {"conversation_config": {"agent": []}},
        [],
        [1],
        "text",
        5,
    ],
    ids=range(13),
)
async def test_hostile_bodies_never_get_past_422(bench: Make, body: Any) -> None:
    async with bench().client() as client:
        answer = await client.post(f"{AGENTS}/create", json=body)
        assert answer.status_code == 422, answer.text
        agent_id = await made(client)
        changed = await client.patch(f"{AGENTS}/{agent_id}", json=body)
        assert changed.status_code in (200, 422), changed.text
        assert (await client.get(f"{AGENTS}/{agent_id}")).status_code == 200
        assert (await client.get(AGENTS)).json()["agents"][0]["agent_id"] == agent_id


async def test_what_only_the_platform_knows_cannot_be_set(bench: Make) -> None:
    forged = {"agent_id": "agent_mine", "version_id": "v", "metadata": {"version": 99}, "phone_numbers": [{"x": 1}]}
    async with bench().client() as client:
        agent_id = await made(client, **forged)
        got = (await client.patch(f"{AGENTS}/{agent_id}", json={**forged, "name": "New"})).json()
    assert got["agent_id"] == agent_id != "agent_mine"
    assert got["metadata"]["version"] == 2
    assert got["phone_numbers"] == []


async def test_a_copy_has_a_life_of_its_own(bench: Make) -> None:
    async with bench().client() as client:
        agent_id = await made(client)
        plain = (await client.post(f"{AGENTS}/{agent_id}/duplicate")).json()["agent_id"]
        named = (await client.post(f"{AGENTS}/{agent_id}/duplicate", json={"name": "Twin"})).json()["agent_id"]
        await client.delete(f"{AGENTS}/{agent_id}")
        assert (await client.get(f"{AGENTS}/{plain}")).json()["name"] == "Support (copy)"
        assert (await client.get(f"{AGENTS}/{named}")).json()["name"] == "Twin"
        assert (await client.post(f"{AGENTS}/{agent_id}/duplicate")).status_code == 404
        assert (await client.post(f"{AGENTS}/{named}/duplicate", json={"name": 5})).status_code == 422
        assert (await client.get(f"{AGENTS}/{named}/link")).json() == {"agent_id": named, "token": None}


async def test_the_widget_is_configured_without_a_key_and_never_with_webrtc(bench: Make) -> None:
    a_bench = bench()
    async with a_bench.client() as client:
        agent_id = await made(client, platform_settings={"widget": {"variant": "compact", "use_rtc": True}})
    async with a_bench.client(key=None, origin="http://localhost:5173") as page:
        answer = await page.get(f"{AGENTS}/{agent_id}/widget")
    assert answer.status_code == 200
    assert answer.headers["access-control-allow-origin"] == "http://localhost:5173"
    widget = answer.json()["widget_config"]
    assert widget["variant"] == "compact"
    assert widget["use_rtc"] is False
    assert widget["language"] == "en"
    assert widget["first_message"] == "Hi!"


async def test_odd_ids_are_not_found_and_do_no_harm(bench: Make) -> None:
    async with bench().client() as client:
        for odd in ("%00", "..%2f..%2fetc", "x" * 3000, "%F0%9F%98%80", "' OR 1=1 --"):
            for method in ("GET", "DELETE"):
                answer = await client.request(method, f"{AGENTS}/{odd}")
                assert answer.status_code == 404, (odd, answer.text)
                assert len(answer.text) < 600
