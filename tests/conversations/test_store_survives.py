"""Real processes, really killed: every turn that was acknowledged is in the file."""

from __future__ import annotations

import random
import subprocess
import sys
from pathlib import Path

import pytest

from convai_lab.clock import SystemClock
from convai_lab.conversations.conversation import Conversation
from convai_lab.conversations.store import ConversationStore
from convai_lab.conversations.turn import Turn
from convai_lab.storage import Database, open_database

APPEND = """
import pathlib, sys
from convai_lab.clock import SystemClock
from convai_lab.conversations.store import ConversationStore
from convai_lab.conversations.turn import Turn
from convai_lab.storage import open_database
store = ConversationStore(open_database(pathlib.Path(sys.argv[1])), SystemClock())
conversation_id, size = sys.argv[2], int(sys.argv[3])
print("ready", flush=True)
sys.stdin.readline()
for index in range(int(sys.argv[4])):
    store.add_turn(conversation_id, Turn(role="user", text=f"{index} " + "x" * size), index=index)
    print(index, flush=True)
"""


def writer(folder: Path, conversation_id: str, *, size: int = 200, turns: int = 100_000) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", APPEND, str(folder), conversation_id, str(size), str(turns)]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    return process


def go(process: subprocess.Popen[str]) -> None:
    assert process.stdin is not None
    process.stdin.write("go\n")
    process.stdin.flush()


@pytest.mark.parametrize("seed", range(5))
def test_every_acknowledged_turn_survives_kill_9(tmp_path: Path, seed: int) -> None:
    dice = random.Random(seed)
    store = ConversationStore(open_database(tmp_path), SystemClock())
    store.start(Conversation(id="conv_1", agent_id="agent_1", status="in-progress"), owner="child")
    process = writer(tmp_path, "conv_1", size=dice.choice([10, 3_000, 60_000]))
    go(process)
    assert process.stdout is not None
    printed = "".join(process.stdout.readline() for _ in range(dice.randrange(1, 120)))
    process.kill()
    printed += process.stdout.read()  # not communicate(): it passes over what readline has read ahead
    process.wait(30)
    acknowledged = int(printed.split()[-1])
    conversation = ConversationStore(open_database(tmp_path), SystemClock()).get("conv_1")
    assert acknowledged < len(conversation.turns) <= acknowledged + 2
    assert [turn.text.split()[0] for turn in conversation.turns] == [str(i) for i in range(len(conversation.turns))]
    assert open_database(tmp_path).read("PRAGMA integrity_check")[0][0] == "ok"
    assert store.close_abandoned(lambda owner: False) == ["conv_1"]
    store.add_turn("conv_1", Turn(role="user", text="after"), index=len(conversation.turns))


def test_two_processes_writing_at_once_lose_nothing(tmp_path: Path) -> None:
    db: Database = open_database(tmp_path)
    store = ConversationStore(db, SystemClock())
    processes = []
    for name in ("conv_a", "conv_b"):
        store.start(Conversation(id=name, agent_id="agent_1"))
        processes.append(writer(tmp_path, name, turns=150))
    for process in processes:
        go(process)
    store.start(Conversation(id="conv_here", agent_id="agent_1"))
    for index in range(50):
        store.add_turn("conv_here", Turn(role="user", text=str(index)), index=index)
    for process in processes:
        process.communicate(timeout=60)
        assert process.returncode == 0
    assert [len(store.get(name)) for name in ("conv_a", "conv_b", "conv_here")] == [150, 150, 50]


def test_two_processes_at_one_place_of_one_conversation_store_it_once(tmp_path: Path) -> None:
    store = ConversationStore(open_database(tmp_path), SystemClock())
    store.start(Conversation(id="conv_1", agent_id="agent_1"))
    processes = [writer(tmp_path, "conv_1", turns=60) for _ in range(2)]
    for process in processes:
        go(process)
    for process in processes:
        process.communicate(timeout=60)
        assert process.returncode == 0
    assert [turn.text.split()[0] for turn in store.get("conv_1").turns] == [str(index) for index in range(60)]
