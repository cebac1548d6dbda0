"""Engines of an agent: what hears and speaks for it on this platform."""

from __future__ import annotations

import pytest

from convai_lab.agents.agent import Agent
from convai_lab.clock import VirtualClock
from convai_lab.errors import InvalidValueError, MissingKeyError
from convai_lab.providers.base import SpeechEngines
from convai_lab.server.context import find_engines


def found(**fields: str) -> SpeechEngines:
    return find_engines(Agent(name="Sam", **fields), clock=VirtualClock())


def test_an_agent_hears_and_speaks_with_the_engines_that_it_names() -> None:
    chosen = found(asr="stub", tts="stub")
    assert (chosen.asr.name, chosen.tts.name) == ("stub", "stub")
    at_address = found(asr="stub", tts="http://127.0.0.1:8000/v1#tts-1")
    assert (at_address.asr.name, at_address.tts.name) == ("stub", "openai")


def test_an_engine_that_cannot_be_used_is_an_error_and_no_other_one_stands_in(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    with pytest.raises(MissingKeyError, match="OPENAI_API_KEY"):
        found(asr="stub", tts="openai/tts-1")
    with pytest.raises(InvalidValueError, match="there is no recogniser called 'whisp'"):
        found(asr="whisp", tts="stub")
