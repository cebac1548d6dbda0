"""Archive: is this file what its manifest says, and may it be read?

A zip whose ``manifest.json`` names every other part with its size and SHA-256; the manifest has a hash of its own over
all of that. It shows damage and careless edits, and which comparison it is. It is no signature: whoever changes a part
on purpose can write a new manifest. Nothing is ever unpacked to disk.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import secrets
import struct
import zipfile
import zlib
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple, Never

from convai_lab.errors import InvalidValueError

FORMAT = "convai_lab comparison"
VERSION = 1
MANIFEST = "manifest.json"
MOST_BYTES = 2 << 30
"""All parts together, unpacked; they are read one by one."""
MOST_BYTES_AT_ONCE = 256 << 20
"""One part, unpacked."""
MOST_JSON_BYTES = 16 << 20
"""One value of JSON: empty lists take twenty times the memory that they take in a file, and pack a thousandfold."""
MOST_LISTING_BYTES = 500
"""What the manifest says of one part."""
MOST_ABOUT_BYTES = 64 << 10
MOST_PARTS = 1_000_100
BLOCK = 1 << 20
_EPOCH = (1980, 1, 1, 0, 0, 0)
_METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
_BROKEN = (
    *(zipfile.BadZipFile, zlib.error, struct.error, EOFError, OSError),
    *(NotImplementedError, RuntimeError, ValueError, LookupError, OverflowError),
)


class Part(NamedTuple):
    """One file of the archive."""

    name: str
    data: bytes


def write_archive(path: Path, parts: Iterable[Part], about: Mapping[str, Any]) -> str:
    """Write parts and their manifest, all or nothing; return the hash of the whole.

    The same parts give the same bytes.

    Raises:
        InvalidValueError: It cannot be written there, or would be too large to be read again.
    """
    unfinished = path.with_name(f".{path.name}.{secrets.token_hex(4)}.tmp")
    try:
        with zipfile.ZipFile(unfinished, "x", zipfile.ZIP_DEFLATED, compresslevel=4) as file:
            manifest = _write_parts(file, parts, about, path)
            _write(file, Part(MANIFEST, json.dumps(manifest, indent=1).encode()))
        with unfinished.open("rb") as written:
            os.fsync(written.fileno())
        unfinished.replace(path)
    except OSError as error:
        raise InvalidValueError(f"cannot write {path}: {error.strerror or error}", field="path") from None
    finally:
        with contextlib.suppress(OSError):
            unfinished.unlink(missing_ok=True)
    return str(manifest["hash"])


def _write_parts(file: zipfile.ZipFile, parts: Iterable[Part], about: Mapping[str, Any], path: Path) -> dict[str, Any]:
    listed, total = {}, 0
    for part in parts:
        total += len(part.data)
        most = MOST_JSON_BYTES if part.name.endswith(".json") else MOST_BYTES_AT_ONCE
        if total > MOST_BYTES or len(part.data) > most:
            raise InvalidValueError(
                f"{part.name} makes it larger than can be reopened: save fewer trials, or conversations=False",
                field=path.name,
            )
        listed[part.name] = {"bytes": len(part.data), "sha256": hashlib.sha256(part.data).hexdigest()}
        _write(file, part)
    manifest = {"format": FORMAT, "version": VERSION, **about, "parts": listed}
    return {**manifest, "hash": _hash(manifest)}


def _write(file: zipfile.ZipFile, part: Part) -> None:
    entry = zipfile.ZipInfo(part.name, _EPOCH)
    entry.compress_type, entry.external_attr = zipfile.ZIP_DEFLATED, 0o600 << 16
    file.writestr(entry, part.data)


def _hash(manifest: Mapping[str, Any]) -> str:
    told = {name: value for name, value in manifest.items() if name != "hash"}
    return hashlib.sha256(json.dumps(told, sort_keys=True).encode()).hexdigest()


class Archive:
    """A file that was checked as a whole; it stays open, and parts are checked again when they are read.

    Raises:
        InvalidValueError: It is something else, was cut off or changed, or is too large; one sentence says which.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._parts: dict[str, Any] = {}
        with self._guarded():
            self._file = zipfile.ZipFile(path)
        try:
            with self._guarded():
                self._check_all()
        except BaseException:
            self._file.close()
            raise

    def _check_all(self) -> None:
        entries = self._entries()
        self.manifest = self._manifest(entries)
        self._parts = self.manifest["parts"]
        self._check_entries(entries)
        for name in self._parts:
            self._check(name)

    def __contains__(self, name: str) -> bool:
        return name in self._parts

    @property
    def names(self) -> list[str]:
        """The names of all parts."""
        return list(self._parts)

    def read(self, name: str) -> bytes:
        """Return one part.

        Raises:
            InvalidValueError: It is not there, or the file was changed since it was opened.
        """
        if name not in self._parts:
            self.refuse(f"it has no {name}")
        with self._guarded():
            data = self._read(name)
        if hashlib.sha256(data).hexdigest() != self._parts[name]["sha256"]:
            self.refuse(f"{name} was changed since it was opened")
        return data

    def json(self, name: str) -> Any:
        """Return one part that is JSON."""
        return self.parsed(self.read(name), name)

    def parsed(self, data: bytes, where: str) -> Any:
        """Return JSON, or refuse the file; NaN and infinity are none."""
        if len(data) > MOST_JSON_BYTES and where != MANIFEST:
            self.refuse(f"{where} is larger than {MOST_JSON_BYTES >> 20} MB, which no comparison's is")
        try:
            return json.loads(data, parse_constant=_no_constant)
        except (ValueError, RecursionError):
            self.refuse(f"{where} is no JSON")

    def refuse(self, why: str) -> Never:
        """Raise an error that names the file."""
        raise InvalidValueError(f"{why}; get the file again from where it was saved", field=self.path.name[:80])

    @contextlib.contextmanager
    def _guarded(self) -> Iterator[None]:
        """Turn whatever a damaged file brings about into one sentence."""
        try:
            yield
        except FileNotFoundError:
            raise InvalidValueError("there is no such file", field=str(self.path)) from None
        except IsADirectoryError:
            raise InvalidValueError("is a folder: name the .convai file in it", field=str(self.path)) from None
        except (PermissionError, NotADirectoryError) as error:
            raise InvalidValueError(f"cannot be read: {error.strerror}", field=str(self.path)) from None
        except InvalidValueError:
            raise
        except _BROKEN as error:
            self.refuse(f"this is no saved comparison, or it was cut off ({_told(error)})")

    def _entries(self) -> dict[str, zipfile.ZipInfo]:
        listed = self._file.infolist()
        if len(listed) > MOST_PARTS:
            self.refuse(f"it holds {len(listed):,} parts, which no comparison has")
        entries: dict[str, zipfile.ZipInfo] = {}
        for entry in listed:
            name = entry.filename
            if name != name.strip("/") or "\\" in name or ".." in name.split("/") or ":" in name or name in entries:
                self.refuse(f"it holds a part named {name[:80]!r}, which no comparison has")
            entries[name] = entry
        if sum(entry.file_size for entry in listed) > MOST_BYTES:
            self.refuse(f"it unpacks to more than {MOST_BYTES >> 30} GB, which no comparison does")
        return entries

    def _manifest(self, entries: Mapping[str, zipfile.ZipInfo]) -> dict[str, Any]:
        if MANIFEST not in entries:
            self.refuse(f"this is no saved comparison: it has no {MANIFEST}")
        if entries[MANIFEST].file_size > MOST_ABOUT_BYTES + MOST_LISTING_BYTES * len(entries):
            self.refuse(f"its {MANIFEST} is larger than its parts need")
        manifest = self.parsed(self._read(MANIFEST), MANIFEST)
        if not isinstance(manifest, dict) or manifest.get("format") != FORMAT:
            self.refuse(f"this is no saved comparison: its {MANIFEST} says something else")
        version = manifest.get("version")
        if not isinstance(version, int) or isinstance(version, bool) or version < 1:
            self.refuse(f"its format has the version {str(version)[:20]!r}, which never was one")
        if version > VERSION:
            raise InvalidValueError(
                f"was saved by a newer convai_lab (format {version}, this one reads {VERSION}): "
                "pip install --upgrade convai-lab",
                field=self.path.name,
            )
        parts = manifest.get("parts")
        if not isinstance(parts, dict) or not all(_is_listing(one) for one in parts.values()):
            self.refuse(f"its {MANIFEST} does not list its parts")
        if manifest.get("hash") != _hash(manifest):
            self.refuse(f"its {MANIFEST} was changed after it was saved")
        return manifest

    def _check_entries(self, entries: Mapping[str, zipfile.ZipInfo]) -> None:
        if lacking := next((name for name in self._parts if name not in entries), None):
            self.refuse(f"{lacking[:80]} is missing")
        if extra := next((name for name in entries if name not in self._parts and name != MANIFEST), None):
            self.refuse(f"it holds {extra[:80]!r}, which its manifest does not name")
        for name, listing in self._parts.items():
            if entries[name].file_size != listing["bytes"]:
                self.refuse(f"{name[:80]} was changed after it was saved: it has another size")

    def _check(self, name: str) -> None:
        digest = hashlib.sha256()
        with self._file.open(self._readable(name)) as part:
            while block := part.read(BLOCK):
                digest.update(block)
        if digest.hexdigest() != self._parts[name]["sha256"]:
            self.refuse(f"{name[:80]} was changed after it was saved: its hash is another")

    def _read(self, name: str) -> bytes:
        with self._file.open(self._readable(name)) as part:
            return part.read(MOST_BYTES_AT_ONCE)

    def _readable(self, name: str) -> zipfile.ZipInfo:
        entry = self._file.getinfo(name)
        if entry.file_size > MOST_BYTES_AT_ONCE:
            self.refuse(f"{name[:80]} unpacks to more than {MOST_BYTES_AT_ONCE >> 20} MB")
        if entry.flag_bits & 1 or entry.compress_type not in _METHODS:
            self.refuse(f"{name[:80]} is packed in a way that no comparison is")
        return entry


def _is_listing(value: Any) -> bool:
    return isinstance(value, dict) and isinstance(value.get("bytes"), int) and isinstance(value.get("sha256"), str)


def _no_constant(name: str) -> Never:
    raise ValueError(name)


def _told(error: BaseException) -> str:
    return str(getattr(error, "strerror", None) or error)[:120]
