"""Journal: which trials are done, and what was said in them?

One SQLite file. A trial is found by its key, which says everything that matters to it; whoever asks for the same
again gets what is there. Trials are written in groups every few milliseconds: what was handed out as done survives
kill -9, though not a power cut in the same moment.
"""

from __future__ import annotations

import asyncio
import json
import zlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

from convai_lab import settings
from convai_lab.conversations.conversation import Conversation
from convai_lab.errors import InvalidValueError, StorageError
from convai_lab.experiments import kept_conversation
from convai_lab.experiments.trial import TrialResult
from convai_lab.storage import Database

GROUP_SECS = 0.010
"""How long a finished trial may wait for others to be written with it."""
AT_ONCE = 400
SHORT_BYTES = 4000
BETWEEN = "\x00"
"""Stands between texts of JSON, and never in one."""
NO_STATE = "{}"
_compact = json.JSONEncoder(separators=(",", ":")).encode
FOLDER = "journals"
DEFAULT_NAME = "comparisons"
SUFFIX = ".sqlite3"

_SCHEMA = (
    (
        "CREATE TABLE trials (key TEXT PRIMARY KEY, is_done INTEGER NOT NULL, result TEXT NOT NULL) WITHOUT ROWID",
        "CREATE TABLE conversations (key TEXT PRIMARY KEY, body BLOB NOT NULL)",
    ),
    (
        "ALTER TABLE trials ADD COLUMN talk TEXT",
        "ALTER TABLE trials ADD COLUMN state TEXT",
        "CREATE INDEX trials_by_talk ON trials (talk) WHERE is_done",
    ),
)
_ADD = (
    "INSERT INTO trials (key, is_done, result, state, talk) VALUES (?, ?, ?, ?, ?) ON CONFLICT (key) DO UPDATE SET "
    "is_done = excluded.is_done, result = excluded.result, state = excluded.state, talk = excluded.talk "
    "WHERE is_done = 0"
)


def journal_path(journal: str | Path | None) -> Path:
    """Return the file that a journal's name or path means; None is the one that all comparisons share.

    Raises:
        InvalidValueError: The folder is not there, or the name is none.
    """
    if journal is None or (isinstance(journal, str) and _is_name(journal)):
        folder = settings.home() / FOLDER
        folder.mkdir(mode=0o700, exist_ok=True)
        return folder / f"{journal or DEFAULT_NAME}{SUFFIX}"
    if not isinstance(journal, str | Path) or not str(journal).strip():
        raise InvalidValueError("give a name or the path of a file", field="journal")
    path = Path(journal).expanduser().absolute()
    if path.is_dir() or not path.parent.is_dir():
        raise InvalidValueError(f"{path} cannot be a journal: name a file in a folder that exists", field="journal")
    return path


class Journal:
    """Finished trials on disk; safe for several comparisons at once, in one process or many."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._db = Database(path)
        self._db.migrate(_SCHEMA)
        self._writing: _Writing | None = None

    def __repr__(self) -> str:
        return f"Journal({str(self.path)!r})"

    def find(self, keys: Iterable[str]) -> dict[str, TrialResult]:
        """Return the trials that are done, by key, without their conversations.

        Trials that failed through somebody other than the agent are not done: they are worth another try.
        """
        found: dict[str, TrialResult] = {}
        wanted = list(keys)
        for start in range(0, len(wanted), AT_ONCE):
            some = wanted[start : start + AT_ONCE]
            marks = ",".join("?" * len(some))
            rows = self._db.read(f"SELECT key, result FROM trials WHERE is_done AND key IN ({marks})", some)  # noqa: S608 - question marks
            found.update((row["key"], _result(row["result"], self.path)) for row in rows)
        return found

    def find_talks(self, talks: Iterable[str]) -> dict[str, TrialResult]:
        """Return trials that are done by what their conversations share, with what the tools left in them."""
        found: dict[str, TrialResult] = {}
        wanted = list(talks)
        for start in range(0, len(wanted), AT_ONCE):
            some = wanted[start : start + AT_ONCE]
            marks = ",".join("?" * len(some))
            rows = self._db.read(f"SELECT talk, state, result FROM trials WHERE is_done AND talk IN ({marks})", some)  # noqa: S608 - question marks
            for row in rows:
                state = json.loads(row["state"] or "null")
                found[row["talk"]] = _result(row["result"], self.path).with_changes(state=state, talk=row["talk"])
        return found

    def conversation(self, key: str) -> Conversation | None:
        """Return what was said in a trial, or None when it is not here."""
        rows = self._db.read("SELECT body FROM conversations WHERE key = ?", (key,))
        if not rows:
            return None
        try:
            body: bytes = rows[0]["body"]
            return kept_conversation.read(body if body.startswith(b"{") else zlib.decompress(body))
        except (zlib.error, ValueError, TypeError, AttributeError) as error:
            raise StorageError(f"{self.path}: the conversation of trial {key} is damaged ({error})") from error

    async def add(self, result: TrialResult) -> TrialResult:
        """Write a finished trial; return it as it is kept, without its conversation, once it is on disk.

        When somebody else finished the same trial first, theirs is kept and returned.

        Raises:
            StorageError: It could not be written.
        """
        return await asyncio.shield(self.begin_adding(result))

    def begin_adding(self, result: TrialResult, then: Then | None = None) -> asyncio.Future[TrialResult]:
        """Do what `add` does without waiting; `then` hears what is kept, before the future is done."""
        if self._writing is None:
            self._writing = _Writing(self._db)
        return self._writing.add(result, then)

    async def close(self) -> None:
        """Write what is waiting."""
        if self._writing is not None:
            await self._writing.close()
            self._writing = None
        self._db.close()


Then = Callable[[TrialResult], None]


class _Waiting(NamedTuple):
    """A trial that is to be written, and who waits for that."""

    result: TrialResult
    written: asyncio.Future[TrialResult]
    then: Then | None

    def succeed(self, kept: TrialResult) -> None:
        try:
            if self.then is not None:
                self.then(kept)
        except Exception as error:  # whoever waits for the trial gets it
            self.fail(error)
        if not self.written.done():
            self.written.set_result(kept)

    def fail(self, error: Exception) -> None:
        if not self.written.done():
            self.written.set_exception(error)


class _Row(NamedTuple):
    """One trial as it is written."""

    result: TrialResult
    trial: tuple[str, bool, str, str, str]
    body: bytes | None


class _Writing:
    """Collects finished trials and commits them together, on a thread of its own."""

    def __init__(self, db: Database) -> None:
        self._db = db
        self._waiting: list[_Waiting] = []
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="convai-journal")
        self._task: asyncio.Task[None] | None = None

    def add(self, result: TrialResult, then: Then | None) -> asyncio.Future[TrialResult]:
        written: asyncio.Future[TrialResult] = asyncio.get_running_loop().create_future()
        self._waiting.append(_Waiting(result, written, then))
        if self._task is None:
            self._task = asyncio.create_task(self._soon())
        return written

    async def close(self) -> None:
        while self._task is not None:
            await asyncio.shield(self._task)
        self._thread.shutdown()

    async def _soon(self) -> None:
        """Wait for company, write, and go on while more has come."""
        try:
            while self._waiting:
                await asyncio.sleep(GROUP_SECS)
                group, self._waiting = self._waiting, []
                await self._write(group)
        finally:
            self._task = None

    async def _write(self, group: Sequence[_Waiting]) -> None:
        try:
            loop = asyncio.get_running_loop()
            kept = await loop.run_in_executor(self._thread, self._commit, [waiting.result for waiting in group])
        except Exception as error:  # whoever waits for the trial gets it
            for waiting in group:
                waiting.fail(error)
            return
        for waiting, result in zip(group, kept, strict=True):
            waiting.succeed(result)

    def _commit(self, results: Sequence[TrialResult]) -> list[TrialResult]:
        """Write a group in one transaction; return what is kept: what others had written first, else ours."""
        rows = _rows(results)
        with self._db.write() as connection:
            return [self._write_row(connection, row) for row in rows]

    def _write_row(self, connection: Any, row: _Row) -> TrialResult:
        if not connection.execute(_ADD, row.trial).rowcount:
            found = connection.execute("SELECT result FROM trials WHERE key = ?", row.trial[:1]).fetchone()
            return _result(found["result"], self._db.path, like=row.result)
        if row.body is not None:
            connection.execute("INSERT OR REPLACE INTO conversations VALUES (?, ?)", (row.trial[0], row.body))
        return row.result


def _rows(results: Sequence[TrialResult]) -> list[_Row]:
    """Return trials as they are written; secrets are looked for in all of them at once, which is most of the work."""
    texts = [_compact(result.to_dict()) for result in results]
    texts += [_conversation_text(result) for result in results]
    texts += [json.dumps(result.state, default=str) if result.state else NO_STATE for result in results]
    clean, count = settings.scrub(BETWEEN.join(texts)).split(BETWEEN), len(results)
    bodies, states = map(_body, clean[count : 2 * count]), clean[2 * count :]
    return [
        _Row(_clean(result, text, was), (result.key, result.failed_party is None, text, state, result.talk), body)
        for result, was, text, body, state in zip(results, texts, clean, bodies, states, strict=False)
    ]


def _clean(result: TrialResult, text: str, was: str) -> TrialResult:
    """Return a trial as it is kept: a key that somebody said in it is in nobody's tables either."""
    if text == was:
        return result.light()
    return TrialResult.from_dict(json.loads(text)).with_changes(is_cached=result.is_cached)


def _conversation_text(result: TrialResult) -> str:
    return "" if result.conversation is None else kept_conversation.written(result.conversation)


def _body(text: str) -> bytes | None:
    """Return a conversation's text as it is kept: long ones compressed."""
    data = text.encode("utf-8", "surrogatepass")
    return zlib.compress(data, 1) if len(data) > SHORT_BYTES else data or None


def _result(text: str, path: Path, *, like: TrialResult | None = None) -> TrialResult:
    try:
        values: Mapping[str, Any] = json.loads(text)
        found = TrialResult.from_dict(values)
    except (ValueError, KeyError, TypeError) as error:
        raise StorageError(
            f"{path}: a trial in this journal cannot be read ({error}): it was written by another version, or is "
            "damaged; name another journal"
        ) from error
    named = {} if like is None else {"variant": like.variant, "scenario_id": like.scenario_id, "trial": like.trial}
    return found.with_changes(is_cached=True, **named)


def _is_name(text: str) -> bool:
    return 0 < len(text) <= 100 and text.replace("-", "").replace("_", "").replace(" ", "").isalnum()
