"""Caller variables: does every `{{variable}}` of the agents have a value in every scenario?

An agent that greets `{{name}}` cannot open a conversation without one. Said before anything is asked, because
otherwise every trial would fail, and the comparison would be a tie at nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from convai_lab.agents.agent import Agent
from convai_lab.agents.prompt import variables_in
from convai_lab.errors import InvalidValueError, MissingVariableError
from convai_lab.simulation.scenario import Scenario, ScenarioSet

GIVEN_BY_THE_PLATFORM = ("system__", "secret__")


def with_variables(scenarios: ScenarioSet, variables: Mapping[str, Any] | None) -> ScenarioSet:
    """Return scenarios in which `variables` have values where a scenario gives none of its own.

    Raises:
        InvalidValueError: `variables` is no mapping.
    """
    if not variables:
        return scenarios
    if not isinstance(variables, Mapping):
        raise InvalidValueError(f"must be a mapping, got {type(variables).__name__}", field="variables")
    filled = tuple(replace(one, variables={**variables, **one.variables}) for one in scenarios)
    return replace(scenarios, scenarios=filled)


def missing_variables(agent: Agent, scenario: Scenario) -> list[str]:
    """Return the names of an agent's variables that have a value neither in the scenario nor in the agent."""
    texts = [agent.prompt or "", "" if scenario.history else agent.first_message or ""]
    named = dict.fromkeys(name for text in texts for name in variables_in(text))
    known = {
        name for values in (agent.variables, scenario.variables) for name, value in values.items() if value is not None
    }
    return [name for name in named if name not in known and not name.startswith(GIVEN_BY_THE_PLATFORM)]


def require_variables(agents: Mapping[str, Agent], scenarios: Sequence[Scenario]) -> None:
    """Refuse a comparison in which an agent could not speak.

    Raises:
        MissingVariableError: Variables have no value; names them, the variant, and a scenario.
    """
    for name, agent in agents.items():
        without = [(scenario, missing) for scenario in scenarios if (missing := missing_variables(agent, scenario))]
        if without:
            some = f"{len(without):,} of {len(scenarios):,} scenarios, such as {without[0][0].id}"
            raise MissingVariableError(all_of(missing for _, missing in without), where=f"{name} (in {some})")


def all_of(names: Iterable[Iterable[str]]) -> list[str]:
    """Return all names, each once, in the order in which they come."""
    return list(dict.fromkeys(name for some in names for name in some))
