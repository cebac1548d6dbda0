"""Store rows: how do a conversation and its turns become rows of the store, and documents again?"""

from __future__ import annotations

import contextlib
import json
import sqlite3
from collections.abc import Iterator
from typing import Any

from convai_lab.conversations.conversation import Conversation
from convai_lab.conversations.cost import TurnCost, cost_of_turn, total_cost
from convai_lab.conversations.plain_turns import is_plain
from convai_lab.conversations.turn import Turn
from convai_lab.conversations.wire_format import (
    conversation_from_wire,
    conversation_to_wire,
    summary_to_wire,
    turn_from_wire,
    turn_to_wire,
)
from convai_lab.errors import InvalidValueError, NotFoundError
from convai_lab.settings import scrub
from convai_lab.storage import column_text, json_text, name_key

SEARCHED_CHARS = 10_000
"""How much of each turn a search looks at."""

LIST = """
    SELECT conversation_id, ordered_at, header,
        (SELECT max(position) FROM live_turns t WHERE t.conversation_id = conversations.conversation_id)
        AS last_position
    FROM conversations
"""

# Lists are ordered by when conversations began; simulated ones, whose time may be invented, by when they were stored.
INSERT_HEADER = """
    INSERT INTO conversations VALUES (
        :id, :agent_id, :agent_key, :source, :status, :channel, :success, :user_id, :parent_id,
        coalesce(:listed_at, :now), :duration_secs, :owner, :now, :header
    )
"""

UPDATE_HEADER = """
    UPDATE conversations SET
        agent_id = :agent_id, agent_key = :agent_key, source = :source, status = :status, channel = :channel,
        success = :success, user_id = :user_id, parent_id = :parent_id, duration_secs = :duration_secs,
        ordered_at = coalesce(:listed_at, ordered_at), updated_at = :now, header = :header
    WHERE conversation_id = :id
"""

INSERT_TURN = """
    INSERT INTO turns (conversation_id, position, role, tool_names, used_model, cost_usd, text_key, body)
    VALUES (:id, :position, :role, :tool_names, :used_model, :cost_usd, :text_key, :body)
"""

REPLACE_TURN = """
    UPDATE turns SET role = :role, tool_names = :tool_names, used_model = :used_model, cost_usd = :cost_usd,
        text_key = :text_key, body = :body
    WHERE turn_id = :turn_id
"""


def document_of(connection: sqlite3.Connection, conversation_id: str) -> dict[str, Any] | None:
    """Put the header and the turns together again."""
    sql = "SELECT header FROM conversations WHERE conversation_id = ?"
    row = connection.execute(sql, (conversation_id,)).fetchone()
    if row is None:
        return None
    sql = "SELECT body, used_model, cost_usd FROM live_turns WHERE conversation_id = ? ORDER BY position"
    turns = connection.execute(sql, (conversation_id,)).fetchall()
    document: dict[str, Any] = json.loads(row["header"])
    document["transcript"] = [json.loads(turn["body"]) for turn in turns]
    if document["metadata"].get("cost_fiat") is None:
        costs = (TurnCost(bool(turn["used_model"]), turn["cost_usd"]) for turn in turns)
        document["metadata"]["cost_fiat"] = total_cost(costs)
    return document


def summary_of(row: sqlite3.Row, tools: dict[str, None]) -> dict[str, Any]:
    """Return the row of a list: a conversation in brief."""
    conversation = conversation_from_wire(json.loads(row["header"]))
    count = 0 if row["last_position"] is None else row["last_position"] + 1
    return summary_to_wire(conversation, message_count=count, tool_names=list(tools))


def header_columns(c: Conversation) -> dict[str, Any]:
    """Return what is stored of a conversation besides its turns, after checking that it can be read back."""
    with _not_too_deep("conversation"):
        header = scrub(json_text(conversation_to_wire(c.with_changes(turns=())), field="conversation"))
        read = conversation_from_wire(json.loads(header))
    return {
        "id": id_text(read.id),
        "agent_id": column_text(read.agent_id),
        "agent_key": name_key(read.agent_name or ""),
        "source": read.source,
        "status": read.status,
        "channel": read.channel,
        "success": read.analysis.success,
        "user_id": None if read.user_id is None else column_text(read.user_id),
        "parent_id": None if read.parent_id is None else column_text(read.parent_id),
        "listed_at": None if read.source == "simulated" else _real(read.started_at),
        "duration_secs": _real(read.duration_secs),
        "header": header,
    }


def turn_columns(turn: Turn) -> dict[str, Any]:
    """Return what is stored of a turn, after making sure that it can be read back."""
    with _not_too_deep("turn"):
        written = json_text(turn_to_wire(turn), field="turn")
        body = scrub(written)
        is_sure = body == written and is_plain(turn)
        read = turn if is_sure else turn_from_wire(json.loads(body), "turn")
    tools = list(dict.fromkeys(call.name for call in read.tool_calls))
    cost = cost_of_turn(read)
    return {
        "role": read.role,
        "tool_names": json_text(tools) if tools else None,
        "used_model": int(cost.used_model),
        "cost_usd": _real(cost.usd),
        "text_key": name_key(read.text[:SEARCHED_CHARS]),
        "body": body,
    }


@contextlib.contextmanager
def _not_too_deep(field: str) -> Iterator[None]:
    try:
        yield
    except RecursionError:
        raise InvalidValueError("cannot be stored: it is nested too deeply or contains itself", field=field) from None


def count_turns(connection: sqlite3.Connection, conversation_id: str) -> int:
    """Return the number of turns that are not undone; they stand at 0, 1, 2, ... without gaps."""
    sql = """
        SELECT (SELECT max(position) FROM live_turns WHERE conversation_id = c.conversation_id) AS last
        FROM conversations c WHERE conversation_id = ?
    """
    row = connection.execute(sql, (conversation_id,)).fetchone()
    if row is None:
        raise unknown(conversation_id)
    return 0 if row["last"] is None else int(row["last"]) + 1


def stored_turn(connection: sqlite3.Connection, columns: dict[str, Any]) -> sqlite3.Row:
    """Return the row that holds a turn at the place where `columns` would put one."""
    sql = "SELECT turn_id, body FROM live_turns WHERE conversation_id = ? AND position = ?"
    row: sqlite3.Row = connection.execute(sql, (columns["id"], columns["position"])).fetchone()
    return row


def checked_index(index: Any) -> int:
    """Return a turn's position, refused in words when it is none."""
    if isinstance(index, bool) or not isinstance(index, int) or index < 0:
        raise InvalidValueError(f"must be a whole number from 0, got {str(index)[:60]!r}", field="index")
    return index


def _real(value: float | None) -> float | None:
    """Return a number as an SQLite column holds it; whole numbers beyond its range become floats."""
    return None if value is None else float(value)


def id_text(given: Any) -> str:
    """Return an id as text that a query can look for, whatever was given."""
    return column_text(given) if isinstance(given, str) else ""


def unknown(conversation_id: Any) -> NotFoundError:
    """Return the error for a conversation that is not there."""
    return NotFoundError(f"there is no conversation {str(conversation_id)[:80]!r}", status=404)
