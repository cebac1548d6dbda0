"""Answers: what does a response look like, and what does an error look like, in the vendor's shapes?"""

from __future__ import annotations

import json
import logging
import secrets
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from convai_lab import errors
from convai_lab.errors import ConvaiLabError, Problem
from convai_lab.settings import scrub

logger = logging.getLogger("convai_lab.server")

STATUS_WORDS = {400: "bad_request", 404: "not_found", 405: "method_not_allowed", 413: "too_large"}


class Refusal(Exception):
    """A request that is refused: an HTTP status, the status word that clients read, and one sentence."""

    def __init__(self, status: int, word: str, message: str, *, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(message)
        self.status, self.word, self.message = status, word, message
        self.headers = dict(headers or {})


class InvalidRequest(Exception):
    """A request with wrong values; each problem names its place (``body``, ``query`` or ``path`` first)."""

    def __init__(self, problems: Iterable[Problem]) -> None:
        self.problems = tuple(problems)
        super().__init__("; ".join(f"{problem.field}: {problem.msg}" for problem in self.problems))

    @classmethod
    def at(cls, *loc: str | int, msg: str, kind: str = "value_error") -> InvalidRequest:
        """Return the refusal of a single value."""
        return cls([Problem(loc, msg, kind)])


def json_answer(value: Any, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    """Return `value` as JSON; only ASCII is sent, so that odd characters in stored texts never break an answer."""
    content = json.dumps(value, separators=(",", ":"), allow_nan=False).encode("ascii")
    return Response(content, status_code=status, headers=dict(headers or {}), media_type="application/json")


def refusal_answer(status: int, word: str, message: str, headers: Mapping[str, str] | None = None) -> Response:
    """Return ``{"detail": {"status": ..., "message": ...}}``, with every known key removed from the text."""
    return json_answer({"detail": {"status": word, "message": scrub(message)}}, status, headers)


def problems_answer(problems: Sequence[Problem]) -> Response:
    """Return the 422 that lists wrong values, each with its path."""
    return json_answer({"detail": [_problem(problem) for problem in problems]}, 422)


def error_answer(error: Exception, *, subject: str = "", place: str = "body") -> Response:
    """Return the answer for anything a handler raised.

    `subject` is what the path names (``agent``, ...), `place` where a wrong value must have come from.
    """
    match error:
        case Refusal():
            return refusal_answer(error.status, error.word, error.message, error.headers)
        case InvalidRequest():
            return problems_answer(error.problems)
        case errors.InvalidConfigError():
            return problems_answer([Problem((place, *p.loc), p.msg, p.type) for p in error.problems])
        case errors.InvalidValueError():
            return problems_answer([Problem((place, *_path(error.field)), str(error), "value_error")])
        case ConvaiLabError():
            return _expected_error_answer(error, subject)
        case _:
            return _unexpected_error_answer(error)


async def http_error_answer(request: Request, error: Exception) -> Response:
    """Answer what the router refuses by itself: an unknown route or a method that the route does not know."""
    assert isinstance(error, HTTPException)
    where = f"{request.method} {request.url.path[:200]}"
    message = {
        404: f"there is no route {where} on this local platform",
        405: f"{where} is not possible; this route knows {(error.headers or {}).get('Allow', 'other methods')}",
    }.get(error.status_code, str(error.detail))
    word = STATUS_WORDS.get(error.status_code, "error")
    return refusal_answer(error.status_code, word, message, error.headers)


def _expected_error_answer(error: ConvaiLabError, subject: str) -> Response:
    match error:
        case errors.NotFoundError():
            return refusal_answer(404, f"{subject}_not_found" if subject else "not_found", str(error))
        case errors.RateLimitError():
            wait = {"retry-after": str(max(1, round(error.retry_after or 1)))}
            return refusal_answer(429, "too_many_requests", str(error), wait)
        case errors.StorageError():
            return refusal_answer(503, "storage_error", str(error))
        case errors.NotSupportedError():
            return refusal_answer(400, "not_supported", str(error))
        case _:
            return refusal_answer(400, "bad_request", str(error))


def _unexpected_error_answer(error: Exception) -> Response:
    """Log the stack trace under a short id, and give the client the id alone."""
    incident = secrets.token_hex(4)
    logger.error("incident %s", incident, exc_info=error)
    return refusal_answer(
        500, "internal_error", f"something went wrong in the local platform; its log has the details under {incident}"
    )


def _problem(problem: Problem) -> dict[str, Any]:
    loc = [scrub(part) if isinstance(part, str) else part for part in problem.loc]
    return {"loc": loc, "msg": scrub(problem.msg), "type": problem.type}


def _path(field: str) -> list[str]:
    return field.split(".") if field else []
