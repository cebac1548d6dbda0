"""Executors: where are trials held, here or on a cluster?"""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from typing import Any

from convai_lab.errors import InvalidValueError
from convai_lab.experiments.holding import Holder
from convai_lab.experiments.runner import Hold

LOCAL = "local"


@contextlib.asynccontextmanager
async def make_hold(executor: Any, holder: Holder) -> AsyncIterator[Hold]:
    """Give a function that holds one trial, in this process or by a `dask.distributed` client.

    Raises:
        InvalidValueError: The executor is neither.
    """
    if executor is None or executor == LOCAL:
        yield holder.hold
        return
    raise InvalidValueError(
        f"must be 'local' or a dask.distributed Client, got {type(executor).__name__}", field="executor"
    )
