"""Which function answers a tool call."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from convai_lab.agents.agent import Agent
from convai_lab.agents.tools import ClientTool, SystemTool, tool
from convai_lab.errors import ToolNotAvailableError
from convai_lab.workspace.tools import MAX_ERROR_CHARS, BoundTools, ToolDesk


class Here:
    """A caller that runs tools at once."""

    async def tell(self, event: Any) -> None:
        pass

    async def work(self, function: Callable[[], Any]) -> Any:
        return function()


def run(desk: ToolDesk, name: str, **arguments: Any) -> tuple[str, bool]:
    return tuple(asyncio.run(desk.run(name, arguments, Here())))  # type: ignore[return-value]


def desk_for(*tools: Any) -> ToolDesk:
    agent, bound = Agent(id="agent_1", tools=tools), BoundTools()
    bound.remember("agent_1", agent)
    return ToolDesk(agent, bound)


def test_the_function_an_agent_brought_along_is_used() -> None:
    assert run(desk_for(ClientTool(name="mine_alone", function=lambda: "42")), "mine_alone") == ("42", False)


def test_the_newest_definition_of_the_function_wins() -> None:
    global defined_twice  # as a cell defines it

    @tool
    def defined_twice() -> str:
        """Say which."""
        return "first"

    desk = desk_for(defined_twice)

    @tool  # type: ignore[no-redef]
    def defined_twice() -> str:
        """Say which."""
        return "second"

    assert run(desk, "defined_twice") == ("second", False)


def test_an_agent_without_a_function_calls_the_newest_of_that_name() -> None:
    for answer in ("first", "second"):

        @tool
        def defined_anywhere(answer: str = answer) -> str:
            """Say which."""
            return answer

    assert run(desk_for(ClientTool(name="defined_anywhere")), "defined_anywhere") == ("second", False)


def test_functions_are_kept_per_agent() -> None:
    bound = BoundTools()
    bound.remember("agent_1", Agent(tools=(ClientTool(name="per_agent", function=lambda: "one"),)))
    assert bound.find("agent_2", "per_agent") is None
    assert bound.find("agent_1", "per_agent") is not None


def test_wrong_arguments_are_told_to_the_model() -> None:
    @tool
    def needs_a_number(count: int) -> str:
        """Count."""
        return str(count)

    value, is_error = run(desk_for(needs_a_number), "needs_a_number", count="many")
    assert is_error
    assert "count" in value


def test_a_huge_error_is_cut() -> None:
    def fail() -> None:
        raise ValueError("x" * 100_000)

    value, is_error = run(desk_for(ClientTool(name="fails_hugely", function=fail)), "fails_hugely")
    assert is_error
    assert len(value) <= MAX_ERROR_CHARS


def test_missing_functions_are_named_once() -> None:
    desk = desk_for(ClientTool(name="absent_a"), ClientTool(name="absent_b"))
    for name in ("absent_a", "absent_b", "absent_a"):
        assert run(desk, name)[1]
    with pytest.raises(ToolNotAvailableError, match=r"tool absent_a: .*also missing: absent_b"):
        desk.raise_if_missing()
    desk.raise_if_missing()


def test_other_kinds_of_tools_are_not_ours_to_run() -> None:
    assert run(desk_for(SystemTool(name="end_call")), "end_call") == ("end_call is not a tool of this agent", True)


def test_the_model_waits_unless_the_tool_says_otherwise() -> None:
    desk = desk_for(ClientTool(name="quiet", expects_response=False), ClientTool(name="loud"))
    assert (desk.is_answered("quiet"), desk.is_answered("loud"), desk.is_answered("unknown")) == (False, True, True)


def test_renewing_changes_what_the_model_sees_and_nothing_else() -> None:
    @tool
    def renewed_tool(a: str) -> str:
        """New words."""
        return a

    old = ClientTool(name="renewed_tool", description="Old words.", expects_response=False, extra={"kept": 1})
    agent = Agent(id="agent_1", tools=(old, SystemTool(name="end_call")))
    [new, other] = BoundTools().renewed(agent).tools
    assert isinstance(new, ClientTool)
    assert new.description == "New words."
    assert "a" in new.parameters["properties"]
    assert (new.expects_response, new.extra) == (False, {"kept": 1})
    assert other == agent.tools[1]
    same = agent.with_changes(tools=(new,))
    assert BoundTools().renewed(same) == same
