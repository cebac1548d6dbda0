"""Prices: what did a request cost, and how do we know?

Prices are the vendors' list prices as the installed ``genai-prices`` package knows them; nothing is ever fetched.
They do not know your discounts, batch or priority tiers, so what they give is an estimate, and says so. What is not
known is None, never zero. Models on this machine cost nothing.
"""

from __future__ import annotations

import functools
import time
from collections.abc import Iterator, Mapping
from datetime import UTC, date, datetime
from typing import Any, NamedTuple

from convai_lab.providers.base import Usage

FREE_PROVIDERS = frozenset({"llamacpp", "lmstudio", "offline", "ollama", "vllm"})
"""Providers that run on this machine: a request costs nothing."""

PRICE_LIST_NAMES = {"gemini": "google", "xai": "x-ai", "vertex": "google", "bedrock": "aws"}
"""Our names of providers where the price list uses another."""

QUARTER_SECS = 900
"""Some models cost less at night, and their night begins at a full quarter of an hour."""


class Cost(NamedTuple):
    """What a request cost.

    `is_estimate` is true when it was worked out from list prices; `price_date` is the date of the price list.
    """

    usd: float
    is_estimate: bool
    price_date: str | None


def cost_usd(provider: str, model: str, usage: Usage, *, at: float | None = None) -> Cost | None:
    """Return what a request cost, or None when the model's price or the tokens are not known.

    The first call for a paid model takes about half a second to load the price list; `load_prices` does it early.

    Args:
        provider: The registry's name, such as ``openai``.
        model: The model that served the request.
        usage: Its tokens: `input` includes the cached ones, `output` includes the reasoning ones.
        at: When it was made, in seconds since 1 January 1970; prices change. Now, when None.
    """
    if provider in FREE_PROVIDERS:
        return Cost(0.0, False, None)
    if usage.input is None or usage.output is None or not _adds_up(usage):
        return None
    quarter = int((time.time() if at is None else at) // QUARTER_SECS)
    usd = _list_price(PRICE_LIST_NAMES.get(provider, provider), model, usage, quarter)
    return None if usd is None else Cost(usd, True, price_date())


@functools.cache
def price_date() -> str:
    """Return the date of the price list, such as ``2026-03-31``: the newest day on which it has a price changing.

    Changes announced for days to come do not count.
    """
    today = datetime.now(UTC).date()
    models = (model for listed in _price_list().values() for model in listed.models)
    return max((day for model in models for day in _change_days(model) if day <= today), default=today).isoformat()


def load_prices() -> None:
    """Load the price list (half a second, once); run it in a thread before the first reply."""
    price_date()


@functools.cache
def _price_list() -> Mapping[str, Any]:
    """Return the vendors of the price list by their exact names (its own search takes names that only look alike)."""
    from genai_prices.data import providers

    return {listed.id: listed for listed in providers}


def _change_days(model: Any) -> Iterator[date]:
    prices = model.prices if isinstance(model.prices, list) else []
    for changed in (*prices, *(model.price_variants or ())):
        day = getattr(changed.constraint, "start_date", None)
        if isinstance(day, date):
            yield day


@functools.lru_cache(maxsize=4096)
def _list_price(vendor: str, model: str, usage: Usage, quarter: int) -> float | None:
    """Return the price in a quarter of an hour since 1970; it takes 0.1 ms, and several ask for the same one."""
    if vendor not in _price_list():
        return None
    from genai_prices import Usage as ListUsage
    from genai_prices import calc_price

    at = datetime.fromtimestamp(quarter * QUARTER_SECS, UTC)
    tokens = ListUsage(
        input_tokens=usage.input,
        output_tokens=usage.output,
        cache_read_tokens=usage.cached_input,
        cache_write_tokens=usage.cache_write,
        output_reasoning_tokens=usage.reasoning,
    )
    try:
        found = calc_price(tokens, model, provider_id=vendor, genai_request_timestamp=at)
    except (LookupError, ValueError):  # no such model, or tokens that it cannot price
        return None
    price = found.model_price
    if price.input_mtok is None or (usage.output and price.output_mtok is None):
        return None  # the list knows the model but not what it costs
    return float(found.total_price)


def _adds_up(usage: Usage) -> bool:
    """Say whether the parts fit into their wholes; a price for numbers that contradict each other means nothing."""
    cached = (usage.cached_input or 0) + (usage.cache_write or 0)
    whole = all(count is None or count >= 0 for count in usage)
    return whole and cached <= (usage.input or 0) and (usage.reasoning or 0) <= (usage.output or 0)
