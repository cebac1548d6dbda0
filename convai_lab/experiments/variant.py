"""Variant: who competes?

A comparison takes agents, names of agents or of models, changes to an agent, or `Variant`s, and mixtures of them.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from convai_lab.agents.agent import Agent
from convai_lab.agents.tools import ClientTool
from convai_lab.errors import ConvaiLabError, InvalidValueError, ModelNotFoundError, NotFoundError

if TYPE_CHECKING:
    from convai_lab.workspace.workspace import Workspace

LOCAL = "local"
OFFLINE = "offline"
MOST_VARIANTS = 50
LONGEST_NAME = 80

Given = Any
"""What may be given as a variant: a `Variant`, an `Agent`, a name of an agent or of a model, or a dict of changes."""


@dataclass(frozen=True)
class Variant:
    """One competitor: an agent under a name, perhaps with another model.

    `platform` says where it runs: ``local`` is our own engine, in this process; anything else is the platform of the
    comparison's workspace, where the agent must exist.

    Example:
        >>> Variant("warm", Agent(name="Support", temperature=0.9)).model
        'offline'
    """

    name: str
    agent: Agent
    llm: str | None = None
    platform: str = field(default=LOCAL, kw_only=True)

    def __post_init__(self) -> None:
        if not isinstance(self.name, str) or not self.name.strip() or len(self.name) > LONGEST_NAME:
            raise InvalidValueError(f"a variant needs a name of at most {LONGEST_NAME} characters", field="variant")
        if not isinstance(self.agent, Agent):
            raise InvalidValueError(f"must be an Agent, got {type(self.agent).__name__}", field=f"{self.name}.agent")
        if self.llm is not None:
            object.__setattr__(self, "agent", self.agent.with_changes(llm=self.llm))

    @property
    def model(self) -> str:
        """The model that it asks for, as written."""
        return self.agent.llm or OFFLINE

    @property
    def is_remote(self) -> bool:
        """Say whether it runs on another platform, over its websocket."""
        return self.platform != LOCAL

    @property
    def functions(self) -> dict[str, ClientTool]:
        """The tools that have a Python function here, by name."""
        found = (tool for tool in self.agent.tools if isinstance(tool, ClientTool) and tool.function is not None)
        return {tool.name: tool for tool in found}


async def make_variants(given: Given, *, agent: Agent | None, workspace: Workspace | None) -> tuple[Variant, ...]:
    """Return the competitors that were meant, with names that differ.

    Args:
        given: One or several of what `Given` lists, or a mapping of names to them; a text may hold several names,
            separated by commas.
        agent: The agent that the scenarios were written for; models alone and changes are variants of it, or else of
            the first agent that was given.
        workspace: Where agents are looked up by name; the local platform when None.

    Raises:
        InvalidValueError: Something else was given, or two variants have one name.
        NotFoundError: There is neither a model nor an agent of that name.
    """
    reader = _Reader(agent, workspace)
    found = [await reader.read(name, one) for name, one in _listed(given)]
    if not found:
        raise InvalidValueError("name at least one variant: an agent, a model, or changes", field="variants")
    if len(found) > MOST_VARIANTS:
        raise InvalidValueError(f"at most {MOST_VARIANTS} variants, got {len(found)}", field="variants")
    return tuple(_named(found))


@dataclass(frozen=True)
class _Draft:
    """A variant whose name may not be known yet."""

    agent: Agent
    name: str | None = None
    platform: str = LOCAL


class _Reader:
    """Reads what was given, one after the other."""

    def __init__(self, agent: Agent | None, workspace: Workspace | None) -> None:
        self._agent, self._workspace = agent, workspace

    async def read(self, name: str | None, given: Given) -> _Draft:
        match given:
            case Variant():
                return _Draft(given.agent, name or given.name, given.platform)
            case Agent():
                return await self._of_agent(given, name)
            case str():
                return await self._of_text(given.strip(), name)
            case Mapping():
                return self._of_changes(given, name)
        if type(given).__name__ == "AgentSummary":
            return await self._of_agent(await self._found(given), name)
        raise InvalidValueError(
            f"is no variant ({type(given).__name__}): give an Agent, a name, a dict of changes, or a Variant",
            field=f"variants[{name!r}]" if name else "variants",
        )

    async def _of_agent(self, agent: Agent, name: str | None) -> _Draft:
        platform = self._workspace.platform if self._workspace is not None else LOCAL
        if platform == LOCAL:
            self._agent = self._agent or agent
        if platform != LOCAL and agent.id is None:
            raise InvalidValueError(
                f"{agent.name!r} is not on {platform} yet: create it there first (ws.agents.create), or leave out "
                "`workspace` to run it here",
                field="variants",
            )
        return _Draft(agent, name, platform)

    async def _of_text(self, text: str, name: str | None) -> _Draft:
        if not text:
            raise InvalidValueError("a name is empty", field="variants")
        if _is_model(text):
            return _Draft(self._base(text).with_changes(llm=text), name or text)
        try:
            return await self._of_agent(await self._found(text), name)
        except NotFoundError as error:
            raise _neither(text, error) from None

    def _of_changes(self, changes: Mapping[str, Any], name: str | None) -> _Draft:
        named = name or changes.get("name")
        values = {key: value for key, value in changes.items() if key != "name"}
        base = self._base(f"a change of {', '.join(map(str, values))}")
        return _Draft(base.with_changes(**values), named and str(named))

    def _base(self, what: str) -> Agent:
        if self._agent is None:
            raise InvalidValueError(
                f"{what} says no agent, and the scenarios bring none: give an Agent first, or scenarios with an agent",
                field="variants",
            )
        return self._agent

    async def _found(self, ref: Any) -> Agent:
        if self._workspace is None:
            from convai_lab.workspace.connect import connect

            self._workspace = connect()
        return await self._workspace.agents.aget(ref)


def _listed(given: Given) -> Iterator[tuple[str | None, Given]]:
    """Yield each competitor with its name, where it was given one."""
    if isinstance(given, str):
        yield from ((None, part) for part in given.split(","))
    elif (
        isinstance(given, Mapping)
        and given
        and all(isinstance(one, Variant | Agent | Mapping) for one in given.values())
    ):
        yield from ((str(name), one) for name, one in given.items())
    elif isinstance(given, Variant | Agent | Mapping) or type(given).__name__ == "AgentSummary":
        yield None, given
    elif isinstance(given, Iterable):
        for one in given:
            yield from _listed(one) if isinstance(one, str) else ((None, one),)
    else:
        yield None, given


def _is_model(text: str) -> bool:
    """Say whether a name is a model's: of a vendor that is known, or written as provider/model."""
    from convai_lab.providers.registry import parse_model

    try:
        parse_model(text)
    except ConvaiLabError:
        return False
    return True


def _neither(text: str, error: NotFoundError) -> ConvaiLabError:
    """Return what to say of a name that is no agent's: perhaps it was to be a model's."""
    from convai_lab.providers.registry import parse_model

    try:
        parse_model(text)
    except ModelNotFoundError as unknown:
        if unknown.suggestions:
            close = ", ".join(unknown.suggestions)
            return NotFoundError(f"{error}; if a model was meant, did you mean {close}?")
    except ConvaiLabError as refused:  # a model that only the vendor's cloud has
        return refused
    return error


def _named(drafts: Sequence[_Draft]) -> Iterator[Variant]:
    names = [draft.name or "" for draft in drafts]
    given = [name for name in names if name]
    if twice := next((name for name in given if given.count(name) > 1), None):
        raise InvalidValueError(
            f"two variants are called {twice!r}: give them names, as {{name: agent}}", field="variants"
        )
    unnamed = [draft.agent for draft, name in zip(drafts, names, strict=True) if not name]
    made = iter(names_for(unnamed, taken=set(given)))
    for draft, name in zip(drafts, names, strict=True):
        yield Variant(name or next(made), draft.agent, platform=draft.platform)


def names_for(agents: Sequence[Agent], *, taken: Collection[str] = ()) -> list[str]:
    """Name agents by what tells them apart: their name, else the model, else what changed since the first."""
    by_name = [agent.name[:LONGEST_NAME] or "Agent" for agent in agents]
    by_model = [agent.llm or OFFLINE for agent in agents]
    by_change = [
        name if i == 0 else _changes(agents[0], agent)
        for i, (name, agent) in enumerate(zip(by_name, agents, strict=True))
    ]
    for names in (by_name, by_model, by_change):
        if len({*names, *taken}) == len(names) + len(taken):
            return names
    return _numbered(by_name, set(taken))


def _numbered(names: Sequence[str], taken: set[str]) -> list[str]:
    chosen: list[str] = []
    for name in names:
        number, candidate = 1, name
        while candidate in taken or candidate in chosen:
            number += 1
            candidate = f"{name[: LONGEST_NAME - 5]} {number}"
        chosen.append(candidate)
    return chosen


def _changes(first: Agent, agent: Agent) -> str:
    """Say how an agent differs from the first; long values by the field's name alone."""
    parts = []
    for change in agent.diff(first):
        shown = repr(change.after) if isinstance(change.after, int | float | bool) else str(change.after)
        parts.append(f"{change.field}={shown}" if len(shown) <= 30 and "\n" not in shown else f"new {change.field}")
    return (", ".join(parts) or agent.name)[:LONGEST_NAME]
