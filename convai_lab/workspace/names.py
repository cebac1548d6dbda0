"""Names: which agent is meant by an id, a name or an agent?"""

from __future__ import annotations

import difflib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from convai_lab.agents.agent import Agent
from convai_lab.errors import AmbiguousNameError, InvalidValueError, NotFoundError
from convai_lab.workspace.listing import PAGE_SIZE, LazyList, ListPage, one_line, shown_time
from convai_lab.workspace.transport import Transport

ID_SHAPE = re.compile(r"agent_[A-Za-z0-9]{20,}")
"""Ids of today: never taken for a name, so that a deleted agent's conversations can still be asked for."""
OLD_ID_SHAPE = re.compile(r"[A-Za-z0-9]{18,24}")
"""Ids of earlier days, which could be names."""
MAX_NAME_CHARS = 500
SAFE_IN_PATH = re.compile(r"[A-Za-z0-9_.-]{1,200}")


@dataclass(frozen=True, kw_only=True)
class AgentSummary:
    """An agent as a list shows it."""

    id: str
    name: str
    tags: tuple[str, ...] = ()
    created_at: float | None = None
    last_call_at: float | None = None

    def cells(self) -> tuple[str, ...]:
        """Return the texts of the row."""
        return (one_line(self.name), self.id, shown_time(self.created_at), one_line(", ".join(self.tags)))


AGENT_HEADERS = ("name", "id", "created", "tags")


async def agent_page(
    transport: Transport, cursor: str | None, size: int, *, search: str | None = None
) -> ListPage[AgentSummary]:
    """Fetch one page of agents."""
    params = {"page_size": max(1, min(size, PAGE_SIZE)), "cursor": cursor, "search": search}
    answer = await transport.document("GET", "/v1/convai/agents", params=params)
    listed = answer.get("agents")
    rows = [summary for item in listed if (summary := _summary(item))] if isinstance(listed, list) else []
    return ListPage(rows, next_cursor(answer))


async def find_agent(transport: Transport, name: str) -> AgentSummary | None:
    """Return the one agent of that name, in any mixture of capitals, or None.

    Raises:
        AmbiguousNameError: Two agents have that name; the message lists their ids.
    """
    named = await _named(transport, name, search=name) or await _named(transport, name, search=None)
    if len(named) > 1:
        ids = ", ".join(found.id for found in named)
        raise AmbiguousNameError(f"{len(named)} agents are called {name!r}: name the one you mean by its id ({ids})")
    return named[0] if named else None


async def agent_id_of(transport: Transport, given: object) -> str:
    """Return the id of the agent that an id, a name or an `Agent` means.

    Raises:
        NotFoundError: There is none; the message suggests names that are close.
    """
    if isinstance(given, Agent):
        if given.id:
            return given.id
        given = given.name
    if isinstance(given, AgentSummary):
        return given.id
    if not isinstance(given, str) or not given.strip() or len(given) > MAX_NAME_CHARS:
        raise InvalidValueError("name an agent by its id, its name, or the Agent itself", field="agent")
    given = given.strip()
    if ID_SHAPE.fullmatch(given) or (OLD_ID_SHAPE.fullmatch(given) and await _exists(transport, given)):
        return given
    found = await find_agent(transport, given)
    if found is not None:
        return found.id
    raise await _nothing(transport, given)


def path_part(value: str, *, field: str) -> str:
    """Return an id for a URL's path, if it can be one."""
    if not isinstance(value, str) or not SAFE_IN_PATH.fullmatch(value) or set(value) == {"."}:
        raise InvalidValueError(f"{str(value)[:80]!r} is no id", field=field)
    return value


def next_cursor(answer: dict[str, Any]) -> str | None:
    """Return where the next page is, None on the last one."""
    cursor = answer.get("next_cursor")
    return cursor if isinstance(cursor, str) and cursor and answer.get("has_more", True) else None


def number(value: object) -> float | None:
    """Return a JSON number, None for anything else."""
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else None


async def _exists(transport: Transport, agent_id: str) -> bool:
    try:
        await transport.request("GET", f"/v1/convai/agents/{agent_id}")
    except NotFoundError:
        return False
    return True


async def _named(transport: Transport, name: str, *, search: str | None) -> list[AgentSummary]:
    wanted = name.casefold()
    return [found for found in await _all(transport, search=search) if found.name.strip().casefold() == wanted]


async def _all(transport: Transport, *, search: str | None) -> list[AgentSummary]:
    async def fetch(cursor: str | None, size: int) -> ListPage[AgentSummary]:
        return await agent_page(transport, cursor, size, search=search)

    return await LazyList(fetch, headers=AGENT_HEADERS, noun="agents").fetch_all()


async def _nothing(transport: Transport, name: str) -> NotFoundError:
    names = [found.name for found in await _all(transport, search=None)]
    return NotFoundError(f"there is no agent called {name!r}{_hint(name, names)}", status=404)


def _hint(name: str, names: Sequence[str]) -> str:
    by_fold = {known.casefold(): known for known in names}
    close = [by_fold[fold] for fold in difflib.get_close_matches(name.casefold(), by_fold, n=3, cutoff=0.5)]
    if close:
        return f"; did you mean {' or '.join(close)}?"
    return f"; there are {', '.join(sorted(names)[:10])}" if names else "; there are no agents yet"


def _summary(item: Any) -> AgentSummary | None:
    if not isinstance(item, dict) or not isinstance(item.get("agent_id"), str):
        return None
    tags = item.get("tags")
    return AgentSummary(
        id=item["agent_id"],
        name=str(item.get("name") or ""),
        tags=tuple(map(str, tags)) if isinstance(tags, list) else (),
        created_at=number(item.get("created_at_unix_secs")),
        last_call_at=number(item.get("last_call_time_unix_secs")),
    )
