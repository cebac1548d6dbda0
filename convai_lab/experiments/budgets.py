"""Budgets: what does a vendor say is left of its requests and tokens, in the headers of its answers?

OpenAI and those who speak like it send ``x-ratelimit-remaining-tokens`` with ``x-ratelimit-reset-tokens: 6m0s``;
Anthropic sends ``anthropic-ratelimit-tokens-remaining`` and ``-reset`` with an instant. Headers that cannot be read
are left alone: a refusal tells the same later.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, datetime

from convai_lab.experiments.pool import Gate, Pool
from convai_lab.http import PostingClient
from convai_lab.providers.base import LLM
from convai_lab.providers.registry import VENDORS, shared_client, vendor_base_url

LONGEST_SECS = 120.0
"""No vendor is believed to need longer: its budgets are those of a minute."""
_PART = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m|h)")
_SECS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}
_NAMES = (
    ("requests", "x-ratelimit-remaining-requests", "x-ratelimit-reset-requests"),
    ("tokens", "x-ratelimit-remaining-tokens", "x-ratelimit-reset-tokens"),
    ("requests", "anthropic-ratelimit-requests-remaining", "anthropic-ratelimit-requests-reset"),
    ("tokens", "anthropic-ratelimit-tokens-remaining", "anthropic-ratelimit-tokens-reset"),
)


@contextlib.contextmanager
def watched_budgets(pool: Pool, llms: Iterable[LLM]) -> Iterator[None]:
    """Let the gates of these models hear, as long as the body lasts, what their vendors say is left."""
    with contextlib.ExitStack() as stack:
        for provider, llm in {llm.provider: llm for llm in llms}.items():
            vendor = VENDORS.get(provider)
            if vendor is not None and vendor.base_url and vendor.keys:
                client = shared_client(vendor_base_url(vendor))
                if isinstance(client, PostingClient):
                    stack.enter_context(_listening(client, pool.gate(llm)))
        yield


def hear(gate: Gate, headers: Mapping[str, str], *, wall: float) -> None:
    """Tell a gate what the headers of an answer say is left; `wall` is the time, in seconds since 1970."""
    for kind, left_name, reset_name in _NAMES:
        if (left := headers.get(left_name)) is None or not (left.isascii() and left.isdigit()):
            continue
        secs = _secs(headers.get(reset_name, ""), wall)
        if secs is not None:
            gate.heard(gate.requests if kind == "requests" else gate.tokens, left=float(left), secs=secs)


@contextlib.contextmanager
def _listening(client: PostingClient, gate: Gate) -> Iterator[None]:
    def listen(headers: Mapping[str, str]) -> None:
        hear(gate, headers, wall=gate.clock.wall())

    client.listeners.append(listen)
    try:
        yield
    finally:
        client.listeners.remove(listen)


def _secs(text: str, wall: float) -> float | None:
    """Read ``6m0s``, ``250ms``, ``12`` or an instant as seconds from now."""
    text = text.strip()
    parts = _PART.findall(text)
    if parts and "".join(number + unit for number, unit in parts) == text:
        return min(LONGEST_SECS, sum(float(number) * _SECS[unit] for number, unit in parts))
    with contextlib.suppress(ValueError):
        return min(LONGEST_SECS, max(0.0, float(text)))
    with contextlib.suppress(ValueError):
        at = datetime.fromisoformat(text)
        return min(LONGEST_SECS, max(0.0, at.replace(tzinfo=at.tzinfo or UTC).timestamp() - wall))
    return None
