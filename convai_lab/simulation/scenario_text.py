"""Scenario text: what do the YAML, JSON, JSONL and CSV files of scenarios say?

YAML is read so that nothing a caller says changes on the way: ``yes`` stays a word, ``007`` and ``19:30`` and
``2026-05-12`` stay texts. A key that stands twice is an error in every format, never a silent choice.
"""

from __future__ import annotations

import csv
import functools
import io
import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from convai_lab.errors import InvalidValueError

MAX_BYTES = 50_000_000
MAX_YAML_BYTES = 10_000_000
"""YAML is slow to read: larger files are JSONL."""
STRUCTURED = (
    "facts", "checks", "variables", "mocks", "expected_tool_calls", "seeds", "history", "lines", "state", "acoustics",
)  # fmt: skip
"""Columns of a CSV file whose cells are JSON or YAML, such as ``[{said: tomorrow}]``."""


def read_rows(file: Path) -> Any:
    """Return what a file says: a list of rows, or a mapping with ``agent`` and ``scenarios``.

    Raises:
        InvalidValueError: It cannot be read; one sentence says where and what to do.
    """
    reader = _READERS.get(file.suffix.lower())
    if file.is_dir():
        raise InvalidValueError("is a folder: name a file in it", field=str(file))
    if reader is None:
        raise InvalidValueError(f"is none of {', '.join(_READERS)}, .parquet: save it as one of them", field=file.name)
    return reader(_text_of(file), file.name)


def read_yaml(text: str, name: str) -> Any:
    """Return what a YAML text says.

    Raises:
        InvalidValueError: It is no YAML, or a key stands in it twice.
    """
    import yaml

    try:
        return yaml.load(text, Loader=_loader())  # noqa: S506 - a safe loader with fewer conversions
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f" in line {mark.line + 1}" if mark else ""
        line = text.splitlines()[mark.line : mark.line + 1] if mark else []
        hint = " (a value that starts with {{ needs quotes)" if "{{" in text else ""
        hint = " (indent with spaces: YAML takes no tabs)" if line and line[0].lstrip(" ").startswith("\t") else hint
        told = getattr(error, "problem", None) or str(error).splitlines()[0]
        raise InvalidValueError(f"cannot be read as YAML{where}: {told}{hint}", field=name) from None
    except RecursionError:
        raise InvalidValueError("is nested too deeply: write it flat", field=name) from None


def _text_of(file: Path) -> str:
    limit = MAX_YAML_BYTES if file.suffix.lower() in (".yaml", ".yml") else MAX_BYTES
    try:
        if (size := file.stat().st_size) > limit:
            fix = "save it as .jsonl, or split it" if limit == MAX_YAML_BYTES else "split it"
            raise InvalidValueError(f"is {size:,} bytes long; at most {limit:,} are read: {fix}", field=file.name)
        return file.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        raise InvalidValueError(f"there is no such file (looked for {file.resolve()})", field=str(file)) from None
    except UnicodeDecodeError as error:
        raise InvalidValueError(f"is not UTF-8 (byte {error.start}): save it as UTF-8", field=file.name) from None
    except OSError as error:
        raise InvalidValueError(f"cannot be read: {error.strerror or error}", field=file.name) from None


def _read_json(text: str, name: str) -> Any:
    try:
        return json.loads(text, object_pairs_hook=_unique, parse_constant=_no_constant)
    except RecursionError:
        raise InvalidValueError("is nested too deeply: write it flat", field=name) from None
    except json.JSONDecodeError as error:
        told = f"cannot be read as JSON in line {error.lineno}, column {error.colno}: {error.msg}"
        raise InvalidValueError(told, field=name) from None
    except ValueError as error:
        raise InvalidValueError(f"cannot be read as JSON: {error}", field=name) from None


def _read_jsonl(text: str, name: str) -> list[Any]:
    rows = []
    for number, line in enumerate(text.splitlines(), 1):
        if line.strip():
            rows.append(_read_json(line, f"{name}, line {number}"))
    return rows


def _read_csv(text: str, name: str) -> list[dict[str, Any]]:
    reader = csv.reader(io.StringIO(text, newline=""), strict=True, delimiter=_delimiter(text))
    try:
        head = [column.strip() for column in next(reader, [])]
        if repeated := [column for column in head if head.count(column) > 1]:
            raise InvalidValueError(f"has the column {repeated[0]!r} twice: rename one", field=name)
        return [_csv_row(head, cells, f"{name}, row {n}") for n, cells in enumerate(reader, 1) if any(cells)]
    except csv.Error as error:
        raise InvalidValueError(f"cannot be read as CSV in line {reader.line_num}: {error}", field=name) from None


def _delimiter(text: str) -> str:
    """Return what separates columns: a comma, or what spreadsheets write where a comma is for decimals."""
    head = text.partition("\n")[0]
    return "," if "," in head else next((sign for sign in ";\t" if sign in head), ",")


def _csv_row(head: list[str], cells: list[str], where: str) -> dict[str, Any]:
    if len(cells) > len(head):
        raise InvalidValueError(
            f"has {len(cells)} cells for {len(head)} columns: put a cell that holds what separates them in quotes",
            field=where,
        )
    return {name: _cell(name, text, where) for name, text in zip(head, cells, strict=False) if text.strip()}


def _cell(name: str, text: str, where: str) -> Any:
    if name in STRUCTURED:
        return read_yaml(text, f"{where}, column {name}")
    if name == "max_turns" and text.strip().isdecimal():
        return int(text)
    return text


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    made = dict(pairs)
    if len(made) < len(pairs):
        seen: set[str] = set()
        twice = next(key for key, _ in pairs if key in seen or seen.add(key))  # type: ignore[func-returns-value]
        raise ValueError(f"the key {twice!r} stands twice in one object: remove one")
    return made


def _no_constant(text: str) -> Any:
    raise ValueError(f"{text} is no JSON: write a number or null")


@functools.cache
def _loader() -> type[Any]:
    """Return a loader that knows only null, true, false and plain numbers, and refuses a key that stands twice."""
    import yaml

    base: type[Any] = getattr(yaml, "CSafeLoader", yaml.SafeLoader)

    class Loader(base):  # type: ignore[misc] # chosen at run time
        yaml_implicit_resolvers: dict[str, Any] = {}  # noqa: RUF012 - the library's own way

        def construct_mapping(self, node: Any, deep: bool = False) -> Any:
            seen: set[str] = set()
            for name, mark in ((key.value, key.start_mark) for key, _ in node.value if isinstance(key.value, str)):
                if name in seen:
                    told = f"the key {name!r} stands twice in one mapping: remove one"
                    raise yaml.constructor.ConstructorError(problem=told, problem_mark=mark)
                seen.add(name)
            return super().construct_mapping(node, deep=deep)

    for tag, expression, first in _plain_scalars():
        Loader.add_implicit_resolver(f"tag:yaml.org,2002:{tag}", re.compile(expression), first)
    return Loader


def _plain_scalars() -> Iterator[tuple[str, str, list[str]]]:
    yield "null", r"^(?:~|null|Null|NULL|)$", ["~", "n", "N", ""]
    yield "bool", r"^(?:true|True|TRUE|false|False|FALSE)$", list("tTfF")
    yield "int", r"^[-+]?(?:0|[1-9][0-9]{0,17})$", list("-+0123456789")
    yield "float", r"^[-+]?(?:0|[1-9][0-9]*)\.[0-9]+(?:[eE][-+]?[0-9]+)?$", list("-+0123456789")
    yield "merge", r"^<<$", ["<"]


_READERS: dict[str, Callable[[str, str], Any]] = {
    ".yaml": read_yaml,
    ".yml": read_yaml,
    ".json": _read_json,
    ".jsonl": _read_jsonl,
    ".csv": _read_csv,
}
