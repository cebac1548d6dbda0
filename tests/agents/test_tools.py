"""A typed function becomes a tool, runs with checked arguments in its newest definition, and fails in words."""

from __future__ import annotations

import asyncio
import dataclasses
import datetime
import inspect
import json
import math
from typing import Any, Literal

import pydantic
import pytest

from convai_lab.agents.agent import Agent
from convai_lab.agents.tools import ClientTool, SystemTool, WebhookTool, registered_tool, run_tool, tool
from convai_lab.errors import InvalidValueError, ToolError, ToolNotAvailableError


class Item(pydantic.BaseModel):
    """Something ordered."""

    sku: str
    count: int = pydantic.Field(default=1, ge=1)


@dataclasses.dataclass
class Address:
    """Where to."""

    city: str
    zip_code: str | None = None


@tool
def order_status(order_id: str, channel: Literal["shop", "web"] = "web", verbose: bool = False) -> dict[str, Any]:
    """Look up an order by its number.

    Works for orders of the last year.

    Args:
        order_id: The number on the receipt.
        channel: Where it was bought.
    """
    return {"id": order_id, "channel": channel, "verbose": verbose}


@tool
def ship(items: list[Item], to: Address, day: datetime.date | None = None) -> dict[str, Any]:
    """Ship items."""
    return {"n": sum(item.count for item in items), "to": to, "day": day}


def test_the_schema_comes_from_types_defaults_and_the_docstring() -> None:
    assert order_status.parameters == {
        "type": "object",
        "properties": {
            "order_id": {"type": "string", "description": "The number on the receipt."},
            "channel": {
                "type": "string",
                "enum": ["shop", "web"],
                "description": "Where it was bought.",
                "default": "web",
            },
            "verbose": {"type": "boolean", "description": "verbose", "default": False},
        },
        "required": ["order_id"],
    }
    assert order_status.description == "Look up an order by its number.\n\nWorks for orders of the last year."


def test_models_and_dataclasses_are_written_out_without_references() -> None:
    text = json.dumps(ship.parameters)
    assert "$ref" not in text
    assert "anyOf" not in text
    properties = ship.parameters["properties"]
    assert properties["items"]["items"]["properties"]["count"]["minimum"] == 1
    assert properties["to"]["properties"]["zip_code"] == {"type": "string"}
    assert properties["day"]["format"] == "date"


def test_a_tool_is_still_the_function() -> None:
    assert order_status("7") == {"id": "7", "channel": "web", "verbose": False}
    assert order_status.__name__ == "order_status"  # type: ignore[attr-defined]
    assert list(inspect.signature(order_status).parameters) == ["order_id", "channel", "verbose"]
    assert "order_status" in repr(order_status)


def test_name_description_and_time_out_can_be_given() -> None:
    @tool(name="Weather API", description="Says the weather.", timeout=5)
    def weather(city: str) -> str:
        """Ignored."""
        return f"sunny in {city}"

    assert (weather.name, weather.description, weather.response_timeout_secs) == (
        "Weather API",
        "Says the weather.",
        5.0,
    )
    assert registered_tool("Weather API") is weather
    assert run_tool(weather, {"city": "Rome"}) == "sunny in Rome"


def test_arguments_arrive_in_the_types_of_the_function() -> None:
    arguments = {"items": [{"sku": "a", "count": "2"}, {"sku": "b"}], "to": {"city": "Rome"}, "day": "2026-01-02"}
    assert json.loads(run_tool(ship, arguments)) == {
        "n": 3,
        "to": {"city": "Rome", "zip_code": None},
        "day": "2026-01-02",
    }
    assert json.loads(run_tool(order_status, '{"order_id": 1234}'))["id"] == "1234"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({}, "tool order_status: the argument order_id is missing"),
        (None, "the argument order_id is missing"),
        ("", "the argument order_id is missing"),
        ({"order_id": ["1"]}, "the argument order_id: input should be a valid string, got"),
        ({"order_id": None}, "the argument order_id: input should be a valid string, got None"),
        ({"order_id": "1", "channel": "fax"}, "the argument channel: input should be 'shop' or 'web', got 'fax'"),
        ({"order_id": "1", "colour": "red"}, "has no argument 'colour'; it takes order_id, channel, verbose"),
        ("{", "the arguments are not JSON"),
        ("[" * 100_000, "the arguments are not JSON"),
        ([], "the arguments must be an object, got list"),
        ({"order_id": {"x": "y" * 10_000}}, "the argument order_id"),
    ],
)
def test_a_wrong_argument_is_one_sentence_that_names_it(arguments: Any, message: str) -> None:
    with pytest.raises(ToolError) as caught:
        run_tool(order_status, arguments)
    assert message in str(caught.value)
    assert len(str(caught.value)) < 300


def test_a_nested_wrong_argument_is_named_by_its_path() -> None:
    with pytest.raises(ToolError, match=r"the argument items\.0\.count: input should be greater than or equal to 1"):
        run_tool(ship, {"items": [{"sku": "a", "count": 0}], "to": {"city": "x"}})


def _of(body: str) -> Any:
    namespace: dict[str, Any] = {}
    exec(f"from __future__ import annotations\n{body}", namespace)
    return namespace["f"]


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("def f(x): pass", "tool f: the argument x has no type"),
        ("def f(*x: int): pass", r"tool f: \*x is not possible"),
        ("def f(**x: int): pass", r"tool f: \*\*x is not possible"),
        ("def f(x: Nowhere): pass", "its types cannot be found"),
        ("f = lambda: 1", "a tool needs a name"),
        ("class N: pass\ndef f(x: N): pass", "the type of x cannot be described to a model"),
        ("from collections.abc import Callable\ndef f(x: Callable[[], int]): pass", "cannot be described to a model"),
    ],
)
def test_a_function_that_cannot_be_a_tool_is_refused_in_words(source: str, message: str) -> None:
    with pytest.raises(InvalidValueError, match=message):
        tool(_of(source))


@pytest.mark.parametrize("value", [None, 5, "name", object()])
def test_only_functions_become_tools(value: Any) -> None:
    with pytest.raises(InvalidValueError, match="@tool: is for functions"):
        tool(value) if value is not None else tool()(value)


@pytest.mark.parametrize("timeout", [0, 121, -1, True, "5", math.nan])
def test_a_time_out_out_of_range_is_refused(timeout: Any) -> None:
    with pytest.raises(InvalidValueError, match="timeout: must be from 1 to 120 seconds"):
        tool(timeout=timeout)(lambda: None)


def test_a_type_that_contains_itself_is_refused() -> None:
    with pytest.raises(InvalidValueError, match="a type that contains itself"):
        tool(_of("import pydantic\nclass T(pydantic.BaseModel):\n    t: list[T]\ndef f(x: T): pass"))


@pytest.mark.parametrize(
    ("result", "text"),
    [
        ("'plain'", "plain"),
        ("None", "null"),
        ("{'a': (1, 2.5, None, True)}", '{"a": [1, 2.5, null, true]}'),
        ("__import__('datetime').date(2026, 1, 2)", '"2026-01-02"'),
        ("__import__('numpy').arange(3)", "[0, 1, 2]"),
        ("__import__('decimal').Decimal('1.10')", '"1.10"'),
    ],
)
def test_results_become_text(result: str, text: str) -> None:
    assert run_tool(tool(_of(f"def f(): return {result}")), {}) == text


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("def f(): return object()", "returned object, which cannot be shown as JSON"),
        ("def f(): return float('nan')", "returned a number JSON has not"),
        ("def f():\n    x = []\n    x.append(x)\n    return x", "cannot be shown as JSON"),
        ("def f(): return 'x' * 1_000_001", "returned 1,000,001 characters"),
        ("def f(): raise KeyError('nope')", "failed with KeyError: 'nope'"),
        ("def f(): return (i for i in [object()])", "cannot be shown as JSON"),
    ],
)
def test_a_tool_that_fails_says_so_in_one_sentence(source: str, message: str) -> None:
    with pytest.raises(ToolError, match=message):
        run_tool(tool(_of(source)), {})


def test_the_functions_own_error_stays_reachable() -> None:
    with pytest.raises(ToolError) as caught:
        run_tool(tool(_of("def f(): raise KeyError('nope')")), {})
    assert isinstance(caught.value.__cause__, KeyError)


def test_an_interrupt_is_not_swallowed() -> None:
    with pytest.raises(KeyboardInterrupt):
        run_tool(tool(_of("def f(): raise KeyboardInterrupt")), {})


def test_running_the_cell_again_takes_effect_at_once() -> None:
    cell = "def f(x: int) -> int: return x + {}"
    first = tool(_of(cell.format(1)))
    agent = Agent(tools=[first])
    tool(_of(cell.format(100)))
    held = agent.tools[0]
    assert isinstance(held, ClientTool)
    assert run_tool(held, {"x": 1}) == "101"
    assert registered_tool("f") is not first


def test_two_functions_of_one_name_in_different_places_are_not_mixed_up() -> None:
    def made(answer: str) -> ClientTool:
        @tool(name="answer_me")
        def answer_me() -> str:
            return answer

        return answer_me

    first, second = made("one"), made("two")
    assert (run_tool(first, {}), run_tool(second, {})) == ("one", "two")


def test_a_tool_that_came_from_the_platform_finds_its_function_by_name() -> None:
    made = tool(name="known by name")(_of("def f(x: int) -> int: return x"))
    assert made.function is not None
    assert run_tool(ClientTool(name="known by name"), {"x": 9}) == "9"


def test_a_missing_function_is_a_clear_error() -> None:
    with pytest.raises(ToolNotAvailableError, match="after a kernel restart, run the cell of its @tool again"):
        run_tool(ClientTool(name="gone_forever"), {})
    with pytest.raises(ToolNotAvailableError):
        ClientTool(name="gone_forever")()


async def test_an_async_tool_runs_inside_and_outside_a_loop() -> None:
    made = tool(_of("import asyncio\nasync def f(x: int) -> int:\n    await asyncio.sleep(0)\n    return x * 2"))
    assert run_tool(made, {"x": 2}) == "4"
    assert await asyncio.to_thread(run_tool, made, {"x": 3}) == "6"
    failing = tool(_of("async def f(): raise ValueError('later')"))
    with pytest.raises(ToolError, match="failed with ValueError: later"):
        run_tool(failing, {})


def test_positional_only_arguments_work() -> None:
    assert run_tool(tool(_of("def f(a: int, /, b: int = 2) -> int: return a * b")), {"a": 3}) == "6"


def test_tools_that_differ_in_their_function_alone_are_equal() -> None:
    bare = dataclasses.replace(order_status, function=None)
    assert bare == order_status
    assert hash(bare) == hash(order_status)
    assert bare != dataclasses.replace(order_status, description="else")
    assert WebhookTool(name="a", url="u") != SystemTool(name="a")


def test_what_the_platform_adds_to_a_schema_makes_no_difference() -> None:
    filled = json.loads(json.dumps(order_status.parameters))
    for inner in filled["properties"].values():
        inner |= {"dynamic_variable": "", "constant_value": "", "is_omitted": False, "enum": inner.get("enum")}
    filled |= {"description": "", "required_constraints": None}
    assert dataclasses.replace(order_status, parameters=filled, extra={"interruption_mode": "allow"}) == order_status
