"""How much does a simulated conversation cost beside its model? Prints one line of JSON.

The baseline of the same run is the bare model: its stream read to the end, and nothing kept.

    python tests/benchmarks/simulated_conversations.py
"""

from __future__ import annotations

import asyncio
import json
import statistics
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

from convai_lab.agents.agent import Agent
from convai_lab.clock import SystemClock
from convai_lab.providers.base import ChatMessage, ChatRequest, Done, LLMEvent, TextDelta, Usage
from convai_lab.simulation.runner import run_conversation
from convai_lab.simulation.scenario import Scenario, load_scenarios
from convai_lab.simulation.simulated_user import ScriptedUser, SimulatedUser, find_user

SCENARIOS = Path(__file__).parent.parent.parent / "datasets" / "scenarios" / "support.yaml"
ROUNDS, CONVERSATIONS, AT_ONCE = 5, 1000, 100
QUESTION = "Where is my order 1234?"


class InstantLLM:
    """Answers at once."""

    provider, model, is_offline = "vllm", "instant", False

    async def stream(self, request: ChatRequest) -> AsyncIterator[LLMEvent]:
        """Yield a short answer."""
        yield TextDelta("Your order ships tomorrow.")
        yield Done("stop", self.model, Usage(120, 6))


def main() -> None:
    """Measure and print."""
    support, plain = load_scenarios(SCENARIOS), Agent(name="Plain", prompt="You are Sam. " * 40)
    assert support.agent is not None
    kinds = {
        "bare_model": _bare,
        "one_turn": _held(plain, ScriptedUser()),
        "one_turn_offline_user": _held(plain, find_user("offline")),
        "one_turn_five_tools": _held(support.agent, ScriptedUser()),
    }
    times: dict[str, list[float]] = {name: [] for name in kinds}
    for _ in range(ROUNDS):
        for name, one in kinds.items():
            times[name].append(asyncio.run(_cpu_ms(one)))
    medians = {f"{name}_cpu_ms": round(statistics.median(values), 4) for name, values in times.items()}
    ratio = medians["one_turn_cpu_ms"] / medians["bare_model_cpu_ms"]
    print(json.dumps({"benchmark": "simulated_conversations", **medians, "ratio_to_bare_model": round(ratio, 1)}))


async def _bare() -> None:
    request = ChatRequest(messages=[ChatMessage(role="user", content=QUESTION)])
    async for _ in InstantLLM().stream(request):
        pass


def _held(agent: Agent, user: SimulatedUser) -> Callable[[], Awaitable[object]]:
    scenario, llm, clock = Scenario(opening=QUESTION, max_turns=2), InstantLLM(), SystemClock()
    return lambda: run_conversation(agent, scenario, llm=llm, user=user, clock=clock)


async def _cpu_ms(one: Callable[[], Awaitable[object]]) -> float:
    began = time.process_time()
    for _ in range(CONVERSATIONS // AT_ONCE):
        await asyncio.gather(*(one() for _ in range(AT_ONCE)))
    return (time.process_time() - began) / CONVERSATIONS * 1000


if __name__ == "__main__":
    main()
