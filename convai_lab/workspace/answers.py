"""Answers: what does the platform's HTTP answer mean, as a value or as a typed error?"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any, NamedTuple

from convai_lab import settings
from convai_lab.errors import (
    AuthenticationError,
    InvalidRequestError,
    NotFoundError,
    PlatformError,
    Problem,
    RateLimitError,
)

MAX_BODY_BYTES = 256 * 1024 * 1024
"""A conversation with recordings' metadata is a few megabytes; anything larger than this is not an answer."""
MAX_ERROR_BYTES = 64 * 1024
MAX_SENTENCE_CHARS = 400


class Answer(NamedTuple):
    """One HTTP answer, read to its end; `complete` is false when the body was cut at the limit."""

    status: int
    headers: Mapping[str, str]
    body: bytes
    complete: bool = True

    @property
    def is_success(self) -> bool:
        """Say whether the platform did what was asked."""
        return 200 <= self.status < 300


def payload(answer: Answer, *, asked: str, who: str, retry_after: float | None = None) -> Any:
    """Return the JSON of an answer, None when it is empty.

    Raises:
        PlatformError: One of its subclasses when the platform refused, or when the answer is not JSON.
    """
    if not answer.is_success:
        raise refusal(answer, asked=asked, who=who, retry_after=retry_after)
    if not answer.complete:
        raise PlatformError(
            f"{who} answered {asked} with more than {MAX_BODY_BYTES // 2**20} MB; ask for less at a time",
            status=answer.status,
        )
    if not answer.body.strip():
        return None
    return parsed(answer, asked=asked, who=who)


def parsed(answer: Answer, *, asked: str, who: str) -> Any:
    """Return the body as JSON, or raise PlatformError in words."""
    try:
        return json.loads(answer.body)
    except (ValueError, RecursionError):
        kind = answer.headers.get("content-type", "something").split(";")[0]
        raise PlatformError(
            f"{who} answered {asked} with {kind} that is not JSON; is the base URL that of an Agents platform?",
            status=answer.status,
            body=settings.scrub(_readable(answer.body)),
        ) from None


def document(value: Any, *, asked: str, who: str) -> dict[str, Any]:
    """Return `value` if it is a JSON object, or raise PlatformError in words."""
    if isinstance(value, dict):
        return value
    shown = "nothing" if value is None else type(value).__name__
    raise PlatformError(
        f"{who} answered {asked} with {shown} instead of a JSON object",
        status=200,
        body=settings.scrub(repr(value)[:MAX_ERROR_BYTES]),
    )


def refusal(answer: Answer, *, asked: str, who: str, retry_after: float | None = None) -> PlatformError:
    """Return the typed error for an answer that is not a success."""
    body = _body_of(answer)
    said = _sentence(body)
    problems = _problems(body)
    status = answer.status
    reason = f": {said}" if said else ""
    if status in (401, 403):
        return AuthenticationError(
            f"{who} refused the API key for {asked} ({status}){reason}; check the key and what it may do",
            status=status,
            body=body,
        )
    if status == 404:
        return NotFoundError(f"{who} knows no such thing ({asked}, 404){reason}", status=status, body=body)
    if status in (400, 413, 422):
        shown = "; ".join(f"{p.field}: {p.msg}" if p.field else p.msg for p in problems[:10]) or said
        return InvalidRequestError(
            f"{who} found the request wrong ({asked}, {status}): {shown or 'it did not say what'}",
            status=status,
            body=body,
            problems=problems,
        )
    if status == 429:
        when = f"; try again in {retry_after:.0f} s" if retry_after else "; try again later"
        return RateLimitError(
            f"{who} is limiting requests ({asked}, 429){reason}{when}", body=body, retry_after=retry_after
        )
    if 300 <= status < 400:
        reason = "; it redirects, so the base URL is not quite right"
    return PlatformError(f"{who} failed at {asked} (status {status}){reason}", status=status, body=body)


def _body_of(answer: Answer) -> Any:
    """Return the error's body as JSON when it is, else as text; without keys, and cut."""
    text = settings.scrub(_readable(answer.body))
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return text


def _readable(body: bytes) -> str:
    return body[:MAX_ERROR_BYTES].decode("utf-8", "replace")


def _sentence(body: Any) -> str:
    """Return what the platform said, from any of the shapes in use, as one short plain sentence."""
    said = body
    if isinstance(said, dict):
        said = next((said[key] for key in ("detail", "error", "message") if said.get(key)), "")
    if isinstance(said, dict):
        said = said.get("message") or said.get("status") or said.get("code") or ""
    if not isinstance(said, str):
        return ""
    if "<" in said:
        title = re.search(r"<title[^>]*>(.*?)</title>", said[:20_000], re.IGNORECASE | re.DOTALL)
        said = title.group(1) if title else re.sub(r"<[^>]{0,2000}>", " ", said[:20_000])
    said = " ".join(said.split())
    return said if len(said) <= MAX_SENTENCE_CHARS else said[:MAX_SENTENCE_CHARS].rstrip() + "…"


def _problems(body: Any) -> list[Problem]:
    """Return the fields that a 422 names, without the leading ``body``."""
    listed = body.get("detail") if isinstance(body, dict) else None
    found = []
    for item in listed if isinstance(listed, list) else []:
        if not isinstance(item, dict):
            continue
        loc = item.get("loc")
        parts = tuple(p for p in loc if isinstance(p, str | int)) if isinstance(loc, list | tuple) else ()
        message = str(item.get("msg") or "is wrong")[:MAX_SENTENCE_CHARS]
        found.append(Problem(parts[1:] if parts[:1] == ("body",) else parts, message, str(item.get("type") or "")))
    return found
