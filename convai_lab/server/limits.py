"""Limits: how large may a request be, and how many may come?"""

from __future__ import annotations

import json
from typing import Any

from starlette.requests import Request

from convai_lab.clock import Clock
from convai_lab.server.answers import InvalidRequest, Refusal

MAX_BODY_BYTES = 10 * 1024 * 1024
MAX_JSON_DEPTH = 100
MAX_PROBLEM_CHARS = 200

REQUESTS_PER_SEC, REQUESTS_AT_ONCE = 500.0, 2_000
VISITS_PER_SEC, VISITS_AT_ONCE = 5.0, 60
WRONG_KEYS_PER_SEC, WRONG_KEYS_AT_ONCE = 1.0, 30
FRAMES_PER_SEC, FRAMES_AT_ONCE = 100.0, 400
AUDIO_FRAMES_PER_SEC, AUDIO_FRAMES_AT_ONCE = 2_000.0, 40_000
"""Fifty a second is usual; chunks of a few bytes are taken for a while, and nothing of them is lost."""
MAX_SOCKETS = 200


class Bucket:
    """Lets `per_sec` things pass in the long run and `at_once` in a burst."""

    def __init__(self, per_sec: float, at_once: int, clock: Clock) -> None:
        self._per_sec, self._at_once, self._clock = per_sec, at_once, clock
        self._left, self._at = float(at_once), clock.now()

    def take(self) -> bool:
        """Let one thing pass, or say that it is too many."""
        now = self._clock.now()
        self._left = min(self._at_once, self._left + (now - self._at) * self._per_sec)
        self._at = now
        if self._left < 1:
            return False
        self._left -= 1
        return True


class Rates:
    """How often this platform may be asked, by whom."""

    def __init__(self, clock: Clock) -> None:
        self._requests = Bucket(REQUESTS_PER_SEC, REQUESTS_AT_ONCE, clock)
        self._visits = Bucket(VISITS_PER_SEC, VISITS_AT_ONCE, clock)
        self._wrong_keys = Bucket(WRONG_KEYS_PER_SEC, WRONG_KEYS_AT_ONCE, clock)

    def request(self) -> None:
        """Count a request that carries the key."""
        _take(self._requests, "requests")

    def visit(self) -> None:
        """Count a request without a key."""
        _take(self._visits, "requests without a key")

    def wrong_key(self) -> None:
        """Count a wrong key; the right one is never held up by wrong ones."""
        _take(self._wrong_keys, "wrong API keys")


async def read_body(request: Request, limit: int = MAX_BODY_BYTES) -> bytes:
    """Read a request's body, and stop reading as soon as it is too large."""
    declared = request.headers.get("content-length", "0")
    if declared.isdigit() and int(declared[:20]) > limit:
        raise _too_large(limit)
    chunks, size = [], 0
    async for chunk in request.stream():
        size += len(chunk)
        if size > limit:
            raise _too_large(limit)
        chunks.append(chunk)
    return b"".join(chunks)


def parse_json(text: str | bytes, *, max_depth: int = MAX_JSON_DEPTH) -> Any:
    """Parse JSON from outside: standard JSON only, of limited depth, whose text can be stored.

    Raises:
        ValueError: One sentence that says what is wrong.
    """
    try:
        decoded = text.decode("utf-8") if isinstance(text, bytes) else text
    except UnicodeDecodeError:
        raise ValueError("the text is not UTF-8") from None
    try:
        value = json.loads(decoded, parse_constant=_refuse_constant)
    except RecursionError:
        raise ValueError(f"the JSON is nested more than {max_depth} levels deep") from None
    except json.JSONDecodeError as error:
        raise ValueError(f"this is not JSON: {error.msg} at character {error.pos}") from None
    if _depth(value, max_depth) > max_depth:
        raise ValueError(f"the JSON is nested more than {max_depth} levels deep")
    if "\\ud" in decoded or "\\uD" in decoded:
        _refuse_half_characters(value)
    return value


def parse_body(raw: bytes) -> Any:
    """Parse a request's body; None when there is none."""
    if not raw.strip():
        return None
    try:
        return parse_json(raw)
    except ValueError as error:
        raise InvalidRequest.at("body", msg=str(error)[:MAX_PROBLEM_CHARS], kind="json_invalid") from None


def _too_large(limit: int) -> Refusal:
    return Refusal(413, "too_large", f"the request body is larger than {limit // 1024 // 1024} MB")


def _take(bucket: Bucket, what: str) -> None:
    if not bucket.take():
        raise Refusal(429, "too_many_requests", f"too many {what}: wait a second", headers={"retry-after": "1"})


def _refuse_constant(name: str) -> Any:
    raise ValueError(f"{name} is not a JSON value")


def _refuse_half_characters(value: Any) -> None:
    """A lone surrogate is legal in JSON's escapes but is no character: it could neither be stored nor sent."""
    try:
        json.dumps(value, ensure_ascii=False).encode("utf-8")
    except UnicodeEncodeError:
        raise ValueError("a text holds half a character (a lone \\ud800 to \\udfff escape)") from None


def _depth(value: Any, give_up_at: int) -> int:
    """Count the levels of nesting, without recursion."""
    level, depth = [value], 0
    while level := [
        child
        for item in level
        if isinstance(item, dict | list)
        for child in (item.values() if isinstance(item, dict) else item)
        if isinstance(child, dict | list)
    ]:
        depth += 1
        if depth > give_up_at:
            break
    return depth
