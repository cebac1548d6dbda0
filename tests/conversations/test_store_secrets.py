"""A key that somebody says or a model repeats is not kept."""

from __future__ import annotations

from pathlib import Path

import pytest

from convai_lab.clock import VirtualClock
from convai_lab.conversations.conversation import Conversation
from convai_lab.conversations.store import ConversationStore
from convai_lab.conversations.turn import ToolCall, ToolResult, Turn
from convai_lab.storage import open_database

KEY = "sk-" + "s3cret" * 6


@pytest.mark.parametrize("known", [True, False], ids=["a key of the environment", "the shape of a key"])
def test_a_key_in_a_turn_reaches_no_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, known: bool) -> None:
    key = "my-own-odd-key-9876" if known else KEY
    if known:
        monkeypatch.setenv("OPENAI_API_KEY", key)
    database = open_database(tmp_path)
    store = ConversationStore(database, VirtualClock())
    store.start(Conversation(id="conv_1", agent_id="a", variables={"token": key}, status="in-progress"))
    call = ToolCall(id="c", name="t", arguments={"key": key})
    result = ToolResult(call_id="c", name="t", value=f"used {key}")
    store.add_turn("conv_1", Turn(role="user", text=f"My key is {key}."), index=0)
    store.add_turn("conv_1", Turn(role="agent", tool_calls=(call,), tool_results=(result,)), index=1)
    kept = store.get("conv_1")
    database.close()
    assert kept.turns[0].text == "My key is ********."
    assert kept.variables == {"token": "********"}
    assert all(key.encode() not in path.read_bytes() for path in tmp_path.iterdir())
