"""What a notebook did with a key runs again without one, with the real platform process."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from convai_lab import settings
from convai_lab.agents.agent import Agent
from convai_lab.agents.tools import tool
from convai_lab.conversations.conversation import Conversation
from convai_lab.testing.fake_llm import Reply, call
from convai_lab.testing.fake_vendors import fake_openai
from convai_lab.testing.vendor_script import Received
from convai_lab.workspace.local_process import LocalProcess
from convai_lab.workspace.transport import Transport
from convai_lab.workspace.workspace import Workspace

SAID = ["Where is my order 1234?", "Thanks!"]


def answer(received: Received) -> Any:
    last = received.body["messages"][-1]
    if last["role"] == "user" and "order" in last["content"]:
        return Reply("Let me look. ", [call("order_status_on_tape", order_id="1234")])
    return Reply(["It ", "ships tomorrow."]) if last["role"] == "tool" else Reply("You are welcome.")


def run_the_notebook(ran: list[str]) -> list[Conversation]:
    """Run two cells, the second one twice, in a kernel of their own."""

    @tool
    def order_status_on_tape(order_id: str) -> dict[str, str]:
        """Look up an order."""
        ran.append(order_id)
        return {"eta": "tomorrow"}

    process = LocalProcess(settings.home())
    try:
        ws = Workspace(Transport(process))
        agent = ws.agents.create(
            Agent(name="Taped", prompt="You are Sam.", llm="gpt-4o-mini", tools=(order_status_on_tape,))
        )
        return [ws.chat(agent, SAID), ws.chat(agent, SAID[1:]), ws.chat(agent, SAID[1:])]
    finally:
        process.close()


def facts(conversations: list[Conversation]) -> list[Any]:
    return [[(t.role, t.text, t.llm_served, t.metrics.input_tokens) for t in c.turns] for c in conversations]


def test_a_notebook_that_was_run_with_a_key_runs_again_without(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ran: list[str] = []
    path = tmp_path / "notebook.jsonl"
    monkeypatch.chdir(tmp_path)
    with fake_openai(answer) as server:
        for name, value in server.settings.items():
            monkeypatch.setenv(name, value)
        monkeypatch.setenv("CONVAI_LAB_CASSETTE", "notebook.jsonl:record")
        live = run_the_notebook(ran)
        asked = len(server.requests)
    assert ran == ["1234"]
    assert "tomorrow" in live[0].text
    assert live[0].cassette == "notebook.jsonl"
    for name in server.settings:
        monkeypatch.delenv(name)
    monkeypatch.setenv("CONVAI_LAB_HOME", str(tmp_path / "another machine"))
    monkeypatch.setenv("CONVAI_LAB_CASSETTE", str(path))
    again = run_the_notebook(ran)
    assert facts(again) == facts(live)
    assert len(server.requests) == asked
    assert ran == ["1234"]
    assert server.key not in path.read_text()
