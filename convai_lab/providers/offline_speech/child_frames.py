"""Child frames: how do messages travel through a pipe to and from a speech process?

A frame is the lengths of its two parts, a JSON object, and bytes. Both sides refuse what is longer than agreed, so
that a damaged pipe ends the process instead of filling the memory.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Mapping
from typing import Any, NamedTuple, Protocol

LENGTHS = struct.Struct(">II")
MAX_HEAD_BYTES = 1 << 16
MAX_BODY_BYTES = 1 << 23


class Frame(NamedTuple):
    """One message: what it is about, and its audio, text or list."""

    head: dict[str, Any]
    body: bytes = b""


class BrokenFrameError(ValueError):
    """What came through the pipe is no frame; whoever reads cannot go on."""


class Source(Protocol):
    """Anything that bytes can be read from, such as the reading end of a pipe."""

    def read(self, size: int, /) -> bytes | None:
        """Return up to `size` bytes; none at the end."""


def packed(head: Mapping[str, Any], body: bytes = b"") -> bytes:
    """Return a frame as bytes.

    Raises:
        BrokenFrameError: One of its parts is longer than a frame may be.
    """
    said = json.dumps(head, separators=(",", ":")).encode()
    if len(said) > MAX_HEAD_BYTES or len(body) > MAX_BODY_BYTES:
        raise BrokenFrameError(f"a frame of {len(said):,} and {len(body):,} bytes is too long")
    return LENGTHS.pack(len(said), len(body)) + said + body


def read_frame(source: Source) -> Frame | None:
    """Return the next frame, or None when the other side has closed the pipe between two frames.

    Raises:
        BrokenFrameError: The pipe ended inside a frame, or carries something else.
    """
    lengths = _read(source, LENGTHS.size)
    if not lengths:
        return None
    if len(lengths) < LENGTHS.size:
        raise BrokenFrameError("the pipe ended inside a frame")
    head_bytes, body_bytes = LENGTHS.unpack(lengths)
    if head_bytes > MAX_HEAD_BYTES or body_bytes > MAX_BODY_BYTES:
        raise BrokenFrameError(f"a frame of {head_bytes:,} and {body_bytes:,} bytes is too long")
    said, body = _read(source, head_bytes), _read(source, body_bytes)
    if len(said) < head_bytes or len(body) < body_bytes:
        raise BrokenFrameError("the pipe ended inside a frame")
    try:
        head = json.loads(said)
    except (ValueError, RecursionError):
        raise BrokenFrameError("a frame's head is not JSON") from None
    if not isinstance(head, dict):
        raise BrokenFrameError("a frame's head is not an object")
    return Frame(head, body)


def _read(source: Source, size: int) -> bytes:
    """Read `size` bytes, fewer only when the pipe has ended."""
    parts = []
    while size and (part := source.read(size)):
        parts.append(part)
        size -= len(part)
    return b"".join(parts)
