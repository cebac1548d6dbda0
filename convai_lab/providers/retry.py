"""Retry: which failures of a vendor pass by themselves, and how long do we wait for them?"""

from __future__ import annotations

import contextlib
import itertools
import random
from collections.abc import AsyncGenerator, Callable
from dataclasses import dataclass
from typing import TypeVar

from convai_lab.clock import Clock
from convai_lab.errors import ProviderConnectionError, ProviderError
from convai_lab.providers.refusal import Refused

T = TypeVar("T")


@dataclass(frozen=True, kw_only=True)
class RetryPolicy:
    """How often and how long to try: full jitter under a doubling ceiling, within a total time.

    Args:
        attempts: How often to ask at most, the first time included.
        first_wait_secs: The ceiling of the first wait; it doubles each time.
        longest_wait_secs: Where the ceiling stops growing.
        total_secs: After this time nothing new is tried. A vendor that asks for a longer wait is not waited for.
    """

    attempts: int = 4
    first_wait_secs: float = 0.5
    longest_wait_secs: float = 8.0
    total_secs: float = 30.0

    def wait_secs(self, attempt: int, rng: random.Random, *, asked_for: float | None = None) -> float:
        """Return how long to wait after failed attempt number `attempt` (from 1)."""
        if asked_for is not None:
            return asked_for
        ceiling = min(self.longest_wait_secs, self.first_wait_secs * 2 ** (attempt - 1))
        return rng.uniform(0, ceiling)


NO_RETRIES = RetryPolicy(attempts=1)


async def with_retries(
    ask: Callable[[], AsyncGenerator[T, None]],
    *,
    policy: RetryPolicy,
    clock: Clock,
    rng: random.Random,
    adapt: Callable[[Refused], bool] = lambda _: False,
) -> AsyncGenerator[T, None]:
    """Yield the events of `ask()`; ask again after a failure that may pass, but never once an event was yielded.

    `adapt` may change the request after a refusal and say so; the next attempt then follows at once, uncounted.

    Raises:
        ProviderError: The last failure.
    """
    deadline = clock.now() + policy.total_secs
    attempts = itertools.count(1)
    while True:
        begun = False
        try:
            async with contextlib.aclosing(ask()) as events:
                async for event in events:
                    begun = True
                    yield event
            return
        except Refused as refused:
            if not begun and adapt(refused):
                continue
            error, passing, asked_for = refused.error, refused.passing, refused.retry_after
        except ProviderConnectionError as lost:
            error, passing, asked_for = lost, True, None
        attempt = next(attempts)
        wait = policy.wait_secs(attempt, rng, asked_for=asked_for)
        if begun or not passing or attempt >= policy.attempts or clock.now() + wait > deadline:
            raise _without_context(error)
        await clock.sleep(wait)


def _without_context(error: ProviderError) -> ProviderError:
    error.__suppress_context__ = True
    return error
