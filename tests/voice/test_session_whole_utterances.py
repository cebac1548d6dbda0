"""A recogniser without guesses: nobody knows what is being said before it was said, and the user is heard out."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from convai_lab.agents.agent import Agent
from convai_lab.agents.turn_taking import TurnTaking
from convai_lab.clock import VirtualClock
from convai_lab.providers.base import ASRStream, SpeechEngines
from convai_lab.providers.stub_speech import StubASR, stub_engines
from convai_lab.providers.utterance import WholeUtterance
from convai_lab.testing.callers import Cough, HangUp, Noise, Say, Stay, hold_call

LONG = "the order that I made on Monday has not come and I would like to know where it is today please"


class WholeASR(StubASR):
    """Says nothing before an utterance is over, and says so."""

    capabilities = replace(StubASR.capabilities, streaming=False, partials=False)

    def open(self, **how: Any) -> ASRStream:
        stream = super().open(**how)
        stream.partial = lambda: None  # type: ignore[method-assign]
        return stream


def whole(clock: VirtualClock, *, finish_secs: float = 0.0) -> SpeechEngines:
    return replace(stub_engines(clock), asr=WholeASR(clock, finish_secs=finish_secs))


def sam(**turn: Any) -> Agent:
    return Agent(name="Sam", prompt="You are Sam.", first_message="Hello.", turn=TurnTaking(**turn))


def said(held: Any) -> list[tuple[str, str]]:
    return [(turn.role, turn.text) for turn in held.conversation][1:]


def test_a_long_sentence_is_heard_out_before_the_agent_asks_whether_anybody_is_there() -> None:
    held = hold_call(sam(timeout_secs=3), [LONG], llm=["Tomorrow."] * 4, engines=whole)
    assert said(held) == [("user", LONG), ("agent", "Tomorrow.")]
    assert not any(turn.interrupted for turn in held.conversation)


def test_a_call_does_not_end_for_silence_in_the_middle_of_a_long_sentence() -> None:
    agent = sam(timeout_secs=-1, silence_end_call_secs=4)
    held = hold_call(agent, [LONG], llm=["Tomorrow."] * 4, engines=whole)
    assert held.conversation.end_reason == "hung_up"


def test_words_that_come_after_the_turn_end_the_silence_of_the_user_too() -> None:
    script = [Say("First question", at=3.0), Say("second question", at=7.0), Say("third question", at=11.0)]
    agent = sam(mode="silence", timeout_secs=-1, silence_end_call_secs=5)
    held = hold_call(agent, script, llm=["Yes."] * 4, engines=lambda clock: whole(clock, finish_secs=0.7))
    assert [text for role, text in said(held) if role == "user"] == [
        "First question",
        "second question",
        "third question",
    ]


@pytest.mark.parametrize("noise", [[Noise(-30.0), Stay(60)], [Cough(at=3.0 * n) for n in range(1, 14)]])
def test_noises_do_not_keep_an_agent_silent_for_ever(noise: list[Any]) -> None:
    held = hold_call(sam(timeout_secs=-1, silence_end_call_secs=15), noise, llm=["Are you there?"] * 9, engines=whole)
    assert held.conversation.end_reason == "silence"


def test_a_long_sentence_is_no_noise_when_a_recogniser_has_no_guesses_for_once() -> None:
    class Unreachable(StubASR):
        def open(self, **how: Any) -> ASRStream:
            stream = super().open(**how)
            return WholeUtterance(lambda pcm: (stream.feed(pcm), stream.finish())[1])

    long = f"{LONG} {LONG}"
    held = hold_call(
        sam(timeout_secs=3), [long], llm=["Yes."] * 4,
        engines=lambda clock: replace(stub_engines(clock), asr=Unreachable(clock)),
    )  # fmt: skip
    assert said(held) == [("user", long), ("agent", "Yes.")]


@pytest.mark.parametrize("script", [[Say("Where is it?"), Stay(3), HangUp()], [Say("Where is it?"), HangUp()]])
@pytest.mark.parametrize("has_guesses", [True, False])
def test_who_hangs_up_on_a_slow_recogniser_waits_no_longer_than_for_any_last_words(
    script: list[Any], has_guesses: bool
) -> None:
    asr = StubASR if has_guesses else WholeASR
    held = hold_call(
        sam(), script, llm=["Here."], engines=lambda clock: replace(stub_engines(clock), asr=asr(clock, finish_secs=60))
    )
    last = held.conversation[-1]
    assert held.secs < 10
    assert held.conversation.end_reason == "hung_up"
    if has_guesses:
        assert (last.text, last.error) == ("Where is it?", None)
    else:
        assert (last.text, last.error) == ("", "the recogniser had not answered when the conversation ended")
