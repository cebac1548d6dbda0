"""Storage: the one SQLite file in which agents and conversations are kept.

What `Database.write()` committed survives kill -9. It need not survive a power cut: commits are not flushed to the
disk one by one (`synchronous=NORMAL`). Lists are read page by page; a cursor says after which row to go on, so rows
that arrive meanwhile neither repeat nor hide others.
"""

from __future__ import annotations

from pathlib import Path

from convai_lab import settings
from convai_lab.storage.database import Database
from convai_lab.storage.pages import Page, checked_page_size, cursor_after, key_in_cursor, page_of
from convai_lab.storage.schema import SCHEMA
from convai_lab.storage.texts import column_text, json_text, name_key

__all__ = [
    "Database",
    "Page",
    "checked_page_size",
    "column_text",
    "cursor_after",
    "json_text",
    "key_in_cursor",
    "name_key",
    "open_database",
    "page_of",
]

FILE_NAME = "lab.sqlite3"


def open_database(folder: Path | None = None) -> Database:
    """Open the store in `folder` (default: the data folder of `settings`), made or brought up to date as needed.

    Raises:
        StorageError: The file is damaged, locked, read-only, or written by a newer version.
    """
    database = Database((folder or settings.home()) / FILE_NAME)
    database.migrate(SCHEMA)
    return database
