"""Prompt: where does a `{{variable}}` get its value, and what exactly does the model see?"""

from __future__ import annotations

import datetime
import hashlib
import json
import re
import zoneinfo
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from convai_lab.errors import InvalidValueError, MissingVariableError

if TYPE_CHECKING:
    from convai_lab.agents.agent import Agent
    from convai_lab.agents.tools import Tool

SYSTEM_PREFIX = "system__"
SECRET_PREFIX = "secret__"  # noqa: S105 - a prefix of names, not a secret
HASH_DIGITS = 12

_WEEKDAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
_MONTHS = (
    "January", "February", "March", "April", "May", "June",
    "July", "August", "September", "October", "November", "December",
)  # fmt: skip
_NO_HISTORY = '{"x-elevenlabs-history": true, "entries": []}'
_VARIABLE = re.compile(r"\{\{\s*([^\W\d]\w*(?:[.-]\w+)*)\s*\}\}")


def variables_in(text: str) -> list[str]:
    """List the variables that `text` names, each once, in the order of their first use.

    Example:
        >>> variables_in("Hi {{name}}, it is {{ system__time }}. Bye {{name}}.")
        ['name', 'system__time']
    """
    if "{{" not in text:
        return []
    return list(dict.fromkeys(match[1] for match in _VARIABLE.finditer(text)))


def fill(text: str, variables: Mapping[str, Any], *, where: str = "the prompt", secrets: bool = False) -> str:
    """Return `text` with every `{{name}}` replaced by its value, in one pass: values are never expanded again.

    A value that is no string is written as JSON. A variable of value None counts as missing. Names that begin
    with ``secret__`` are for tool headers alone (`secrets=True`), so that they never reach a model.

    Raises:
        MissingVariableError: Some variables have no value; it names them all.

    Example:
        >>> fill("Hi {{ name }}, you have {{n}} letters.", {"name": "Ada", "n": 3})
        'Hi Ada, you have 3 letters.'
    """
    names = variables_in(text)
    if not secrets and (hidden := [name for name in names if name.startswith(SECRET_PREFIX)]):
        shown = "{{" + hidden[0] + "}}"
        raise InvalidValueError(f"{where} uses {shown}: secret variables may stand in tool headers only", field="")
    if missing := [name for name in names if variables.get(name) is None]:
        raise MissingVariableError(missing, where=where)
    values = {name: as_text(variables[name]) for name in names}
    return _VARIABLE.sub(lambda match: values[match[1]], text)


def as_text(value: Any) -> str:
    """Return a variable's value as it is put into a text: strings as they are, the rest as JSON."""
    if isinstance(value, str):
        return value
    return json.dumps(value, ensure_ascii=False, default=str)


def system_variables(
    *,
    agent_id: str,
    conversation_id: str,
    now: float,
    started_at: float,
    timezone: str | None = None,
    caller_id: str | None = None,
    called_number: str | None = None,
    call_sid: str | None = None,
    call_id: str | None = None,
    current_agent_id: str | None = None,
    agent_turns: int = 0,
    current_agent_turns: int | None = None,
    current_subagent_turns: int | None = None,
    text_only: bool = False,
    history: Sequence[tuple[str, str]] = (),
) -> dict[str, str]:
    """Return the `system__*` variables that the platform fills by itself.

    `now` and `started_at` are seconds since 1970, UTC; `history` holds (role, text) pairs. What a conversation
    does not have (a caller's number in a text conversation) is an empty text.

    Raises:
        InvalidValueError: `timezone` is no name of the tz database.
    """
    own_turns = agent_turns if current_agent_turns is None else current_agent_turns
    utc = datetime.datetime.fromtimestamp(now, datetime.UTC)
    zone = tz(timezone)
    return {
        "system__agent_id": agent_id,
        "system__current_agent_id": current_agent_id or agent_id,
        "system__caller_id": caller_id or "",
        "system__called_number": called_number or "",
        "system__call_sid": call_sid or "",
        "system__call_id": call_id or "",
        "system__call_duration_secs": str(max(0, int(now - started_at))),
        "system__time_utc": utc.isoformat(),
        "system__time": _spoken_time(utc.astimezone(zone)),
        "system__timezone": timezone or "UTC",
        "system__conversation_id": conversation_id,
        "system__agent_turns": str(agent_turns),
        "system__current_agent_turns": str(own_turns),
        "system__current_subagent_turns": str(own_turns if current_subagent_turns is None else current_subagent_turns),
        "system__is_text_only": "true" if text_only else "false",
        "system__conversation_history": _history_json(history),
    }


def tz(name: str | None) -> datetime.tzinfo:
    """Return the time zone of that name; None means UTC.

    Raises:
        InvalidValueError: There is no such time zone.
    """
    if name is None:
        return datetime.UTC
    try:
        return zoneinfo.ZoneInfo(name)
    except (zoneinfo.ZoneInfoNotFoundError, ValueError, OSError, TypeError):
        raise InvalidValueError(
            f"there is no time zone {str(name)[:60]!r}: write it like Europe/Berlin", field="timezone"
        ) from None


def prompt_hash(agent: Agent) -> str:
    """Return 12 hex digits that change when what the model sees changes: prompt, tools, knowledge, first message."""
    seen = {
        "prompt": agent.prompt,
        "first_message": agent.first_message,
        "tools": [_seen_of_tool(tool) for tool in agent.tools],
        "tool_ids": list(agent.tool_ids),
        "knowledge": [[text.name, text.id, text.text, text.usage] for text in agent.knowledge],
    }
    canonical = json.dumps(seen, sort_keys=True, ensure_ascii=False, default=str)
    return hashlib.sha256(canonical.encode("utf-8", "surrogatepass")).hexdigest()[:HASH_DIGITS]


def _seen_of_tool(tool: Tool) -> list[Any]:
    schemas = ("parameters", "path_schema", "query_schema", "body_schema", "params")
    return [tool.name, tool.description, {name: getattr(tool, name) for name in schemas if hasattr(tool, name)}]


def _spoken_time(instant: datetime.datetime) -> str:
    day = f"{instant.day} {_MONTHS[instant.month - 1]} {instant.year}"
    return f"{_WEEKDAYS[instant.weekday()]}, {instant.hour:02}:{instant.minute:02} {day}"


def _history_json(history: Sequence[tuple[str, str]]) -> str:
    if not history:
        return _NO_HISTORY
    entries = [{"role": role, "message": text} for role, text in history]
    return json.dumps({"x-elevenlabs-history": True, "entries": entries}, ensure_ascii=False)
