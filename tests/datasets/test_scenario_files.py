"""The scenario files have the form that datasets/README.md describes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import jsonschema

from convai_lab.simulation.persona import PERSONAS
from convai_lab.simulation.scenario import ScenarioSet, load_scenarios
from convai_lab.simulation.tool_mocks import MOCK_FIELDS

SYSTEM_TOOLS = {"end_call", "transfer_to_number", "transfer_to_agent", "skip_turn", "language_detection"}
AGENT_FIELDS = {"name", "first_message", "prompt", "tools"}
TOOL_FIELDS = {"name", "type", "description", "parameters", "params", "mocks"}
REQUIRED_FIELDS = {"id", "goal", "facts", "expected_tool_calls", "checks", "max_turns", "tags"}
SCENARIO_FIELDS = {*REQUIRED_FIELDS, "opening", "mocks", "variables", "persona", "state", "history"}
CHECKS = {"said", "never_said", "called", "never_called", "called_in_order", "state"}
File = Mapping[str, Any]


def parameters_of(file: File) -> dict[str, Any]:
    """The schema of every tool of the file's own, by name."""
    return {t["name"]: t["parameters"] for t in file["agent"]["tools"] if t.get("type") != "system"}


def calls_named_in(scenario: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    """Every call that a scenario speaks of."""
    yield from scenario["expected_tool_calls"]
    yield from (c[kind] for c in scenario["checks"] for kind in ("called", "never_called") if kind in c)
    yield from (call for c in scenario["checks"] for call in c.get("called_in_order", ()))


def test_a_file_holds_an_agent_and_scenarios_with_names_of_their_own(scenario_file: File, path: Path) -> None:
    assert set(scenario_file) == {"agent", "scenarios"}
    counts = Counter(s["id"] for s in scenario_file["scenarios"])
    assert len(counts) == (13 if path.stem == "personas" else 20)
    assert max(counts.values()) == 1


def test_a_file_is_loaded_as_it_is_written(scenario_file: File, scenarios: ScenarioSet) -> None:
    assert scenarios.agent is not None
    assert scenarios.agent.prompt == scenario_file["agent"]["prompt"]
    assert [tool.name for tool in scenarios.agent.tools] == [tool["name"] for tool in scenario_file["agent"]["tools"]]
    for scenario, written in zip(scenarios, scenario_file["scenarios"], strict=True):
        assert scenario.id == written["id"]
        assert scenario.facts == written["facts"], scenario.id
        assert list(scenario.checks) == written["checks"], scenario.id
        assert set(scenario.mocks) == {t["name"] for t in scenario_file["agent"]["tools"] if t.get("mocks")}


def test_every_persona_that_comes_with_the_lab_calls_somewhere(path: Path) -> None:
    if path.stem == "personas":
        assert {s.persona.name for s in load_scenarios(path) if s.persona} == set(PERSONAS)


def test_the_agent_has_only_fields_that_are_known(scenario_file: File) -> None:
    agent = scenario_file["agent"]
    assert set(agent) <= AGENT_FIELDS
    assert {"name", "prompt", "tools"} <= set(agent)
    for tool in agent["tools"]:
        assert set(tool) <= TOOL_FIELDS, tool["name"]
        assert tool.get("type", "client") in ("client", "system")
        assert tool.get("type") != "system" or tool["name"] in SYSTEM_TOOLS


def test_every_tool_of_its_own_has_a_valid_schema_and_an_answer_to_every_call(scenario_file: File) -> None:
    for tool in scenario_file["agent"]["tools"]:
        if tool.get("type") != "system":
            jsonschema.Draft202012Validator.check_schema(tool["parameters"])
            assert "when" not in tool["mocks"][-1], f"{tool['name']}: the last mock must fit every call"


def test_every_scenario_has_the_fields_that_are_described(scenario_file: File) -> None:
    for scenario in scenario_file["scenarios"]:
        assert set(scenario) >= REQUIRED_FIELDS, scenario["id"]
        assert set(scenario) <= SCENARIO_FIELDS, scenario["id"]
        assert isinstance(scenario["facts"], Mapping), scenario["id"]
        assert all(isinstance(value, str) for value in scenario["facts"].values()), scenario["id"]
        assert 2 <= scenario["max_turns"] <= 20, scenario["id"]
        assert scenario.get("opening") or scenario.get("history"), scenario["id"]
        assert scenario["tags"], scenario["id"]


def test_every_check_is_of_a_known_kind_and_says_one_thing(scenario_file: File) -> None:
    for scenario in scenario_file["scenarios"]:
        assert scenario["checks"], scenario["id"]
        for check in scenario["checks"]:
            ((kind, value),) = check.items()
            assert kind in CHECKS, (scenario["id"], kind)
            if kind in ("said", "never_said"):
                assert isinstance(value, str) or (list(value) == ["any_of"] and len(value["any_of"]) > 1)


def test_every_call_in_a_scenario_names_a_tool_and_arguments_that_exist(scenario_file: File) -> None:
    schemas = parameters_of(scenario_file)
    offered = {tool["name"] for tool in scenario_file["agent"]["tools"]}
    for scenario in scenario_file["scenarios"]:
        for call in calls_named_in(scenario):
            assert set(call) <= {"tool", "arguments"}, scenario["id"]
            assert call["tool"] in offered, (scenario["id"], call["tool"])
            if call["tool"] in schemas:
                properties = schemas[call["tool"]]["properties"]
                for name, value in call.get("arguments", {}).items():
                    jsonschema.validate(value, properties[name])


def test_every_mock_has_one_answer_and_fits_arguments_that_exist(scenario_file: File) -> None:
    schemas = parameters_of(scenario_file)
    own = [(t["name"], m) for t in scenario_file["agent"]["tools"] for m in t.get("mocks", ())]
    changed = [(n, m) for s in scenario_file["scenarios"] for n, mocks in s.get("mocks", {}).items() for m in mocks]
    for name, mock in [*own, *changed]:
        assert len({"result", "error"} & set(mock)) == 1, name
        assert set(mock) <= set(MOCK_FIELDS), name
        assert set(mock.get("when", {})) <= set(schemas[name]["properties"]), name


def test_the_scenarios_are_varied(scenario_file: File, path: Path) -> None:
    if path.stem == "personas":
        return
    tags = {tag for scenario in scenario_file["scenarios"] for tag in scenario["tags"]}
    wanted = {
        "happy_path",
        "missing_fact",
        "correction",
        "changes_mind",
        "out_of_scope",
        "handover",
        "injection",
        "upset",
    }
    assert tags >= wanted | {"not_english", "knowledge", "guardrail"}
