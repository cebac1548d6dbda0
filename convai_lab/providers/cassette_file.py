"""Cassette file: how do recordings lie on disk, and what of a file can be believed?

A cassette is text, one JSON object a line, and only ever grows; a run that is killed loses at most the line that was
being written, which is left out with a note when the file is read. The lines, after the head::

    {"convai_cassette": 1, "id": "5f0c..."}                     the head: version and name of this cassette
    {"part": "9a41...", "value": {"role": "user", ...}}         a message, a tool or a sound, kept once, used often
    {"kind": "llm", "request": {...}, "answer": {...}}          one call: what was asked, and what came when

A request names its messages and tools, and an answer its sound, by the names of parts. ``scope`` says in which
conversation a call was made, ``take`` counts how often the cassette was refreshed: of one request, the recordings of
the last take count. ``attempt`` counts how often recording was begun: a conversation that was recorded again, because
it had been interrupted or had failed, is replayed as it went the last time. Times are seconds since the call began.
Sound is 16-bit PCM in base64, named after its content.

Secrets are removed before anything is written: known keys, what looks like one, and the values of names such as
``authorization`` and ``api_key``, wherever they stand.
"""

from __future__ import annotations

import contextlib
import gzip
import hashlib
import json
import os
import threading
import uuid
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any, Literal

from convai_lab.errors import InvalidValueError, StorageError
from convai_lab.providers.cassette_secrets import SOUND, without_secrets

FORMAT = 1
LONGEST_LINE_BYTES = 64 << 20
LARGEST_FILE_BYTES = 2 << 30
MOST_NOTES = 20

Kind = Literal["llm", "asr", "tts", "tool", "engine"]
KINDS: tuple[Kind, ...] = ("llm", "asr", "tts", "tool", "engine")
LISTED_PARTS = ("messages", "tools")
"""The fields of a request whose elements are parts; so is the sound of an answer."""


@dataclass(slots=True, eq=False)
class Recording:
    """One call to the world outside: what was asked, what came when, and where it stands in the file."""

    kind: Kind
    request: dict[str, Any]
    answer: dict[str, Any]
    scope: str = ""
    take: int = 1
    line: int = 0
    attempt: int = 1


@dataclass
class Contents:
    """What a file holds; `notes` say what of it could not be read."""

    id: str
    recordings: list[Recording] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    @property
    def take(self) -> int:
        """The last take that was recorded."""
        return max((recording.take for recording in self.recordings), default=1)

    @property
    def attempt(self) -> int:
        """The last attempt that was recorded; 0 when nothing was."""
        return max((recording.attempt for recording in self.recordings), default=0)


class CassetteFile:
    """A cassette on disk. Any number of threads and processes may add to it at the same time."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock = threading.Lock()
        self._kept: set[str] = set()
        self._id = ""

    @property
    def is_compressed(self) -> bool:
        """Say whether it is a gzip file, which can be read only."""
        return self.path.suffix == ".gz"

    def read(self) -> Contents:
        """Return all that the file holds.

        Raises:
            InvalidValueError: It is no cassette, of another version, was edited into nonsense, or is far too large.
            StorageError: It is not there, or cannot be read.
        """
        try:
            with self._opened() as file:
                return _Reader(self.path).read(file)
        except FileNotFoundError:
            raise StorageError(f"there is no cassette {self.path}; record one first ({self.path}:record)") from None
        except OSError as error:
            raise StorageError(f"the cassette {self.path} cannot be read ({error.strerror or error})") from None

    def start(self) -> str:
        """Make the file if it is not there, and return the cassette's id.

        Raises:
            StorageError: It cannot be written.
            InvalidValueError: It is something else, or compressed.
        """
        if self.is_compressed:
            raise InvalidValueError(
                f"{self.path} is compressed, which can only be replayed: record into "
                f"{self.path.with_suffix('').name}, then compress that with gzip",
                field="cassette",
            )
        with self._lock:
            if not self._id:
                self._id = self._written([])
            return self._id

    def add(self, recording: Recording) -> None:
        """Append one recording, without its secrets.

        Raises:
            StorageError: It cannot be written.
        """
        clean = without_secrets(recording.request), without_secrets(recording.answer)
        with self._lock:
            if not self.path.exists():  # somebody removed it: nothing of it is kept any more
                self._kept.clear()
                self._id = ""
            parts: dict[str, Any] = {}
            request, answer = _taken_apart(*clean, parts)
            lines = [{"part": name, "value": value} for name, value in parts.items() if name not in self._kept]
            call = {"kind": recording.kind, "request": request, "answer": answer, "scope": recording.scope}
            again = {"attempt": recording.attempt} if recording.attempt > 1 else {}
            self._id = self._written([*lines, {**call, "take": recording.take, **again}])
            self._kept.update(parts)

    def _written(self, lines: list[dict[str, Any]]) -> str:
        """Append lines in one write, behind a head if there is none; return the id in the head."""
        data = b"".join(_line(line) for line in lines)
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with self.path.open("a+b") as file, _locked(file):
                head, own_id = self._head(file)
                if head or data:
                    file.write(head + data)
                    file.flush()
                return own_id
        except OSError as error:
            raise StorageError(f"the cassette {self.path} cannot be written ({error.strerror or error})") from None

    def _head(self, file: IO[bytes]) -> tuple[bytes, str]:
        """Return what must be written before anything else, and the id; a torn line before it gets its end."""
        size = file.seek(0, os.SEEK_END)
        if not size:
            self._kept.clear()
            own_id = uuid.uuid4().hex
            return _line({"convai_cassette": FORMAT, "id": own_id}), own_id
        file.seek(size - 1)
        end = b"" if file.read(1) == b"\n" else b"\n"
        if self._id:
            return end, self._id
        file.seek(0)
        own_id = read_head(file.readline(4096), self.path)
        file.seek(0, os.SEEK_END)
        return end, own_id

    @contextlib.contextmanager
    def _opened(self) -> Iterator[IO[bytes]]:
        if not self.is_compressed:
            with self.path.open("rb") as file:
                yield file
            return
        with gzip.open(self.path, "rb") as file:
            yield file  # type: ignore[misc] # it reads bytes, and its stub says so elsewhere


class _Reader:
    """Reads one file, line by line; what was torn is left out, what is wrong is an error with its line."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._parts: dict[str, Any] = {}
        self._cut_at = 0

    def read(self, file: IO[bytes]) -> Contents:
        lines = self._lines(file)
        contents = Contents(read_head(next(lines, b""), self._path))
        for number, line in enumerate(lines, 2):
            if not line.strip():
                continue
            if (read := self._object(line, number)) is None:
                self._note(contents, f"line {number} is torn and was left out: whoever wrote it was ended meanwhile")
            elif "part" in read:
                self._take_part(read, number)
            else:
                contents.recordings.append(self._recording(read, number))
        if self._cut_at:
            self._note(contents, f"the compressed file is cut short; line {self._cut_at} and all after it are missing")
        return contents

    def _lines(self, file: IO[bytes]) -> Iterator[bytes]:
        total, number = 0, 0
        while True:
            number += 1
            try:
                line = file.readline(LONGEST_LINE_BYTES + 1)
            except (EOFError, zlib.error, gzip.BadGzipFile) as error:
                if number == 1:
                    raise self._wrong(f"is no gzip file ({error})") from None
                self._cut_at = number  # what came before is whole
                return
            if not line:
                return
            total += len(line)
            if len(line) > LONGEST_LINE_BYTES:
                raise self._wrong(f"line {number} is longer than {LONGEST_LINE_BYTES >> 20} MiB")
            if total > LARGEST_FILE_BYTES:
                raise self._wrong(f"holds more than {LARGEST_FILE_BYTES >> 30} GiB; record into several cassettes")
            yield line

    def _object(self, line: bytes, number: int) -> dict[str, Any] | None:
        """Return the object of a line; None for one that stops in the middle."""
        try:
            read = json.loads(line)
        except UnicodeDecodeError as error:
            if error.end >= len(line.rstrip(b"\n")):
                return None
            raise self._wrong(f"line {number} is not text; was it edited?") from None
        except RecursionError:
            raise self._wrong(f"line {number} is nested too deeply") from None
        except json.JSONDecodeError as error:
            if error.pos >= len(error.doc.rstrip()) or error.msg.startswith(("Unterminated", "Invalid \\")):
                return None
            if line.lstrip().startswith(b"{") and not line.endswith(b"\n"):
                return None
            raise self._wrong(
                f"line {number} is not JSON ({error.msg}, column {error.colno}); was it edited?"
            ) from None
        if not isinstance(read, dict):
            raise self._wrong(f"line {number} is not a JSON object")
        return read

    def _take_part(self, read: Mapping[str, Any], number: int) -> None:
        name, value = read["part"], read.get("value")
        if not isinstance(name, str) or not isinstance(value, dict | str):
            raise self._wrong(f"line {number}: a part needs a name and a value")
        if self._parts.setdefault(name, value) != value:
            raise self._wrong(f"line {number}: the part {name[:40]} is there twice with different content")

    def _recording(self, read: Mapping[str, Any], number: int) -> Recording:
        kind, scope, take, attempt = (
            read.get("kind"),
            read.get("scope", ""),
            read.get("take", 1),
            read.get("attempt", 1),
        )
        request, answer = read.get("request"), read.get("answer")
        if kind not in KINDS:
            raise self._wrong(f"line {number}: kind must be one of {', '.join(KINDS)}, got {str(kind)[:40]!r}")
        if not isinstance(request, dict) or not isinstance(answer, dict):
            raise self._wrong(f"line {number}: request and answer must be objects")
        if not isinstance(scope, str) or isinstance(take, bool) or not isinstance(take, int) or take < 1:
            raise self._wrong(f"line {number}: scope must be a text and take a number from 1")
        if isinstance(attempt, bool) or not isinstance(attempt, int) or attempt < 1:
            raise self._wrong(f"line {number}: attempt must be a number from 1")
        for name in LISTED_PARTS:
            if name in request:
                request[name] = self._parts_of(request[name], f"line {number}: request.{name}")
        if SOUND in answer:
            answer[SOUND] = self._parts_of([answer[SOUND]], f"line {number}: answer.{SOUND}")[0]
        return Recording(kind, request, answer, scope, take, number, attempt)

    def _parts_of(self, names: Any, where: str) -> list[Any]:
        if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
            raise self._wrong(f"{where} must name parts")
        missing = next((name for name in names if name not in self._parts), None)
        if missing is not None:
            raise self._wrong(f"{where} names the part {missing[:40]}, which no line before it holds")
        return [self._parts[name] for name in names]

    def _note(self, contents: Contents, note: str) -> None:
        if len(contents.notes) < MOST_NOTES:
            contents.notes.append(note)

    def _wrong(self, what: str) -> InvalidValueError:
        return InvalidValueError(f"{self._path}: {what}", field="cassette")


def read_head(line: bytes, path: Path) -> str:
    """Return the id in the first line of a cassette.

    Raises:
        InvalidValueError: The file is no cassette, or of another version.
    """
    try:
        head = json.loads(line)
        version, own_id = head["convai_cassette"], head["id"]
    except (ValueError, TypeError, KeyError, RecursionError):
        raise InvalidValueError(f"{path} is not a cassette: its first line is no head", field="cassette") from None
    if version != FORMAT:
        raise InvalidValueError(
            f"{path} is a cassette of version {str(version)[:20]}, and this is made for version {FORMAT}: record it "
            "anew, or install the convai_lab that wrote it",
            field="cassette",
        )
    if not isinstance(own_id, str) or not own_id:
        raise InvalidValueError(f"{path} is not a cassette: its head has no id", field="cassette")
    return own_id[:64]


def name_of(value: Any) -> str:
    """Return the name of a part or a request: a hash of its content."""
    text = json.dumps(value, sort_keys=True, ensure_ascii=False, separators=(",", ":"))
    return hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=12).hexdigest()


def _taken_apart(request: Any, answer: Any, parts: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return request and answer with the names of their parts, which are put into `parts`."""
    request, answer = dict(request), dict(answer)
    for field_name in LISTED_PARTS:
        if field_name in request:
            names = [name_of(value) for value in request[field_name]]
            parts.update(zip(names, request[field_name], strict=True))
            request[field_name] = names
    if SOUND in answer:
        name = name_of(answer[SOUND])
        parts[name] = answer[SOUND]
        answer[SOUND] = name
    return request, answer


def _line(value: Mapping[str, Any]) -> bytes:
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    return text.encode("utf-8", "backslashreplace") + b"\n"


@contextlib.contextmanager
def _locked(file: IO[bytes]) -> Iterator[None]:
    """Keep other processes from writing meanwhile, where the system can."""
    try:
        import fcntl
    except ImportError:  # Windows: one write at the end of a file comes through whole all the same
        yield
        return
    fcntl.flock(file, fcntl.LOCK_EX)
    try:
        yield
    finally:
        fcntl.flock(file, fcntl.LOCK_UN)
