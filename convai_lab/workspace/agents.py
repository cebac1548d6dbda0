"""Agents: create, find, change and remove the agents of a platform."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from typing import Any, NamedTuple

from convai_lab import background
from convai_lab.agents.agent import Agent, Change
from convai_lab.agents.wire_format import agent_from_wire, agent_to_wire
from convai_lab.errors import InvalidValueError, NotFoundError, NotSupportedError
from convai_lab.workspace.cloud_tools import cloud_body
from convai_lab.workspace.listing import LazyList, ListPage, background_twin
from convai_lab.workspace.names import AGENT_HEADERS, AgentSummary, agent_id_of, agent_page, find_agent, path_part
from convai_lab.workspace.tools import BoundTools
from convai_lab.workspace.transport import Transport

ROUTE = "/v1/convai/agents"
OFFLINE = "offline"
OPEN_MAPS = (
    ("conversation_config", "agent", "dynamic_variables", "dynamic_variable_placeholders"),
    ("conversation_config", "language_presets"),
    ("platform_settings", "data_collection"),
)
"""Objects whose keys the user chooses: a key that is gone must be said to be gone, because updates merge."""

Versions = list[Agent]
Summaries = list[AgentSummary]

AgentRef = Agent | AgentSummary | str
"""What names an agent: the agent, a row of a list, its id, or its name in any mixture of capitals."""


class Saved(NamedTuple):
    """What `save` did: the agent as stored, what was there before, and the fields that differ."""

    agent: Agent
    before: Agent | None
    changes: list[Change]

    @property
    def created(self) -> bool:
        """Say whether the agent is new."""
        return self.before is None


class Agents:
    """The agents of a platform. Every call blocks; the one of the same name with an ``a`` before it is awaited."""

    def __init__(self, transport: Transport, bound: BoundTools) -> None:
        self._transport, self._bound = transport, bound

    def create(self, agent: Agent | None = None, **values: Any) -> Agent:
        """Store a new agent, given as an `Agent` or by its fields, and return it as stored."""
        return background.run(self._create(agent, values))

    async def acreate(self, agent: Agent | None = None, **values: Any) -> Agent:
        """Do what `create` does, awaited."""
        return await background_twin(self._create(agent, values))

    def get(self, agent: AgentRef, *, version_id: str | None = None) -> Agent:
        """Return an agent as it is stored now, or as it was in a version."""
        return background.run(self.fetch(agent, version_id=version_id))

    async def aget(self, agent: AgentRef, *, version_id: str | None = None) -> Agent:
        """Do what `get` does, awaited."""
        return await background_twin(self.fetch(agent, version_id=version_id))

    def find(self, name: str) -> Agent | None:
        """Return the agent of that name, or None."""
        return background.run(self._find(name))

    async def afind(self, name: str) -> Agent | None:
        """Do what `find` does, awaited."""
        return await background_twin(self._find(name))

    def list(self, *, search: str | None = None, limit: int | None = None) -> LazyList[AgentSummary]:
        """List the agents, newest first; pages are fetched as they are looked at."""

        async def fetch(cursor: str | None, size: int) -> ListPage[AgentSummary]:
            return await agent_page(self._transport, cursor, size, search=search)

        return LazyList(fetch, headers=AGENT_HEADERS, noun="agents", limit=limit)

    async def alist(self, *, search: str | None = None, limit: int | None = None) -> Summaries:
        """List the agents, awaited, all pages."""
        return await self.list(search=search, limit=limit).all()

    def update(
        self, agent: AgentRef, new: Agent | None = None, *, description: str | None = None, **changes: Any
    ) -> Agent:
        """Change a stored agent and return it as stored.

        Named by id or name, the stored agent gets `changes`. Given an `Agent`, all of that agent is stored, with
        `changes`; given `new`, that one takes the place of the first.
        """
        return background.run(self._update(agent, new, description, changes))

    async def aupdate(
        self, agent: AgentRef, new: Agent | None = None, *, description: str | None = None, **changes: Any
    ) -> Agent:
        """Do what `update` does, awaited."""
        return await background_twin(self._update(agent, new, description, changes))

    def save(self, agent: Agent, *, description: str | None = None) -> Saved:
        """Create the agent, or update the one of its id or name; nothing is sent when nothing differs."""
        return background.run(self._save(agent, description))

    async def asave(self, agent: Agent, *, description: str | None = None) -> Saved:
        """Do what `save` does, awaited."""
        return await background_twin(self._save(agent, description))

    def delete(self, agent: AgentRef) -> None:
        """Remove an agent; its conversations stay."""
        background.run(self._delete(agent))

    async def adelete(self, agent: AgentRef) -> None:
        """Do what `delete` does, awaited."""
        await background_twin(self._delete(agent))

    def history(self, agent: AgentRef) -> Versions:
        """Return every version of an agent, newest first.

        Raises:
            NotSupportedError: The platform is not ours.
        """
        return background.run(self._history(agent))

    async def ahistory(self, agent: AgentRef) -> Versions:
        """Do what `history` does, awaited."""
        return await background_twin(self._history(agent))

    async def fetch(self, agent: AgentRef, *, version_id: str | None = None) -> Agent:
        """Return an agent, on the background loop."""
        agent_id = await agent_id_of(self._transport, agent)
        try:
            doc = await self._document(agent_id, version_id=version_id)
        except NotFoundError as error:
            which = f"there is no agent {agent_id}" + (f" with a version {version_id}" if version_id else "")
            raise NotFoundError(f"{which} on {self._transport.who}", status=404, body=error.body) from None
        return self._as_agent(doc, like=agent)

    async def refreshed(self, agent: AgentRef) -> Agent:
        """Return an agent after storing newer definitions of its tools, when this process has any."""
        stored = await self.fetch(agent)
        newest = self._bound.renewed(stored)
        if newest == stored:
            return stored
        return await self._put(stored, newest, "the definition of a tool changed")

    async def _create(self, agent: Agent | None, values: Mapping[str, Any]) -> Agent:
        wanted = _with(agent or Agent(), values)
        if await self._transport.is_ours():
            body = agent_to_wire(await self._with_default_llm(wanted))
        else:
            body = await cloud_body(self._transport, {}, wanted)
        made = await self._transport.document("POST", f"{ROUTE}/create", json=body)
        agent_id = made.get("agent_id")
        if not isinstance(agent_id, str) or not agent_id:
            raise NotFoundError("the platform created an agent but did not say its id; look at agents.list()")
        self._bound.remember(agent_id, wanted)
        return self._as_agent(await self._document(agent_id))

    async def _find(self, name: str) -> Agent | None:
        found = await find_agent(self._transport, name)
        return None if found is None else await self.fetch(found)

    async def _update(
        self, agent: AgentRef, new: Agent | None, description: str | None, changes: Mapping[str, Any]
    ) -> Agent:
        stored = await self.fetch(agent)
        base = new or (agent if isinstance(agent, Agent) else stored)
        wanted = await self._with_default_llm(_with(base, changes))
        if wanted == stored:
            self._bound.remember(stored.id or "", wanted)
            return self._bound.rebound(stored)
        return await self._put(stored, wanted, description)

    async def _save(self, agent: Agent, description: str | None) -> Saved:
        before = await self._stored_like(agent)
        if before is None:
            return Saved(await self._create(agent, {}), None, [])
        after = await self._update(before, agent, description, {})
        return Saved(after, before, after.diff(before))

    async def _stored_like(self, agent: Agent) -> Agent | None:
        if agent.id:
            try:
                return await self.fetch(agent.id)
            except NotFoundError:
                pass  # it was deleted, or lives on another platform: the name decides
        return await self._find(agent.name)

    async def _delete(self, agent: AgentRef) -> None:
        agent_id = await agent_id_of(self._transport, agent)
        await self._transport.request("DELETE", f"{ROUTE}/{path_part(agent_id, field='agent')}")

    async def _history(self, agent: AgentRef) -> Versions:
        if not await self._transport.is_ours():
            raise NotSupportedError(
                f"{self._transport.who} does not list an agent's earlier versions here; "
                "the local platform keeps them, the cloud shows them in its dashboard"
            )
        agent_id = await agent_id_of(self._transport, agent)
        answer = await self._transport.document(
            "GET", f"/v1/local/agents/{path_part(agent_id, field='agent')}/versions"
        )
        listed = answer.get("versions")
        return [agent_from_wire(doc) for doc in listed if isinstance(doc, dict)] if isinstance(listed, list) else []

    async def _put(self, stored: Agent, wanted: Agent, description: str | None) -> Agent:
        agent_id = path_part(stored.id or "", field="agent")
        before = agent_to_wire(stored)
        if await self._transport.is_ours():
            body = agent_to_wire(wanted)
            say_what_is_gone(before, body)
        else:
            body = await cloud_body(self._transport, before, wanted)
        if description:
            body["version_description"] = description
        answer = await self._transport.document("PATCH", f"{ROUTE}/{agent_id}", json=body)
        self._bound.remember(agent_id, wanted)
        return self._as_agent(answer)

    async def _document(self, agent_id: str, *, version_id: str | None = None) -> dict[str, Any]:
        path = f"{ROUTE}/{path_part(agent_id, field='agent')}"
        return await self._transport.document("GET", path, params={"version_id": version_id})

    def _as_agent(self, doc: dict[str, Any], *, like: object = None) -> Agent:
        agent = agent_from_wire(doc)
        if isinstance(like, Agent) and agent.id:
            self._bound.remember(agent.id, like)
        return self._bound.rebound(agent)

    async def _with_default_llm(self, agent: Agent) -> Agent:
        """Say ``offline`` where our own platform would choose it, so that a change back to it is one."""
        if agent.llm is None and await self._transport.is_ours():
            return agent.with_changes(llm=OFFLINE)
        return agent


def say_what_is_gone(before: Mapping[str, Any], body: dict[str, Any]) -> None:
    """Set to null what `before` has and `body` has not, in the objects whose keys the user chooses."""
    for path in OPEN_MAPS:
        old = _inner(before, path) or {}
        new = _inner(body, path)
        if new is None and old and (parent := _inner(body, path[:-1])) is not None:
            new = parent[path[-1]] = {}
        for name in old:
            if new is not None:
                new.setdefault(name, None)


def _inner(doc: Mapping[str, Any], path: tuple[str, ...]) -> Any:
    found: Any = doc
    for name in path:
        found = found.get(name) if isinstance(found, Mapping) else None
    return found if isinstance(found, dict) else None


def _with(agent: Agent, values: Mapping[str, Any]) -> Agent:
    if not isinstance(agent, Agent):
        raise InvalidValueError(f"expected an Agent, got {type(agent).__name__}", field="agent")
    known = {field.name for field in fields(Agent)}
    if unknown := sorted(set(values) - known):
        import difflib

        close = difflib.get_close_matches(unknown[0], known, n=1)
        hint = f"; did you mean {close[0]}?" if close else ""
        raise InvalidValueError(f"an agent has no such field{hint}", field=unknown[0])
    changed: dict[str, Any] = {n: tuple(value) if isinstance(value, list) else value for n, value in values.items()}
    return agent.with_changes(**changed) if changed else agent
