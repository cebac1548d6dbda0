"""Conversations and answers of judges for the tests of evaluation."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any

import pytest

from convai_lab.agents.agent import EvaluationCriterion
from convai_lab.conversations.conversation import Conversation
from convai_lab.conversations.turn import ToolCall, ToolResult, Turn


@pytest.fixture
def loopback() -> Iterator[tuple[str, list[str]]]:
    """A server on this machine that keeps what it was asked."""
    asked: list[str] = []

    class Answer(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            self.send_response(200)
            self.end_headers()
            self.wfile.write(b"{}")

    with HTTPServer(("127.0.0.1", 0), Answer) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}", asked
        server.shutdown()
        thread.join()


@pytest.fixture
def shipped() -> Conversation:
    """A short conversation about an order."""
    looked = ToolCall(id="1", name="order_status", arguments={"order_id": "1234"})
    found = ToolResult(call_id="1", name="order_status", value='{"status": "shipped"}')
    return Conversation(
        id="conv_1",
        agent_id="agent_1",
        turns=(
            Turn(role="user", text="Where is my order 1234?"),
            Turn(role="agent", text="It has shipped.", tool_calls=(looked,), tool_results=(found,)),
        ),
        ended_by="user",
    )


@pytest.fixture
def criteria() -> tuple[EvaluationCriterion, ...]:
    """Two goals."""
    return (
        EvaluationCriterion(id="found", goal="The agent found the order."),
        EvaluationCriterion(id="polite", goal="The agent was polite."),
    )


@pytest.fixture
def verdicts() -> Callable[..., str]:
    """Write a judge's answer: ``verdicts(found="success")``."""

    def write(**results: Any) -> str:
        entries = [{"id": name, "reason": f"because {name}", "result": result} for name, result in results.items()]
        return json.dumps({"criteria": entries})

    return write
