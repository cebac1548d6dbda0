"""Front matter: how does a text with a YAML head become an agent?

The body of an ``%%agent`` cell (or a Markdown file) is the prompt. A head between two ``---`` lines may set every
field of `Agent` by its own name, and, under ``conversation_config``, ``platform_settings`` and ``workflow``,
anything else that the platform's JSON knows.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields, replace
from pathlib import Path
from typing import Any, NamedTuple

from convai_lab.agents.agent import Agent, CustomLLM, DataItem, EvaluationCriterion, Knowledge
from convai_lab.agents.tools import ClientTool, SystemTool, Tool, WebhookTool
from convai_lab.agents.turn_taking import TurnTaking
from convai_lab.errors import InvalidValueError

FENCE = "---"
MAX_HEAD_CHARS = 200_000
RAW_KEYS = ("conversation_config", "platform_settings", "workflow")
STORED_ONLY = ("id", "version", "version_id", "created_at", "updated_at", "extra")


class FrontMatter(NamedTuple):
    """A text taken apart: the fields its head sets, and the rest."""

    fields: dict[str, Any]
    body: str


def read_front_matter(text: str) -> FrontMatter:
    """Take the YAML head off a text; a text without one is all body.

    Raises:
        InvalidValueError: The head is not closed, not YAML, or not a mapping; says which line.

    Example:
        >>> read_front_matter("---\\nllm: offline\\n---\\nYou are Sam.")
        FrontMatter(fields={'llm': 'offline'}, body='You are Sam.')
    """
    lines = text.lstrip("\ufeff").split("\n")
    if not lines or lines[0].strip() != FENCE:
        return FrontMatter({}, text.strip())
    end = next((i for i, line in enumerate(lines[1:], 1) if line.strip() == FENCE), None)
    if end is None:
        raise InvalidValueError("the head starts with --- but has no second --- line", field="front matter")
    head = "\n".join(lines[1:end])
    if len(head) > MAX_HEAD_CHARS:
        raise InvalidValueError(f"the head is longer than {MAX_HEAD_CHARS:,} characters", field="front matter")
    return FrontMatter(_read_yaml(head), "\n".join(lines[end + 1 :]).strip())


def with_fields(agent: Agent, given: Mapping[str, Any]) -> Agent:
    """Return `agent` with the fields of a front matter set.

    Raises:
        InvalidValueError: An unknown field (with a suggestion), or a value of the wrong shape.
    """
    raw = {key: given[key] for key in RAW_KEYS if key in given}
    changes = {key: _convert(key, value) for key, value in given.items() if key not in raw}
    changed = agent.with_changes(**changes) if changes else agent
    return _with_raw(changed, raw) if raw else changed


def _read_yaml(head: str) -> dict[str, Any]:
    import yaml

    try:
        loaded = yaml.safe_load(head)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f" in line {mark.line + 2}" if mark else ""
        hint = " (a value that starts with {{ needs quotes)" if "{{" in head else ""
        raise InvalidValueError(
            f"not readable as YAML{where}: {getattr(error, 'problem', None) or 'malformed'}{hint}", field="front matter"
        ) from None
    if loaded is None:
        return {}
    if not isinstance(loaded, dict) or not all(isinstance(key, str) for key in loaded):
        raise InvalidValueError("must be `name: value` lines", field="front matter")
    return loaded


def _with_raw(agent: Agent, raw: Mapping[str, Any]) -> Agent:
    from convai_lab.agents.wire_format import agent_from_wire, agent_to_wire
    from convai_lab.agents.wire_rules import merge, normalise

    merged = agent_from_wire(normalise(merge(agent_to_wire(agent), raw)))
    stored = {name: getattr(agent, name) for name in STORED_ONLY if name != "extra"}
    by_name = {tool.name: tool for tool in agent.tools}
    tools = tuple(_keep_function(tool, by_name.get(tool.name)) for tool in merged.tools)
    return merged.with_changes(**stored, tools=tools)


def _keep_function(tool: Tool, before: Tool | None) -> Tool:
    if isinstance(tool, ClientTool) and isinstance(before, ClientTool):
        return replace(tool, function=before.function)
    return tool


def _convert(key: str, value: Any) -> Any:
    settable = [f.name for f in fields(Agent) if f.name not in STORED_ONLY]
    if key not in settable:
        close = difflib.get_close_matches(key, [*settable, *RAW_KEYS], n=1)
        hint = f"did you mean {close[0]}?" if close else f"known are {', '.join(settable)}"
        raise InvalidValueError(f"an agent has no such field; {hint}", field=key)
    converter = _CONVERTERS.get(key)
    if converter is None:
        return tuple(value) if isinstance(value, list) else value
    try:
        return converter(value)
    except (TypeError, KeyError, AttributeError) as error:
        raise InvalidValueError(f"has the wrong shape ({error})", field=key) from None


def _turn(value: Any) -> TurnTaking:
    return TurnTaking(**value)


def _knowledge(value: Any) -> tuple[Knowledge, ...]:
    return tuple(_one_knowledge(item, at) for at, item in enumerate(_as_list(value), 1))


def _one_knowledge(item: Any, at: int) -> Knowledge:
    if isinstance(item, str):
        return Knowledge(name=f"note {at}", text=item)
    if "file" in item:
        path = Path(item["file"]).expanduser()
        try:
            text = path.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise InvalidValueError(f"cannot read {path}: {error}", field=f"knowledge[{at - 1}].file") from None
        return Knowledge(**{"name": path.name, "text": text, **{k: v for k, v in item.items() if k != "file"}})
    return Knowledge(**item)


def _criteria(value: Any) -> tuple[EvaluationCriterion, ...]:
    if isinstance(value, Mapping):
        return tuple(EvaluationCriterion(id=str(key), goal=str(goal), name=str(key)) for key, goal in value.items())
    return tuple(EvaluationCriterion(**item) for item in value)


def _data_collection(value: Any) -> dict[str, DataItem]:
    return {
        str(name): DataItem(description=item) if isinstance(item, str) else DataItem(**item)
        for name, item in value.items()
    }


def _tools(value: Any) -> tuple[Tool, ...]:
    return tuple(_one_tool(item) for item in _as_list(value))


def _one_tool(item: Any) -> Tool:
    if isinstance(item, str):
        return SystemTool(name=item)
    if "url" in item:
        return WebhookTool(**item)
    from convai_lab.agents.wire_format import tool_from_wire

    return tool_from_wire(dict(item))


def _custom_llm(value: Any) -> CustomLLM:
    return CustomLLM(url=value) if isinstance(value, str) else CustomLLM(**value)


def _strings(value: Any) -> tuple[str, ...]:
    return tuple(str(item) for item in _as_list(value))


def _as_list(value: Any) -> Sequence[Any]:
    return value if isinstance(value, (list, tuple)) else [value]


_CONVERTERS: dict[str, Callable[[Any], Any]] = {
    "turn": _turn,
    "knowledge": _knowledge,
    "criteria": _criteria,
    "data_collection": _data_collection,
    "tools": _tools,
    "custom_llm": _custom_llm,
    "asr_keywords": _strings,
    "expected_phrases": _strings,
    "tool_ids": _strings,
    "client_events": _strings,
    "allowed_origins": _strings,
    "tags": _strings,
    "variables": dict,
}
