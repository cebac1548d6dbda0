"""Outside text: what do we do to text from users, tools and webhooks before we keep it?

Such text is data. It is never filled with variables and never parsed as instructions; it is only made well formed
and kept to a size that a model and a transcript can carry.
"""

from __future__ import annotations

import json
import re
from typing import Any

MAX_RESULT_CHARS = 20_000
"""A tool's result longer than this is cut, and says so."""

MAX_ERROR_CHARS = 500
MAX_USER_CHARS = 200_000

_UNSTORABLE = re.compile("[\x00\ud800-\udfff]")


def well_formed(text: str) -> str:
    """Return `text` with what cannot be stored or sent (lone surrogates, NUL) replaced."""
    return _UNSTORABLE.sub("\ufffd", text)


def cut(text: str, limit: int) -> str:
    """Return `text` if it fits into `limit` characters, else its beginning and a note of how long it was."""
    if len(text) <= limit:
        return text
    return f"{text[:limit]} … [cut here: the first {limit:,} of {len(text):,} characters]"


def as_text(value: Any) -> str:
    """Return a result as text: a string as it is, anything else as JSON."""
    if isinstance(value, str):
        return well_formed(value)
    try:
        return well_formed(json.dumps(value, ensure_ascii=False, default=str))
    except (TypeError, ValueError, RecursionError):
        return well_formed(str(value))
