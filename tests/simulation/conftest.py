"""How these tests hold simulated conversations: in virtual time, with models that say what a script tells them to."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from convai_lab.agents import tools
from convai_lab.agents.agent import Agent
from convai_lab.agents.tools import ClientTool
from convai_lab.clock import VirtualClock
from convai_lab.simulation.runner import SimulatedConversation, run_conversation
from convai_lab.simulation.scenario import Scenario
from convai_lab.simulation.simulated_user import find_user
from convai_lab.testing.fake_llm import FakeLLM

ORDER = {"type": "object", "properties": {"order_id": {"type": "string"}}, "required": ["order_id"]}
LOOK_UP = ClientTool(name="order_status", description="Look up an order.", parameters=ORDER, response_timeout_secs=5)

Hold = Callable[..., SimulatedConversation]


@pytest.fixture(autouse=True)
def _no_tools(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody has defined a tool: those at the top of other test modules do not count here."""
    monkeypatch.setattr(tools, "_newest", {})
    monkeypatch.setattr(tools, "_newest_of_function", {})


@pytest.fixture
def agent() -> Agent:
    """An agent with one tool and a way to end the call."""
    return Agent(name="Support", prompt="You are Sam.", first_message="Hello?", tools=(LOOK_UP, "end_call"))


@pytest.fixture
def hold(agent: Agent) -> Hold:
    """Hold one conversation: `replies` is what the agent's model says."""

    def held(scenario: Scenario | dict[str, Any], replies: Any = "Fine.", **options: Any) -> SimulatedConversation:
        made = scenario if isinstance(scenario, Scenario) else Scenario(**scenario)
        clock = VirtualClock(seed=options.get("seed", 0))
        script = (lambda _: replies) if isinstance(replies, str) else replies
        llm = options.pop("llm", None) or FakeLLM(script, clock=clock)
        user = find_user(options.pop("user", "scripted"))
        chosen = options.pop("agent", agent)
        return clock.run(run_conversation(chosen, made, llm=llm, user=user, clock=clock, **options))

    return held
