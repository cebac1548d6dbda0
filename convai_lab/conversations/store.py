"""Conversation store: where is what was said kept, so that no finished turn is ever lost?

A turn is in the file when `add_turn` returns, and a turn already there is never changed by accident: the same turn
again is harmless, another one at its place is an error. `undo` hides turns and keeps them.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple, Unpack

from convai_lab.clock import Clock
from convai_lab.conversations.conversation import Conversation
from convai_lab.conversations.store_filters import Condition, Filters, conditions
from convai_lab.conversations.store_rows import (
    INSERT_HEADER,
    INSERT_TURN,
    LIST,
    REPLACE_TURN,
    UPDATE_HEADER,
    checked_index,
    count_turns,
    document_of,
    header_columns,
    id_text,
    stored_turn,
    summary_of,
    turn_columns,
    unknown,
)
from convai_lab.conversations.turn import Turn
from convai_lab.conversations.wire_format import conversation_from_wire, turn_from_wire
from convai_lab.errors import InvalidValueError, StorageError
from convai_lab.storage import Database, Page, checked_page_size, column_text, key_in_cursor, page_of

ABANDONED = "the platform process ended while the conversation was running"
DOCUMENTS_AT_ONCE = 100


class UndoneTurn(NamedTuple):
    """A turn that was undone: when, where it stood, and what it was."""

    undone_at: float
    position: int
    turn: Turn


class ConversationStore:
    """The conversations in a database; safe to use from several threads and processes at once."""

    def __init__(self, db: Database, clock: Clock) -> None:
        self._db, self._clock = db, clock

    def start(self, conversation: Conversation, *, owner: str = "") -> None:
        """Store a new conversation, with the turns it already has; `owner` names the process that holds it.

        Raises:
            StorageError: There is one with this id already.
            InvalidValueError: It holds something that cannot be stored; `field` says where.
        """
        c = conversation
        if not isinstance(c.id, str) or not c.id:
            raise InvalidValueError("a conversation needs an id", field="id")
        columns = header_columns(c) | {"owner": column_text(owner), "now": self._clock.wall()}
        turns = [turn_columns(turn) for turn in c.turns]
        with self._db.write() as connection:
            if connection.execute("SELECT 1 FROM conversations WHERE conversation_id = :id", columns).fetchone():
                raise StorageError(f"conversation {c.id[:80]!r} is already stored: give this one a new id")
            connection.execute(INSERT_HEADER, columns)
            for index, turn in enumerate(turns):
                connection.execute(INSERT_TURN, turn | {"id": columns["id"], "position": index})

    def add_finished(self, conversations: Sequence[Conversation]) -> int:
        """Store conversations that were held elsewhere, all or none; return how many are new or newer.

        One that is here already is replaced when it was simulated, and else left as it is.

        Raises:
            InvalidValueError: One holds something that cannot be stored; `field` says where.
        """
        now, stored = self._clock.wall(), 0
        rows = [
            (header_columns(c) | {"owner": "", "now": now}, [turn_columns(t) for t in c.turns]) for c in conversations
        ]
        with self._db.write() as connection:
            for columns, turns in rows:
                sql = "DELETE FROM conversations WHERE conversation_id = :id AND source = 'simulated'"
                connection.execute(sql, columns)
                if connection.execute("SELECT 1 FROM conversations WHERE conversation_id = :id", columns).fetchone():
                    continue
                connection.execute(INSERT_HEADER, columns)
                connection.executemany(
                    INSERT_TURN, [turn | {"id": columns["id"], "position": at} for at, turn in enumerate(turns)]
                )
                stored += 1
        return stored

    def add_turn(self, conversation_id: str, turn: Turn, *, index: int) -> None:
        """Store the turn at `index`, which is the number of turns so far; on return it is in the file.

        The same turn at the same index again changes nothing.

        Raises:
            NotFoundError: There is no such conversation.
            StorageError: Another turn is stored at this index; `replace_turn` would change it.
            InvalidValueError: `index` leaves a gap, or the turn holds something that cannot be stored.
        """
        columns = turn_columns(turn) | {"id": id_text(conversation_id), "position": checked_index(index)}
        with self._db.write() as connection:
            count = count_turns(connection, columns["id"])
            if index > count:
                raise InvalidValueError(f"the next turn of this conversation is {count}, got {index}", field="index")
            if index == count:
                connection.execute(INSERT_TURN, columns)
            elif stored_turn(connection, columns)["body"] != columns["body"]:
                raise StorageError(
                    f"conversation {columns['id'][:80]!r} already has another turn {index}; nothing was changed"
                )

    def replace_turn(self, conversation_id: str, index: int, turn: Turn) -> None:
        """Store `turn` in the place of the one at `index`, for example with what was really heard of it.

        Raises:
            NotFoundError: There is no such conversation.
            InvalidValueError: It has no turn at `index`, or the turn holds something that cannot be stored.
        """
        columns = turn_columns(turn) | {"id": id_text(conversation_id), "position": checked_index(index)}
        with self._db.write() as connection:
            count = count_turns(connection, columns["id"])
            if index >= count:
                raise InvalidValueError(f"this conversation has {count} turns, there is no turn {index}", field="index")
            connection.execute(REPLACE_TURN, columns | {"turn_id": stored_turn(connection, columns)["turn_id"]})

    def update(self, conversation: Conversation) -> None:
        """Store everything about the conversation but its turns.

        Raises:
            NotFoundError: There is no such conversation.
            InvalidValueError: It holds something that cannot be stored; `field` says where.
        """
        columns = header_columns(conversation) | {"now": self._clock.wall()}
        with self._db.write() as connection:
            if not connection.execute(UPDATE_HEADER, columns).rowcount:
                raise unknown(conversation.id)

    def claim(self, conversation_id: str, *, owner: str) -> None:
        """Say which process holds the conversation from now on, for example to go on with a finished one.

        Raises:
            NotFoundError: There is no such conversation.
        """
        with self._db.write() as connection:
            sql = "UPDATE conversations SET owner = ? WHERE conversation_id = ?"
            if not connection.execute(sql, (column_text(owner), id_text(conversation_id))).rowcount:
                raise unknown(conversation_id)

    def get(self, conversation_id: str) -> Conversation:
        """Return the whole conversation.

        Raises:
            NotFoundError: There is no such conversation.
        """
        with self._db.snapshot() as connection:
            document = document_of(connection, id_text(conversation_id))
        if document is None:
            raise unknown(conversation_id)
        return conversation_from_wire(document)

    def documents(self, *, limit: int | None = None, **filters: Unpack[Filters]) -> Iterator[dict[str, Any]]:
        """Yield the platform's whole documents, newest first; memory stays small however many there are.

        A conversation that starts or is deleted meanwhile may or may not be among them.
        """
        cursor: str | None = None
        left = float("inf") if limit is None else limit
        while left > 0:
            page = self._rows(filters, min(DOCUMENTS_AT_ONCE, int(min(left, DOCUMENTS_AT_ONCE))), cursor, True)
            for row in page.items:
                with self._db.snapshot() as connection:
                    document = document_of(connection, row["conversation_id"])
                if document is not None:
                    yield document
            left -= len(page.items)
            cursor = page.next_cursor
            if cursor is None:
                return

    def undo(self, conversation_id: str) -> int:
        """Hide the last exchange (the user's last turn and what followed) and return how many turns that were.

        They stay in the file, see `undone`; new turns take their places. Without a turn of the user nothing happens.

        Raises:
            NotFoundError: There is no such conversation.
        """
        with self._db.write() as connection:
            count_turns(connection, id_text(conversation_id))
            sql = "SELECT max(position) FROM live_turns WHERE conversation_id = ? AND role = 'user'"
            last = connection.execute(sql, (conversation_id,)).fetchone()[0]
            if last is None:
                return 0
            sql = "UPDATE turns SET undone_at = ? WHERE conversation_id = ? AND undone_at IS NULL AND position >= ?"
            return connection.execute(sql, (self._clock.wall(), conversation_id, last)).rowcount

    def undone(self, conversation_id: str) -> Sequence[UndoneTurn]:
        """Return the turns that were undone, in the order in which that happened."""
        sql = """
            SELECT undone_at, position, body FROM turns WHERE conversation_id = ? AND undone_at IS NOT NULL
            ORDER BY undone_at, turn_id
        """
        rows = self._db.read(sql, (id_text(conversation_id),))
        return [UndoneTurn(row["undone_at"], row["position"], turn_from_wire(json.loads(row["body"]))) for row in rows]

    def delete(self, conversation_id: str) -> None:
        """Delete the conversation with all its turns, undone ones too.

        Raises:
            NotFoundError: There is no such conversation.
        """
        with self._db.write() as connection:
            sql = "DELETE FROM conversations WHERE conversation_id = ?"
            if not connection.execute(sql, (id_text(conversation_id),)).rowcount:
                raise unknown(conversation_id)

    def close_abandoned(self, is_alive: Callable[[str], bool]) -> Sequence[str]:
        """Mark conversations still running whose owner is gone as failed, with the reason; return their ids.

        Args:
            is_alive: Takes an owner as given to `start`; conversations without an owner are left alone.
        """
        rows = self._db.read("SELECT conversation_id, owner FROM running_conversations WHERE owner != ''")
        gone = {owner for owner in {row["owner"] for row in rows} if not is_alive(owner)}
        ids = [row["conversation_id"] for row in rows if row["owner"] in gone]
        return [conversation_id for conversation_id in ids if self._close(conversation_id, gone)]

    def list(
        self,
        *,
        page_size: int = 30,
        cursor: str | None = None,
        descending: bool = True,
        **filters: Unpack[Filters],
    ) -> Page[dict[str, Any]]:
        """Return one page of summaries, by the time the conversations started; live ones unless `source` says more.

        Raises:
            InvalidValueError: A wrong filter, cursor or page size; `field` says which.
        """
        page = self._rows(filters, checked_page_size(page_size), cursor, descending)
        tools = self._tools_called([row["conversation_id"] for row in page.items])
        items = tuple(summary_of(row, tools.get(row["conversation_id"], {})) for row in page.items)
        return Page(items, page.next_cursor, page.has_more)

    def _rows(self, filters: Filters, page_size: int, cursor: str | None, descending: bool) -> Page[sqlite3.Row]:
        direction, order = ("DESC", "conversations desc") if descending else ("ASC", "conversations asc")
        wanted = [Condition("1"), *conditions(filters)]
        after = key_in_cursor(cursor, order, (float, str))
        if after is not None:
            wanted.append(Condition(f"(ordered_at, conversation_id) {'<' if descending else '>'} (?, ?)", tuple(after)))
        sql = (
            f"{LIST} WHERE {' AND '.join(condition.sql for condition in wanted)} "
            f"ORDER BY ordered_at {direction}, conversation_id {direction} LIMIT ?"
        )
        params = [value for condition in wanted for value in condition.params]
        rows = self._db.read(sql, (*params, page_size + 1))
        return page_of(rows, page_size, order=order, key=lambda row: (row["ordered_at"], row["conversation_id"]))

    def _tools_called(self, ids: Sequence[str]) -> dict[str, dict[str, None]]:
        sql = f"""
            SELECT DISTINCT conversation_id, tool_names FROM live_turns
            WHERE tool_names IS NOT NULL AND conversation_id IN ({", ".join("?" * len(ids))})
        """  # noqa: S608 - question marks only
        found: dict[str, dict[str, None]] = {}
        for row in self._db.read(sql, ids):
            found.setdefault(row["conversation_id"], {}).update(dict.fromkeys(json.loads(row["tool_names"])))
        return found

    def _close(self, conversation_id: str, gone: set[str]) -> bool:
        """Fail the conversation, unless it was closed or claimed by somebody else meanwhile."""
        with self._db.write() as connection:
            sql = "SELECT owner FROM running_conversations WHERE conversation_id = ?"
            row = connection.execute(sql, (conversation_id,)).fetchone()
            document = document_of(connection, conversation_id)
            if row is None or document is None or row["owner"] not in gone:
                return False
            failed = conversation_from_wire(document).with_changes(status="failed", end_reason=ABANDONED)
            connection.execute(UPDATE_HEADER, header_columns(failed) | {"now": self._clock.wall()})
            return True
