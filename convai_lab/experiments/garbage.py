"""Garbage: how is a run kept from searching all memory for garbage again and again?

Every trial leaves some thousand objects, so that Python's collector looks through all there is every few hundred
trials: modules, price lists, whatever the notebook holds. That took a fifth of a run.
"""

from __future__ import annotations

import contextlib
import gc
from collections.abc import Iterator

NEW_OBJECTS = 50_000
"""So many new objects (Python's own number is 700) make the collector look at them; a trial makes no cycles of ours."""


@contextlib.contextmanager
def calm_collector() -> Iterator[None]:
    """Leave alone, in the body, what is there already; where somebody else does so, nothing changes."""
    if gc.get_freeze_count() or not gc.isenabled():
        yield
        return
    before = gc.get_threshold()
    gc.freeze()
    gc.set_threshold(max(before[0], NEW_OBJECTS), *before[1:])
    try:
        yield
    finally:
        gc.set_threshold(*before)
        gc.unfreeze()
