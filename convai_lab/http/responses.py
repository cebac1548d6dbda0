"""Responses: how much of an answer do we take, and when may we ask again?"""

from __future__ import annotations

import math
from email.utils import parsedate_to_datetime

import httpx

from convai_lab.errors import ResponseTooLargeError

READABLE_ENCODINGS = ("", "identity", "gzip", "deflate")


async def read_limited(response: httpx.Response, max_bytes: int) -> bytes:
    """Read the body of a streamed response, but never more than `max_bytes` after decompression.

    Compressions other than gzip and deflate are refused: a few kilobytes of them can unfold to gigabytes before
    there is anything to count, and they were not asked for.

    Raises:
        ResponseTooLargeError: The body is larger.
        httpx.DecodingError: The body is compressed in a way that was not asked for.
    """
    encoding = response.headers.get("content-encoding", "").strip().lower()
    if encoding not in READABLE_ENCODINGS:
        raise httpx.DecodingError(f"the answer is compressed as {encoding!r}, which was not asked for")
    declared = response.headers.get("content-length", "")
    if declared.isascii() and declared.isdigit() and len(declared) < 20 and int(declared) > max_bytes:
        raise ResponseTooLargeError(max_bytes, url=_origin(response))
    body = bytearray()
    async for chunk in response.aiter_bytes():
        body += chunk
        if len(body) > max_bytes:
            raise ResponseTooLargeError(max_bytes, url=_origin(response))
    return bytes(body)


def retry_after_secs(response: httpx.Response, now: float) -> float | None:
    """Return how many seconds the server asks us to wait, or None when it does not say.

    Understands seconds and HTTP dates in ``Retry-After``, and the vendors' ``retry-after-ms``, which is finer.

    Args:
        now: Seconds since 1 January 1970, for answers that name a date.
    """
    if (millis := _number(response.headers.get("retry-after-ms"))) is not None:
        return millis / 1000
    values = response.headers.get_list("retry-after")
    if not values:
        return None
    if (secs := _number(values[0])) is not None:
        return secs
    try:
        return max(0.0, parsedate_to_datetime(values[0]).timestamp() - now)
    except (ValueError, OverflowError):
        return None


def _number(text: str | None) -> float | None:
    try:
        value = float(text or "")
    except ValueError:
        return None
    return value if math.isfinite(value) and value >= 0 else None


def _origin(response: httpx.Response) -> str:
    url = response.request.url
    return f"{url.scheme}://{url.netloc.decode('ascii', 'replace')}"
