"""Contenders: which variants are meant by the words of a command?

``support`` is an agent of the platform, ``support@3`` an earlier version of it, ``@agent.yaml`` an agent in a file.
With models, every agent is tried with each of them.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from convai_lab.agents.agent import Agent
from convai_lab.errors import InvalidValueError, NotFoundError, NotSupportedError
from convai_lab.experiments.roles import model_ref
from convai_lab.experiments.variant import LOCAL, Variant, names_for

if TYPE_CHECKING:
    from convai_lab.workspace.workspace import Workspace

FILE_MARK = "@"


def contenders(agents: Sequence[Any], llms: Sequence[str], workspace: Workspace) -> Any:
    """Return what `compare` takes as `variants`.

    Args:
        agents: Names, versions and files as above, or `Agent`s and `Variant`s.
        llms: Models; with none, agents are taken as they are; without agents, they are tried with the agent that the
            scenarios bring.
        workspace: Where names are looked up.

    Raises:
        InvalidValueError: Nothing was named, or a file holds no agent.
        ModelNotFoundError: No known vendor offers such a model; carries suggestions.
        NotFoundError: There is no such agent, or no such version of it.
        NotSupportedError: The workspace's platform holds its agents as they are stored there.
    """
    if not agents and not llms:
        raise InvalidValueError("name at least one agent or model, and better two", field="variants")
    for llm in llms:
        model_ref(llm)  # says early that there is no such model
    if not agents:
        return list(llms)
    if workspace.platform != LOCAL:
        _require_as_stored(agents, llms, workspace.platform)
    found = _told_apart([_find(given, workspace) for given in agents])
    if not llms:
        return dict(found)
    alone = len(found) == 1
    if twice := next((llm for llm in llms if llms.count(llm) > 1), None):
        raise _twice(twice)
    return {llm if alone else f"{name}/{llm}": agent.with_changes(llm=llm) for name, agent in found for llm in llms}


def find_agent(name: str, workspace: Workspace) -> Agent:
    """Return an agent by its name, its version (``name@3``) or its file (``@agent.yaml``).

    Raises:
        NotFoundError: There is none.
    """
    if name.startswith(FILE_MARK):
        return read_agent(name[len(FILE_MARK) :])
    base, mark, number = name.rpartition(FILE_MARK)
    if not mark or not base or not number.isdigit() or workspace.agents.find(name) is not None:
        return workspace.agents.get(name)
    stored = workspace.agents.get(base)
    versions = {version.version: version for version in workspace.agents.history(stored)}
    if (version := versions.get(int(number))) is None:
        known = ", ".join(str(one) for one in sorted(filter(None, versions)))
        raise NotFoundError(f"{base} has no version {number}; there are {known}")
    return workspace.agents.get(base, version_id=version.version_id)


def read_agent(path: str | Path) -> Agent:
    """Read an agent from a YAML or JSON file: its fields, as in a scenario file, or the platform's own JSON.

    Raises:
        InvalidValueError: There is no such file, or it holds no agent; names the field.
    """
    from convai_lab.agents.wire_format import agent_from_wire, is_agent_document
    from convai_lab.simulation.scenario_source import agent_of
    from convai_lab.simulation.scenario_text import read_rows

    file = Path(path).expanduser()
    if file.suffix.lower() not in (".json", ".yaml", ".yml"):
        raise InvalidValueError(f"an agent's file ends in .yaml or .json, not {str(path)!r}", field="agent")
    written = read_rows(file)
    if is_agent_document(written):
        return agent_from_wire(json.loads(json.dumps(written)))
    if isinstance(written, Mapping) and set(written) <= {"agent", "scenarios"}:
        written = written.get("agent")
    agent = agent_of(written, file.name)
    if agent is None:
        raise InvalidValueError("holds no agent: write its fields, such as name and prompt", field=file.name)
    return agent


class _Found(NamedTuple):
    """An agent with the name it has in tables; `other` is what it may be called where two have that name."""

    name: str
    agent: Agent
    other: str | None = None
    """The name of its file; empty for an object, which is told apart by what changed; None for what was named."""


def _find(given: Any, workspace: Workspace) -> _Found:
    if isinstance(given, Agent):
        return _Found(given.name, given, "")
    if isinstance(given, Variant):
        return _Found(given.name, given.agent)
    if type(given).__name__ == "AgentSummary":
        return _Found(given.name, workspace.agents.get(given))
    if not isinstance(given, str) or not given.strip():
        raise InvalidValueError(
            f"must be the name of an agent, or an Agent, got {type(given).__name__}", field="variants"
        )
    found = find_agent(given.strip(), workspace)
    if given.startswith(FILE_MARK):
        return _Found(found.name, found, Path(given).stem.removeprefix(FILE_MARK))
    return _Found(given.strip(), found)


def _told_apart(found: Sequence[_Found]) -> list[tuple[str, Agent]]:
    """Return agents by names that differ: of one name, files by theirs, and objects by what changed."""
    names = [one.name for one in found]
    if len({*names}) < len(names):
        names = [one.other or one.name if names.count(one.name) > 1 else one.name for one in found]
    if twice := next((name for name in names if names.count(name) > 1), None):
        agents = [one.agent for one in found]
        if any(one.other is None for one in found if one.name == twice) or any(agents.count(a) > 1 for a in agents):
            raise _twice(twice)
        names = names_for(agents)
    return list(zip(names, (one.agent for one in found), strict=True))


def _twice(name: str) -> InvalidValueError:
    return InvalidValueError(f"{name!r} is named twice: name different agents, versions or models", field="variants")


def _require_as_stored(agents: Sequence[Any], llms: Sequence[str], platform: str) -> None:
    changed = next((name for name in agents if isinstance(name, str) and FILE_MARK in name), None)
    if llms or changed:
        what = f"with other models ({', '.join(llms)})" if llms else f"as {changed}"
        raise NotSupportedError(
            f"agents on {platform} are held as they are stored there, not {what}: store each variant as an agent "
            "of its own, or compare on the local platform (%lab --platform local)"
        )
