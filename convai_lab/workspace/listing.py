"""Listing: a sequence that fetches its pages when they are looked at, and shows itself as a table."""

from __future__ import annotations

import asyncio
import datetime
from collections.abc import Callable, Coroutine, Iterator, Sequence
from typing import Any, Generic, NamedTuple, Protocol, TypeVar, overload

from markupsafe import Markup

from convai_lab import background
from convai_lab.errors import PlatformError

PAGE_SIZE = 100
SHOWN_ROWS = 20
CELL_STYLE = "text-align:left;padding:2px 12px;border-bottom:1px solid var(--jp-border-color2,#ccc)"


class Row(Protocol):
    """Something that can be shown as a row of a table."""

    def cells(self) -> tuple[str, ...]:
        """Return the texts of the row."""


T = TypeVar("T")
RowT = TypeVar("RowT", bound=Row)


class ListPage(NamedTuple, Generic[RowT]):
    """Some rows, and where the next ones are (None: there are no more)."""

    rows: Sequence[RowT]
    next_cursor: str | None


FetchPage = Callable[[str | None, int], Coroutine[Any, Any, ListPage[RowT]]]


class LazyList(Sequence[RowT]):
    """Rows that are fetched a page at a time, as far as they are looked at.

    `len()` and a negative index need all of them; iterating and showing do not.
    """

    def __init__(self, fetch: FetchPage[RowT], *, headers: Sequence[str], noun: str, limit: int | None = None) -> None:
        self._fetch, self._headers, self._noun, self._limit = fetch, tuple(headers), noun, limit
        self._rows: list[RowT] = []
        self._cursor: str | None = None
        self._seen: set[str] = set()
        self._is_complete = limit is not None and limit <= 0

    @overload
    def __getitem__(self, index: int) -> RowT: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[RowT]: ...
    def __getitem__(self, index: int | slice) -> RowT | Sequence[RowT]:
        if isinstance(index, slice):
            wanted = index.stop if index.stop is not None else -1
            self._load(wanted if min(wanted, index.start or 0) >= 0 and (index.step or 1) > 0 else None)
        else:
            self._load(index + 1 if index >= 0 else None)
        return self._rows[index]

    def __len__(self) -> int:
        self._load(None)
        return len(self._rows)

    def __bool__(self) -> bool:
        self._load(1)
        return bool(self._rows)

    def __iter__(self) -> Iterator[RowT]:
        at = 0
        while True:
            self._load(at + 1)
            if at >= len(self._rows):
                return
            yield self._rows[at]
            at += 1

    async def all(self) -> list[RowT]:
        """Fetch what is missing, from any event loop, and return all rows."""
        return list(await background_twin(self._fetch_until(None)))

    async def fetch_all(self) -> list[RowT]:
        """Fetch what is missing, on the background loop, and return all rows."""
        return list(await self._fetch_until(None))

    def _load(self, wanted: int | None) -> None:
        if not self._is_complete and (wanted is None or wanted > len(self._rows)):
            background.run(self._fetch_until(wanted))

    async def _fetch_until(self, wanted: int | None) -> list[RowT]:
        while not self._is_complete and (wanted is None or len(self._rows) < wanted):
            room = PAGE_SIZE if self._limit is None else min(PAGE_SIZE, self._limit - len(self._rows))
            page = await self._fetch(self._cursor, room)
            if page.next_cursor in self._seen:
                raise PlatformError(f"the platform's list of {self._noun} has no end: it repeats a cursor")
            self._rows.extend(page.rows[:room])
            self._cursor = page.next_cursor
            if self._cursor is not None:
                self._seen.add(self._cursor)
            is_full = self._limit is not None and len(self._rows) >= self._limit
            self._is_complete = self._cursor is None or is_full
        return self._rows

    def _shown(self) -> tuple[list[tuple[str, ...]], str]:
        self._load(SHOWN_ROWS + 1)
        rows = [row.cells() for row in self._rows[:SHOWN_ROWS]]
        if len(self._rows) <= SHOWN_ROWS and self._is_complete:
            counted = self._noun.removesuffix("s") if len(rows) == 1 else self._noun
            return rows, f"{len(rows) or 'no'} {counted}"
        total = f"{len(self._rows)}" if self._is_complete else f"more than {SHOWN_ROWS}"
        return rows, f"the first {len(rows)} of {total} {self._noun}"

    def __repr__(self) -> str:
        rows, caption = self._shown()
        if not rows:
            return caption
        widths = [max(len(line[i]) for line in (self._headers, *rows)) for i in range(len(self._headers))]
        lines = ["  ".join(c.ljust(w) for c, w in zip(line, widths, strict=True)) for line in (self._headers, *rows)]
        return "\n".join([caption, *(line.rstrip() for line in lines)])

    def _repr_html_(self) -> str:
        rows, caption = self._shown()
        head = Markup("").join(
            Markup('<th scope="col" style="{}">{}</th>').format(CELL_STYLE, h) for h in self._headers
        )
        body = Markup("").join(
            Markup("<tr>{}</tr>").format(
                Markup("").join(Markup('<td style="{}">{}</td>').format(CELL_STYLE, cell) for cell in row)
            )
            for row in rows
        )
        return str(
            Markup(
                '<table style="border-collapse:collapse"><caption style="text-align:left">{}</caption>'
                "<thead><tr>{}</tr></thead><tbody>{}</tbody></table>"
            ).format(caption, head, body)
        )


async def background_twin(work: Coroutine[Any, Any, T]) -> T:
    """Await `work` on the background loop, from any event loop."""
    return await asyncio.wrap_future(background.submit(work))


def shown_time(secs: float | None) -> str:
    """Return an instant for a table, in the local time zone."""
    if secs is None:
        return ""
    try:
        return datetime.datetime.fromtimestamp(secs, datetime.UTC).astimezone().strftime("%Y-%m-%d %H:%M")
    except (ValueError, OverflowError, OSError):
        return ""


def one_line(text: str, *, chars: int = 60) -> str:
    """Return a text as it fits into a cell."""
    text = " ".join(text.split())
    return text if len(text) <= chars else text[: chars - 1] + "…"
