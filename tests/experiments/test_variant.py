"""Who competes: what may be given, and what the competitors are called."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from convai_lab.agents.agent import Agent
from convai_lab.agents.tools import tool
from convai_lab.errors import InvalidConfigError, InvalidValueError
from convai_lab.experiments.variant import Variant, make_variants

SAM = Agent(name="Sam", prompt="You are Sam.", llm="gpt-4o-mini")


def made(given: Any, agent: Agent | None = SAM, workspace: Any = None) -> tuple[Variant, ...]:
    return asyncio.run(make_variants(given, agent=agent, workspace=workspace))


class Elsewhere:
    """A workspace on another platform with one agent."""

    platform = "elevenlabs"

    class agents:
        @staticmethod
        async def aget(ref: Any) -> Agent:
            return Agent(name="Cloud", id="agent_1", llm="gpt-4o")


@pytest.mark.parametrize(
    ("given", "names", "models"),
    [
        ("gpt-4o-mini,claude-haiku-4-5", ["gpt-4o-mini", "claude-haiku-4-5"], ["gpt-4o-mini", "claude-haiku-4-5"]),
        (["offline"], ["offline"], ["offline"]),
        ([SAM, SAM.with_changes(llm="gpt-4o")], ["gpt-4o-mini", "gpt-4o"], ["gpt-4o-mini", "gpt-4o"]),
        ([SAM, SAM.with_changes(name="Kim")], ["Sam", "Kim"], ["gpt-4o-mini"] * 2),
        ([SAM, SAM.with_changes(temperature=0.9)], ["Sam", "temperature=0.9"], ["gpt-4o-mini"] * 2),
        ([SAM, SAM.with_changes(prompt="Another\nprompt")], ["Sam", "new prompt"], ["gpt-4o-mini"] * 2),
        ([SAM, SAM], ["Sam", "Sam 2"], ["gpt-4o-mini"] * 2),
        ([{"temperature": 0.5}, {"llm": "gpt-4o", "name": "big"}], ["Sam", "big"], ["gpt-4o-mini", "gpt-4o"]),
        ({"a": SAM, "b": {"llm": "gpt-4o"}}, ["a", "b"], ["gpt-4o-mini", "gpt-4o"]),
        ({"temperature": 0.5}, ["Sam"], ["gpt-4o-mini"]),
        (Variant("x", SAM, llm="gpt-4o"), ["x"], ["gpt-4o"]),
    ],
)
def test_variants_are_named_by_what_tells_them_apart(given: Any, names: list[str], models: list[str]) -> None:
    found = made(given)
    assert [variant.name for variant in found] == names
    assert [variant.model for variant in found] == models


@pytest.mark.parametrize(
    ("given", "agent", "said"),
    [
        ([], SAM, "name at least one variant"),
        ("", SAM, "a name is empty"),
        ("gpt-4o", None, "the scenarios bring none"),
        ([7], SAM, "is no variant"),
        ([None], SAM, "is no variant"),
        (None, SAM, "is no variant"),
        ([Variant("x", SAM), Variant("x", SAM)], SAM, "two variants are called 'x'"),
        ([SAM] * 51, SAM, "at most 50 variants"),
        (("",), SAM, "a name is empty"),
    ],
)
def test_what_is_no_variant_is_refused_in_words(given: Any, agent: Agent | None, said: str) -> None:
    with pytest.raises(InvalidValueError, match=said):
        made(given, agent)


def test_changes_and_models_are_of_the_first_agent_where_the_scenarios_bring_none() -> None:
    found = made([SAM, {"temperature": 0.5}, "gpt-4o"], agent=None)
    assert [variant.agent.prompt for variant in found] == ["You are Sam."] * 3
    assert [variant.model for variant in found] == ["gpt-4o-mini", "gpt-4o-mini", "gpt-4o"]
    with pytest.raises(InvalidValueError, match=r"a change of temperature says no agent, .* give an Agent first"):
        made([{"temperature": 0.5}, SAM], agent=None)


def test_a_wrong_change_names_its_field() -> None:
    with pytest.raises(InvalidConfigError, match="temprature"):
        made({"temprature": 0.5})


def test_an_agent_of_another_platform_runs_there() -> None:
    [variant] = made("Cloud", workspace=Elsewhere())
    assert variant.is_remote
    assert variant.platform == "elevenlabs"
    with pytest.raises(InvalidValueError, match="is not on elevenlabs yet"):
        made(SAM, workspace=Elsewhere())


def test_functions_are_those_that_this_process_has() -> None:
    @tool
    def order_status(order_id: str) -> str:
        """Look up an order."""
        return order_id

    assert list(Variant("x", SAM.with_changes(tools=(order_status, "end_call"))).functions) == ["order_status"]


@pytest.mark.parametrize("name", ["", "  ", "x" * 81, 7])
def test_a_variant_needs_a_name(name: Any) -> None:
    with pytest.raises(InvalidValueError, match="needs a name"):
        Variant(name, SAM)
