"""Scenario source: how do files, lists and DataFrames become scenarios?"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import fields, replace
from pathlib import Path
from typing import Any, NamedTuple

from convai_lab.agents.agent import Agent
from convai_lab.agents.plain_json import shown
from convai_lab.agents.tools import ClientTool, SystemTool, Tool, WebhookTool
from convai_lab.dialogue.outside_text import cut
from convai_lab.errors import InvalidConfigError, InvalidValueError
from convai_lab.evaluation.checks import parse_checks
from convai_lab.simulation.scenario import Scenario, ScenarioSet
from convai_lab.simulation.scenario_fields import refuse_unknown_fields
from convai_lab.simulation.scenario_text import read_rows
from convai_lab.simulation.tool_mocks import Mock, tool_mocks

MAX_SCENARIOS = 100_000
MAX_TOLD_CHARS = 600
SET_KEYS = ("agent", "scenarios")

Mocks = Mapping[str, tuple[Mock, ...]]


class _Written(NamedTuple):
    """The agent of a set, and what its tools answer."""

    agent: Agent | None
    mocks: Mocks


def read_scenarios(source: Any) -> ScenarioSet:
    """Return the scenarios of any source that `load_scenarios` takes.

    Raises:
        InvalidValueError: Something in it is wrong; one sentence names the file, the scenario and the field.
    """
    if isinstance(source, ScenarioSet):
        return source
    if isinstance(source, Scenario):
        return ScenarioSet((source,))
    if isinstance(source, str | Path):
        return _of_file(source)
    if hasattr(source, "columns") and hasattr(source, "to_dict"):
        return _made(frame_rows(source), "DataFrame", unit="row")
    return _made(source, "scenarios", unit="no.")


def frame_rows(frame: Any) -> list[dict[str, Any]]:
    """Return the rows of a DataFrame as mappings, without what is missing; ``facts.name`` columns go into facts."""
    repeated = [name for name in frame.columns if list(frame.columns).count(name) > 1]
    if repeated:
        raise InvalidValueError(f"has the column {repeated[0]!r} twice: rename one", field="DataFrame")
    return [
        nested({f"{k}": _python(v) for k, v in row.items() if not _is_missing(v)}) for row in frame.to_dict("records")
    ]


def nested(row: Mapping[str, Any]) -> dict[str, Any]:
    """Return a flat row with the values of columns such as ``facts.order_number`` in a mapping of their own."""
    made: dict[str, Any] = {}
    for name, value in row.items():
        head, dot, rest = name.partition(".")
        if not dot or head not in ("facts", "variables", "state"):
            made[name] = value
        elif isinstance(inner := made.setdefault(head, {}), dict):
            inner[rest] = value
    return made


def agent_of(written: Any, name: str) -> Agent | None:
    """Return the agent that a mapping describes, as `agent` does in a file of scenarios.

    Raises:
        InvalidConfigError: A field of it is wrong.
    """
    return _written(written, name).agent


def _of_file(path: str | Path) -> ScenarioSet:
    file = Path(path).expanduser()
    if not file.suffix and " " in str(path).strip():
        raise InvalidValueError("is a text and no file: put openings into a list, such as ['Hello']", field="scenarios")
    if file.suffix.lower() == ".parquet":
        import pandas as pd

        try:
            rows: Any = frame_rows(pd.read_parquet(file))
        except (OSError, ValueError) as error:
            raise InvalidValueError(f"cannot be read as Parquet: {error}", field=file.name) from None
        return _made(rows, file.name, unit="row")
    unit = {".csv": "row", ".jsonl": "line"}.get(file.suffix.lower(), "no.")
    rows = read_rows(file)
    return _made([nested(row) for row in rows] if unit == "row" else rows, file.name, unit=unit)


def _made(source: Any, name: str, *, unit: str) -> ScenarioSet:
    written = _Written(None, {})
    if isinstance(source, Mapping):
        if unknown := [f"{key}" for key in source if key not in SET_KEYS]:
            raise InvalidValueError(
                f"a file holds `agent` and `scenarios`; {unknown[0]!r} is neither: put it into a scenario", field=name
            )
        written = _written(source.get("agent"), name)
        source = source.get("scenarios")
    if source is None:
        raise InvalidValueError("must hold a list of scenarios, such as [{opening: Hello}], and is empty", field=name)
    if isinstance(source, str | bytes | Mapping) or not isinstance(source, Iterable):
        raise InvalidValueError(
            f"must hold a list of scenarios, such as [{{opening: Hello}}], got {shown(source)}", field=name
        )
    scenarios = tuple(_scenarios(source, name, unit, written))
    if not scenarios:
        raise InvalidValueError("holds no scenario: add one, such as {id: greets, opening: Hello}", field=name)
    return ScenarioSet(scenarios, written.agent, written.mocks, name)


def _scenarios(source: Iterable[Any], name: str, unit: str, written: _Written) -> Iterator[Scenario]:
    places: dict[str, int] = {}
    for number, row in enumerate(source, 1):
        if number > MAX_SCENARIOS:
            raise InvalidValueError(f"holds more than {MAX_SCENARIOS:,} scenarios: split it", field=name)
        where = f"{name}, {unit} {number}"
        try:
            scenario = _with_mocks(_scenario(row, places), written)
        except InvalidValueError as error:
            raise placed(error, where) from None
        if scenario.id in places:
            first = f"{unit} {places[scenario.id]}"
            raise InvalidValueError(
                f"is also that of {first}: results are paired by it, so give each its own",
                field=f"{where}: scenario {shown(scenario.id)}: id",
            )
        places[scenario.id] = number
        yield scenario


def _scenario(row: Any, taken: Mapping[str, int]) -> Scenario:
    if isinstance(row, Scenario):
        return row
    if isinstance(row, str):
        return _of_text(row, taken)
    if not isinstance(row, Mapping):
        raise InvalidValueError(
            f"must be a mapping such as {{id: greets, opening: Hello}}, or a text, got {shown(row)}"
        )
    refuse_unknown_fields(row)
    scenario = Scenario(**row)
    parse_checks(scenario.checks, f"scenario {shown(scenario.id)}")
    return scenario


def _of_text(text: str, taken: Mapping[str, int]) -> Scenario:
    if not text.strip():
        raise InvalidValueError("is empty: write what the caller says first")
    scenario = Scenario(opening=text)
    number = 2
    name = scenario.id
    while name in taken:
        name, number = f"{scenario.id}_{number}", number + 1
    return replace(scenario, id=name)


def _with_mocks(scenario: Scenario, written: _Written) -> Scenario:
    """Give a scenario the answers of the agent's tools for which it has none of its own."""
    if written.agent is not None:
        tools = [tool.name for tool in written.agent.tools]
        if unknown := [name for name in scenario.mocks if name not in tools]:
            where = f"scenario {shown(scenario.id)}: mocks.{unknown[0]}"
            raise InvalidValueError(f"the agent has no such tool; it has {', '.join(tools) or 'none'}", field=where)
    if not written.mocks:
        return scenario
    return replace(scenario, mocks={**written.mocks, **scenario.mocks})


def _written(value: Any, name: str) -> _Written:
    if value is None or isinstance(value, Agent):
        return _Written(value, {})
    if not isinstance(value, Mapping):
        raise InvalidValueError(
            f"must be a mapping with name, prompt and tools, got {shown(value)}", field=f"{name}: agent"
        )
    given = {f"{key}": inner for key, inner in value.items() if key != "tools"}
    known = [field.name for field in fields(Agent)]
    if unknown := [key for key in given if key not in known]:
        raise InvalidValueError(
            f"is no field of an agent; they are {', '.join(known)}", field=f"{name}: agent.{unknown[0]}"
        )
    tools, mocks = _tools(value.get("tools"), f"{name}: agent.tools")
    try:
        return _Written(Agent(**given, tools=tools), mocks)
    except InvalidConfigError as error:
        raise placed(error, f"{name}: agent") from None


def _tools(value: Any, where: str) -> tuple[tuple[Tool, ...], dict[str, tuple[Mock, ...]]]:
    if value is not None and not isinstance(value, list | tuple):
        raise InvalidValueError(f"must be a list such as [{{name: order_status}}], got {shown(value)}", field=where)
    tools: dict[str, Tool] = {}
    mocks: dict[str, tuple[Mock, ...]] = {}
    for number, one in enumerate(value or ()):
        at = f"{where}[{number}]"
        made = _tool(one, at)
        if made.name in tools:
            raise InvalidValueError(f"there are two tools named {made.name}: rename one", field=at)
        tools[made.name] = made
        if isinstance(one, Mapping) and one.get("mocks") is not None:
            mocks[made.name] = tool_mocks(one["mocks"], where=f"{at}.mocks")
    return tuple(tools.values()), mocks


def _tool(value: Any, where: str) -> Tool:
    if isinstance(value, ClientTool | SystemTool | WebhookTool):
        return value
    if isinstance(value, str):
        return SystemTool(name=value)
    if not isinstance(value, Mapping) or not isinstance(value.get("name"), str):
        raise InvalidValueError(f"must be a mapping with a name, got {shown(value)}", field=where)
    kind = value.get("type") or ("webhook" if "url" in value else "client")
    makers: dict[Any, type[Any]] = {"client": ClientTool, "system": SystemTool, "webhook": WebhookTool}
    if kind not in makers:
        raise InvalidValueError(f"must be client, webhook or system, got {shown(kind)}", field=f"{where}.type")
    given = {f"{key}": inner for key, inner in value.items() if key not in ("type", "mocks")}
    known = [field.name for field in fields(makers[kind])]
    if unknown := [key for key in given if key not in known]:
        raise InvalidValueError(
            f"is no field of a {kind} tool; they are {', '.join(known)}", field=f"{where}.{unknown[0]}"
        )
    made: Tool = makers[kind](**given)
    return made


def placed(error: InvalidValueError, where: str) -> InvalidValueError:
    """Return the error with the place it was found at before its own words."""
    told = InvalidValueError(cut(" ".join(f"{error}".split()), MAX_TOLD_CHARS), field=where)
    told.field = error.field or where
    return told


def _is_missing(value: Any) -> bool:
    return (
        value is None or (isinstance(value, float) and value != value) or type(value).__name__ in ("NAType", "NaTType")
    )


def _python(value: Any) -> Any:
    """Return a value of numpy as one of Python."""
    if callable(as_list := getattr(value, "tolist", None)):
        return as_list()
    return value
