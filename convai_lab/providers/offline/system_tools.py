"""System tools: which of the platform's own tools does this moment call for, and with what arguments?"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from convai_lab.providers.base import ToolSpec
from convai_lab.providers.offline.acts import Said
from convai_lab.providers.offline.schemas import Parameter, parameters_of
from convai_lab.providers.offline.words import content_stems, likeness, number_in

TRANSFERS = ("transfer_to_number", "transfer_to_agent")
_NUMBER = re.compile(r"\+?\d[\d ()-]{5,20}\d|sips?:[^\s,;\"']+")
_ROW = re.compile(r"(?:^|\n|[;,.] )\W*(?:agent[ _]?(?:number)?\s*)?(\d{1,2})\s*[:.)=-]\s*([^\n;]{3,300})", re.I)
_KEY = re.compile(
    r"press(?:ing)?\s+(\d|one|two|three|four|five|six|seven|eight|nine|zero|star|pound)\s+(?:for|"
    r"to)\s+([^,.;]{2,80})|"
    r"(?:for|to)\s+([^,.;]{2,80}?),?\s+press(?:ing)?\s+(\d|one|two|three|four|five|six|seven|eight|nine|zero|"
    r"star|pound)",
    re.I,
)


def find_tool(tools: Sequence[ToolSpec], *names: str) -> ToolSpec | None:
    """Return the first of the named tools that the request offers."""
    return next((tool for name in names for tool in tools if tool.name == name), None)


def fitting_transfer(tools: Sequence[ToolSpec], said: Said) -> ToolSpec | None:
    """Return the transfer that is meant for what the caller speaks about, or None."""
    stems = [s for s in said.stems if len(s) > 2]
    best, best_score = None, 0.0
    for tool in tools:
        if tool.name in TRANSFERS and stems:
            offered = set(content_stems(tool.description[:2000])) - _EVERYWHERE
            score = sum(likeness(s, offered) for s in stems) / len(stems)
            if score > max(best_score, 0.55):
                best, best_score = tool, score
    return best


def arguments_for(
    tool: ToolSpec, *, reason: str, message: str = "", topic: str = "", language: str = "", keys: str = ""
) -> dict[str, Any] | None:
    """Return the arguments of a system tool, or None when a required one cannot be known."""
    given: dict[str, Any] = {}
    for parameter in parameters_of(tool.parameters):
        value = _value(tool, parameter, reason=reason, message=message, topic=topic, language=language, keys=keys)
        if value is not None:
            given[parameter.name] = value
        elif parameter.required:
            return None
    return given


def keys_for(heard: str, goal: str) -> str:
    """Return the key to press in a phone menu: the option that fits the goal, or an operator, or the first."""
    options = [(m[1] or m[4], m[2] or m[3]) for m in _KEY.finditer(heard)]
    if not options:
        return "0"
    wanted = set(content_stems(goal[:2000]))
    best = max(options, key=lambda option: sum(likeness(s, wanted) for s in content_stems(option[1])))
    said = best[0].lower()
    return {"star": "*", "pound": "#"}.get(said) or (said if said.isdigit() else str(number_in([said])))


def _value(tool: ToolSpec, parameter: Parameter, **known: str) -> Any | None:
    name = parameter.name
    if name == "language":
        wanted = known["language"]
        fitting = [c for c in parameter.choices if str(c).lower().split("-")[0] == wanted]
        return fitting[0] if fitting else (wanted or None if not parameter.choices else None)
    if name in ("transfer_number", "phone_number", "number"):
        return _destination(tool, parameter, known["topic"])
    if name in ("agent_number", "agent_id", "agent"):
        return _agent(tool, parameter, known["topic"])
    if "dtmf" in name or "tone" in name or name in ("keys", "digits"):
        return known["keys"] or None
    if name == "reason":
        return known["reason"]
    if name in ("client_message", "message", "message_to_user"):
        return known["message"] or None
    if name == "agent_message":
        return f"The caller said: {known['topic'][:200]}" if known["topic"] else known["reason"]
    return _anything(parameter, known["reason"]) if parameter.required else None


def _destination(tool: ToolSpec, parameter: Parameter, topic: str) -> Any | None:
    if parameter.choices:
        return parameter.choices[0] if len(parameter.choices) == 1 else _closest(tool, parameter.choices, topic)
    text = f"{parameter.description}\n{tool.description[:4000]}"
    numbers = [m[0].strip() for m in _NUMBER.finditer(text)]
    return _closest(tool, tuple(dict.fromkeys(numbers)), topic) if numbers else None


def _closest(tool: ToolSpec, numbers: Sequence[Any], topic: str) -> Any:
    """Return the number whose surroundings in the description fit the topic best."""
    wanted, best, best_score = content_stems(topic), numbers[0], 0.0
    for number in numbers:
        line = next((row for row in re.split(r"\n|;", tool.description[:4000]) if str(number) in row), "")
        score = sum(likeness(s, content_stems(line)) for s in wanted)
        if score > best_score:
            best, best_score = number, score
    return best


def _agent(tool: ToolSpec, parameter: Parameter, topic: str) -> Any:
    wanted, best, best_score = content_stems(topic), None, -1.0
    for number, text in _ROW.findall(tool.description[:4000]):
        score = sum(likeness(s, content_stems(text)) for s in wanted)
        if score > best_score:
            best, best_score = number, score
    if best is None:
        best = str(parameter.choices[0]) if parameter.choices else "0"
    return int(best) if parameter.is_integer or parameter.kind in ("integer", "number") else best


def _anything(parameter: Parameter, reason: str) -> Any:
    if parameter.choices:
        return parameter.choices[0]
    blank: Mapping[str, Any] = {"boolean": True, "integer": 0, "number": 0, "list": [], "object": {}}
    return blank.get(parameter.kind, reason)


_EVERYWHERE = frozenset(
    content_stems("transfer hand caller user agent human person call number phone condition conversation hold topic")
)
