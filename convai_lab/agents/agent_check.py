"""Agent check: which fields of an agent hold values that the platform would refuse?"""

from __future__ import annotations

import functools
from typing import Any

from convai_lab.agents.agent import Agent
from convai_lab.agents.plain_json import shown
from convai_lab.agents.prompt import tz
from convai_lab.agents.voices import voice_id
from convai_lab.agents.wire_format import PATHS, agent_to_wire
from convai_lab.agents.wire_parts import override_paths
from convai_lab.agents.wire_rules import problems_in
from convai_lab.errors import InvalidConfigError, InvalidValueError, Problem

_PARTS = {
    "conversation_config.agent.prompt.tools": "tools",
    "conversation_config.agent.prompt.built_in_tools": "tools",
    "conversation_config.agent.prompt.knowledge_base": "knowledge",
    "conversation_config.agent.prompt.custom_llm": "custom_llm",
    "platform_settings.evaluation.criteria": "criteria",
    "platform_settings.data_collection": "data_collection",
    "platform_settings.auth.allowlist": "allowed_origins",
    "platform_settings.overrides": "allowed_overrides",
    "convai_lab.expected_phrases": "expected_phrases",
    "convai_lab.asr": "asr",
    "convai_lab.tts": "tts",
}
_OWN_NAMES = {
    "conversation_goal_prompt": "goal",
    "api_schema.url": "url",
    "api_schema.method": "method",
    "api_schema.request_headers": "headers",
    "api_schema.path_params_schema": "path_schema",
    "api_schema.query_params_schema": "query_schema",
    "api_schema.request_body_schema": "body_schema",
    "api_schema.content_type": "content_type",
    "model_id": "model",
    "request_headers": "headers",
    "usage_mode": "usage",
}


def check_agent(agent: Agent, only: frozenset[str] | None = None) -> None:
    """Raise an error that names every wrong field of an agent; `only` limits it to some fields.

    Raises:
        InvalidConfigError: Some value is wrong.
    """
    found = [_own(problem) for problem in problems_in(agent_to_wire(agent))] + _beyond_the_table(agent)
    wanted = {p.loc: p for p in found if only is None or _field_of(p) in only}
    if wanted:
        raise InvalidConfigError(list(wanted.values()))


def _field_of(problem: Problem) -> str:
    return str(problem.loc[0]).partition("[")[0].partition(".")[0] if problem.loc else ""


def _own(problem: Problem) -> Problem:
    """Return the problem with the path in the words of `Agent` instead of the platform's."""
    path = ".".join(str(part) for part in problem.loc)
    for wire, name in _own_paths():
        if path == wire or path.startswith(f"{wire}."):
            return problem._replace(loc=(_shown_path(name, path[len(wire) + 1 :]),))
    return problem._replace(loc=(f"extra.{path}" if path else "extra",))


def _shown_path(name: str, inner: str) -> str:
    parts = [part for part in inner.split(".") if part]
    shown_path = name
    if parts and parts[0].isdigit():
        shown_path += f"[{parts.pop(0)}]"
    rest = ".".join(parts)
    for vendor, own in _OWN_NAMES.items():
        if rest == vendor or rest.startswith(f"{vendor}."):
            rest = own + rest[len(vendor) :]
            break
    return f"{shown_path}.{rest}" if rest else shown_path


@functools.cache
def _own_paths() -> tuple[tuple[str, str], ...]:
    both = [(path, name) for name, path in PATHS.items()] + list(_PARTS.items())
    return tuple(sorted(both, key=lambda pair: len(pair[0]), reverse=True))


def _beyond_the_table(agent: Agent) -> list[Problem]:
    """Find what the table cannot say: voices and time zones that do not exist, overrides that are none."""
    found = []
    checks: list[tuple[Any, Any]] = [(voice_id, agent.voice), (tz, agent.timezone)]
    for check, value in checks:
        try:
            check(value)
        except InvalidValueError as error:
            found.append(Problem((error.field,), str(error).removeprefix(f"{error.field}: "), "value_error"))
    name: Any = agent.name
    if name is None or (isinstance(name, str) and not name.strip()):
        found.append(Problem(("name",), "must not be empty", "string_too_short"))
    ids = [criterion.id for criterion in agent.criteria]
    if twice := next((own for own in ids if ids.count(own) > 1), None):
        found.append(Problem(("criteria",), f"two criteria have the id {shown(twice)}", "value_error"))
    known = override_paths()
    if odd := [path for path in agent.allowed_overrides if path not in known]:
        message = f"{shown(odd[0])} is nothing a client can change; known are {', '.join(known)}"
        found.append(Problem(("allowed_overrides",), message, "value_error"))
    return found
