"""Offline speech: how does an agent hear and speak without a key, a network or a model to download?

`EspeakTTS` speaks with espeak-ng, `PocketsphinxASR` listens with pocketsphinx, each in a process of its own
(`child_process` here, `child_main` there); `SileroVAD` tells speech from the rest. Importing this loads no engine.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from convai_lab.providers.offline_speech.child_process import stop_speech_processes
    from convai_lab.providers.offline_speech.espeak import EspeakTTS
    from convai_lab.providers.offline_speech.pocketsphinx import PocketsphinxASR, PocketsphinxStream, Vocabulary
    from convai_lab.providers.offline_speech.silero import SileroVAD

_HERE = {
    "EspeakTTS": "espeak",
    "PocketsphinxASR": "pocketsphinx",
    "PocketsphinxStream": "pocketsphinx",
    "SileroVAD": "silero",
    "Vocabulary": "pocketsphinx",
    "stop_speech_processes": "child_process",
}

__all__ = [
    "EspeakTTS",
    "PocketsphinxASR",
    "PocketsphinxStream",
    "SileroVAD",
    "Vocabulary",
    "stop_speech_processes",
]


def __getattr__(name: str) -> Any:
    """Import a public name when it is first used, so that the child processes load only what they need."""
    if name not in _HERE:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_HERE[name]}"), name)
