"""How fast is the store with 10,000 conversations, beside the bare SELECT of the same rows? Prints one JSON line.

Run by hand: python tests/benchmarks/store_lists.py [conversations] [turns in each]
"""

from __future__ import annotations

import json
import random
import sqlite3
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from convai_lab.clock import SystemClock
from convai_lab.conversations.conversation import Conversation
from convai_lab.conversations.store import ConversationStore
from convai_lab.conversations.turn import ToolCall, ToolResult, Turn, TurnMetrics
from convai_lab.storage import open_database

REPEATS = 15
LONG = 1_000
WORDS = ("where", "is", "my order", "please", "change", "the address", "of", "parcel", "refund", "tomorrow", "thanks")


def median_ms(work: Callable[[], Any], repeats: int = REPEATS) -> float:
    """Return the median time of `work` in milliseconds."""
    took = []
    for _ in range(repeats):
        started = time.perf_counter()
        work()
        took.append((time.perf_counter() - started) * 1000)
    return round(statistics.median(took), 3)


def said(dice: random.Random, index: int) -> Turn:
    """Return an invented turn of ordinary size."""
    text = " ".join(dice.choices(WORDS, k=14))
    if index % 2 == 0:
        return Turn(role="user", text=text, start_secs=index * 4.0)
    call = ToolCall(id=f"call_{index}", name="order_status", arguments={"order_id": str(dice.randrange(10_000))})
    return Turn(
        role="agent",
        text=text,
        start_secs=index * 4.0,
        agent_id="agent_1",
        agent_version=3,
        llm_requested="gpt-4o-mini",
        llm_served="gpt-4o-mini-2024-07-18",
        tool_calls=(call,) if index % 4 == 1 else (),
        tool_results=(ToolResult(call_id=call.id, name=call.name, value="shipped"),) if index % 4 == 1 else (),
        metrics=TurnMetrics(llm_ttft_ms=412.5, input_tokens=900, output_tokens=60, cost_usd=0.0002),
    )


def fill(store: ConversationStore, conversations: int, turns: int) -> None:
    """Store invented conversations with ten agents, one in five simulated."""
    dice = random.Random(7)
    for number in range(conversations):
        store.start(
            Conversation(
                id=f"conv_{number:08d}",
                agent_id=f"agent_{number % 10}",
                agent_name=f"Agent {number % 10}",
                source="simulated" if number % 5 == 0 else "live",
                started_at=1_767_225_600.0 + number * 60,
                duration_secs=turns * 4.0,
                turns=tuple(said(dice, index) for index in range(turns)),
            )
        )


def last_cursor(store: ConversationStore) -> str:
    """Walk to the last page and return the cursor that opens it."""
    cursor, before = None, None
    while True:
        page = store.list(page_size=1000, cursor=cursor)
        if page.next_cursor is None:
            return before or ""
        cursor = before = page.next_cursor


def lists(store: ConversationStore, bare: sqlite3.Connection) -> dict[str, float]:
    """Time one page of 30 in several lists, and the bare SELECT of the same rows."""
    end = last_cursor(store)
    sql = "SELECT conversation_id, header FROM conversations WHERE source = 'live' ORDER BY ordered_at DESC LIMIT 31"
    return {
        "bare_select_ms": median_ms(lambda: bare.execute(sql).fetchall()),
        "first_page_ms": median_ms(lambda: store.list()),
        "last_page_ms": median_ms(lambda: store.list(cursor=end)),
        "one_agent_ms": median_ms(lambda: store.list(agent_id="agent_3")),
        "every_source_ms": median_ms(lambda: store.list(source=None)),
        "status_that_none_has_ms": median_ms(lambda: store.list(source=None, status="failed")),
        "search_that_all_match_ms": median_ms(lambda: store.list(search="ORDER")),
        "search_that_none_match_ms": median_ms(lambda: store.list(search="zebra", source=None)),
    }


def long_one(store: ConversationStore, bare: sqlite3.Connection) -> dict[str, float]:
    """Time appending to a conversation at its start and at 1,000 turns, and reading it whole."""
    dice = random.Random(8)
    store.start(Conversation(id="conv_long", agent_id="agent_1", source="import"))
    took = []
    for index in range(LONG):
        turn = said(dice, index)
        took.append(median_ms(lambda turn=turn, index=index: store.add_turn("conv_long", turn, index=index), 1))
    sql = "SELECT body FROM turns WHERE conversation_id = 'conv_long' ORDER BY position"
    return {
        "append_first_100_ms": round(statistics.median(took[:100]), 3),
        "append_last_100_ms": round(statistics.median(took[-100:]), 3),
        "append_slowest_ms": round(max(took), 3),
        "read_long_ms": median_ms(lambda: store.get("conv_long"), 5),
        "bare_select_long_ms": median_ms(lambda: [json.loads(row[0]) for row in bare.execute(sql)], 5),
    }


def main() -> None:
    """Fill a fresh store and print what was measured."""
    conversations = int(sys.argv[1]) if len(sys.argv) > 1 else 10_000
    turns = int(sys.argv[2]) if len(sys.argv) > 2 else 8
    with tempfile.TemporaryDirectory() as folder:
        db = open_database(Path(folder))
        store = ConversationStore(db, SystemClock())
        started = time.perf_counter()
        fill(store, conversations, turns)
        filled_secs = round(time.perf_counter() - started, 1)
        bare = sqlite3.connect(db.path)
        started = time.perf_counter()
        documents = sum(1 for _ in store.documents(source=None))
        documents_secs = round(time.perf_counter() - started, 2)
        result = {
            "conversations": conversations,
            "turns_each": turns,
            "file_mb": round(db.path.stat().st_size / 1e6, 1),
            "fill_secs": filled_secs,
            "documents": documents,
            "documents_secs": documents_secs,
            **lists(store, bare),
            **long_one(store, bare),
        }
        bare.close()
        db.close()
    print(json.dumps(result))


if __name__ == "__main__":
    main()
