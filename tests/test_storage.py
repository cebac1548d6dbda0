"""One SQLite file: kept whole through threads, processes, forks and versions; errors are said in words."""

from __future__ import annotations

import doctest
import os
import sqlite3
import stat
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from convai_lab import storage
from convai_lab.errors import InvalidValueError, StorageError
from convai_lab.storage import Database, Page, cursor_after, json_text, key_in_cursor, name_key, open_database, page_of
from convai_lab.storage import database as database_module

TABLE = (("CREATE TABLE t (n INTEGER)",),)


@pytest.fixture
def db(tmp_path: Path) -> Database:
    database = Database(tmp_path / "test.sqlite3", busy_timeout_secs=0.05)
    database.migrate(TABLE)
    return database


def numbers(database: Database) -> list[int]:
    return [row["n"] for row in database.read("SELECT n FROM t ORDER BY n")]


def run(script: str, *arguments: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", script, *arguments], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_example_of_the_database_runs() -> None:
    assert doctest.testmod(database_module) == (0, 4)


def test_what_was_written_is_read_by_another_object(db: Database) -> None:
    with db.write() as connection:
        connection.execute("INSERT INTO t VALUES (7)")
    assert numbers(Database(db.path)) == [7]


def test_an_error_in_the_block_undoes_all_of_it(db: Database) -> None:
    def fail() -> None:
        with db.write() as connection:
            connection.execute("INSERT INTO t VALUES (7)")
            raise KeyError

    with pytest.raises(KeyError):
        fail()
    assert numbers(db) == []


def test_a_snapshot_does_not_see_what_is_written_meanwhile(db: Database) -> None:
    with db.snapshot() as connection:
        before = connection.execute("SELECT count(*) FROM t").fetchone()[0]
        with db.write() as writing:
            writing.execute("INSERT INTO t VALUES (7)")
        assert connection.execute("SELECT count(*) FROM t").fetchone()[0] == before == 0


def test_a_write_inside_a_write_is_an_error_instead_of_a_hang(db: Database) -> None:
    with pytest.raises(StorageError, match="a write inside a write"), db.write(), db.write():
        pass
    with db.write() as connection:
        connection.execute("INSERT INTO t VALUES (1)")
    assert numbers(db) == [1]


def test_the_file_is_in_wal_mode_and_only_for_its_owner(db: Database) -> None:
    assert db.read("PRAGMA journal_mode")[0][0] == "wal"
    assert stat.S_IMODE(db.path.stat().st_mode) == 0o600


def test_an_older_file_is_brought_up_to_date_and_keeps_its_rows(db: Database) -> None:
    with db.write() as connection:
        connection.execute("INSERT INTO t VALUES (7)")
    newer = (*TABLE, ("ALTER TABLE t ADD COLUMN m INTEGER DEFAULT 3", "CREATE INDEX by_m ON t (m)"))
    db.migrate(newer)
    db.migrate(newer)
    assert tuple(db.read("SELECT n, m FROM t")[0]) == (7, 3)


def test_a_step_that_fails_leaves_the_version_before(db: Database) -> None:
    with pytest.raises(StorageError):
        db.migrate((*TABLE, ("CREATE TABLE u (n)", "CREATE TABLE t (n)")))
    assert db.read("PRAGMA user_version")[0][0] == 1
    assert db.read("SELECT count(*) FROM sqlite_master WHERE name = 'u'")[0][0] == 0


def test_a_file_of_a_newer_version_is_refused_in_words(tmp_path: Path) -> None:
    with open_database(tmp_path).write() as connection:
        connection.execute("PRAGMA user_version = 999")
    with pytest.raises(StorageError, match=r"newer convai-lab \(schema 999.*upgrade"):
        open_database(tmp_path)


def test_a_file_of_another_program_is_refused_and_left_alone(tmp_path: Path) -> None:
    path = tmp_path / storage.FILE_NAME
    other = sqlite3.connect(path)
    other.execute("CREATE TABLE bookmarks (url)")
    other.close()
    with pytest.raises(StorageError, match="another program"):
        open_database(tmp_path)
    assert [row[0] for row in sqlite3.connect(path).execute("SELECT name FROM sqlite_master")] == ["bookmarks"]


@pytest.mark.parametrize("content", [b"not a database at all, but longer than a header" * 9, b"SQLite format 3\0" * 64])
def test_a_damaged_file_is_named_with_what_to_do(tmp_path: Path, content: bytes) -> None:
    (tmp_path / storage.FILE_NAME).write_bytes(content)
    with pytest.raises(StorageError, match=r"lab\.sqlite3 .*CONVAI_LAB_HOME"):
        open_database(tmp_path)


def test_an_empty_file_becomes_a_store(tmp_path: Path) -> None:
    (tmp_path / storage.FILE_NAME).touch()
    assert open_database(tmp_path).read("SELECT count(*) FROM agents")[0][0] == 0


def test_a_folder_that_is_not_there_is_said_in_words(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match="cannot be opened"):
        open_database(tmp_path / "nowhere")


def test_a_locked_file_is_said_in_words_and_works_afterwards(db: Database) -> None:
    other = sqlite3.connect(db.path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(StorageError, match="locked by another process"), db.write():
        pass
    other.execute("ROLLBACK")
    other.close()
    with db.write() as connection:
        connection.execute("INSERT INTO t VALUES (1)")
    assert numbers(db) == [1]


def test_a_file_that_cannot_be_written_is_said_in_words(db: Database) -> None:
    def write_read_only() -> None:
        with db.write() as connection:
            connection.execute("PRAGMA query_only = ON")
            connection.execute("INSERT INTO t VALUES (1)")

    with pytest.raises(StorageError, match="cannot be written"):
        write_read_only()


def test_wrong_sql_is_an_error_of_the_store_and_names_the_file(db: Database) -> None:
    with pytest.raises(StorageError, match=r"test\.sqlite3: no such table"):
        db.read("SELECT 1 FROM missing")


def test_threads_writing_at_once_lose_nothing(tmp_path: Path) -> None:
    database = Database(tmp_path / "test.sqlite3")
    database.migrate(TABLE)

    def work(start: int) -> None:
        for n in range(start, start + 50):
            with database.write() as connection:
                connection.execute("INSERT INTO t VALUES (?)", (n,))

    threads = [threading.Thread(target=work, args=(start,)) for start in range(0, 400, 50)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert numbers(database) == list(range(400))


OPEN_AT_ONCE = """
import sys, pathlib
from convai_lab.storage import open_database
sys.stdin.readline()
db = open_database(pathlib.Path(sys.argv[1]))
for n in range(40):
    with db.write() as connection:
        connection.execute("INSERT INTO conversations VALUES (?, '', '', '', '', '', '', '', '', 0, 0, '', 0, '')",
            (f"{sys.argv[2]}-{n}",))
"""


def test_processes_that_make_the_file_and_write_at_once_lose_nothing(tmp_path: Path) -> None:
    processes = [
        subprocess.Popen([sys.executable, "-c", OPEN_AT_ONCE, str(tmp_path), name], stdin=subprocess.PIPE, text=True)
        for name in ("a", "b", "c")
    ]
    for process in processes:
        process.communicate("go\n", timeout=60)
    assert [process.returncode for process in processes] == [0, 0, 0]
    assert open_database(tmp_path).read("SELECT count(*) FROM conversations")[0][0] == 120


FORK = """
import os, pathlib, sys
from convai_lab.storage import Database
db = Database(pathlib.Path(sys.argv[1]))
db.migrate((("CREATE TABLE t (n INTEGER)",),))
with db.write() as connection:
    connection.execute("INSERT INTO t VALUES (-1)")
parent_closed, say_closed = os.pipe()
pid = os.fork()
if pid == 0:
    with db.write() as connection:
        connection.execute("INSERT INTO t VALUES (0)")
    os.read(parent_closed, 1)
    for n in range(1, 100):
        with db.write() as connection:
            connection.execute("INSERT INTO t VALUES (?)", (n,))
    os._exit(0)
with db.write() as connection:
    connection.execute("INSERT INTO t VALUES (1000)")
db.close()
os.write(say_closed, b"x")
assert os.waitpid(pid, 0)[1] == 0
print(db.read("SELECT count(*) FROM t")[0][0], db.read("PRAGMA integrity_check")[0][0])
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
def test_a_forked_child_loses_nothing_when_its_parent_closes_the_file(tmp_path: Path) -> None:
    assert run(FORK, str(tmp_path / "test.sqlite3")).split() == ["102", "ok"]


FORK_INSIDE = """
import os, pathlib, sys
from convai_lab.errors import StorageError
from convai_lab.storage import Database
db = Database(pathlib.Path(sys.argv[1]))
db.migrate((("CREATE TABLE t (n INTEGER)",),))
said = 0
try:
    with db.write() as connection:
        connection.execute("INSERT INTO t VALUES (1)")
        pid = os.fork()
except StorageError as error:
    said += "forked" in str(error)
if pid == 0:
    try:
        db.read("SELECT 1")
    except StorageError as error:
        said += "forked" in str(error)
    os._exit(said)
print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), db.read("SELECT count(*) FROM t")[0][0])
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
def test_a_fork_in_the_middle_of_a_write_leaves_the_decision_to_the_parent(tmp_path: Path) -> None:
    assert run(FORK_INSIDE, str(tmp_path / "test.sqlite3")).split() == ["2", "1"]


def test_a_cursor_gives_back_its_key() -> None:
    assert key_in_cursor(cursor_after("by name", ("Ä\U0001f600", 1.5)), "by name", (str, float)) == ["Ä\U0001f600", 1.5]


@given(st.text(max_size=60))
def test_no_text_but_a_cursor_is_taken_for_one(text: str) -> None:
    if not text:
        assert key_in_cursor(text, "order", (float, str)) is None
        return
    with pytest.raises(InvalidValueError, match="cursor: is not a cursor"):
        key_in_cursor(text, "order", (float, str))


@pytest.mark.parametrize(
    "cursor",
    [
        cursor_after("other order", (1.0, "a")),
        cursor_after("order", (1.0,)),
        cursor_after("order", ("1", "a")),
        cursor_after("order", (True, "a")),
        cursor_after("order", (2**80, "a")),
        cursor_after("order", (float("nan"), "a")),
        cursor_after("order", (1.0, "\ud800")),
        "[" * 3000,
        "A" * 100_000,
        7,
    ],
)
def test_a_cursor_of_another_list_or_a_forged_one_is_refused(cursor: str) -> None:
    with pytest.raises(InvalidValueError) as caught:
        key_in_cursor(cursor, "order", (float, str))
    assert caught.value.field == "cursor"


def test_a_page_tells_whether_more_follows() -> None:
    assert page_of([1, 2], 2, order="o", key=lambda n: (n,)) == Page((1, 2), None, False)
    page = page_of([1, 2, 3], 2, order="o", key=lambda n: (n,))
    assert (page.items, page.has_more) == ((1, 2), True)
    assert key_in_cursor(page.next_cursor, "o", (float,)) == [2]


@pytest.mark.parametrize("size", [0, -1, 1001, 2.0, True, "30", None, 10**30])
def test_a_wrong_page_size_is_refused(size: int) -> None:
    with pytest.raises(InvalidValueError) as caught:
        storage.checked_page_size(size)
    assert caught.value.field == "page_size"


def test_json_that_cannot_be_is_refused_in_words_or_made_null() -> None:
    ring: dict[str, object] = {}
    ring["again"] = ring
    deep: list[object] = []
    for _ in range(100_000):
        deep = [deep]
    for bad in (ring, deep, {"key": object()}, {(1, 2): 3}):
        with pytest.raises(InvalidValueError, match="field: cannot be stored"):
            json_text(bad, field="field")
    assert json_text({"ms": float("nan"), "all": (1, float("inf"))}) == '{"ms":null,"all":[1,null]}'
    assert json_text("half \ud800 ü") == '"half \\ud800 \\u00fc"'


def test_names_are_compared_without_case_and_spelling_of_accents() -> None:
    assert name_key(" STRASSE ") == name_key("straße")
    assert name_key("Cafe\u0301") == name_key("CAFÉ")
