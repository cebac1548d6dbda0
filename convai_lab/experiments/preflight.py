"""Preflight: would the first trial work at all?

Every model is asked once before hundreds of conversations are, so that a missing key, a retired model or a wrong
address is one sentence at the start and not a column of failures at the end.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from convai_lab.errors import (
    InvalidValueError,
    ModelNotFoundError,
    ProviderAuthError,
    ProviderConnectionError,
    ProviderError,
    ProviderRateLimitError,
    ProviderRequestError,
)
from convai_lab.experiments.pool import Pool, PooledLLM
from convai_lab.experiments.spending import Spending
from convai_lab.experiments.variant import Variant
from convai_lab.providers.base import LLM, ChatMessage, ChatRequest
from convai_lab.providers.retry import RetryPolicy

QUESTION = "Answer with one word: ready?"
MOST_TOKENS = 64
"""Enough for models that think before the first word."""
PATIENCE = RetryPolicy(attempts=5, first_wait_secs=0.25, longest_wait_secs=4.0, total_secs=30.0)
STOPS = (ModelNotFoundError, ProviderAuthError, ProviderConnectionError, ProviderRateLimitError, ProviderRequestError)
"""Failures that every trial would meet; others may pass, and are noted."""


class Asked(NamedTuple):
    """A model that a run needs, and what for."""

    llm: LLM
    needed_for: str


def require_unmixed(variants: Sequence[Variant], llms: Mapping[str, LLM], *, allow_offline: bool) -> None:
    """Refuse to set rules beside language models, unless that is meant.

    Raises:
        InvalidValueError: Some variants are offline and some are not.
    """
    offline = [v.name for v in variants if v.name in llms and llms[v.name].is_offline]
    if offline and len(offline) < len(variants) and not allow_offline:
        real = [v.name for v in variants if v.name not in offline]
        raise InvalidValueError(
            f"{', '.join(offline)} answer{'s' if len(offline) == 1 else ''} by offline rules and not by a language "
            f"model, beside {', '.join(real)}: name a model for all of them, or allow it (allow_offline=True, "
            "--allow-offline)",
            field="variants",
        )


async def ask_each(asked: Sequence[Asked], pool: Pool, spending: Spending) -> list[str]:
    """Ask every model once; return notes about those that did not answer this time.

    Raises:
        ProviderError: One cannot work: there is no such model, the key is refused, nobody is there.
    """
    different = {(one.llm.provider, one.llm.model): one for one in asked if not one.llm.is_offline}
    notes = await asyncio.gather(*(_ask(one, pool, spending) for one in different.values()))
    return [note for note in notes if note]


async def _ask(asked: Asked, pool: Pool, spending: Spending) -> str:
    llm = PooledLLM(asked.llm, pool.gate(asked.llm), spending, patience=PATIENCE)
    request = ChatRequest(messages=(ChatMessage(role="user", content=QUESTION),), max_tokens=MOST_TOKENS)
    try:
        async for _ in llm.stream(request):
            pass
    except STOPS as error:
        error.add_note(f"asked before the comparison, for {asked.needed_for}")
        raise
    except ProviderError as error:
        return f"{asked.llm.model} did not answer when it was asked first ({error})"
    return ""
