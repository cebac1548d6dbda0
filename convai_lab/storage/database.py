"""Database: one SQLite file, safe for threads, processes, forks and kill -9."""

from __future__ import annotations

import contextlib
import os
import sqlite3
import threading
import time
import weakref
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from convai_lab import settings
from convai_lab.errors import StorageError

Params = Sequence[Any]

BUSY_TIMEOUT_SECS = 10.0
IDLE_CONNECTIONS = 4
RETRY_SECS = 0.02


class Database:
    """An SQLite file in WAL mode; one object may be shared by all threads, and lives through a fork.

    Example:
        >>> import tempfile
        >>> db = Database(Path(tempfile.mkdtemp()) / "example.sqlite3")
        >>> with db.write() as connection:
        ...     _ = connection.execute("CREATE TABLE t (n)")
        ...     _ = connection.execute("INSERT INTO t VALUES (?)", (7,))
        >>> db.read("SELECT n FROM t")[0]["n"]
        7
    """

    def __init__(self, path: Path, *, busy_timeout_secs: float = BUSY_TIMEOUT_SECS) -> None:
        self.path = Path(path)
        self._timeout_secs = busy_timeout_secs
        self._idle: list[sqlite3.Connection] = []
        self._gate = threading.Condition(threading.Lock())
        self._writing = threading.Lock()
        self._holders: list[int] = []
        self._writer: int | None = None
        self._forked_inside = False
        _open_databases.add(self)

    def __repr__(self) -> str:
        return f"Database({str(self.path)!r})"

    def read(self, sql: str, params: Params = ()) -> list[sqlite3.Row]:
        """Run one SELECT and return its rows."""
        with self._borrowed() as connection:
            return connection.execute(sql, params).fetchall()

    @contextlib.contextmanager
    def snapshot(self) -> Iterator[sqlite3.Connection]:
        """Run several SELECTs that all see the same state of the file."""
        with self._borrowed() as connection, _transaction(connection, "BEGIN"):
            yield connection

    @contextlib.contextmanager
    def write(self) -> Iterator[sqlite3.Connection]:
        """Run one transaction: committed when the block ends, undone when it raises.

        Raises:
            StorageError: Nothing was written, and why.
        """
        if self._writer == threading.get_ident():
            raise StorageError(f"{self.path}: a write inside a write would wait for itself; use its connection")
        with self._writing:
            self._writer = threading.get_ident()
            try:
                with self._borrowed() as connection, _transaction(connection, "BEGIN IMMEDIATE"):
                    yield connection
            finally:
                self._writer = None

    def migrate(self, steps: Sequence[Sequence[str]]) -> None:
        """Bring the file to schema version `len(steps)`; step n holds the statements that lead to version n.

        Raises:
            StorageError: The file was written by a newer version, or belongs to another program.
        """
        with self._borrowed() as connection:
            if self._version(connection, newest=len(steps)) == len(steps):
                return
        with self.write() as connection:
            for step in steps[self._version(connection, newest=len(steps)) :]:
                for statement in step:
                    connection.execute(statement)
            connection.execute(f"PRAGMA user_version = {len(steps):d}")

    def close(self) -> None:
        """Close the connections that nobody is using; the next call opens a new one."""
        with self._gate:
            self._close_idle()

    def _version(self, connection: sqlite3.Connection, *, newest: int) -> int:
        version = int(connection.execute("PRAGMA user_version").fetchone()[0])
        if version > newest:
            raise StorageError(
                f"{self.path} was written by a newer convai-lab (schema {version}, this one knows {newest}): "
                f"upgrade with pip install -U convai-lab, or point {settings.HOME_VARIABLE} at another folder"
            )
        if version == 0 and connection.execute("SELECT 1 FROM sqlite_master LIMIT 1").fetchone():
            raise StorageError(
                f"{self.path} is an SQLite file of another program: move it away, "
                f"or point {settings.HOME_VARIABLE} at another folder"
            )
        return version

    @contextlib.contextmanager
    def _borrowed(self) -> Iterator[sqlite3.Connection]:
        """Lend a connection to this thread; errors of SQLite leave as StorageError."""
        pid = os.getpid()
        with self._gate:
            if self._forked_inside:
                raise StorageError(f"{self.path}: this process was forked in the middle of a transaction; restart it")
            self._holders.append(threading.get_ident())
            connection = self._idle.pop() if self._idle else None
        try:
            connection = connection or self._connect()
            yield connection
        except sqlite3.Error as error:
            raise StorageError(_in_words(error, self.path)) from error
        finally:
            if os.getpid() == pid:
                self._give_back(connection)
            else:
                _never_closed.append(connection)

    def _give_back(self, connection: sqlite3.Connection | None) -> None:
        with self._gate:
            self._holders.remove(threading.get_ident())
            if connection is not None and len(self._idle) < IDLE_CONNECTIONS:
                self._idle.append(connection)
            elif connection is not None:
                connection.close()
            self._gate.notify_all()

    def _connect(self) -> sqlite3.Connection:
        """Open a connection, waiting while another process is turning the new file to WAL mode."""
        deadline = time.monotonic() + self._timeout_secs
        with contextlib.suppress(OSError):
            os.close(os.open(self.path, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600))
        while True:
            connection = sqlite3.connect(
                self.path, timeout=self._timeout_secs, isolation_level=None, check_same_thread=False
            )
            try:
                connection.row_factory = sqlite3.Row
                connection.execute("PRAGMA journal_mode = WAL").fetchone()
                connection.execute("PRAGMA synchronous = NORMAL")
                connection.execute("PRAGMA foreign_keys = ON")
                return connection
            except sqlite3.OperationalError as error:
                connection.close()
                if not _is_busy(error) or time.monotonic() > deadline:
                    raise
                time.sleep(RETRY_SECS)
            except BaseException:
                connection.close()
                raise

    def _close_idle(self) -> None:
        while self._idle:
            self._idle.pop().close()

    def _before_fork(self) -> None:
        """Have no connection open while the process splits, because SQLite cannot be carried across a fork.

        The child would believe it holds the parent's locks, and the parent could delete the log the child writes.
        """
        self._gate.acquire()
        me = threading.get_ident()
        while any(holder != me for holder in self._holders):
            self._gate.wait()
        self._close_idle()

    def _after_fork_in_parent(self) -> None:
        self._gate.release()

    def _after_fork_in_child(self) -> None:
        self._forked_inside = bool(self._holders)
        self._gate = threading.Condition(threading.Lock())
        self._writing = threading.Lock()
        self._writer = None


@contextlib.contextmanager
def _transaction(connection: sqlite3.Connection, begin: str) -> Iterator[None]:
    connection.execute(begin)
    pid = os.getpid()
    try:
        yield
        if os.getpid() != pid:
            raise StorageError("this process was forked in the middle of a transaction; its parent decides about it")
        connection.execute("COMMIT")
    except BaseException:
        if os.getpid() == pid and connection.in_transaction:
            connection.execute("ROLLBACK")
        raise


def _is_busy(error: sqlite3.Error) -> bool:
    return getattr(error, "sqlite_errorcode", 0) & 0xFF in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED)


def _in_words(error: sqlite3.Error, path: Path) -> str:
    """Say what is wrong with the file, and what to do."""
    elsewhere = f"or point {settings.HOME_VARIABLE} at another folder"
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF
    if code in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
        return f"{path} is locked by another process: end it (or wait for it) and try again"
    if code in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB):
        return f"{path} is damaged or not an SQLite file ({error}): restore a copy or move it away, {elsewhere}"
    if code == sqlite3.SQLITE_READONLY:
        return f"{path} cannot be written ({error}): make the file and its folder writable, {elsewhere}"
    if code in (sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_PERM, sqlite3.SQLITE_AUTH):
        return f"{path} cannot be opened ({error}): check that its folder exists and is yours, {elsewhere}"
    if code in (sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR):
        return f"{path}: the disk is full or failing ({error}): make room, {elsewhere}"
    return f"{path}: {error}"


_open_databases: weakref.WeakSet[Database] = weakref.WeakSet()
_never_closed: list[sqlite3.Connection | None] = []
"""Connections of the process we were forked from: closing them here would disturb it."""

_fork_lock = threading.Lock()
_at_fork: list[Database] = []


def _before_fork() -> None:
    _fork_lock.acquire()
    _at_fork[:] = sorted(_open_databases, key=id)
    for database in _at_fork:
        database._before_fork()


def _after_fork_in_parent() -> None:
    for database in _at_fork:
        database._after_fork_in_parent()
    _at_fork.clear()
    _fork_lock.release()


def _after_fork_in_child() -> None:
    global _fork_lock
    for database in _at_fork:
        database._after_fork_in_child()
    _at_fork.clear()
    _fork_lock = threading.Lock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_before_fork, after_in_parent=_after_fork_in_parent, after_in_child=_after_fork_in_child)
