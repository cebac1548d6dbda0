"""The offline model can be tried with every scenario: it never fails, and does the right thing in most of them."""

from __future__ import annotations

from typing import NamedTuple

import pytest

from convai_lab.agents.agent import Agent
from convai_lab.agents.tools import SystemTool
from convai_lab.clock import VirtualClock
from convai_lab.evaluation.checks import CheckResult, parse_checks, run_checks
from convai_lab.providers.offline_llm import OfflineLLM
from convai_lab.simulation.offline_user import OfflineUser
from convai_lab.simulation.runner import SimulatedConversation, run_conversation
from convai_lab.simulation.scenario import Scenario, ScenarioSet
from convai_lab.simulation.voice_runner import run_voice_conversation

SHARE = 0.95
"""So many of a file's scenarios must go well: 19 of 20."""


class Played(NamedTuple):
    """A scenario, how it went, and how its checks came out."""

    scenario: Scenario
    held: SimulatedConversation
    checks: tuple[CheckResult, ...]


def play(agent: Agent, scenario: Scenario, *, seed: int = 1) -> SimulatedConversation:
    clock = VirtualClock(seed=seed)
    options = {"llm": OfflineLLM(), "user": OfflineUser(), "seed": seed, "clock": clock}
    return clock.run(run_conversation(agent, scenario, **options))  # type: ignore[arg-type]


@pytest.fixture
def agent(scenarios: ScenarioSet) -> Agent:
    assert scenarios.agent is not None
    return scenarios.agent


@pytest.fixture
def played(scenarios: ScenarioSet, agent: Agent) -> list[Played]:
    return [_graded(scenario, play(agent, scenario)) for scenario in scenarios]


def _graded(scenario: Scenario, held: SimulatedConversation) -> Played:
    checks = parse_checks(scenario.checks, scenario.id)
    return Played(scenario, held, run_checks(checks, held.conversation, tool_state=held.tool_state.state))


def is_first_call_right(one: Played, own: set[str]) -> bool:
    """Whether the first expected call was made, or none of the agent's own tools was called where none is expected."""
    calls = [call for turn in one.held.conversation for call in turn.tool_calls]
    if not one.scenario.expected_tool_calls:
        return not {call.name for call in calls} & own
    first = one.scenario.expected_tool_calls[0]
    wanted = first.get("arguments", {}).items()
    return any(call.name == first["tool"] and wanted <= dict(call.arguments).items() for call in calls)


def test_every_conversation_comes_to_an_end_of_its_own_without_a_fault(played: list[Played]) -> None:
    for one in played:
        assert one.held.faults == (), one.scenario.id
        assert one.held.ended_by in ("goal_reached", "gave_up", "agent", "max_turns"), one.scenario.id
        assert one.held.simulator_cost_usd == 0.0


def test_every_line_gets_an_answer(played: list[Played]) -> None:
    for one in played:
        assert all(turn.text or turn.tool_calls for turn in one.held.conversation), one.scenario.id


def test_no_conversation_is_longer_than_it_may_be(played: list[Played]) -> None:
    for one in played:
        given = len(one.scenario.history) or 1  # a first message does not count
        assert len(one.held.conversation) - given <= one.scenario.max_turns, one.scenario.id


def test_the_first_expected_call_is_made_in_most_scenarios_and_none_where_none_is_expected(
    played: list[Played], agent: Agent
) -> None:
    own = {tool.name for tool in agent.tools if not isinstance(tool, SystemTool)}
    bad = [one.scenario.id for one in played if not is_first_call_right(one, own)]
    assert len(bad) <= (1 - SHARE) * len(played) + 1e-9, bad


def test_all_checks_hold_in_most_scenarios(played: list[Played]) -> None:
    bad = [(one.scenario.id, [c.why for c in one.checks if not c.passed]) for one in played]
    bad = [(name, why) for name, why in bad if why]
    assert len(bad) <= (1 - SHARE) * len(played) + 1e-9, bad


def test_what_must_never_happen_never_happens(played: list[Played]) -> None:
    """Checks of the forbidding kind hold in every scenario: the rules do nothing they were not asked to do."""
    for one in played:
        for check in one.checks:
            assert check.passed or not check.kind.startswith("never"), (one.scenario.id, check)


def test_the_same_seed_gives_the_same_conversations(scenarios: ScenarioSet, agent: Agent) -> None:
    for scenario in scenarios:
        first, second = play(agent, scenario), play(agent, scenario)
        assert repr(first.conversation.turns) == repr(second.conversation.turns), scenario.id
        assert first == second, scenario.id


def test_callers_are_understood_on_the_telephone_too(scenarios: ScenarioSet, agent: Agent) -> None:
    """The first three scenarios of a file, spoken: the same tools are called as in text."""
    for scenario in list(scenarios)[:3]:
        clock = VirtualClock(seed=1)
        options = {"llm": OfflineLLM(), "user": OfflineUser(), "seed": 1, "clock": clock}
        spoken = clock.run(run_voice_conversation(agent, scenario, **options))  # type: ignore[arg-type]
        assert spoken.faults == (), scenario.id
        typed = play(agent, scenario)
        names = [{(c.name, str(c.arguments)) for c in held.tool_state.calls} for held in (spoken, typed)]
        assert names[0] == names[1], scenario.id
