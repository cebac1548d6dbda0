"""Taping: how does a comparison record what vendors answer, or replay it without them?

The cassette stands between a trial and the pool: what is recorded is what the trial met, after waiting and asking
again. Replayed trials are held in virtual time, so that their latencies are the recorded ones.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from convai_lab import settings
from convai_lab.errors import InvalidValueError
from convai_lab.experiments.plan import PlannedTrial
from convai_lab.experiments.variant import Variant
from convai_lab.providers.cassette import Cassette, as_cassette, in_use


def open_cassette(given: Any, variants: Sequence[Variant], executor: Any) -> Cassette | None:
    """Return the cassette of a comparison, at its beginning: the one given, else the one that is set, else None.

    Raises:
        InvalidValueError: It is no cassette, or cannot record these variants, or on this executor.
        StorageError: The file is not there to be replayed.
    """
    cassette = as_cassette(given if given is not None else settings.setting(settings.CASSETTE_VARIABLE))
    if cassette is None:
        return None
    remote = [variant.name for variant in variants if variant.is_remote]
    if remote:
        raise InvalidValueError(
            f"{', '.join(remote)} answer{'s' if len(remote) == 1 else ''} on another platform, where no cassette "
            "records: leave it out, or compare local agents",
            field="cassette",
        )
    if executor not in (None, "local"):
        raise InvalidValueError("is recorded and replayed in one process only: use executor='local'", field="cassette")
    cassette.rewind()
    return cassette


@contextmanager
def taped(cassette: Cassette | None, planned: PlannedTrial) -> Iterator[None]:
    """Let a trial's calls be its own on the cassette."""
    if cassette is None:
        yield
        return
    with in_use(cassette), cassette.scope(f"{planned.variant.name}/{planned.scenario.id}/{planned.trial}"):
        yield


def is_replay(cassette: Cassette | None) -> bool:
    """Say whether everything comes from a recording."""
    return cassette is not None and cassette.mode == "replay"


def notes_of(cassette: Cassette | None) -> list[str]:
    """Return sentences on what the cassette had to do with a run."""
    if cassette is None:
        return []
    if is_replay(cassette):
        return [f"replayed from {cassette.name}: no vendor was asked; times and tokens are the recorded ones"]
    return [f"recorded into {cassette.name} ({cassette.mode})", *cassette.notes]
