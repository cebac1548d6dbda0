"""Plan: which trials are there, with which seeds, and when is one the same as one that was held before?

Seeds depend on the scenario and the number of the trial alone, so that every variant meets the same callers. The key
of a trial says what matters to it and nothing else: an edit makes new keys only for what it touches.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from convai_lab.agents.agent import Agent
from convai_lab.agents.tools import ClientTool, newest_definition
from convai_lab.agents.wire_format import agent_to_wire
from convai_lab.errors import InvalidValueError
from convai_lab.experiments.code_mark import content_mark
from convai_lab.experiments.variant import Variant

if TYPE_CHECKING:
    from convai_lab.simulation.scenario import Scenario

FORMAT = 2
"""Counts up when trials are held or graded differently, so that older ones in a journal do not pass for them."""
MOST_TRIALS = 1_000_000
SEED_BITS = 31
"""Vendors take seeds of 32 bits with a sign."""
NOT_CONTENT = ("name", "tags", "metadata", "agent_id", "version_id")
"""Keys of an agent's wire form that change nothing in what it says."""


@dataclass(frozen=True, slots=True)
class PlannedTrial:
    """One trial that is to be held."""

    variant: Variant
    scenario: Scenario
    trial: int
    seed: int
    key: str
    talk: str = ""
    """What trials have in common whose conversations go the same way: all but the checks."""


def plan_trials(
    variants: Sequence[Variant],
    scenarios: Sequence[Scenario],
    *,
    trials: int,
    seed: int,
    conditions: Mapping[str, Any],
    scenario_first: bool = False,
) -> list[PlannedTrial]:
    """Return all trials: first every scenario once with every variant, then again.

    Whenever it is cut short, what is done is as balanced as it can be.

    Args:
        conditions: What else matters, as JSON: the mode, the simulated user, the judge, where the vendors are.
        scenario_first: Hold all trials of a scenario before the next one instead, in the order of `drawn_order`.

    Raises:
        InvalidValueError: There are no scenarios, or far too many trials.
    """
    _check(variants, scenarios, trials, seed)
    competitors = list(zip(variants, _marks(variants), strict=True))
    common = _digest(json.dumps([FORMAT, conditions], sort_keys=True, default=str))
    talks = {s.id: _digest(f"{s.talk_key}/{s.expected_outcome or ''}") for s in scenarios}
    planned: list[PlannedTrial] = []
    pairs = [(number, scenario) for number in range(trials) for scenario in scenarios]
    if scenario_first:
        pairs = [(number, scenario) for scenario in drawn_order(scenarios, seed) for number in range(trials)]
    for number, scenario in pairs:
        own_seed = trial_seed(scenario, number, seed)
        for variant, mark in competitors:
            key, talk = (_digest(f"{mark}/{common}/{one}/{own_seed}") for one in (scenario.key, talks[scenario.id]))
            planned.append(PlannedTrial(variant, scenario, number, own_seed, key, talk))
    return planned


def drawn_order(scenarios: Sequence[Scenario], seed: int) -> list[Scenario]:
    """Return scenarios in an order that the seed draws, for a run that may end early.

    Files have their scenarios in groups: the first dozen may all be of the kind that one variant is better at.
    """
    return sorted(scenarios, key=lambda scenario: _digest(f"{seed}/{scenario.id}"))


def trial_seed(scenario: Scenario, trial: int, seed: int) -> int:
    """Return the seed of one trial: the scenario's own where it names one, else one that nothing else has."""
    if trial < len(scenario.seeds):
        return int(scenario.seeds[trial])
    digest = hashlib.blake2b(f"{seed}/{scenario.id}/{trial}".encode("utf-8", "surrogatepass"), digest_size=8).digest()
    return int.from_bytes(digest, "big") >> (64 - SEED_BITS)


def agent_mark(agent: Agent) -> str:
    """Return what says whether two agents behave the same: their content, and the code of their tools."""
    wire = {name: value for name, value in agent_to_wire(agent).items() if name not in NOT_CONTENT}
    code = {name: content_mark(function) for name, function in tool_functions(agent).items()}
    return _digest(json.dumps([wire, code], sort_keys=True, default=str))


def tool_functions(agent: Agent) -> dict[str, Callable[..., Any]]:
    """Return the Python functions that its tools would run, by the tool's name: those that were defined last."""
    tools = (newest_definition(tool) for tool in agent.tools if isinstance(tool, ClientTool))
    return {tool.name: tool.function for tool in tools if tool.function is not None}


def _check(variants: Sequence[Variant], scenarios: Sequence[Scenario], trials: int, seed: int) -> None:
    if not scenarios:
        raise InvalidValueError("there is no scenario to hold", field="scenarios")
    if isinstance(trials, bool) or not isinstance(trials, int) or trials < 1:
        raise InvalidValueError(f"must be a whole number from 1, got {trials!r}", field="trials")
    if isinstance(seed, bool) or not isinstance(seed, int):
        raise InvalidValueError(f"must be a whole number, got {seed!r}", field="seed")
    count = len(variants) * len(scenarios) * trials
    if count > MOST_TRIALS:
        raise InvalidValueError(
            f"{len(variants)} variants × {len(scenarios)} scenarios × {trials} trials are {count:,} conversations; "
            f"at most {MOST_TRIALS:,} are held in one comparison",
            field="trials",
        )


def _marks(variants: Sequence[Variant]) -> list[str]:
    """Return a mark for each variant; the second of two equal ones has its own, so that A can be held against A."""
    seen: Counter[str] = Counter()
    marks = []
    for variant in variants:
        content = f"{variant.platform}/{variant.agent.id if variant.is_remote else ''}/{agent_mark(variant.agent)}"
        marks.append(f"{content}/{seen[content]}")
        seen[content] += 1
    return marks


def _digest(text: str) -> str:
    return hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=16).hexdigest()
