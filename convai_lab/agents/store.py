"""Agent store: where are the agents of the local platform kept, and every version they ever had?

It keeps documents of the platform's API as they are given (checked and complete) and adds what only the store
knows: `agent_id`, `version_id` and `metadata`. A new version is made only when the configuration changed.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Mapping
from typing import Any, NamedTuple

from convai_lab.clock import Clock
from convai_lab.errors import InvalidValueError, NotFoundError
from convai_lab.storage import (
    Database,
    Page,
    checked_page_size,
    column_text,
    json_text,
    key_in_cursor,
    name_key,
    page_of,
)

STORE_KEYS = ("agent_id", "version_id", "metadata")
"""What a stored document has and a configuration has not."""

WEEK_SECS = 7 * 86_400.0
ACCESS_INFO = {"is_creator": True, "creator_name": "", "creator_email": "", "role": "admin"}


class _Order(NamedTuple):
    """How a list of agents may be sorted: the SQL of its key, and the key's type."""

    sql: str
    kind: type


_ORDERS = {
    "created_at": _Order("created_at", float),
    "name": _Order("name_key", str),
    "call_count_7d": _Order(
        "(SELECT count(*) FROM conversations c "
        "WHERE c.agent_id = agents.agent_id AND c.source = 'live' AND c.ordered_at >= ?)",
        float,
    ),
}

_LAST_CALL = "(SELECT max(c.ordered_at) FROM conversations c WHERE c.agent_id = agents.agent_id AND c.source = 'live')"
_WHOLE = """
    SELECT a.agent_id, a.created_at AS born_at, v.version, v.version_id, v.created_at, v.description, v.body
    FROM agents a JOIN agent_versions v ON v.agent_id = a.agent_id
"""


class AgentStore:
    """The agents in a database; safe to use from several threads and processes at once."""

    def __init__(self, db: Database, clock: Clock) -> None:
        self._db, self._clock = db, clock

    def create(self, body: Mapping[str, Any]) -> dict[str, Any]:
        """Store a new agent, version 1, and return its full document."""
        agent_id, text = self._clock.new_id("agent_"), _body_text(body)
        now = self._clock.wall()
        with self._db.write() as connection:
            connection.execute(
                "INSERT INTO agents VALUES (:id, :name, :key, :voice, :tags, :archived, :now, :now, 1)",
                {"id": agent_id, "now": now, **_columns(body)},
            )
            self._add_version(connection, agent_id, 1, text, now, None)
            return _one(connection, agent_id)

    def get(self, agent_id: str, *, version_id: str | None = None) -> dict[str, Any]:
        """Return the full document of an agent, as it is now or as it was in one version.

        Raises:
            NotFoundError: There is no such agent, or it has no such version.
        """
        with self._db.snapshot() as connection:
            return _one(connection, agent_id, version_id)

    def find(self, name: str) -> list[dict[str, Any]]:
        """Return the full documents of all agents of this name (upper and lower case are the same), oldest first."""
        sql = _WHOLE + "WHERE a.name_key = ? AND v.version = a.version ORDER BY a.created_at, a.agent_id"
        return [_document(row) for row in self._db.read(sql, (name_key(name),))]

    def update(self, agent_id: str, body: Mapping[str, Any], *, description: str | None = None) -> dict[str, Any]:
        """Store `body` as the agent's whole configuration; a new version is made only when something changed.

        Args:
            description: What this version is about; shown in its `metadata.version_description`.

        Raises:
            NotFoundError: There is no such agent.
        """
        text, now = _body_text(body), self._clock.wall()
        with self._db.write() as connection:
            before = _row(connection, agent_id)
            if _same(before["body"], text):
                return _document(before)
            version = before["version"] + 1
            self._add_version(connection, agent_id, version, text, now, description)
            connection.execute(
                "UPDATE agents SET name = :name, name_key = :key, voice_id = :voice, tags = :tags, "
                "archived = :archived, updated_at = :now, version = :version WHERE agent_id = :id",
                {"id": agent_id, "now": now, "version": version, **_columns(body)},
            )
            return _one(connection, agent_id)

    def delete(self, agent_id: str) -> None:
        """Delete an agent and all its versions; its conversations stay.

        Raises:
            NotFoundError: There is no such agent.
        """
        with self._db.write() as connection:
            if not connection.execute("DELETE FROM agents WHERE agent_id = ?", (_id(agent_id),)).rowcount:
                raise _unknown(agent_id)

    def versions(self, agent_id: str) -> list[dict[str, Any]]:
        """Return the full document of every version, newest first.

        Raises:
            NotFoundError: There is no such agent.
        """
        rows = self._db.read(_WHOLE + "WHERE a.agent_id = ? ORDER BY v.version DESC", (_id(agent_id),))
        if not rows:
            raise _unknown(agent_id)
        return [_document(row) for row in rows]

    def list(
        self,
        *,
        search: str | None = None,
        page_size: int = 30,
        cursor: str | None = None,
        sort_by: str = "created_at",
        descending: bool = True,
        archived: bool | None = False,
    ) -> Page[dict[str, Any]]:
        """Return one page of agents as rows of the platform's list.

        Args:
            search: Keep agents whose name contains this, in any case.
            sort_by: ``created_at``, ``name`` or ``call_count_7d`` (conversations of the last seven days).
            archived: Keep only archived agents (True) or only others (False); None keeps both.

        Raises:
            InvalidValueError: A wrong cursor, page size or sorting; `field` says which.
        """
        if not isinstance(sort_by, str) or sort_by not in _ORDERS:
            raise InvalidValueError(f"must be one of {', '.join(_ORDERS)}, got {sort_by!r}"[:200], field="sort_by")
        order, name = _ORDERS[sort_by], f"agents {sort_by} {'desc' if descending else 'asc'}"
        size, after = checked_page_size(page_size), key_in_cursor(cursor, name, (order.kind, str))
        wanted, params = _wanted(search, archived)
        if "?" in order.sql:
            params.insert(0, self._clock.wall() - WEEK_SECS)
        if after is not None:
            wanted.append(f"(sort_key, agent_id) {'<' if descending else '>'} (?, ?)")
            params += after
        direction = "DESC" if descending else "ASC"
        sql = (
            f"SELECT *, {_LAST_CALL} AS last_call_at FROM (SELECT *, {order.sql} AS sort_key FROM agents) AS agents "  # noqa: S608 - from the table above
            f"WHERE {' AND '.join(wanted)} ORDER BY sort_key {direction}, agent_id {direction} LIMIT ?"
        )
        rows = self._db.read(sql, (*params, size + 1))
        page = page_of(rows, size, order=name, key=lambda row: (row["sort_key"], row["agent_id"]))
        return Page(tuple(_summary(row) for row in page.items), page.next_cursor, page.has_more)

    def _add_version(
        self, connection: sqlite3.Connection, agent_id: str, version: int, text: str, now: float, about: str | None
    ) -> None:
        connection.execute(
            "INSERT INTO agent_versions VALUES (?, ?, ?, ?, ?, ?)",
            (agent_id, version, self._clock.new_id("agtvrsn_"), now, column_text(about) if about else None, text),
        )


def _wanted(search: str | None, archived: bool | None) -> tuple[list[str], list[Any]]:
    """Return the conditions of a list, and their parameters."""
    if search is not None and not isinstance(search, str):
        raise InvalidValueError(f"must be a text, got {type(search).__name__}", field="search")
    wanted: list[str] = ["instr(name_key, ?)"] if search else ["1"]
    params: list[Any] = [name_key(search)] if search else []
    if archived is not None:
        wanted.append("archived = ?")
        params.append(int(archived))
    return wanted, params


def _row(connection: sqlite3.Connection, agent_id: str, version_id: str | None = None) -> sqlite3.Row:
    which, params = "v.version = a.version", [_id(agent_id)]
    if version_id:
        which, params = "v.version_id = ?", [_id(agent_id), _id(version_id)]
    row: sqlite3.Row | None = connection.execute(f"{_WHOLE} WHERE a.agent_id = ? AND {which}", params).fetchone()
    if row is None:
        raise _unknown(agent_id, version_id)
    return row


def _one(connection: sqlite3.Connection, agent_id: str, version_id: str | None = None) -> dict[str, Any]:
    return _document(_row(connection, agent_id, version_id))


def _document(row: sqlite3.Row) -> dict[str, Any]:
    body: dict[str, Any] = json.loads(row["body"])
    about = {"version_description": row["description"]} if row["description"] else {}
    return {
        **body,
        "agent_id": row["agent_id"],
        "version_id": row["version_id"],
        "metadata": {
            "created_at_unix_secs": int(row["born_at"]),
            "updated_at_unix_secs": int(row["created_at"]),
            "version": row["version"],
            **about,
        },
    }


def _summary(row: sqlite3.Row) -> dict[str, Any]:
    last = row["last_call_at"]
    return {
        "agent_id": row["agent_id"],
        "name": row["name"],
        "voice_id": row["voice_id"],
        "tags": json.loads(row["tags"]),
        "created_at_unix_secs": int(row["created_at"]),
        "access_info": dict(ACCESS_INFO),
        "last_call_time_unix_secs": None if last is None else int(last),
        "archived": bool(row["archived"]),
    }


def _body_text(body: Mapping[str, Any]) -> str:
    if not isinstance(body, Mapping):
        raise InvalidValueError(f"must be an object, got {type(body).__name__}", field="agent")
    return json_text({key: value for key, value in body.items() if key not in STORE_KEYS}, field="agent")


def _same(before: str, after: str) -> bool:
    """Compare two configurations; the order of keys does not count, and true is not 1."""
    return before == after or _sorted_text(before) == _sorted_text(after)


def _sorted_text(text: str) -> str:
    return json.dumps(json.loads(text), sort_keys=True)


def _columns(body: Mapping[str, Any]) -> dict[str, Any]:
    """Return what lists filter, sort and show; a missing or odd value never stops an agent from being stored."""
    name = _at(body, "name", str) or ""
    tags = [tag for tag in _at(body, "tags", list) or [] if isinstance(tag, str)]
    return {
        "name": column_text(name),
        "key": name_key(name),
        "voice": column_text(_at(body, "conversation_config.tts.voice_id", str) or ""),
        "tags": json_text(tags),
        "archived": int(bool(_at(body, "platform_settings.archived", bool) or _at(body, "archived", bool))),
    }


def _at(body: Mapping[str, Any], path: str, kind: type) -> Any:
    value: Any = body
    for key in path.split("."):
        value = value.get(key) if isinstance(value, Mapping) else None
    return value if isinstance(value, kind) else None


def _id(given: Any) -> str:
    return column_text(given) if isinstance(given, str) else ""


def _unknown(agent_id: Any, version_id: str | None = None) -> NotFoundError:
    which = f"version {str(version_id)[:80]!r} of " if version_id else ""
    return NotFoundError(f"there is no {which}agent {str(agent_id)[:80]!r}", status=404)
