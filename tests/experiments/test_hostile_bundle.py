"""A saved comparison that somebody made to do harm: it neither fills the memory nor overwrites what is there."""

from __future__ import annotations

import hashlib
import json
import zipfile
from pathlib import Path

import pytest

from convai_lab.errors import InvalidValueError
from convai_lab.experiments.archive import FORMAT, VERSION, Archive
from convai_lab.experiments.bundle import cassette_in, load, save

from .conftest import invented

TINY = b"[" + b"[]," * 7_000_000 + b"0]"
"""20 MB of text that pack into a file of 20 KB, and that would be 500 MB of lists."""


def made(path: Path, parts: dict[str, bytes]) -> Path:
    """Write an archive whose hashes fit."""
    listed = {name: {"bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()} for name, data in parts.items()}
    manifest = {"format": FORMAT, "version": VERSION, "parts": listed}
    manifest["hash"] = hashlib.sha256(json.dumps(manifest, sort_keys=True).encode()).hexdigest()
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
        for name, data in {**parts, "manifest.json": json.dumps(manifest).encode()}.items():
            file.writestr(name, data)
    return path


def test_a_part_of_endless_empty_lists_is_refused_before_it_is_parsed(tmp_path: Path) -> None:
    with pytest.raises(InvalidValueError, match=r"comparison\.json is larger than 16 MB"):
        load(made(tmp_path / "x.convai", {"comparison.json": TINY}))


def test_a_line_of_endless_empty_lists_is_refused_before_it_is_parsed(tmp_path: Path) -> None:
    archive = Archive(made(tmp_path / "x.convai", {"trials.jsonl": TINY}))
    line = archive.read("trials.jsonl")
    with pytest.raises(InvalidValueError, match=r"trials\.jsonl, line 1 is larger than 16 MB"):
        archive.parsed(line, "trials.jsonl, line 1")


def test_a_manifest_is_no_larger_than_its_parts_need(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "x.convai", "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr("manifest.json", TINY)
    with pytest.raises(InvalidValueError, match=r"manifest\.json is larger than its parts need"):
        load(tmp_path / "x.convai")


@pytest.mark.parametrize("name", ["notebook.ipynb", ".bashrc", "tape.py"])
def test_what_is_no_cassette_by_its_name_is_not_written(tmp_path: Path, name: str) -> None:
    file = made(tmp_path / "x.convai", {f"cassette/{name}": b"print('mine')"})
    with pytest.raises(InvalidValueError, match="holds a cassette named"):
        cassette_in(file, tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {"x.convai"}


def test_a_cassette_that_is_there_is_not_overwritten_by_another(tmp_path: Path) -> None:
    file = made(tmp_path / "x.convai", {"cassette/tape.jsonl": b"theirs"})
    (tmp_path / "tape.jsonl").write_text("mine")
    with pytest.raises(InvalidValueError, match="there is another file of this name"):
        cassette_in(file, tmp_path)
    assert (tmp_path / "tape.jsonl").read_text() == "mine"
    (tmp_path / "tape.jsonl").write_text("theirs")
    assert cassette_in(file, tmp_path) == tmp_path / "tape.jsonl"


@pytest.mark.parametrize(
    ("name", "kept"), [("a.jsonl", "a.jsonl"), ("a.tape", "a.tape.jsonl"), (".a.json", "a.json"), ("a", "a.jsonl")]
)
def test_a_cassette_of_any_name_travels_along(tmp_path: Path, name: str, kept: str) -> None:
    (tmp_path / name).write_text('{"convai_cassette":1,"id":"x"}\n')
    (tmp_path / "out").mkdir()
    result = invented({"a": {"s": [True]}})
    assert cassette_in(save(result, tmp_path / "x", cassette=tmp_path / name), tmp_path / "out") == (
        tmp_path / "out" / kept
    )
