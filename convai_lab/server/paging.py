"""Paging: how is one page of a list filled when only some of its rows are wanted?"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from convai_lab.storage import Page

MAX_PAGE_SIZE = 100

Row = Mapping[str, Any]
ReadPage = Callable[[int, str | None], Page[dict[str, Any]]]
"""Reads a page of at most this many rows, from this cursor on."""


def filtered_page(
    read: ReadPage, *, size: int, cursor: str | None, wanted: Callable[[Row], bool] | None
) -> Page[dict[str, Any]]:
    """Return a page of wanted rows.

    It never reads more rows than there is room for, so the cursor of the last read page fits what was returned.
    """
    page = read(size, cursor)
    if wanted is None:
        return page
    kept = [row for row in page.items if wanted(row)]
    while page.has_more and len(kept) < size:
        page = read(size - len(kept), page.next_cursor)
        kept += [row for row in page.items if wanted(row)]
    return Page(tuple(kept), page.next_cursor, page.has_more)
