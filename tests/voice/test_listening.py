"""Listening: utterances with pauses, and how sure the recogniser was of them."""

from __future__ import annotations

import asyncio
from typing import Any

from convai_lab.agents.turn_taking import TurnTaking
from convai_lab.clock import VirtualClock
from convai_lab.providers.stub_speech import StubTTS, stub_engines
from convai_lab.voice.audio import FRAME_BYTES, silence
from convai_lab.voice.listening import Listener


def listen(pcm: bytes, turn: TurnTaking | None = None) -> tuple[list[str], list[str]]:
    """Return what happened, and the turns that were heard."""
    clock = VirtualClock()

    async def main() -> tuple[list[str], list[str]]:
        listener = Listener(stub_engines(clock), turn or TurnTaking(mode="silence"), now=clock.now)
        happened: list[str] = []
        turns: list[Any] = []
        current: Any = None
        for at in range(0, len(pcm), FRAME_BYTES):
            happening = listener.hear(pcm[at : at + FRAME_BYTES].ljust(FRAME_BYTES, b"\0"))
            await asyncio.sleep(0)
            if happening:
                happened.append(happening)
            current = listener.utterance or current
            if happening == "ended":
                turns.append((await current.final()).text)
        return happened, turns

    return clock.run(main())


def speech(text: str) -> bytes:
    return StubTTS().render(text)[0]


def test_a_pause_is_no_end_and_the_pieces_are_joined() -> None:
    happened, turns = listen(speech("one two") + silence(0.3) + speech("three four") + silence(1))
    assert happened == ["started", "paused", "resumed", "paused", "ended"]
    assert turns == ["one two three four"]


def test_a_longer_pause_is_the_end() -> None:
    happened, turns = listen(speech("one two") + silence(0.6) + speech("three four") + silence(1))
    assert happened == ["started", "paused", "ended"] * 2
    assert turns == ["one two", "three four"]


def test_a_click_in_the_pause_does_not_put_the_end_off() -> None:
    from convai_lab.voice.audio import tone

    pcm = speech("one two") + silence(0.3) + tone(300, 0.02) + silence(1)
    assert listen(pcm)[0] == ["started", "paused", "ended"]


def test_nothing_happens_in_silence() -> None:
    assert listen(silence(5)) == ([], [])
