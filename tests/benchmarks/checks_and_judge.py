"""What do checks and a judge cost beside the model: microseconds a conversation, against the least one could do?

The baseline of the checks is one search of the lowered text; that of the judge is reading the same answers from the
same fake model without prompts, parsing or accounts.

`python tests/benchmarks/checks_and_judge.py [--runs 2000]` prints one line of JSON.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import statistics
import time
from collections.abc import Callable
from typing import Any

from convai_lab.agents.agent import EvaluationCriterion
from convai_lab.conversations.conversation import Conversation
from convai_lab.conversations.turn import ToolCall, Turn
from convai_lab.evaluation.checks import parse_checks, run_checks
from convai_lab.evaluation.judge import Judge
from convai_lab.providers.base import ChatRequest
from convai_lab.testing.fake_llm import FakeLLM, Reply

ROUNDS = 7
ANSWER = json.dumps({"criteria": [{"id": "found", "reason": "It was found.", "result": "success"}]})
FOUND = EvaluationCriterion(id="found", goal="The agent found the order.")


def talk(pairs: int) -> Conversation:
    """Return a conversation of so many questions and answers."""
    call = ToolCall(id="1", name="order_status", arguments={"order_id": "1234"})
    turns = (
        Turn(role="user", text="Where is my order 1234?"),
        Turn(role="agent", text="Your order 1234 has shipped and comes tomorrow.", tool_calls=(call,)),
    )
    return Conversation(id="c", agent_id="a", turns=turns * pairs)


def micros(work: Callable[[], Any], runs: int) -> float:
    """Return the microseconds of one run."""
    began = time.perf_counter()
    for _ in range(runs):
        work()
    return (time.perf_counter() - began) / runs * 1e6


async def judged(runs: int, work: Callable[[], Any]) -> float:
    """Return the microseconds of one run of something asynchronous."""
    began = time.perf_counter()
    for _ in range(runs):
        await work()
    return (time.perf_counter() - began) / runs * 1e6


def main() -> None:
    """Measure everything in turns and print the medians."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--runs", type=int, default=2_000)
    runs = parser.parse_args().runs
    short, long = talk(1), talk(10)
    said = parse_checks([{"said": "shipped"}], "scenario")
    called = {"called": {"tool": "order_status", "arguments": {"order_id": "1234"}}}
    five = parse_checks([{"said": "shipped"}, {"never_said": "sorry"}, called, {"turns": 40}, {"ended_by": "a"}], "s")
    llm = FakeLLM(lambda _: Reply([ANSWER]), provider="offline")
    judge = Judge(llm)
    request = ChatRequest(messages=())

    async def bare() -> None:
        async for _ in llm.stream(request):
            pass

    works: dict[str, Callable[[], float]] = {
        "search_us": lambda: micros(lambda: "shipped" in short.turns[1].text.lower(), runs),
        "one_said_check_us": lambda: micros(lambda: run_checks(said, short), runs),
        "five_checks_20_turns_us": lambda: micros(lambda: run_checks(five, long), runs),
        "bare_answer_us": lambda: asyncio.run(judged(runs // 10, bare)),
        "judge_20_turns_us": lambda: asyncio.run(judged(runs // 10, lambda: judge.grade(long, [FOUND]))),
    }
    rounds = [{name: work() for name, work in works.items()} for _ in range(ROUNDS)]
    medians = {name: round(statistics.median(r[name] for r in rounds), 2) for name in works}
    ratios = {
        "said_check_to_search": round(medians["one_said_check_us"] / medians["search_us"], 1),
        "judge_to_bare_answer": round(medians["judge_20_turns_us"] / medians["bare_answer_us"], 1),
    }
    print(json.dumps({"benchmark": "checks_and_judge", **medians, **ratios}))


if __name__ == "__main__":
    main()
