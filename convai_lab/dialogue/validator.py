"""Validator: how is `jsonschema` loaded without what nobody asks it for?

Jupyter installs `rfc3987_syntax`, whose grammar is parsed while it is imported: 1.1 of the 1.3 s that `jsonschema` took
before the first tool call. It checks the format of IRIs, and is now loaded by whoever checks one.
"""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Iterator
from importlib import import_module
from importlib.util import find_spec
from types import ModuleType
from typing import Any

NEEDED = "jsonschema"
SLOW = "rfc3987_syntax"


def load_validator() -> None:
    """Load what checks arguments (a tenth of a second, once), so that it does not count as a tool's time."""
    if NEEDED not in sys.modules:
        with _loaded_later(SLOW):
            import_module(NEEDED)
    import_module("referencing")


@contextlib.contextmanager
def _loaded_later(name: str) -> Iterator[None]:
    """Let others import functions from a module in the body without loading it; each loads it when it is called."""
    if name in sys.modules or find_spec(name) is None:
        yield
        return
    stand_in = sys.modules[name] = _StandIn(name)
    try:
        yield
    finally:
        if sys.modules.get(name) is stand_in:
            del sys.modules[name]


class _StandIn(ModuleType):
    def __getattr__(self, name: str) -> Callable[..., Any]:
        if name.startswith("__"):
            raise AttributeError(name)
        return lambda *given, **named: getattr(import_module(self.__name__), name)(*given, **named)
