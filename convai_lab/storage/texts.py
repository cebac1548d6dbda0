"""Texts: how are names compared, and what may go into a column or a JSON document?"""

from __future__ import annotations

import json
import math
import unicodedata
from typing import Any

from convai_lab.errors import InvalidValueError


def name_key(name: str) -> str:
    """Return what names are compared by: case, surrounding blanks and the spelling of accents do not count."""
    return column_text(unicodedata.normalize("NFC", name).casefold().strip())


def column_text(text: str) -> str:
    """Return `text` as a column can hold it (half of a surrogate pair becomes a question mark)."""
    return text.encode("utf-8", "replace").decode("utf-8")


def json_text(value: Any, *, field: str = "") -> str:
    """Return `value` as JSON to store; a number that JSON cannot hold (NaN, infinity) becomes null.

    Raises:
        InvalidValueError: It holds something that JSON cannot, or is nested too deeply.
    """
    try:
        try:
            text = json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
        except ValueError:
            text = json.dumps(_finite(value), ensure_ascii=False, separators=(",", ":"), allow_nan=False)
        text.encode("utf-8")
    except UnicodeEncodeError:
        return json.dumps(_finite(value), separators=(",", ":"))
    except (TypeError, ValueError) as error:
        raise InvalidValueError(f"cannot be stored as JSON ({error})", field=field) from None
    except RecursionError:
        raise InvalidValueError("cannot be stored: it is nested too deeply or contains itself", field=field) from None
    return text


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
