"""Settings: where things are stored, which keys are present, and what must never be shown.

Keys come from the environment first, then from the keyring (service ``convai-lab``). They travel as `Secret`,
which shows itself as stars, and `scrub()` removes every known key from a text before it is logged or stored.
"""

from __future__ import annotations

import functools
import json
import os
import re
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Never
from urllib.parse import quote

import platformdirs

from convai_lab.errors import InvalidValueError, MissingKeyError

HOME_VARIABLE = "CONVAI_LAB_HOME"
CASSETTE_VARIABLE = "CONVAI_LAB_CASSETTE"
KEYRING_SERVICE = "convai-lab"

KEY_VARIABLES = (
    "OPENAI_API_KEY",
    "ANTHROPIC_API_KEY",
    "GOOGLE_API_KEY",
    "GEMINI_API_KEY",
    "ELEVENLABS_API_KEY",
)
"""The environment variables that hold provider keys."""

BASE_URL_VARIABLES = (
    "OPENAI_BASE_URL",
    "ANTHROPIC_BASE_URL",
    "GOOGLE_GEMINI_BASE_URL",
    "ELEVENLABS_BASE_URL",
    "TWILIO_API_BASE_URL",
)
"""The environment variables that point a vendor somewhere else (a proxy, a test server)."""

SENT_SETTINGS = (*KEY_VARIABLES, *BASE_URL_VARIABLES, CASSETTE_VARIABLE)
"""What a notebook sends to its platform, which takes none of it from its own environment."""

STARS = "********"
SHORTEST_SECRET = 8
KEY_SHAPES = re.compile(
    r"\b(?:sk-ant-[\w-]{16,}|sk-[\w-]{16,}|sk_[A-Za-z0-9]{16,}|AIza[\w-]{20,}|xai-[\w-]{16,}|gsk_\w{16,})"
)
_KEY_STARTS = ("sk-", "sk_", "AIza", "xai-")
"""One of these is in every text that `KEY_SHAPES` finds something in; looking for them takes a tenth of the time."""

_overrides: dict[str, str] = {}
_seen: set[str] = set()
_keyring_answers: dict[str, str | None] = {}
_lock = threading.Lock()


class Secret:
    """A key or token that never shows itself; call `reveal()` at the one place that sends it."""

    __slots__ = ("_value",)

    def __init__(self, value: str) -> None:
        self._value = value
        remember_secret(value)

    def reveal(self) -> str:
        """Return the key itself."""
        return self._value

    def __repr__(self) -> str:
        return f"Secret({STARS})"

    __str__ = __repr__

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and other._value == self._value

    def __hash__(self) -> int:
        return hash(self._value)

    def __bool__(self) -> bool:
        return bool(self._value)

    def __copy__(self) -> Secret:
        return self

    def __deepcopy__(self, _: object) -> Secret:
        return self

    def __reduce__(self) -> Never:
        raise TypeError("a Secret is never pickled: pass the name of its environment variable instead")


def home() -> Path:
    """Return the folder that holds the store, its key and recordings; it is made (mode 700) when absent.

    ``CONVAI_LAB_HOME`` moves it; the default is the platform's user data folder.

    Raises:
        InvalidValueError: The folder cannot be made or is not a folder.
    """
    named = os.environ.get(HOME_VARIABLE)
    try:
        folder = Path(named).expanduser() if named else Path(platformdirs.user_data_dir("convai-lab", False))
        folder = folder.absolute()  # the platform process may have another working directory
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    except (OSError, RuntimeError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise InvalidValueError(
            f"cannot use {named or 'the user data folder'} for data ({reason}); set it to a folder you can write",
            field=HOME_VARIABLE,
        ) from None
    if not os.access(folder, os.W_OK | os.X_OK):
        raise InvalidValueError(
            f"cannot use {folder} for data (no permission to write); set it to a folder you can write",
            field=HOME_VARIABLE,
        )
    return folder


def setting(name: str) -> str | None:
    """Return a setting such as ``OPENAI_BASE_URL`` (one sent by the notebook wins over the environment)."""
    return _overrides.get(name, "").strip() or os.environ.get(name, "").strip() or None


def find_key(*variables: str) -> Secret | None:
    """Return the first key that is present under one of `variables`, or None."""
    for variable in variables:
        if value := setting(variable) or _from_keyring(variable):
            return Secret(value)
    return None


def require_key(*variables: str, needed_for: str) -> Secret:
    """Return the first key that is present.

    Raises:
        MissingKeyError: None of `variables` is set; the message names the first.
    """
    key = find_key(*variables)
    if key is None:
        raise MissingKeyError(" or ".join(variables), needed_for=needed_for)
    return key


def key_status() -> dict[str, bool]:
    """Say for every provider key whether it is present; never what it is."""
    return {variable: find_key(variable) is not None for variable in KEY_VARIABLES}


def provider_settings() -> dict[str, str]:
    """Return every key and base URL that is set, and the cassette, for the local platform's private socket."""
    found: dict[str, str] = {}
    for variable in KEY_VARIABLES:
        if key := find_key(variable):
            found[variable] = key.reveal()
    for variable in BASE_URL_VARIABLES:
        if value := setting(variable):
            found[variable] = value
    if cassette := setting(CASSETTE_VARIABLE):
        found[CASSETTE_VARIABLE] = os.path.abspath(os.path.expanduser(cassette))  # it may run in another folder
    return found


def use_provider_settings(received: Mapping[str, str]) -> None:
    """Use keys, base URLs and the cassette received from the notebook, in memory only; replaces those before.

    Raises:
        InvalidValueError: A value is not a text.
    """
    allowed = set(SENT_SETTINGS)
    for name, value in received.items():
        if name in allowed and not isinstance(value, str):
            raise InvalidValueError("must be a text", field=name)
    with _lock:
        _overrides.clear()
        _overrides.update({name: value for name, value in received.items() if name in allowed and value})
    for name in KEY_VARIABLES:
        if name in _overrides:
            remember_secret(_overrides[name].strip())


def remember_secret(value: str) -> None:
    """Make `scrub()` remove `value` from now on (shorter values than 8 characters are too common to remove)."""
    if len(value) >= SHORTEST_SECRET:
        with _lock:
            _seen.add(value)


def scrub(text: str) -> str:
    """Return `text` with every known key, as it is or inside a URL or JSON, and all that looks like one, as stars."""
    with _lock:
        known = set(_seen)
    known.update(value for name in KEY_VARIABLES if len(value := os.environ.get(name, "").strip()) >= SHORTEST_SECRET)
    for spelling in _spellings(frozenset(known)):
        text = text.replace(spelling, STARS)
    return KEY_SHAPES.sub(STARS, text) if any(start in text for start in _KEY_STARTS) else text


@functools.lru_cache(maxsize=1)
def _spellings(secrets: frozenset[str]) -> tuple[str, ...]:
    """Return how secrets may be written, the longest secret first: one may be the beginning of another."""
    ordered = sorted(secrets, key=len, reverse=True)
    return tuple(dict.fromkeys(s for v in ordered for s in (v, quote(v, safe=""), json.dumps(v)[1:-1])))


def _from_keyring(variable: str) -> str | None:
    """Ask the keyring once; a machine without one simply has no keys there."""
    if variable not in _keyring_answers:
        try:
            import keyring
            import keyring.errors
        except ImportError:
            return None
        try:
            _keyring_answers[variable] = (keyring.get_password(KEYRING_SERVICE, variable) or "").strip() or None
        except (keyring.errors.KeyringError, RuntimeError, OSError):
            _keyring_answers[variable] = None
    return _keyring_answers[variable]
