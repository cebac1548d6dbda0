"""A turn is stored once, at its place, and what is listed is what was said."""

from __future__ import annotations

import contextlib
from typing import Any

import pytest

from convai_lab.clock import VirtualClock
from convai_lab.conversations.conversation import Analysis, Conversation
from convai_lab.conversations.store import ABANDONED, ConversationStore
from convai_lab.conversations.turn import ToolCall, Turn, TurnMetrics
from convai_lab.conversations.wire_format import conversation_from_wire, conversation_to_wire
from convai_lab.errors import InvalidValueError, NotFoundError, StorageError
from convai_lab.storage import Database, open_database

HELLO = Turn(role="agent", text="Hello", marks=("first_message",))
ASK = Turn(role="user", text="Where is my ORDER?")
ANSWER = Turn(
    role="agent",
    text="On its way",
    llm_served="m",
    metrics=TurnMetrics(cost_usd=0.25),
    tool_calls=(ToolCall(id="1", name="order_status"), ToolCall(id="2", name="order_status")),
)


def talk(name: str = "conv_1", **fields: Any) -> Conversation:
    return Conversation(**{"id": name, "agent_id": "agent_1", "status": "in-progress"} | fields)


def started(store: ConversationStore, *turns: Turn, name: str = "conv_1", **fields: Any) -> str:
    store.start(talk(name, **fields), owner="process 1")
    for index, turn in enumerate(turns):
        store.add_turn(name, turn, index=index)
    return name


def listed(store: ConversationStore, **options: Any) -> list[str]:
    return [row["conversation_id"] for row in store.list(**options).items]


def test_a_conversation_is_read_back_as_it_was_stored(
    store: ConversationStore, platform_document: dict[str, Any]
) -> None:
    conversation = conversation_from_wire(platform_document, platform="elevenlabs")
    store.start(conversation)
    assert store.get(conversation.id) == conversation
    assert list(store.documents()) == [conversation_to_wire(conversation)]


def test_turns_are_read_back_in_order(store: ConversationStore) -> None:
    started(store, HELLO, ASK, ANSWER)
    assert store.get("conv_1").turns == (HELLO, ASK, ANSWER)


def test_a_header_changes_without_its_turns(store: ConversationStore) -> None:
    started(store, HELLO)
    ended = talk(status="done", end_reason="bye", duration_secs=3.5, analysis=Analysis(success="success"))
    store.update(ended)
    assert store.get("conv_1") == ended.with_changes(turns=(HELLO,))


def test_the_same_turn_again_is_harmless(store: ConversationStore) -> None:
    started(store, HELLO, ASK)
    store.add_turn("conv_1", HELLO, index=0)
    store.add_turn("conv_1", ASK, index=1)
    assert store.get("conv_1").turns == (HELLO, ASK)


def test_another_turn_at_a_taken_place_is_refused(store: ConversationStore) -> None:
    started(store, HELLO, ASK)
    with pytest.raises(StorageError, match="already has another turn 1; nothing was changed"):
        store.add_turn("conv_1", ANSWER, index=1)
    assert store.get("conv_1").turns == (HELLO, ASK)


@pytest.mark.parametrize("index", [2, 10**30, -1, 1.0, True, None, "1"])
def test_a_turn_that_would_leave_a_gap_is_refused(store: ConversationStore, index: Any) -> None:
    started(store, HELLO)
    with pytest.raises(InvalidValueError) as caught:
        store.add_turn("conv_1", ASK, index=index)
    assert caught.value.field == "index"
    assert len(store.get("conv_1")) == 1


def test_a_turn_is_replaced_by_what_was_heard_of_it(store: ConversationStore) -> None:
    started(store, HELLO, ASK)
    cut = HELLO.with_changes(text_heard="Hel", interrupted=True)
    store.replace_turn("conv_1", 0, cut)
    assert store.get("conv_1").turns == (cut, ASK)
    with pytest.raises(InvalidValueError, match="has 2 turns, there is no turn 2"):
        store.replace_turn("conv_1", 2, cut)


def test_a_conversation_starts_once(store: ConversationStore) -> None:
    started(store, HELLO)
    with pytest.raises(StorageError, match="already stored"):
        store.start(talk())
    assert store.get("conv_1").turns == (HELLO,)


@pytest.mark.parametrize("bad", ["", "conv_x", None, 7, "\ud800", "x" * 100_000])
def test_an_unknown_conversation_is_not_found(store: ConversationStore, bad: Any) -> None:
    for use in (
        store.get,
        store.delete,
        store.undo,
        lambda which: store.add_turn(which, HELLO, index=0),
        lambda which: store.replace_turn(which, 0, HELLO),
        lambda which: store.claim(which, owner="p"),
        lambda which: store.update(talk("nobody")),
    ):
        with pytest.raises(NotFoundError) as caught:
            use(bad)
        assert caught.value.status == 404
        assert len(str(caught.value)) < 200


@pytest.mark.parametrize(
    ("turn", "field"),
    [
        (Turn(role="robot"), "turn.role"),  # type: ignore[arg-type]
        (Turn(role="user", text=7), "turn.message"),  # type: ignore[arg-type]
        (Turn(role="user", agent_version="3"), "turn.convai_lab.agent_version"),  # type: ignore[arg-type]
        (
            Turn(role="user", tool_calls=(ToolCall(id="1", name="t", arguments={"a": object()}),)),
            "tool_calls.arguments",
        ),
        (Turn(role="user", extra={"a": object()}), "turn"),
    ],
)
def test_a_turn_that_could_not_be_read_back_is_refused(store: ConversationStore, turn: Turn, field: str) -> None:
    started(store, HELLO)
    with pytest.raises(InvalidValueError) as caught:
        store.add_turn("conv_1", turn, index=1)
    assert caught.value.field == field
    assert store.get("conv_1").turns == (HELLO,)


def test_a_turn_nested_without_end_is_refused_in_words(store: ConversationStore) -> None:
    started(store, HELLO)
    for depth in (400, 3_000, 100_000):
        deep: list[Any] = []
        for _ in range(depth):
            deep = [deep]
        with contextlib.suppress(InvalidValueError):
            store.add_turn("conv_1", Turn(role="user", extra={"deep": deep}), index=1)
            store.undo("conv_1")
    assert store.get("conv_1").turns == (HELLO,)


def test_a_header_that_could_not_be_read_back_is_refused(store: ConversationStore) -> None:
    started(store, HELLO)
    with pytest.raises(InvalidValueError, match="status"):
        store.update(talk(status="asleep"))
    with pytest.raises(InvalidValueError, match="seed"):
        store.start(talk("conv_2", seed="7"))
    assert listed(store) == ["conv_1"]


def test_odd_text_huge_numbers_and_no_numbers_do_not_lose_a_turn(store: ConversationStore) -> None:
    odd = Turn(role="user", text="half \ud800 nul \x00 " + "x" * 200_000, agent_version=2**80)
    started(store, odd, HELLO.with_changes(metrics=TurnMetrics(total_ms=float("nan"))), seed=2**80, started_at=2**70)
    assert store.get("conv_1").turns == (odd, HELLO)
    assert store.get("conv_1").seed == 2**80


def test_undo_hides_the_last_exchange_and_keeps_it_in_the_file(store: ConversationStore, clock: VirtualClock) -> None:
    started(store, HELLO, ASK, ANSWER)
    clock.run(clock.sleep(5))
    assert store.undo("conv_1") == 2
    assert store.get("conv_1").turns == (HELLO,)
    assert [(u.undone_at, u.position, u.turn) for u in store.undone("conv_1")] == [
        (1_767_225_605.0, 1, ASK),
        (1_767_225_605.0, 2, ANSWER),
    ]
    other = ASK.with_changes(text="Something else")
    store.add_turn("conv_1", other, index=1)
    assert store.get("conv_1").turns == (HELLO, other)
    assert store.undo("conv_1") == 1
    assert len(store.undone("conv_1")) == 3


def test_undo_without_a_turn_of_the_user_does_nothing(store: ConversationStore) -> None:
    started(store, HELLO)
    assert store.undo("conv_1") == 0
    assert store.get("conv_1").turns == (HELLO,)


def test_undone_turns_are_neither_counted_nor_found_nor_charged(store: ConversationStore) -> None:
    started(store, HELLO, ASK, ANSWER)
    store.undo("conv_1")
    row = store.list().items[0]
    assert (row["message_count"], row["tool_names"]) == (1, [])
    assert listed(store, search="order") == []
    assert next(store.documents())["metadata"]["cost_fiat"] is None


def test_a_deleted_conversation_is_gone_with_undone_turns(store: ConversationStore, db: Database) -> None:
    started(store, HELLO, ASK)
    store.undo("conv_1")
    store.delete("conv_1")
    assert listed(store, source=None) == []
    assert db.read("SELECT count(*) FROM turns")[0][0] == 0


def test_a_row_of_the_list_counts_turns_and_names_tools(store: ConversationStore) -> None:
    started(store, HELLO, ASK, ANSWER, agent_name="Sam", started_at=1_767_225_000.7, tags=("vip",))
    row = store.list().items[0]
    assert row["message_count"] == 3
    assert row["tool_names"] == ["order_status"]
    assert (row["start_time_unix_secs"], row["status"], row["agent_name"]) == (1_767_225_000, "in-progress", "Sam")
    assert row["convai_lab"]["started_at"] == 1_767_225_000.7


def test_the_cost_in_a_document_is_that_of_its_turns(store: ConversationStore) -> None:
    started(store, HELLO, ASK, ANSWER)
    assert next(store.documents())["metadata"]["cost_fiat"] == 0.25
    store.add_turn("conv_1", ANSWER.with_changes(metrics=TurnMetrics()), index=3)
    assert next(store.documents())["metadata"]["cost_fiat"] is None


@pytest.fixture
def many(store: ConversationStore) -> ConversationStore:
    for number in range(7):
        started(
            store,
            ASK.with_changes(text=f"Number {number} is 50% OFF"),
            name=f"conv_{number}",
            agent_id=f"agent_{number % 2}",
            agent_name=("Sam", "Größe")[number % 2],
            started_at=1000.0 + number // 2,
            source="simulated" if number == 6 else "live",
            status="done" if number < 3 else "failed",
            channel="voice" if number == 2 else "text",
            duration_secs=float(number),
            user_id=f"user {number}",
            parent_id="conv_0" if number == 1 else None,
            analysis=Analysis(success="success" if number == 4 else None),
        )
    return store


@pytest.mark.parametrize(
    ("filters", "expected"),
    [
        ({}, "543210"),
        ({"descending": False}, "012345"),
        ({"source": None}, "6543210"),
        ({"source": "simulated"}, "6"),
        ({"source": ("live", "simulated")}, "6543210"),
        ({"source": ()}, ""),
        ({"agent_id": "agent_1"}, "531"),
        ({"agent_id": ["agent_1", "agent_0"]}, "543210"),
        ({"status": "failed"}, "543"),
        ({"status": {"done"}}, "210"),
        ({"since": 1001}, "5432"),
        ({"until": 1001}, "10"),
        ({"since": 1001, "until": 1002.0}, "32"),
        ({"search": "NUMBER 3"}, "3"),
        ({"search": "50% off", "until": 1001}, "10"),
        ({"search": "5_%"}, ""),
        ({"search": "grösse"}, "531"),
        ({"search": "  "}, "543210"),
        ({"search": "' OR 1=1 --"}, ""),
        ({"channel": "voice"}, "2"),
        ({"success": "success"}, "4"),
        ({"user_id": "user 3"}, "3"),
        ({"parent_id": "conv_0"}, "1"),
        ({"min_duration_secs": 2, "max_duration_secs": 3}, "32"),
        ({"conversation_id": ["conv_2", "conv_4", "nobody"]}, "42"),
    ],
)
def test_a_list_keeps_what_the_filter_says(many: ConversationStore, filters: dict[str, Any], expected: str) -> None:
    assert "".join(name.removeprefix("conv_") for name in listed(many, **filters)) == expected
    if filters.get("descending", True):
        assert [document["conversation_id"] for document in many.documents(**filters)] == listed(many, **filters)


@pytest.mark.parametrize(
    ("options", "field"),
    [
        ({"colour": "red"}, "colour"),
        ({"since": "yesterday"}, "since"),
        ({"until": float("nan")}, "until"),
        ({"since": True}, "since"),
        ({"agent_id": 7}, "agent_id"),
        ({"source": [None]}, "source"),
        ({"conversation_id": ["x"] * 10_001}, "conversation_id"),
        ({"search": 7}, "search"),
        ({"page_size": 0}, "page_size"),
        ({"cursor": "garbage"}, "cursor"),
    ],
)
def test_a_wrong_filter_is_named(store: ConversationStore, options: dict[str, Any], field: str) -> None:
    with pytest.raises(InvalidValueError) as caught:
        store.list(**options)
    assert caught.value.field == field


@pytest.mark.parametrize("size", [1, 2, 3, 100])
@pytest.mark.parametrize("descending", [True, False])
def test_pages_show_every_conversation_once(many: ConversationStore, size: int, descending: bool) -> None:
    seen: list[str] = []
    cursor = None
    while True:
        page = many.list(page_size=size, cursor=cursor, descending=descending, source=None)
        seen += [row["conversation_id"] for row in page.items]
        cursor = page.next_cursor
        if cursor is None:
            break
    assert seen == [f"conv_{number}" for number in (range(6, -1, -1) if descending else range(7))]


def test_a_page_is_not_moved_by_conversations_that_start_meanwhile(many: ConversationStore) -> None:
    page = many.list(page_size=3)
    started(many, name="conv_new", started_at=9999.0)
    many.delete("conv_2")
    rest = many.list(page_size=10, cursor=page.next_cursor)
    assert [row["conversation_id"] for row in page.items + rest.items] == [
        "conv_5",
        "conv_4",
        "conv_3",
        "conv_1",
        "conv_0",
    ]


def test_documents_stop_at_the_limit_and_pass_over_what_was_deleted_meanwhile(many: ConversationStore) -> None:
    assert [d["conversation_id"] for d in many.documents(limit=2)] == ["conv_5", "conv_4"]
    assert list(many.documents(limit=0)) == []
    documents = many.documents()
    assert next(documents)["conversation_id"] == "conv_5"
    many.delete("conv_4")
    assert next(documents)["conversation_id"] == "conv_3"


def test_a_conversation_without_a_start_is_listed_by_when_it_was_stored(store: ConversationStore) -> None:
    started(store, name="conv_old", started_at=5.0)
    started(store, name="conv_unknown")
    assert listed(store) == ["conv_unknown", "conv_old"]
    assert store.get("conv_unknown").started_at is None


def test_conversations_whose_process_is_gone_are_failed_with_the_reason(store: ConversationStore) -> None:
    for name, owner, status in (
        ("lost", "gone", "in-progress"),
        ("held", "alive", "in-progress"),
        ("nobody's", "", "in-progress"),
        ("ended", "gone", "done"),
    ):
        store.start(talk(name, status=status, turns=(HELLO,)), owner=owner)
    assert store.close_abandoned(lambda owner: owner == "alive") == ["lost"]
    lost = store.get("lost")
    assert (lost.status, lost.end_reason, lost.turns) == ("failed", ABANDONED, (HELLO,))
    assert listed(store, status="failed") == ["lost"]
    assert [store.get(name).status for name in ("held", "nobody's", "ended")] == ["in-progress", "in-progress", "done"]
    assert store.close_abandoned(lambda owner: owner == "alive") == []


def test_a_conversation_that_somebody_claimed_meanwhile_is_not_failed(store: ConversationStore) -> None:
    store.start(talk(), owner="gone")

    def claim_first(owner: str) -> bool:
        store.claim("conv_1", owner="alive")
        return False

    assert store.close_abandoned(claim_first) == []
    assert store.get("conv_1").status == "in-progress"


def test_two_stores_on_one_file_see_each_others_turns(store: ConversationStore, db: Database) -> None:
    other = ConversationStore(open_database(db.path.parent), VirtualClock())
    started(store, HELLO)
    other.add_turn("conv_1", ASK, index=1)
    store.add_turn("conv_1", ANSWER, index=2)
    assert other.get("conv_1").turns == (HELLO, ASK, ANSWER)


def test_a_search_looks_at_the_start_of_a_huge_turn(store: ConversationStore) -> None:
    started(store, ASK.with_changes(text="needle " + "x" * 50_000 + " pin"))
    assert listed(store, search="NEEDLE") == ["conv_1"]
    assert listed(store, search="pin") == []
