"""Vendor script: what may a fake vendor be told to answer, and how may it go wrong?"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from convai_lab.testing.fake_llm import Scripted


class Received(NamedTuple):
    """One request as the server got it: header names in lower case, the body as JSON (or None) and as `raw` bytes."""

    method: str
    path: str
    query: dict[str, str]
    headers: dict[str, str]
    body: Any
    raw: bytes = b""


@dataclass(frozen=True, kw_only=True)
class Status:
    """Answer with an HTTP status and the vendor's own error body (or `body`)."""

    code: int
    message: str = ""
    body: bytes | None = None
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class BadKey:
    """Answer as the vendor does when it refuses the key."""

    message: str = ""


@dataclass(frozen=True)
class NoSuchModel:
    """Answer as the vendor does when it does not know the model."""


@dataclass(frozen=True, kw_only=True)
class Raw:
    """Answer 200 with exactly these bytes."""

    body: bytes = b""
    content_type: str = "text/event-stream"


@dataclass(frozen=True)
class Hang:
    """Take the request and never answer it."""


@dataclass(frozen=True)
class HangUp:
    """Take the request and close the connection without a word."""


@dataclass(frozen=True)
class Sent:
    """Send a reply in an unusual or a broken way.

    Args:
        reply: What to say.
        newline: What ends a line: ``\\n``, ``\\r\\n`` or ``\\r``.
        comments: Put server-sent comments (``: keep-alive``) between the events.
        bom: Start with a byte order mark.
        piece_bytes: Send the stream in pieces of that many bytes, so that characters are split.
        pause_secs: Real time to wait before each event.
        cut_after: Reset the connection after that many events.
        hang_after: Say nothing more after that many events, and keep the connection open.
        garbage_after: Send an event that is not JSON after that many events.
        stop_after: End the answer properly, but after that many events.
        open_after_end: Keep the connection open after the last event, without ending the body.
        no_final_newline: Leave out the newlines after the last event.
    """

    reply: Scripted
    newline: str = field(default="\n", kw_only=True)
    comments: bool = field(default=False, kw_only=True)
    bom: bool = field(default=False, kw_only=True)
    piece_bytes: int | None = field(default=None, kw_only=True)
    pause_secs: float = field(default=0.0, kw_only=True)
    cut_after: int | None = field(default=None, kw_only=True)
    hang_after: int | None = field(default=None, kw_only=True)
    garbage_after: int | None = field(default=None, kw_only=True)
    stop_after: int | None = field(default=None, kw_only=True)
    open_after_end: bool = field(default=False, kw_only=True)
    no_final_newline: bool = field(default=False, kw_only=True)


ServerScripted = Scripted | Sent | Status | BadKey | NoSuchModel | Raw | Hang | HangUp
"""What the script of a fake server may hold."""
