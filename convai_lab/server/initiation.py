"""Initiation: which agent speaks in this conversation, once the client's wishes are granted or refused?"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from convai_lab.agents.agent import Agent
from convai_lab.agents.prompt import SYSTEM_PREFIX, variables_in
from convai_lab.agents.wire_format import agent_from_wire
from convai_lab.agents.wire_rules import merge, problems_in
from convai_lab.errors import MissingVariableError
from convai_lab.server.client_frames import Initiation
from convai_lab.server.socket_events import REFUSED, Problem

MAX_VARIABLES = 200
MAX_VARIABLE_CHARS = 20_000

Path = tuple[str, ...]


class Tailored(NamedTuple):
    """An agent as one conversation wants it, and the values of its variables."""

    agent: Agent
    variables: dict[str, Any]


def tailor(document: Mapping[str, Any], wishes: Initiation) -> Tailored:
    """Apply what the client asked for to an agent document.

    Raises:
        Problem: An override that the agent does not allow, a wrong value, a variable without a value.
    """
    allowed = _section(document, "platform_settings", "overrides")
    if wishes.extra_body and allowed.get("custom_llm_extra_body") is not True:
        raise _refused(("custom_llm_extra_body",))
    agent = agent_from_wire(_overridden(document, wishes.overrides))
    variables = _checked_variables(wishes.variables)
    check_variables(agent, variables)
    return Tailored(agent, variables)


def check_variables(agent: Agent, variables: Mapping[str, Any]) -> None:
    """Refuse to start when a text that opens the conversation names a variable without a value.

    Raises:
        MissingVariableError: It names all of them.
    """
    named = dict.fromkeys((*variables_in(agent.first_message), *variables_in(agent.prompt)))
    known = {**agent.variables, **variables}
    missing = [name for name in named if not name.startswith(SYSTEM_PREFIX) and known.get(name) is None]
    if missing:
        raise MissingVariableError(missing, where="the agent")


def _overridden(document: Mapping[str, Any], overrides: Mapping[str, Any]) -> dict[str, Any]:
    """Return the document with the overrides that are allowed, or change nothing."""
    wishes = dict(overrides)
    # Official clients without audio ask for text at the root of the overrides, whatever the agent allows.
    as_text = wishes.pop("text_only", None) is True
    config = _section(document, "conversation_config")
    allowed = _section(document, "platform_settings", "overrides", "conversation_config_override")
    granted: dict[str, Any] = {}
    for path, value in _leaves(wishes):
        if _found(config, path) == value:
            continue
        if not _is_allowed(allowed, path):
            raise _refused(path)
        _put(granted, path, value)
    if problems := problems_in({"conversation_config": granted}):
        field = ".".join(str(part) for part in problems[0].loc)
        raise Problem(REFUSED, "override_error", f"override {field}: {problems[0].msg}", {"field": field})
    if as_text:
        _put(granted, ("conversation", "text_only"), True)
    return merge(document, {"conversation_config": granted})


def _leaves(value: Mapping[str, Any], path: Path = ()) -> Iterator[tuple[Path, Any]]:
    """Yield every wish with its path; null and empty objects wish for nothing."""
    for name, inner in value.items():
        if isinstance(inner, Mapping):
            yield from _leaves(inner, (*path, name))
        elif inner is not None:
            yield (*path, name), inner


def _is_allowed(allowed: Mapping[str, Any], path: Path) -> bool:
    """Say whether the agent allows this override; permission for a whole object covers what is in it."""
    place: Any = allowed
    for name in path:
        place = place.get(name) if isinstance(place, Mapping) else None
        if place is True:
            return True
    return False


def _refused(path: Path) -> Problem:
    field = ".".join(path)[:200]
    return Problem(
        REFUSED,
        "override_error",
        f"the agent does not allow the override {field}: allow it in its platform_settings.overrides",
        {"field": field},
    )


def _checked_variables(variables: Mapping[str, Any]) -> dict[str, Any]:
    if len(variables) > MAX_VARIABLES:
        raise _bad_variable("", f"at most {MAX_VARIABLES} dynamic variables are allowed")
    for name, value in variables.items():
        if name.startswith(SYSTEM_PREFIX):
            raise _bad_variable(name, "names that begin with system__ belong to the platform")
        if value is not None and not isinstance(value, str | int | float | bool | list):
            raise _bad_variable(name, "the value must be a text, a number, true or false")
        if len(str(value)) > MAX_VARIABLE_CHARS:
            raise _bad_variable(name, f"the value may hold {MAX_VARIABLE_CHARS} characters at most")
    return {name: value for name, value in variables.items() if value is not None}


def _bad_variable(name: str, why: str) -> Problem:
    shown = name[:80]
    return Problem(REFUSED, "invalid_dynamic_variable", f"dynamic variable {shown}: {why}", {"name": shown})


def _section(document: Any, *path: str) -> Mapping[str, Any]:
    found = _found(document, path)
    return found if isinstance(found, Mapping) else {}


def _found(document: Any, path: Path) -> Any:
    for name in path:
        document = document.get(name) if isinstance(document, Mapping) else None
    return document


def _put(document: dict[str, Any], path: Path, value: Any) -> None:
    for name in path[:-1]:
        document = document.setdefault(name, {})
    document[path[-1]] = value
