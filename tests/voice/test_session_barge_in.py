"""Barge-in: who gives way when both speak, what the record keeps of it, and what the model is told."""

from __future__ import annotations

from typing import Any

import pytest

from convai_lab.agents.agent import Agent
from convai_lab.agents.turn_taking import TurnTaking
from convai_lab.dialogue.history import INTERRUPTED
from convai_lab.providers.stub_speech import stub_engines
from convai_lab.testing.callers import Cough, Say, Stay, barge_in, hold_call
from convai_lab.testing.fake_llm import FakeLLM, Reply, call
from convai_lab.voice import events

NUMBERS = "One two three four five six seven eight nine ten eleven twelve."


def sam(**fields: Any) -> Agent:
    return Agent(**{"name": "Sam", "prompt": "You are Sam.", "first_message": "Hello.", **fields})


def cut_at(held: Any) -> float:
    """Return the last instant at which the interrupted turn was heard."""
    number = held.transport.flushed[0]
    last = [one for one in held.transport.heard if one.audio.turn_id == number][-1]
    return float(last.at + last.audio.secs)


def test_real_speech_cuts_the_agent_within_200_ms_of_audio() -> None:
    held = hold_call(sam(), ["Count please.", Say("No, stop that", at=5.0)], llm=[NUMBERS, "Sorry."])
    assert 0 < cut_at(held) - 5.0 <= 0.2


@pytest.mark.parametrize("vad", ["energy", "stub"])
@pytest.mark.parametrize("text", ["stop", "I have another question", "seven", "wait no"])
def test_any_words_for_the_agent_cut_it(text: str, vad: Any) -> None:
    held = hold_call(
        sam(), ["Count please.", barge_in(text, word=3)], llm=[NUMBERS, "Sorry."],
        engines=lambda clock: stub_engines(clock, vad=vad),
    )  # fmt: skip
    assert [t.text for t in held.conversation if t.role == "user"][1:] == [text]
    assert held.conversation[2].interrupted
    assert held.conversation[4].text == "Sorry."


def test_the_record_keeps_what_was_heard_and_the_model_is_told() -> None:
    llm = FakeLLM([NUMBERS, "Sorry."])
    held = hold_call(sam(), ["Count please.", barge_in("No, stop that", word=4)], llm=llm)
    turn = held.conversation[2]
    assert turn.interrupted
    assert turn.text == NUMBERS
    assert turn.text_heard in ("One two three four", "One two three four five")
    contents = [message.content for message in llm.requests[1].messages]
    assert turn.text_heard in contents
    assert INTERRUPTED in contents
    assert turn.end_secs == pytest.approx(cut_at(held), abs=0.001)


def test_interrupted_comes_before_the_correction_and_both_name_the_turn() -> None:
    held = hold_call(sam(), ["Count please.", barge_in("No, stop that", word=4)], llm=[NUMBERS, "Sorry."])
    told = [e for _, e in held.happened if isinstance(e, (events.Interrupted, events.AgentCorrected))]
    assert [type(e) for e in told] == [events.Interrupted, events.AgentCorrected]
    assert told[0].turn_id == told[1].turn_id
    assert told[1].original == NUMBERS
    assert told[1].heard == held.conversation[2].text_heard


def test_a_reply_is_cut_while_it_is_still_being_written() -> None:
    slow = Reply(NUMBERS + " And so on and so on.", piece_secs=0.6)
    held = hold_call(sam(), ["Count please.", barge_in("No, stop that", word=4)], llm=[slow, "Sorry."])
    turn = held.conversation[2]
    assert turn.interrupted
    assert len(turn.text) < len(slow.text)
    assert turn.text.startswith(turn.text_heard)


@pytest.mark.parametrize("vad", ["energy", "stub"])
def test_a_cough_does_not_cut_the_agent(vad: Any) -> None:
    held = hold_call(
        sam(), ["Count please.", Cough(word=3)], llm=[NUMBERS], engines=lambda clock: stub_engines(clock, vad=vad)
    )
    assert not held.transport.flushed
    assert not held.events(events.Interrupted)
    assert [t.text for t in held.conversation] == ["Hello.", "Count please.", NUMBERS]


@pytest.mark.parametrize(
    ("text", "terms"), [("mm-hm", ()), ("uh-huh", ()), ("okay sure", ("okay", "sure")), ("Hmm", ())]
)
def test_a_listener_s_noise_does_not_interrupt_the_agent(text: str, terms: tuple[str, ...]) -> None:
    agent = sam(turn=TurnTaking(ignore_terms=terms))
    held = hold_call(agent, ["Count please.", barge_in(text, word=3)], llm=[NUMBERS])
    assert [t.text for t in held.conversation] == ["Hello.", "Count please.", NUMBERS]
    assert not held.conversation[2].interrupted
    assert held.conversation[2].text_heard is None
    assert not held.events(events.Interrupted)


def test_after_a_false_interruption_the_rest_of_the_sentence_is_heard() -> None:
    held = hold_call(sam(), ["Count please.", barge_in("mm-hm", word=3)], llm=[NUMBERS])
    whole = hold_call(sam(), ["Count please."], llm=[NUMBERS])
    heard = sum(one.audio.secs for one in held.transport.heard)
    assert heard >= sum(one.audio.secs for one in whole.transport.heard)
    ids = [audio.turn_id for audio in held.transport.sent]
    assert ids == sorted(ids)
    assert held.transport.flushed == [] or max(ids) > held.transport.flushed[-1]


def test_the_agent_s_own_echo_is_nobody_s_turn() -> None:
    held = hold_call(sam(), ["Count please.", barge_in("three four five", word=6)], llm=[NUMBERS])
    assert [t.text for t in held.conversation] == ["Hello.", "Count please.", NUMBERS]
    assert not held.conversation[2].interrupted


def test_a_first_message_that_must_be_heard_is_and_what_was_said_over_it_is_answered_after() -> None:
    agent = sam(first_message=NUMBERS, turn=TurnTaking(first_message_interruptible=False))
    held = hold_call(agent, [barge_in("Where is my order", word=3)], llm=["Here."])
    assert [t.text for t in held.conversation] == [NUMBERS, "Where is my order", "Here."]
    assert not held.conversation[0].interrupted
    assert held.conversation[2].start_secs >= held.conversation[0].end_secs


def test_speech_that_goes_on_while_the_agent_thinks_is_one_more_turn_and_both_are_known() -> None:
    llm = FakeLLM([Reply("First.", delay_secs=3), "Second."])
    held = hold_call(sam(), [Say("Where is it", at=2.0), Say("I mean the blue one", at=4.2)], llm=llm)
    assert [t.text for t in held.conversation if t.role == "user"] == ["Where is it", "I mean the blue one"]
    assert [m.content for m in llm.requests[-1].messages if m.role == "user"] == ["Where is it", "I mean the blue one"]
    assert held.conversation[-1].text == "Second."
    assert llm.cancelled == 1


def test_a_noise_while_the_agent_thinks_does_not_lose_the_reply() -> None:
    held = hold_call(
        sam(), [Say("Where is it", at=2.0), Say("mm-hm", at=4.2), Stay(2)], llm=[Reply("Here it is.", delay_secs=2)]
    )
    assert [t.text for t in held.conversation] == ["Hello.", "Where is it", "Here it is."]
    assert not held.conversation[-1].interrupted


def test_two_interruptions_in_a_row_are_two_turns() -> None:
    held = hold_call(
        sam(),
        ["Count please.", barge_in("no stop", word=3), barge_in("stop again", word=3)],
        llm=[NUMBERS, "Alpha beta gamma delta epsilon zeta eta theta.", "Sorry."],
    )
    assert [t.text for t in held.conversation if t.role == "user"] == ["Count please.", "no stop", "stop again"]
    assert [t.interrupted for t in held.conversation if t.role == "agent"] == [False, True, True, False]


def test_an_interruption_in_noise_is_one_all_the_same() -> None:
    from convai_lab.testing.callers import Noise

    held = hold_call(
        sam(), [Noise(-45.0), "Count please.", barge_in("No, stop that", word=4)], llm=[NUMBERS, "Sorry."],
        engines=lambda clock: stub_engines(clock, vad="stub"),
    )  # fmt: skip
    assert [t.text for t in held.conversation if t.role == "user"] == ["Count please.", "No, stop that"]
    assert held.conversation[2].interrupted


def test_an_agent_cut_before_its_first_word_has_no_turn_and_the_model_is_asked_as_if_it_had_kept_silent() -> None:
    llm = FakeLLM([Reply("It ships tomorrow.", delay_secs=5), "One moment."])
    held = hold_call(sam(), ["Where is my order?", Say("Hello are you there", at=6.0)], llm=llm)
    assert [(turn.role, turn.text) for turn in held.conversation][1:] == [
        ("user", "Where is my order?"),
        ("user", "Hello are you there"),
        ("agent", "One moment."),
    ]
    assert held.events(events.Interrupted) == []
    assert [(m.role, m.content) for m in llm.requests[-1].messages][-2:] == [
        ("user", "Where is my order?"),
        ("user", "Hello are you there"),
    ]


def test_who_speaks_just_as_the_agent_hangs_up_still_hears_the_goodbye_and_the_call_ends() -> None:
    goodbye = "Goodbye and thank you for calling us today, it was a pleasure to talk with you this morning. "
    llm = [Reply([goodbye, "So."], [call("end_call", reason="done")], piece_secs=0.8)]
    held = hold_call(sam(tools=("end_call",)), ["Bye.", barge_in("wait I have one more question", word=1)], llm=llm)
    assert (held.conversation.end_reason, held.conversation.ended_by) == ("end_call", "agent")
    assert not held.conversation[2].interrupted
    assert held.secs < 20
