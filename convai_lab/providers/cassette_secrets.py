"""Cassette secrets: what must not be written into a recording, wherever it stands?

Known keys and what looks like one, as everywhere; and besides, whatever is named like a secret: headers such as
``authorization``, fields such as ``api_key``, passwords in addresses.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from convai_lab.settings import STARS, scrub

SOUND = "audio"
"""The field of an answer that holds sound in base64, which is no text."""
DEEPEST_JSON = 100

_NAMES_OF_SECRETS = (
    r"authorization|(?:x[-_]|xi[-_])?api[-_]?key|secret|passw(?:or)?d|cookie|(?:access|auth|bearer)[-_]?token"
)
_SECRET_NAME = re.compile(rf"^(?:.*[-_.])?(?:{_NAMES_OF_SECRETS}|token)$", re.IGNORECASE)
_SECRET_TEXT = re.compile(
    rf"""(?P<name>(?:\b|(?<=_))(?:{_NAMES_OF_SECRETS})\\?["']?\s*[:=]\s*\\?["']?)"""
    r"""(?P<value>(?:(?:bearer|basic|token)\s+)?[^\s"'\\,;&<>{}]{6,})""",
    re.IGNORECASE,
)
_BEARER = re.compile(r"(?P<name>\b(?:bearer|basic)\s+)(?P<value>[\w.~+/-]{12,}=*)", re.IGNORECASE)
_IN_ADDRESS = re.compile(r"(?P<name>://[^\s/:@]{0,100}:)(?P<value>[^\s/@]{1,200})(?=@)")


def without_secrets(value: Any) -> Any:
    """Return plain JSON without secrets: those known, those that look like one, those named like one."""
    together = "\n".join(_texts(value))
    # One look at all texts together; looking at each costs ten times as much, and is rarely needed.
    return _clean(value, _without_named if scrub(together) == together else clean_text)


def clean_text(text: str) -> str:
    """Return a text without secrets."""
    return _without_named(scrub(text))


def _clean(value: Any, clean: Callable[[str], str], name: str = "", depth: int = 0) -> Any:
    if isinstance(value, str):
        if name == SOUND:
            return value
        return STARS if value and _is_secret(name) else clean(value)
    if depth > DEEPEST_JSON:
        return None
    if isinstance(value, Mapping):
        return {clean(str(key)): _clean(inner, clean, str(key), depth + 1) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        inherited = name if _is_secret(name) else ""
        return [_clean(inner, clean, inherited, depth + 1) for inner in value]
    return value if isinstance(value, int | float | bool | None) else clean(str(value))


def _texts(value: Any, depth: int = 0) -> Iterator[str]:
    """Yield every text in a value, but no sound."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping) and depth <= DEEPEST_JSON:
        for key, inner in value.items():
            yield str(key)
            if key != SOUND or not isinstance(inner, str):
                yield from _texts(inner, depth + 1)
    elif isinstance(value, list | tuple) and depth <= DEEPEST_JSON:
        for inner in value:
            yield from _texts(inner, depth + 1)
    elif not isinstance(value, int | float | bool | None):
        yield str(value)


@functools.lru_cache(maxsize=1024)
def _is_secret(name: str) -> bool:
    return _SECRET_NAME.match(name) is not None


@functools.lru_cache(maxsize=4096)
def _without_named(text: str) -> str:
    for pattern in (_SECRET_TEXT, _BEARER, _IN_ADDRESS):
        text = pattern.sub(rf"\g<name>{STARS}", text)
    return text
