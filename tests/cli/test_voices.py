"""`convai voices`: what is here, and fetching more from a server of our own."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from click.testing import CliRunner

from convai_lab import background, settings
from convai_lab.cli.voices import DOWNLOADS, File, add, fetch, find_download, list_voices
from convai_lab.errors import InvalidValueError, NotSupportedError

WEIGHTS = b"weights" * 1000


class _Publisher(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        found = self.path.endswith(".onnx")
        self.send_response(200 if found else 404)
        self.send_header("content-length", str(len(WEIGHTS) if found else 0))
        self.end_headers()
        if found:
            self.wfile.write(WEIGHTS)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture
def publisher() -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Publisher)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


def _fetch(file: File, folder: Path) -> Path:
    return background.run(fetch(file, folder, say=lambda _: None))


def test_a_file_arrives_whole_and_is_not_fetched_twice(publisher: str, tmp_path: Path) -> None:
    file = File(f"{publisher}/a.onnx", hashlib.sha256(WEIGHTS).hexdigest())
    assert _fetch(file, tmp_path).read_bytes() == WEIGHTS
    (tmp_path / "a.onnx").write_bytes(b"mine")
    assert _fetch(file, tmp_path).read_bytes() == b"mine"
    assert [path.name for path in tmp_path.iterdir()] == ["a.onnx"]


def test_a_wrong_file_is_thrown_away(publisher: str, tmp_path: Path) -> None:
    with pytest.raises(InvalidValueError, match="checksum"):
        _fetch(File(f"{publisher}/a.onnx", "0" * 64), tmp_path)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("address", ["http://127.0.0.1:9/a.onnx", "{}/missing.txt"])
def test_what_cannot_be_fetched_says_where_to_put_it_by_hand(publisher: str, tmp_path: Path, address: str) -> None:
    with pytest.raises(NotSupportedError, match="by hand"):
        _fetch(File(address.format(publisher)), tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_size_and_licence_are_said_before_anything_is_fetched() -> None:
    said = CliRunner().invoke(add, ["piper"], input="n\n")
    assert said.exit_code == 1
    assert "about 64 MB" in said.output
    assert "GPL-3.0" in said.output
    assert "Nothing was downloaded." in said.output
    assert not (settings.home() / "voices").exists()


def test_without_a_terminal_it_says_how_to_agree_beforehand() -> None:
    said = CliRunner().invoke(add, ["piper"], input="")
    assert said.exit_code == 2
    assert "give --yes to download without being asked" in said.output


def test_an_unknown_name_lists_what_there_is() -> None:
    with pytest.raises(InvalidValueError, match="piper, kokoro"):
        find_download("siri")


def test_the_list_names_voices_and_engines() -> None:
    said = CliRunner().invoke(list_voices, [], catch_exceptions=False).output
    assert "George" in said
    assert "pocketsphinx" in said
    assert all(name in said for name in DOWNLOADS)
    assert "asr: NAME and tts: NAME in the head of %%agent" in said
