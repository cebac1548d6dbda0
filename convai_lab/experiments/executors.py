"""Executors: where are trials held, here or on a cluster?"""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Sequence
from typing import Any

from convai_lab.errors import InvalidValueError, MissingPackageError
from convai_lab.experiments.holding import Holder
from convai_lab.experiments.lineup import Lineup
from convai_lab.experiments.runner import Hold

LOCAL = "local"


def check_executor(executor: Any) -> None:
    """Refuse what is no executor, before anything is asked or paid.

    Raises:
        InvalidValueError: It is neither ``local`` nor a `dask.distributed` client.
        MissingPackageError: Dask was asked for and is not installed.
    """
    if executor is None or executor == LOCAL:
        return
    if isinstance(executor, str) and executor.lower() in ("dask", "distributed"):
        _require_dask()
        raise InvalidValueError(
            "give the client itself: from dask.distributed import Client; executor=Client()", field="executor"
        )
    if not all(hasattr(executor, name) for name in ("submit", "run", "scheduler_info", "cancel")):
        kind = type(executor).__name__
        raise InvalidValueError(f"must be 'local' or a dask.distributed Client, got {kind}", field="executor")
    if getattr(executor, "asynchronous", False):
        raise InvalidValueError("must be an ordinary Client, without asynchronous=True", field="executor")
    _require_dask()


@contextlib.asynccontextmanager
async def make_hold(executor: Any, holder: Holder, lineup: Lineup, *, seed: int) -> AsyncIterator[Hold]:
    """Give a function that holds one trial, in this process or by a `dask.distributed` client."""
    if executor is None or executor == LOCAL:
        yield holder.hold
        return
    from convai_lab.experiments.cluster import Cluster, pack

    cluster = Cluster(executor, pack(lineup, holder, seed=seed), holder.spending)
    try:
        yield cluster.hold
    finally:
        await cluster.close()


def _require_dask(names: Sequence[str] = ("distributed", "cloudpickle")) -> None:
    from importlib.util import find_spec

    if any(find_spec(name) is None for name in names):
        raise MissingPackageError("dask.distributed", extra="scale", needed_for="a comparison on a cluster")
