"""Agents are found by any spelling of their name, keep every version, and are listed page by page."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from convai_lab.agents.store import AgentStore
from convai_lab.clock import VirtualClock
from convai_lab.errors import InvalidValueError, NotFoundError
from convai_lab.storage import Database, open_database


@pytest.fixture
def clock() -> VirtualClock:
    return VirtualClock()


@pytest.fixture
def db(tmp_path: Path) -> Database:
    return open_database(tmp_path)


@pytest.fixture
def store(db: Database, clock: VirtualClock) -> AgentStore:
    return AgentStore(db, clock)


def body(name: str = "Sam", **more: Any) -> dict[str, Any]:
    return {"name": name, "conversation_config": {"tts": {"voice_id": "cjVigY5qzO86Huf0OWal"}}, "tags": [], **more}


def wait(clock: VirtualClock, secs: float) -> None:
    clock.run(clock.sleep(secs))


def walk(store: AgentStore, **options: Any) -> list[str]:
    names: list[str] = []
    cursor = None
    while True:
        page = store.list(cursor=cursor, **options)
        names += [row["name"] for row in page.items]
        assert page.has_more == (page.next_cursor is not None)
        if page.next_cursor is None:
            return names
        cursor = page.next_cursor


def test_a_new_agent_gets_an_id_a_version_and_dates(store: AgentStore) -> None:
    document = store.create(body(custom_key={"kept": [1, None]}))
    assert document["agent_id"].startswith("agent_")
    assert len(document["agent_id"]) == len("agent_") + 32
    assert document["version_id"].startswith("agtvrsn_")
    assert document["metadata"] == {
        "created_at_unix_secs": 1_767_225_600,
        "updated_at_unix_secs": 1_767_225_600,
        "version": 1,
    }
    assert document["custom_key"] == {"kept": [1, None]}
    assert store.get(document["agent_id"]) == document


def test_a_change_makes_a_version_and_the_old_one_stays(store: AgentStore, clock: VirtualClock) -> None:
    first = store.create(body())
    wait(clock, 10)
    second = store.update(first["agent_id"], body(tags=["x"]), description="with a tag")
    assert second["metadata"] == {
        "created_at_unix_secs": 1_767_225_600,
        "updated_at_unix_secs": 1_767_225_610,
        "version": 2,
        "version_description": "with a tag",
    }
    assert store.get(first["agent_id"]) == second
    assert store.get(first["agent_id"], version_id=first["version_id"]) == first
    assert store.versions(first["agent_id"]) == [second, first]


def test_an_update_that_changes_nothing_makes_no_version(store: AgentStore, clock: VirtualClock) -> None:
    first = store.create(body(a=1, b={"c": 2, "d": 3}))
    wait(clock, 10)
    assert store.update(first["agent_id"], {"b": {"d": 3, "c": 2}, "a": 1, **body()}) == first
    assert store.update(first["agent_id"], first) == first
    assert len(store.versions(first["agent_id"])) == 1


def test_true_and_1_are_different_configurations(store: AgentStore) -> None:
    first = store.create(body(flag=True))
    assert store.update(first["agent_id"], body(flag=1))["metadata"]["version"] == 2


def test_what_the_store_adds_cannot_be_forged_by_a_body(store: AgentStore) -> None:
    forged = {"agent_id": "agent_mine", "version_id": "v", "metadata": {"version": 99}}
    document = store.create(body(**forged))
    assert document["agent_id"] != "agent_mine"
    assert document["metadata"]["version"] == 1


def test_a_name_is_found_in_any_case_and_twice_when_there_are_two(store: AgentStore) -> None:
    one, two = store.create(body("Straße")), store.create(body("STRASSE"))
    store.create(body("Other"))
    assert {found["agent_id"] for found in store.find(" strasse")} == {one["agent_id"], two["agent_id"]}
    assert store.find("nobody") == []


def test_a_renamed_agent_is_found_by_its_new_name_only(store: AgentStore) -> None:
    agent = store.create(body("Sam"))
    store.update(agent["agent_id"], body("Max"))
    assert store.find("sam") == []
    assert store.find("MAX")[0]["name"] == "Max"


def test_a_deleted_agent_is_gone_with_its_versions(store: AgentStore, db: Database) -> None:
    agent = store.create(body())
    store.delete(agent["agent_id"])
    assert db.read("SELECT count(*) FROM agent_versions")[0][0] == 0
    for use in (store.get, store.versions, store.delete, lambda which: store.update(which, body())):
        with pytest.raises(NotFoundError, match="there is no agent") as caught:
            use(agent["agent_id"])
        assert caught.value.status == 404


@pytest.mark.parametrize("bad", ["", "agent_x", None, 7, "\ud800", "x" * 100_000, "' OR 1=1 --"])
def test_an_unknown_or_malformed_id_is_not_found(store: AgentStore, bad: Any) -> None:
    agent = store.create(body())
    calls: list[Callable[[], Any]] = [
        lambda: store.get(bad),
        lambda: store.versions(bad),
        lambda: store.delete(bad),
        lambda: store.update(bad, body()),
    ]
    for call in calls:
        with pytest.raises(NotFoundError) as caught:
            call()
        assert len(str(caught.value)) < 200
    assert store.get(agent["agent_id"]) == agent


def test_a_version_of_another_agent_is_not_found(store: AgentStore) -> None:
    one, two = store.create(body()), store.create(body())
    with pytest.raises(NotFoundError, match="no version"):
        store.get(one["agent_id"], version_id=two["version_id"])


@pytest.mark.parametrize("sort_by", ["name", "created_at", "call_count_7d"])
@pytest.mark.parametrize("descending", [True, False])
def test_pages_show_every_agent_once_in_order(
    store: AgentStore, clock: VirtualClock, sort_by: str, descending: bool
) -> None:
    for name in ("b", "A", "c", "D", "e"):
        store.create(body(name))
        wait(clock, 1)
    names = walk(store, page_size=2, sort_by=sort_by, descending=descending)
    assert sorted(names, key=str.casefold) == ["A", "b", "c", "D", "e"]
    if sort_by == "name":
        assert names == (["e", "D", "c", "b", "A"] if descending else ["A", "b", "c", "D", "e"])
    if sort_by == "created_at":
        assert names == (["e", "D", "c", "A", "b"] if descending else ["b", "A", "c", "D", "e"])


def test_agents_that_arrive_between_two_pages_neither_repeat_nor_hide_others(
    store: AgentStore, clock: VirtualClock
) -> None:
    for number in range(4):
        store.create(body(f"old {number}"))
        wait(clock, 1)
    page = store.list(page_size=2)
    store.create(body("new"))
    store.delete(store.find("old 3")[0]["agent_id"])
    rest = store.list(page_size=10, cursor=page.next_cursor)
    assert [row["name"] for row in page.items + rest.items] == ["old 3", "old 2", "old 1", "old 0"]


def test_a_search_takes_percent_and_case_literally(store: AgentStore) -> None:
    for name in ("100% Support", "SUPPORT desk", "Sales", "a_b"):
        store.create(body(name))
    assert {row["name"] for row in store.list(search="support").items} == {"100% Support", "SUPPORT desk"}
    assert [row["name"] for row in store.list(search="%").items] == ["100% Support"]
    assert [row["name"] for row in store.list(search="_").items] == ["a_b"]


def test_archived_agents_are_listed_only_when_asked_for(store: AgentStore) -> None:
    store.create(body("here"))
    store.create(body("gone", platform_settings={"archived": True}))
    assert [row["name"] for row in store.list().items] == ["here"]
    assert [row["name"] for row in store.list(archived=True).items] == ["gone"]
    assert len(store.list(archived=None).items) == 2


def test_a_row_of_the_list_has_every_key_of_the_platform_and_the_last_call(store: AgentStore, db: Database) -> None:
    agent = store.create(body("Sam", tags=["a", 7, "b"]))
    with db.write() as connection:
        for name, at in (("c1", 1_767_225_000), ("c2", 1_767_225_500.9)):
            row = (name, agent["agent_id"], "", "live", "done", "text", None, None, None, at, 1.0, "", 1.0, "{}")
            connection.execute(f"INSERT INTO conversations VALUES ({', '.join('?' * len(row))})", row)
    assert store.list(sort_by="call_count_7d").items == (
        {
            "agent_id": agent["agent_id"],
            "name": "Sam",
            "voice_id": "cjVigY5qzO86Huf0OWal",
            "tags": ["a", "b"],
            "created_at_unix_secs": 1_767_225_600,
            "access_info": {"is_creator": True, "creator_name": "", "creator_email": "", "role": "admin"},
            "last_call_time_unix_secs": 1_767_225_500,
            "archived": False,
        },
    )


@pytest.mark.parametrize(
    ("options", "field"),
    [
        ({"sort_by": "price"}, "sort_by"),
        ({"sort_by": ["name"]}, "sort_by"),
        ({"page_size": 0}, "page_size"),
        ({"cursor": "garbage"}, "cursor"),
        ({"search": 7}, "search"),
    ],
)
def test_a_wrong_option_of_the_list_is_named(store: AgentStore, options: dict[str, Any], field: str) -> None:
    with pytest.raises(InvalidValueError) as caught:
        store.list(**options)
    assert caught.value.field == field


def test_a_cursor_does_not_work_in_another_order(store: AgentStore) -> None:
    for number in range(3):
        store.create(body(str(number)))
    cursor = store.list(page_size=1).next_cursor
    with pytest.raises(InvalidValueError, match="cursor"):
        store.list(cursor=cursor, sort_by="name")


@pytest.mark.parametrize("odd", [{}, {"name": None}, {"name": 7, "tags": "x"}, {"conversation_config": []}])
def test_odd_bodies_are_kept_as_they_are(store: AgentStore, odd: dict[str, Any]) -> None:
    agent = store.create(odd)
    assert {key: agent[key] for key in odd} == odd
    assert store.list().items[0]["name"] == ""


@pytest.mark.parametrize("bad", [None, [], "text", {"key": object()}])
def test_a_body_that_cannot_be_stored_is_refused_and_nothing_changes(store: AgentStore, bad: Any) -> None:
    agent = store.create(body())
    with pytest.raises(InvalidValueError, match="agent"):
        store.create(bad)
    with pytest.raises(InvalidValueError, match="agent"):
        store.update(agent["agent_id"], bad)
    assert store.versions(agent["agent_id"]) == [agent]


def test_two_stores_on_one_file_number_versions_without_gaps(store: AgentStore, db: Database) -> None:
    agent = store.create(body())
    other = AgentStore(open_database(db.path.parent), VirtualClock(seed=5))
    for number in range(6):
        (store, other)[number % 2].update(agent["agent_id"], body(number=number))
    assert [v["metadata"]["version"] for v in store.versions(agent["agent_id"])] == [7, 6, 5, 4, 3, 2, 1]
