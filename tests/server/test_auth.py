"""The platform's key: made once, private, and compared without telling anything."""

from __future__ import annotations

import os
import threading
from pathlib import Path

import pytest

from convai_lab.errors import StorageError
from convai_lab.server.auth import Signed, UrlSigner, key_file, load_or_make_key, same_text
from convai_lab.settings import Secret


def test_the_key_is_made_once_and_only_its_owner_can_read_it(tmp_path: Path) -> None:
    key = load_or_make_key(tmp_path)
    assert load_or_make_key(tmp_path) == key
    assert len(key.reveal()) > 40
    assert key_file(tmp_path).stat().st_mode & 0o777 == 0o600
    assert os.listdir(tmp_path) == ["api_key"]
    assert key.reveal() not in repr(key)


def test_many_processes_that_start_at_once_agree_on_one_key(tmp_path: Path) -> None:
    keys: list[str] = []
    together = threading.Barrier(16)

    def start() -> None:
        together.wait()
        keys.append(load_or_make_key(tmp_path).reveal())

    threads = [threading.Thread(target=start) for _ in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(keys) == 16
    assert len(set(keys)) == 1
    assert os.listdir(tmp_path) == ["api_key"]


def test_a_key_that_others_could_read_is_made_private_again(tmp_path: Path) -> None:
    key_file(tmp_path).write_text("lab_my_own_key\n")
    key_file(tmp_path).chmod(0o644)
    assert load_or_make_key(tmp_path).reveal() == "lab_my_own_key"
    assert key_file(tmp_path).stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize(
    "content", [b"", b"short", b"\xff\xfe\x00", "schlüssel-mit-umlaut".encode(), b"two\nlines of it"]
)
def test_a_key_file_that_holds_no_key_says_what_to_do(tmp_path: Path, content: bytes) -> None:
    key_file(tmp_path).write_bytes(content)
    with pytest.raises(StorageError, match="delete it"):
        load_or_make_key(tmp_path)


def test_a_key_that_cannot_be_kept_names_the_file(tmp_path: Path) -> None:
    key_file(tmp_path).mkdir()
    with pytest.raises(StorageError, match="api_key"):
        load_or_make_key(tmp_path)


def test_texts_are_compared_whatever_they_hold() -> None:
    assert same_text("é\ud800", "é\ud800")
    assert not same_text("a", "")


def test_a_signature_is_for_one_agent_and_one_key() -> None:
    signer = UrlSigner(Secret("lab_key_number_one"))
    signed = Signed(1_700_000_000, "conv_1", "agtvrsn_1")
    signature = signer.sign("agent_1", signed)
    assert signer.verify("agent_1", signature) == signed
    assert signer.verify("agent_2", signature) is None
    assert UrlSigner(Secret("lab_key_number_two")).verify("agent_1", signature) is None
    for number in range(len("cvtkn_"), len(signature)):
        altered = signature[:number] + chr(ord(signature[number]) ^ 1) + signature[number + 1 :]
        assert signer.verify("agent_1", altered) is None
