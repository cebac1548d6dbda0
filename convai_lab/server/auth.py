"""Auth: which key opens this platform, where is it kept, and which conversation URLs did we sign?"""

from __future__ import annotations

import contextlib
import hashlib
import hmac
import os
import secrets
from pathlib import Path
from typing import NamedTuple

from convai_lab.errors import StorageError
from convai_lab.settings import Secret

KEY_FILE = "api_key"
KEY_PREFIX = "lab_"
MIN_KEY_CHARS = 8
SIGNED_URL_SECS = 15 * 60
SIGNATURE_PREFIX = "cvtkn_"


def key_file(home: Path) -> Path:
    """Return the file that holds the platform's API key."""
    return home / KEY_FILE


def load_or_make_key(home: Path) -> Secret:
    """Return the API key of a data folder; the first caller makes it (mode 600), however many start at once.

    Raises:
        StorageError: The file cannot be read or written.
    """
    path = key_file(home)
    try:
        if key := _read_key(path):
            return key
        _make_key(path)
        if key := _read_key(path):
            return key
    except OSError as error:
        raise StorageError(f"cannot keep the platform's key in {path} ({error.strerror})") from None
    raise StorageError(f"{path} holds no key that can be used: delete it, and a new one is made")


def same_text(given: str, expected: str) -> bool:
    """Compare two texts in a time that does not tell how much of them agrees."""
    return hmac.compare_digest(given.encode("utf-8", "surrogatepass"), expected.encode("utf-8", "surrogatepass"))


class Signed(NamedTuple):
    """What a conversation signature allows: until when, and, if fixed, which conversation and agent version."""

    expires_at: int
    conversation_id: str = ""
    version_id: str = ""


class UrlSigner:
    """Signs conversation URLs with a key derived from the API key, so that all processes of a folder agree."""

    def __init__(self, api_key: Secret) -> None:
        self._key = hmac.digest(api_key.reveal().encode(), b"convai-lab conversation url", "sha256")

    def sign(self, agent_id: str, signed: Signed) -> str:
        """Return the signature to put into a conversation URL."""
        body = f"{signed.expires_at}.{signed.conversation_id}.{signed.version_id}"
        return f"{SIGNATURE_PREFIX}{body}.{self._mac(agent_id, body)}"

    def verify(self, agent_id: str, signature: str) -> Signed | None:
        """Return what `signature` allows for this agent, or None when we did not make it; the caller checks expiry."""
        body, _, mac = signature.removeprefix(SIGNATURE_PREFIX).rpartition(".")
        if not same_text(mac, self._mac(agent_id, body)):
            return None
        expires_at, conversation_id, version_id = body.split(".")
        return Signed(int(expires_at), conversation_id, version_id)

    def _mac(self, agent_id: str, body: str) -> str:
        text = f"{len(agent_id)}:{agent_id}:{body}".encode("utf-8", "surrogatepass")
        return hmac.new(self._key, text, hashlib.sha256).hexdigest()


def _read_key(path: Path) -> Secret | None:
    try:
        text = path.read_text(encoding="utf-8", errors="replace").strip()
    except FileNotFoundError:
        return None
    if path.stat().st_mode & 0o077:
        path.chmod(0o600)
    return Secret(text) if len(text) >= MIN_KEY_CHARS and text.isascii() and text.isprintable() else None


def _make_key(path: Path) -> None:
    """Write a new key beside `path` and link it into place: nobody ever sees half a key, and the first one stays."""
    draft = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    with open(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as file:
        file.write(KEY_PREFIX + secrets.token_hex(24) + "\n")
        file.flush()
        os.fsync(file.fileno())
    try:
        with contextlib.suppress(FileExistsError):  # another process was first; its key is the one
            os.link(draft, path)
    finally:
        draft.unlink()
