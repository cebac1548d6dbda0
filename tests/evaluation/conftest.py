"""Conversations and answers of judges for the tests of evaluation."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from convai_lab.agents.agent import EvaluationCriterion
from convai_lab.conversations.conversation import Conversation
from convai_lab.conversations.turn import ToolCall, ToolResult, Turn


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
