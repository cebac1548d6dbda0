"""The offline model can be tried with every scenario: it never fails, and does the right thing in most of them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from convai_lab.conversations.turn import ToolCall
from convai_lab.providers.base import ToolSpec
from convai_lab.providers.offline_llm import OfflineLLM
from convai_lab.testing.dialogue_script import Spoken, Talk

REASON = {"reason": {"type": "string"}}
SYSTEM_PARAMETERS = {
    "end_call": ({}, []),
    "transfer_to_number": (
        {"transfer_number": {"type": "string"}, "client_message": {"type": "string"}},
        ["transfer_number"],
    ),
}
LEAST_FIRST_CALLS = 18
LEAST_CHECKS = 18


def spec_of(tool: Mapping[str, Any]) -> ToolSpec:
    """A tool of a file as the model sees it."""
    if tool.get("type") != "system":
        return ToolSpec(name=tool["name"], description=tool["description"], parameters=tool["parameters"])
    properties, required = SYSTEM_PARAMETERS[tool["name"]]
    transfers = tool.get("params", {}).get("transfers", [])
    rows = [f"- {t['transfer_destination']['phone_number']}: {t['condition']}" for t in transfers]
    parameters = {"type": "object", "properties": {**REASON, **properties}, "required": required}
    return ToolSpec(name=tool["name"], description="\n".join(["", *rows]), parameters=parameters)


def answer_of(file: Mapping[str, Any], scenario: Mapping[str, Any], name: str, arguments: Mapping[str, Any]) -> Any:
    """What the mock of a tool answers."""
    tool = next(t for t in file["agent"]["tools"] if t["name"] == name)
    for mock in scenario.get("mocks", {}).get(name, tool.get("mocks", [{"result": "ok"}])):
        if mock.get("when", {}).items() <= dict(arguments).items():
            if "error" in mock:
                raise LookupError(mock["error"])
            return mock["result"]
    raise LookupError("no mock")


class Caller:
    """A caller who tells the facts they are asked for, and nothing else."""

    def __init__(self, facts: Mapping[str, str]) -> None:
        self._facts = dict(facts)

    def reply(self, said: str) -> str | None:
        """Answer the agent; None when there is nothing to say."""
        text = said.lower()
        if "put you through" in text:
            return "yes please"
        if "would you like me to" in text:
            return self._facts.get("confirmation")
        if "go ahead" in text:
            return self._facts.pop("confirmation", None) or self._facts.pop("second_confirmation", None)
        if "could not find" in text and (right := next((k for k in self._facts if k.startswith("right_")), None)):
            return self._facts.pop(right)
        for key in list(self._facts):
            words = key.replace("_", " ").split()
            if "confirmation" not in key and not key.startswith("right_") and all(w in text for w in words):
                return self._facts[key]
        return self._facts.pop("what", None)


async def play(file: Mapping[str, Any], scenario: Mapping[str, Any]) -> list[Spoken]:
    """Play a scenario against the offline model."""
    agent = file["agent"]
    talk = Talk(
        OfflineLLM(),
        agent["prompt"],
        tools=[spec_of(tool) for tool in agent["tools"]],
        answer=lambda name, arguments: answer_of(file, scenario, name, arguments),
        first_message=agent["first_message"],
    )
    caller, line = Caller(scenario["facts"]), scenario["opening"]
    spoken: list[Spoken] = []
    while line is not None and 2 * len(spoken) < scenario["max_turns"]:
        spoken.append(await talk.say(line))
        line = caller.reply(spoken[-1].text)
    return spoken


def made(spoken: list[Spoken], call: Mapping[str, Any]) -> bool:
    """Whether a call was made, with at least the arguments."""
    calls: list[ToolCall] = [c for s in spoken for c in s.calls]
    wanted = call.get("arguments", {}).items()
    return any(c.name == call["tool"] and wanted <= dict(c.arguments).items() for c in calls)


def holds(check: Mapping[str, Any], spoken: list[Spoken]) -> bool:
    """Whether a check holds at the end."""
    ((kind, value),) = check.items()
    if kind in ("called", "never_called"):
        return made(spoken, value) is (kind == "called")
    texts = [value] if isinstance(value, str) else value["any_of"]
    whole = "\n".join(s.text for s in spoken).lower()
    return any(t.lower() in whole for t in texts) is (kind == "said")


@pytest.fixture
async def played(scenario_file: Mapping[str, Any]) -> list[tuple[Mapping[str, Any], list[Spoken]]]:
    return [(scenario, await play(scenario_file, scenario)) for scenario in scenario_file["scenarios"]]


Played = list[tuple[Mapping[str, Any], list[Spoken]]]


async def test_every_scenario_gets_an_answer_to_every_line(played: Played) -> None:
    for scenario, spoken in played:
        assert all(s.text or s.calls for s in spoken), scenario["id"]


async def test_the_first_expected_call_is_made_in_most_scenarios_and_none_where_none_is_expected(
    played: Played, scenario_file: Mapping[str, Any]
) -> None:
    own = {t["name"] for t in scenario_file["agent"]["tools"] if t.get("type") != "system"}
    good, bad = [], []
    for scenario, spoken in played:
        expected = scenario["expected_tool_calls"]
        called = {c.name for s in spoken for c in s.calls} & own
        right = made(spoken, expected[0]) if expected else not called
        (good if right else bad).append(scenario["id"])
    assert len(good) >= LEAST_FIRST_CALLS, bad


async def test_all_checks_hold_in_most_scenarios(played: Played) -> None:
    bad = [s["id"] for s, spoken in played if not all(holds(c, spoken) for c in s["checks"])]
    assert len(played) - len(bad) >= LEAST_CHECKS, bad


async def test_what_must_never_happen_never_happens(played: Played) -> None:
    """Checks of the forbidding kind hold in every scenario: the rules do nothing they were not asked to do."""
    for scenario, spoken in played:
        for check in scenario["checks"]:
            if next(iter(check)).startswith("never"):
                assert holds(check, spoken), (scenario["id"], check)
