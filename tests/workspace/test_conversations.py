"""List, load and remove conversations."""

from __future__ import annotations

import asyncio
import datetime
from typing import Any

import pytest
from starlette.responses import JSONResponse, Response

from convai_lab.conversations.conversation import Conversation
from convai_lab.errors import InvalidValueError, NotFoundError, NotSupportedError, PlatformError
from convai_lab.workspace.since import unix_secs
from convai_lab.workspace.workspace import Workspace

NOW = 1_767_000_000


def fill(recording: Any, count: int, *, agent_id: str = "agent_1") -> list[str]:
    ids = [recording.new_conversation(agent_id, started_at=NOW + 60 * at) for at in range(count)]
    for conversation_id in ids:
        recording.said(conversation_id, "user", f"Hello from {conversation_id}")
    return list(reversed(ids))


def test_a_list_is_lazy_newest_first_and_shows_itself(ws: Workspace, recording: Any) -> None:
    ids = fill(recording, 5)
    recording.page_size = 2
    found = ws.conversations.list()
    assert recording.asked == []
    assert found[0].id == ids[0]
    assert len(recording.paths()) == 1
    assert [row.id for row in found] == ids
    assert repr(found).startswith("5 conversations\nid")
    assert "Support" in found._repr_html_()


def test_a_summary_knows_its_row_and_loads_the_rest_once(ws: Workspace, recording: Any) -> None:
    [conversation_id] = fill(recording, 1)
    [row] = ws.conversations.list()
    recording.asked.clear()
    assert (row.id, row.agent_id, row.n_turns, row.status, row.duration_secs) == (
        conversation_id,
        "agent_1",
        1,
        "done",
        3,
    )
    assert row
    assert recording.asked == []
    assert row.turns[0].text == f"Hello from {conversation_id}"
    assert [turn.role for turn in row] == ["user"]
    assert len(row) == 1
    assert row[0] is row.turns[0]
    assert isinstance(row.load(), Conversation)
    assert len(recording.asked) == 1
    with pytest.raises(AttributeError, match="no attribute 'nonsense'"):
        row.nonsense  # noqa: B018


def test_going_through_the_turns_of_a_list_costs_one_request_a_page(ws: Workspace, recording: Any) -> None:
    ids = fill(recording, 30)
    texts = [row.turns[0].text for row in ws.conversations.list()]
    assert texts == [f"Hello from {conversation_id}" for conversation_id in ids]
    assert recording.paths() == ["GET /v1/convai/conversations", "GET /v1/local/conversations.ndjson"]


def test_on_the_cloud_each_conversation_is_loaded_by_itself(cloud: Workspace, recording: Any) -> None:
    fill(recording, 3)
    assert [len(row.turns) for row in cloud.conversations.list()] == [1, 1, 1]
    assert len(recording.paths()) == 4


def test_bulk_loading_is_one_request_on_our_platform(ws: Workspace, recording: Any) -> None:
    ids = fill(recording, 250)
    assert [conversation.id for conversation in ws.conversations.documents()] == ids
    assert recording.paths() == ["GET /v1/local/conversations.ndjson"]


def test_bulk_loading_can_be_left_early(ws: Workspace, recording: Any) -> None:
    ids = fill(recording, 250)
    for conversation in ws.conversations.documents():
        assert conversation.id == ids[0]
        break
    assert len(list(ws.conversations.documents(limit=7))) == 7


def test_bulk_loading_on_the_cloud_lists_and_gets_and_honours_its_limits(
    cloud: Workspace, recording: Any, patient_clock: Any
) -> None:
    ids = fill(recording, 20)
    recording.page_size = 8
    recording.answers.append(Response(status_code=429, headers={"retry-after": "3"}))
    assert [conversation.id for conversation in cloud.conversations.documents()] == ids
    assert patient_clock.slept == [3.0]
    assert not any("local" in path for path in recording.paths())


def test_a_conversation_deleted_while_they_are_loaded_is_left_out(cloud: Workspace, recording: Any) -> None:
    ids = fill(recording, 3)
    rows = [recording._conversation_row(recording.conversations[i]) for i in ids]
    del recording.conversations[ids[1]]
    recording.answers.append(JSONResponse({"conversations": rows, "has_more": False}))
    assert [conversation.id for conversation in cloud.conversations.documents()] == [ids[0], ids[2]]


@pytest.mark.parametrize("body", ['{"agent_id"', "null\n", "[]\n", "nope\n"])
def test_a_bulk_answer_that_is_cut_or_malformed_is_an_error(body: str, ws: Workspace, recording: Any) -> None:
    recording.answers.append(Response(body, media_type="application/x-ndjson"))
    with pytest.raises(PlatformError, match="a conversation that is not JSON"):
        list(ws.conversations.documents())


def test_what_came_before_a_fault_is_given_first(ws: Workspace, recording: Any) -> None:
    import json

    [conversation_id] = fill(recording, 1)
    body = json.dumps(recording.conversations[conversation_id]) + "\nnope\n"
    recording.answers.append(Response(body, media_type="application/x-ndjson"))
    documents = ws.conversations.documents()
    assert next(documents).id == conversation_id
    with pytest.raises(PlatformError):
        next(documents)


def test_filters_reach_the_platform(ws: Workspace, recording: Any) -> None:
    agent = ws.agents.create(name="Support")
    fill(recording, 3, agent_id=agent.id or "")
    fill(recording, 2, agent_id="agent_other")
    assert len(ws.conversations.list(agent="SUPPORT")) == 3
    assert len(list(ws.conversations.documents(agent=agent))) == 3
    assert len(ws.conversations.list(since=NOW + 61)) == 1
    len(ws.conversations.list(source="all", search="x", until=NOW))
    asked = recording.asked[-1]
    assert asked.query["source"] == "all"
    assert asked.query["search"] == "x"
    assert asked.query["call_start_before_unix"] == str(NOW)


@pytest.mark.parametrize(
    ("filters", "words"),
    [
        ({"source": "everything"}, "source: must be one of live"),
        ({"limit": -1}, "limit: must be a whole number"),
        ({"limit": "5"}, "limit: must be a whole number"),
        ({"limit": True}, "limit: must be a whole number"),
        ({"since": "yesterday"}, "since: 'yesterday' is no time: write 7d"),
        ({"until": "x" * 500}, "until: 'x"),
    ],
)
def test_a_wrong_filter_is_named(filters: dict[str, Any], words: str, ws: Workspace) -> None:
    with pytest.raises(InvalidValueError, match=words):
        ws.conversations.list(**filters)


def test_the_cloud_has_live_conversations_only(cloud: Workspace) -> None:
    with pytest.raises(NotSupportedError, match="source simulated"):
        len(cloud.conversations.list(source="simulated"))


def test_the_conversations_of_an_agent_that_is_gone_can_be_listed(ws: Workspace, recording: Any) -> None:
    agent_id = "agent_" + "a" * 32
    fill(recording, 2, agent_id=agent_id)
    assert len(ws.conversations.list(agent=agent_id)) == 2


def test_a_conversation_is_loaded_and_removed_by_id_or_by_itself(ws: Workspace, recording: Any) -> None:
    one, two = fill(recording, 2)
    conversation = ws.conversations.get(one)
    assert ws.conversations.get(conversation) == conversation
    ws.conversations.delete(conversation)
    ws.conversations.delete(ws.conversations.list()[0])
    assert recording.conversations == {}
    with pytest.raises(NotFoundError, match=f"there is no conversation {two} on the local platform"):
        ws.conversations.get(two)


@pytest.mark.parametrize("given", ["", None, 5, "../agents", "a/b"])
def test_what_cannot_name_a_conversation_is_refused(given: Any, ws: Workspace, recording: Any) -> None:
    with pytest.raises(InvalidValueError, match="conversation"):
        ws.conversations.get(given)
    assert recording.asked == []


@pytest.mark.parametrize(
    ("given", "ago"),
    [
        ("7d", 7 * 86_400),
        ("12h", 43_200),
        ("30m", 1_800),
        ("1.5h", 5_400),
        (" 2W ", 14 * 86_400),
        ("90s", 90),
        (datetime.timedelta(hours=2), 7_200),
        (NOW - 5, 5),
        (str(NOW - 5), 5),
        (float(NOW), 0),
        (datetime.datetime.fromtimestamp(NOW - 60, datetime.UTC), 60),
        (datetime.datetime.fromtimestamp(NOW - 60), 60),  # noqa: DTZ006 - local time is what is meant
        (datetime.datetime.fromtimestamp(NOW - 60, datetime.UTC).isoformat(), 60),
    ],
)
def test_an_instant_may_be_written_in_many_ways(given: Any, ago: float) -> None:
    assert unix_secs(given, now=NOW) == NOW - ago


def test_a_date_is_its_midnight_here() -> None:
    day = datetime.date(2026, 1, 31)
    assert unix_secs(day, now=NOW) == datetime.datetime(2026, 1, 31).timestamp()  # noqa: DTZ001
    assert unix_secs("2026-01-31", now=NOW) == unix_secs(day, now=NOW)
    assert unix_secs(None, now=NOW) is None


@pytest.mark.parametrize("given", ["", "d7", "-7d", "7 fortnights", "nan", "inf", True, [], "9" * 5000, float("nan")])
def test_what_is_no_instant_is_refused(given: Any) -> None:
    with pytest.raises(InvalidValueError, match=r"since: .* is no time"):
        unix_secs(given, now=NOW)


def test_every_call_has_a_twin_for_any_event_loop(ws: Workspace, recording: Any) -> None:
    ids = fill(recording, 3)

    async def journey() -> None:
        assert [row.id for row in await ws.conversations.alist()] == ids
        assert [c.id async for c in ws.conversations.adocuments(limit=2)] == ids[:2]
        assert (await ws.conversations.aget(ids[0])).id == ids[0]
        await ws.conversations.adelete(ids[0])

    asyncio.run(journey())
    assert len(recording.conversations) == 2
