"""Loopback HTTP: just enough HTTP/1.1 for a fake server that controls every byte it sends."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import Mapping
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

from convai_lab.testing.vendor_script import Received


async def read_request(reader: asyncio.StreamReader) -> Received | None:
    """Read one HTTP/1.1 request; None when the client has closed the connection."""
    try:
        request_head = await reader.readuntil(b"\r\n\r\n")
    except asyncio.IncompleteReadError:
        return None
    request_line, *lines = request_head.decode("latin-1").split("\r\n")[:-2]
    method, target, _ = request_line.split(" ", 2)
    headers = {name.strip().lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    raw = await _read_body(reader, headers)
    parts = urlsplit(target)
    body: Any = None
    with contextlib.suppress(ValueError):
        body = json.loads(raw)
    return Received(method, unquote(parts.path), dict(parse_qsl(parts.query)), headers, body, raw)


async def _read_body(reader: asyncio.StreamReader, headers: Mapping[str, str]) -> bytes:
    if headers.get("transfer-encoding", "").lower() != "chunked":
        return await reader.readexactly(int(headers.get("content-length", 0)))
    body = b""
    while size := int((await reader.readline()).split(b";")[0], 16):
        body += await reader.readexactly(size)
        await reader.readline()
    await reader.readline()
    return body


def head(status: int, headers: Mapping[str, str]) -> bytes:
    """Return the status line and the headers of an answer."""
    lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    return f"HTTP/1.1 {status} Scripted\r\n{lines}\r\n".encode("latin-1")


async def send(
    writer: asyncio.StreamWriter,
    status: int,
    body: bytes,
    *,
    content_type: str = "application/json",
    headers: Mapping[str, str] | None = None,
) -> bool:
    """Send a whole answer; true, because the connection may be used again."""
    fields = {"content-type": content_type, "content-length": str(len(body)), **(headers or {})}
    writer.write(head(status, fields) + body)
    await writer.drain()
    return True


async def send_json(
    writer: asyncio.StreamWriter, status: int, body: Any, *, headers: Mapping[str, str] | None = None
) -> bool:
    """Send a JSON answer; true, because the connection may be used again."""
    return await send(writer, status, json.dumps(body, ensure_ascii=False).encode(), headers=headers)
