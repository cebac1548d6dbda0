"""Warm-up: what does the first reply need, loaded before anybody waits for it?"""

from __future__ import annotations

import contextlib
import importlib
import sys
import threading
from collections.abc import Sequence
from typing import Any

from convai_lab.dialogue.parameters import load_validator
from convai_lab.providers.prices import load_prices

FIRST_NEEDED = ("convai_lab.providers.offline_llm", "jupyter_core.paths")
NEEDED_NEXT = ("convai_lab.http.guarded_transport",)
"""For the first webhook and the first vendor."""
LEFT_OUT = "rfc3987_syntax"
"""What `jsonschema` would load to check the format of IRIs, which no tool's arguments are checked for."""


def keep_imports_light() -> None:
    """Leave out what nobody needs; only for a process that is ours alone.

    Measured: Jupyter installs a package whose grammar is parsed in 1.1 of the 1.3 s that `jsonschema` takes.
    """
    modules: dict[str, Any] = sys.modules
    modules.setdefault(LEFT_OUT, None)


def warm_up() -> None:
    """Load in the background what the first conversation needs: its prices last, they are asked for at the end."""
    threading.Thread(target=_load, name="convai-warm-up", daemon=True).start()


def _load() -> None:
    _import(FIRST_NEEDED)
    load_validator()
    _import(NEEDED_NEXT)
    load_prices()


def _import(modules: Sequence[str]) -> None:
    for module in modules:
        with contextlib.suppress(ImportError):
            importlib.import_module(module)
