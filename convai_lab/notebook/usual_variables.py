"""Usual variables: which values did an agent's variables have when it was last talked with?"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from convai_lab.agents.agent import Agent
from convai_lab.errors import ConvaiLabError
from convai_lab.experiments.caller_variables import all_of, missing_variables, with_variables
from convai_lab.notebook.bench import Bench
from convai_lab.simulation.scenario import ScenarioSet

LOOKED_AT = 5
"""So many of the newest conversations with an agent are looked at."""


def usual_variables(
    bench: Bench, agents: Iterable[Agent], scenarios: ScenarioSet, given: Mapping[str, Any] | None
) -> dict[str, Any]:
    """Return `given` with what is missing taken from the newest conversations with the agents, and say so."""
    values = dict(given or {})
    for agent in agents:
        wanted = all_of(missing_variables(agent, one) for one in with_variables(scenarios, values))
        if wanted and agent.id:
            found = {name: value for name, value in _last_values(bench, agent).items() if name in wanted}
            for name, value in found.items():
                print(f"{{{{{name}}}}} is {value}, as when {agent.name} was last talked with; --var {name}=... sets it")
            values |= found
    return values


def _last_values(bench: Bench, agent: Agent) -> dict[str, Any]:
    """Return the values of the newest conversations, the newest first to count."""
    values: dict[str, Any] = {}
    try:
        for row in bench.workspace.conversations.list(agent=agent.id, limit=LOOKED_AT):
            values = {**row.load().variables, **values}
    except ConvaiLabError:  # it is a convenience: what is missing is told by the comparison itself
        return values
    return values
