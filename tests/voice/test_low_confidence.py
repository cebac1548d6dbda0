"""One limit says of any recogniser whether the agent should doubt the words."""

from __future__ import annotations

import math
from typing import Any

import pytest

from convai_lab.clock import VirtualClock
from convai_lab.providers.base import Final
from convai_lab.voice.answering import LOW_CONFIDENCE
from convai_lab.voice.listening import Utterance, likelihood


@pytest.mark.parametrize("said", [None, True, False, math.nan, math.inf, -math.inf, -0.01, 1.01, 87, "0.9", [0.9]])
def test_what_is_no_likelihood_says_nothing(said: object) -> None:
    assert likelihood(said) is None


@pytest.mark.parametrize("said", [0, 0.0, 0.2, LOW_CONFIDENCE, 1, 1.0])
def test_a_likelihood_is_taken_as_it_is(said: float) -> None:
    assert likelihood(said) == said


class Stream:
    """A recogniser's stream that heard this."""

    def __init__(self, final: Final) -> None:
        self._final = final

    def feed(self, pcm: bytes) -> None:
        pass

    def partial(self) -> None:
        return None

    async def finish(self) -> Final:
        return self._final


@pytest.mark.parametrize(
    ("pieces", "sure"),
    [
        ([("a long piece of which it is sure", 0.98), ("wrong", 0.1)], 0.1),
        ([("wrong", 0.1), ("a long piece of which it is sure", 0.98)], 0.1),
        ([("sure", 0.9), ("said without a number", None)], 0.9),
        ([("sure", 0.9), ("", 0.0)], 0.9),
        ([("sure", 0.9), ("a plug-in may say anything", "high")], 0.9),
        ([("sure", 0.9), ("a plug-in may say anything", float("nan"))], 0.9),
        ([("no number", None)], None),
    ],
)
def test_a_turn_is_as_sure_as_its_least_sure_piece(pieces: list[tuple[str, Any]], sure: float | None) -> None:
    finals = iter([Final(text=text, confidence=confidence) for text, confidence in pieces])

    async def main() -> Final:
        utterance = Utterance(lambda: Stream(next(finals)), start=0, over_agent=False)  # type: ignore[arg-type, return-value]
        for number in range(len(pieces)):
            if number:
                utterance.feed(b"\0\0")
            utterance.pause(lambda: 0.0)
        return await utterance.final()

    final = VirtualClock().run(main())
    assert final.text == " ".join(text for text, _ in pieces if text)
    assert final.confidence == sure
