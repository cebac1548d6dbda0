"""Pages: where does the next page of a list begin, whatever was added or deleted meanwhile?"""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Callable, Sequence
from typing import Any, Generic, NamedTuple, TypeVar

from convai_lab.errors import InvalidValueError
from convai_lab.storage.texts import column_text

T = TypeVar("T")

MAX_PAGE_SIZE = 1_000
MAX_CURSOR_CHARS = 4_096


class Page(NamedTuple, Generic[T]):
    """One page of a list; pass `next_cursor` to get the next one. `next_cursor` is None on the last page."""

    items: tuple[T, ...]
    next_cursor: str | None = None
    has_more: bool = False


def checked_page_size(page_size: int) -> int:
    """Return `page_size`.

    Raises:
        InvalidValueError: It is no whole number from 1 to 1000.
    """
    if isinstance(page_size, bool) or not isinstance(page_size, int) or not 1 <= page_size <= MAX_PAGE_SIZE:
        raise InvalidValueError(
            f"must be a whole number from 1 to {MAX_PAGE_SIZE}, got {page_size!r}"[:200], field="page_size"
        )
    return page_size


def page_of(rows: Sequence[T], page_size: int, *, order: str, key: Callable[[T], Sequence[Any]]) -> Page[T]:
    """Make a page of `rows`, of which one more than `page_size` was asked for; `key` is what they are sorted by."""
    if len(rows) <= page_size:
        return Page(tuple(rows))
    shown = tuple(rows[:page_size])
    return Page(shown, cursor_after(order, key(shown[-1])), True)


def cursor_after(order: str, key: Sequence[Any]) -> str:
    """Return the opaque cursor that goes on after the row with this sort `key`, in the list sorted by `order`."""
    packed = json.dumps([order, *key], separators=(",", ":")).encode()
    return base64.urlsafe_b64encode(packed).decode().rstrip("=")


def key_in_cursor(cursor: str | None, order: str, kinds: Sequence[type]) -> list[Any] | None:
    """Return the sort key in `cursor`, None when there is no cursor.

    Raises:
        InvalidValueError: It is no cursor, or belongs to a list that is sorted in another way.
    """
    if not cursor:
        return None
    problem = InvalidValueError(
        "is not a cursor of this list: pass next_cursor of the page before, with the same sorting", field="cursor"
    )
    if not isinstance(cursor, str) or len(cursor) > MAX_CURSOR_CHARS:
        raise problem
    try:
        padded = cursor + "=" * (-len(cursor) % 4)
        unpacked = json.loads(base64.b64decode(padded.encode("ascii"), altchars=b"-_", validate=True))
    except (binascii.Error, ValueError, RecursionError):
        raise problem from None
    if not isinstance(unpacked, list) or len(unpacked) != len(kinds) + 1 or unpacked[0] != order:
        raise problem
    key = unpacked[1:]
    if not all(_fits(part, kind) for part, kind in zip(key, kinds, strict=True)):
        raise problem
    return key


def _fits(part: Any, kind: type) -> bool:
    if kind is float:
        return isinstance(part, (int, float)) and not isinstance(part, bool) and abs(part) < 2**62
    return isinstance(part, str) and isinstance(part, kind) and column_text(part) == part
