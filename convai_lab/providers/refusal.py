"""Refusal: what does a vendor's error answer mean, in whatever dialect it is written?"""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Sequence
from typing import Any, NamedTuple

from convai_lab.errors import (
    ModelNotFoundError,
    ProviderAuthError,
    ProviderError,
    ProviderRateLimitError,
    ProviderRequestError,
    ProviderTimeoutError,
)
from convai_lab.settings import STARS, Secret, scrub

PASSING_STATUSES = frozenset({408, 409, 425, 429, 529})
"""Besides all of 500 to 599: what may be gone when we ask again."""

LONGEST_EVIDENCE = 300
"""Characters of the vendor's own words in a message."""

SPENT = frozenset({"insufficient_quota", "billing_hard_limit_reached", "billing_error", "credit_balance_too_low"})
"""Codes of a 429 or 402 that waiting does not help."""

STATUS_OF_TYPE = {
    "invalid_request_error": 400,
    "authentication_error": 401,
    "billing_error": 402,
    "permission_error": 403,
    "not_found_error": 404,
    "request_too_large": 413,
    "rate_limit_error": 429,
    "api_error": 500,
    "server_error": 500,
    "timeout_error": 504,
    "overloaded_error": 529,
}
"""What an error inside a stream would have been as an HTTP status."""

_MISSING_CODES = frozenset({"model_not_found", "model_decommissioned", "invalid_model", "model_not_available"})
_MISSING_WORDS = re.compile(
    r"\bmodels?\b.{0,200}?\b(?:not found|does not exist|doesn't exist|decommissioned|deprecated|not a valid"
    r"|no longer (?:available|supported)|been (?:retired|removed|shut down)|not available)"
    r"|(?:invalid|unknown|no such|not a valid|not have access to|not have access to the) model\b",
    re.IGNORECASE | re.DOTALL,
)
_BAD_KEY_WORDS = re.compile(r"api[ _-]?key (?:not valid|expired|invalid|not found)|invalid api[ _-]?key", re.IGNORECASE)


class Said(NamedTuple):
    """What a vendor's error body says: its message, its code and kind, and how long to wait."""

    message: str
    code: str = ""
    kind: str = ""
    retry_after: float | None = None


class Refused(Exception):
    """A vendor refused a request. `error` is what the user sees; the rest decides whether to ask again."""

    def __init__(self, error: ProviderError, *, passing: bool, retry_after: float | None, said: Said) -> None:
        super().__init__(str(error))
        self.error, self.passing, self.retry_after, self.said = error, passing, retry_after, said


class Asker(NamedTuple):
    """Who asked: the provider, the model, the key (never shown) and the names of models to suggest."""

    provider: str
    model: str
    key: Secret | None = None
    models: Sequence[str] = ()


def refusal(asker: Asker, status: int, body: str, *, retry_after: float | None = None) -> Refused:
    """Return the error that an HTTP status with this body stands for; `retry_after` is what its header asks for."""
    said = read_body(body)
    return _refused(asker, status, said, said.retry_after if retry_after is None else retry_after)


def stream_refusal(asker: Asker, error: Any) -> Refused:
    """Return the error that an ``error`` object inside a stream stands for."""
    said = _read_error(error)
    code = error.get("code") if isinstance(error, dict) else None
    status = code if isinstance(code, int) and 400 <= code < 600 else STATUS_OF_TYPE.get(said.kind, 500)
    return _refused(asker, status, said, said.retry_after)


def read_body(body: str) -> Said:
    """Read an error body: every vendor's JSON, or plain words; markup is left out."""
    try:
        value = json.loads(body)
    except (ValueError, RecursionError):
        words = body.strip()
        return Said("" if words.startswith("<") else words)
    if isinstance(value, list) and value:
        value = value[0]
    if isinstance(value, dict) and value.get("error") is not None:
        return _read_error(value["error"])
    return _read_error(value)


def _refused(asker: Asker, status: int, said: Said, retry_after: float | None) -> Refused:
    error = _error(asker, status, said, retry_after)
    passing = (status in PASSING_STATUSES or 500 <= status < 600) and not ({said.code, said.kind} & SPENT)
    return Refused(
        error, passing=passing and not isinstance(error, ModelNotFoundError), retry_after=retry_after, said=said
    )


def _error(asker: Asker, status: int, said: Said, retry_after: float | None) -> ProviderError:
    provider, model = asker.provider, asker.model
    words = _evidence(said.message, asker.key)
    tail = f": {words}" if words else ""
    if _is_missing_model(status, said):
        return ModelNotFoundError(
            f"does not offer the model {model!r} ({status}){tail}",
            provider=provider,
            status=status,
            model=model,
            suggestions=close_names(model, asker.models),
        )
    if status in (401, 403) or (
        status == 400 and (said.code == "API_KEY_INVALID" or _BAD_KEY_WORDS.search(said.message))
    ):
        return ProviderAuthError(
            f"refused the key ({status}){tail}; check that it is right and allowed to use {model!r}",
            provider=provider,
            status=status,
            model=model,
        )
    if status == 429 or {said.code, said.kind} & SPENT:
        advice = "; the quota is used up" if {said.code, said.kind} & SPENT else "; wait, or ask less often"
        return ProviderRateLimitError(
            f"limits requests ({status}){tail}{advice}",
            provider=provider,
            status=status,
            model=model,
            retry_after=retry_after,
        )
    if status in (408, 504):
        return ProviderTimeoutError(
            f"did not answer in time ({status}){tail}", provider=provider, status=status, model=model
        )
    if 400 <= status < 500 and status not in PASSING_STATUSES:
        hint = "; is the base URL right?" if status in (404, 405) else ""
        return ProviderRequestError(
            f"refused the request ({status}){tail}{hint}", provider=provider, status=status, model=model
        )
    if status < 400:
        return ProviderError(
            f"answered with a redirect ({status}); the base URL must be the final address",
            provider=provider,
            status=status,
            model=model,
        )
    return ProviderError(f"failed ({status}){tail}; try again later", provider=provider, status=status, model=model)


def close_names(name: str, known: Sequence[str], *, limit: int = 3) -> list[str]:
    """Return the known names that look most like `name`, the closest first."""
    lowered = {known_name.lower(): known_name for known_name in known}
    return [lowered[close] for close in difflib.get_close_matches(name.lower(), lowered, n=limit, cutoff=0.5)]


def _read_error(error: Any) -> Said:
    if isinstance(error, str):
        return Said(error)
    if not isinstance(error, dict):
        return Said("")
    message = error.get("message") or error.get("detail") or error.get("error") or ""
    details = [d for d in error.get("details") or () if isinstance(d, dict)] if _is_list(error.get("details")) else []
    reasons = [d["reason"] for d in details if isinstance(d.get("reason"), str)]
    code = error.get("code")
    return Said(
        message if isinstance(message, str) else json.dumps(message),
        next(iter(reasons), code if isinstance(code, str) else ""),
        str(error.get("type") or error.get("status") or ""),
        next((secs for d in details if (secs := _duration(d.get("retryDelay"))) is not None), None),
    )


def _is_missing_model(status: int, said: Said) -> bool:
    if said.code in _MISSING_CODES:
        return True
    if status not in (400, 403, 404, 410, 422):
        return False
    if status == 404 and (said.kind == "NOT_FOUND" or said.message.startswith("model:")):
        return True
    return _MISSING_WORDS.search(said.message) is not None and "parameter" not in said.message


def _evidence(message: str, key: Secret | None) -> str:
    """Return the vendor's words on one line, without any key, and not too many of them."""
    if key:
        message = message.replace(key.reveal(), STARS)
    words = " ".join(scrub(message).split())
    return words if len(words) <= LONGEST_EVIDENCE else words[:LONGEST_EVIDENCE] + "…"


def _duration(value: Any) -> float | None:
    """Read a duration such as ``34.5s``."""
    match = re.fullmatch(r"(\d{1,6}(?:\.\d+)?)s", value) if isinstance(value, str) else None
    return float(match[1]) if match else None


def _is_list(value: Any) -> bool:
    return isinstance(value, list)
