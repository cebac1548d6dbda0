"""The session: turns, waits, tools and endings of a spoken conversation, in virtual time."""

from __future__ import annotations

import asyncio
from collections import deque
from dataclasses import replace
from typing import Any

import pytest

from convai_lab.agents.agent import Agent
from convai_lab.agents.tools import ClientTool
from convai_lab.agents.turn_taking import TurnTaking
from convai_lab.errors import ProviderConnectionError
from convai_lab.providers.base import SpeechEngines
from convai_lab.providers.stub_speech import StubASR, StubTTS, stub_engines
from convai_lab.testing.callers import Cough, HangUp, Play, Press, Say, Stay, Type, barge_in, hold_call
from convai_lab.testing.fake_llm import FakeLLM, Reply, call
from convai_lab.voice import events
from convai_lab.voice.recording import Recording
from convai_lab.voice.wav import read_wav

HELLO = "Hello, this is Sam."
LOOK_UP = ClientTool(name="look_up", description="d", parameters={"type": "object", "properties": {}})


def sam(**fields: Any) -> Agent:
    return Agent(**{"name": "Sam", "prompt": "You are Sam.", "first_message": HELLO, **fields})


def speech(text: str) -> bytes:
    return StubTTS().render(text, voice="caller")[0]


def said(held: Any) -> list[tuple[str, str]]:
    return [(turn.role, turn.text) for turn in held.conversation]


def test_a_call_has_a_first_message_a_question_and_an_answer() -> None:
    held = hold_call(sam(), ["Where is my order?"], llm=["It ships tomorrow."])
    assert said(held) == [("agent", HELLO), ("user", "Where is my order?"), ("agent", "It ships tomorrow.")]
    assert (held.conversation.end_reason, held.conversation.ended_by) == ("hung_up", "user")
    assert held.conversation.status == "done"
    assert not any(turn.interrupted for turn in held.conversation)


def test_a_turn_ends_after_the_silence_of_its_eagerness() -> None:
    waits = {}
    for eagerness in ("eager", "normal", "patient"):
        agent = sam(turn=TurnTaking(mode="silence", eagerness=eagerness))
        waits[eagerness] = hold_call(agent, ["Good morning."], llm=["Hi."]).conversation[2].metrics.endpointing_ms
    assert waits == {"eager": 260, "normal": 400, "patient": 800}


def test_an_unfinished_sentence_is_given_more_time_in_mode_turn_only() -> None:
    waits = [
        hold_call(sam(turn=TurnTaking(mode=mode)), ["I would like to"], llm=["Yes?"]).conversation[2]
        for mode in ("silence", "turn")
    ]
    assert [turn.metrics.endpointing_ms for turn in waits] == [400, 1100]


def test_a_pause_while_spelling_does_not_end_the_turn() -> None:
    script = [Say("my number is one two three", at=2.0), Say("four five six seven", at=5.2)]
    assert [t.text for t in hold_call(sam(), script, llm=["Ok."] * 2).conversation if t.role == "user"] == [
        "my number is one two three four five six seven"
    ]
    impatient = sam(turn=TurnTaking(spelling_patience="off"))
    assert len([t for t in hold_call(impatient, script, llm=["Ok."] * 3).conversation if t.role == "user"]) == 2


class LateGuesses(StubASR):
    """A recogniser whose guesses are a second behind the voice."""

    def open(self, **how: Any) -> Any:
        stream, guesses = super().open(**how), deque[Any](maxlen=50)
        partial = stream.partial

        def late() -> Any:
            guesses.append(partial())
            return guesses[0] if len(guesses) == 50 else None

        stream.partial = late  # type: ignore[method-assign]
        return stream


def test_a_number_that_goes_on_after_a_long_pause_is_not_cut_when_guesses_are_late() -> None:
    number = [speech("my number is one two three"), bytes(64000 + 6400), speech("four five six seven eight nine")]
    held = hold_call(
        sam(turn=TurnTaking(eagerness="patient")), [Play(b"".join(number))], llm=["Ok."] * 3,
        engines=lambda clock: replace(stub_engines(clock), asr=LateGuesses(clock)),
    )  # fmt: skip
    users = [text for role, text in said(held) if role == "user"]
    assert users == ["my number is one two three four five six seven eight nine"]


def test_a_number_that_the_agent_expects_is_answered_at_once_and_still_not_cut_before_its_end() -> None:
    expecting = sam(expected_phrases=("my order is one two three four",))
    script = [Say("my order is nine eight", at=2.0), Say("seven six", at=4.2)]
    held = hold_call(expecting, script, llm=["Ok."] * 2)
    assert [text for role, text in said(held) if role == "user"] == ["my order is nine eight seven six"]
    assert held.conversation[2].metrics.endpointing_ms == 400


class WholeUtterances(StubASR):
    """A recogniser that says nothing before an utterance is over, as many do."""

    def open(self, **how: Any) -> Any:
        stream = super().open(**how)
        stream.partial = lambda: None
        return stream


def late_and_whole(clock: Any) -> SpeechEngines:
    return replace(stub_engines(clock), asr=WholeUtterances(clock, finish_secs=0.7))


def test_a_recogniser_that_is_late_does_not_cut_who_spells_or_has_not_finished_the_sentence() -> None:
    for first, then in (("my number is one two three", "four five six seven"), ("I would like to", "change it")):
        script = [Say(first, at=2.0), Say(then, at=5.2 if "one" in first else 4.2)]
        held = hold_call(sam(), script, llm=["Ok."] * 2, engines=late_and_whole)
        assert [text for role, text in said(held) if role == "user"] == [f"{first} {then}"]


def test_a_late_recogniser_costs_its_own_time_and_no_more() -> None:
    metrics = hold_call(sam(), ["Where is it?"], llm=["Here."], engines=late_and_whole).conversation[2].metrics
    assert (metrics.endpointing_ms, metrics.asr_ms, metrics.unexplained_ms) == (400, 500, 0)
    assert metrics.voice_to_voice_ms == 900


def test_a_recogniser_that_never_answers_does_not_keep_the_turn_open() -> None:
    def stuck(clock: Any) -> SpeechEngines:
        return replace(stub_engines(clock), asr=WholeUtterances(clock, finish_secs=5))

    held = hold_call(sam(), ["Where is it?"], llm=["Here."], engines=stuck)
    thinking = [at for at, event in held.happened if event == events.StateChanged("thinking")]
    assert thinking[0] == pytest.approx(held.conversation[1].end_secs + 2.0, abs=0.03)
    assert said(held)[1:] == [("user", "Where is it?"), ("agent", "Here.")]


def test_every_agent_turn_carries_a_waterfall_that_adds_up() -> None:
    held = hold_call(
        sam(),
        ["Where is my order?"],
        llm=[Reply("It ships tomorrow morning.", delay_secs=0.3, piece_secs=0.05)],
        engines=lambda clock: stub_engines(clock, finish_secs=0.1, first_byte_secs=0.06),
    )
    m = held.conversation[2].metrics
    assert (m.endpointing_ms, m.asr_ms, m.llm_ttft_ms, m.first_sentence_ms) == (400, 0, 300, 150)
    assert (m.tts_ttfb_ms, m.playout_ms, m.unexplained_ms) == (60, 0, 0)
    assert m.voice_to_voice_ms == 400 + 300 + 150 + 60
    assert m.voice_to_voice_ms == 400 + 300 + 150 + 60


def test_a_speculative_agent_thinks_while_it_waits_for_the_end_of_the_turn() -> None:
    llm = FakeLLM([Reply("It ships tomorrow.", delay_secs=0.15)])
    held = hold_call(sam(turn=TurnTaking(speculative=True)), ["Where is my order?"], llm=llm)
    assert said(held)[1:] == [("user", "Where is my order?"), ("agent", "It ships tomorrow.")]
    assert held.conversation[2].metrics.voice_to_voice_ms == 400
    assert (len(llm.requests), llm.cancelled) == (1, 0)


def test_a_speculative_answer_is_thrown_away_when_the_user_goes_on() -> None:
    llm = FakeLLM(lambda request: Reply(f"To: {request.messages[-1].content}", delay_secs=1))
    agent = sam(turn=TurnTaking(mode="silence", speculative=True, eagerness="patient"))
    held = hold_call(agent, [Say("Where is", at=2.0), Say("my order", at=3.3)], llm=llm)
    assert said(held)[1:] == [("user", "Where is my order"), ("agent", "To: Where is my order")]
    assert (len(llm.requests), llm.cancelled) == (2, 1)


def test_turns_say_when_they_were_heard_and_by_which_engines() -> None:
    held = hold_call(sam(voice="George"), [Say("Where is my order?", at=3.0)], llm=["It ships tomorrow."])
    hello, question, answer = held.conversation
    assert (hello.tts_engine, hello.voice) == ("stub", "George")
    assert hello.start_secs == pytest.approx(0.0, abs=0.001)
    assert question.start_secs == pytest.approx(3.0, abs=0.03)
    assert question.end_secs == pytest.approx(held.when(events.UserFinal) - 0.4, abs=0.001)
    assert (question.asr_engine, question.asr_confidence, question.marks) == ("stub", 1.0, ())
    assert answer.start_secs == pytest.approx(question.end_secs + 0.4, abs=0.001)
    assert answer.end_secs == pytest.approx(answer.start_secs + held.transport.sent[-1].secs, abs=2.0)


def test_the_first_sentence_is_heard_while_the_model_still_writes() -> None:
    reply = Reply("One moment please, I will look. " + "And so on. " * 8, piece_secs=0.2)
    held = hold_call(sam(), ["Hello there."], llm=[reply])
    speaking = next(at for at, e in held.happened if e == events.StateChanged("speaking") and at > 2)
    assert speaking < held.when(events.AgentTurn, 1) - 2


def test_speech_before_a_tool_plays_while_the_tool_runs() -> None:
    async def slow(_call: Any) -> str:
        await asyncio.sleep(3)
        return "shipped"

    llm = [Reply("Let me check", [call("look_up")]), "It was shipped."]
    held = hold_call(sam(tools=(LOOK_UP,)), ["Where is it?"], llm=llm, client_tool=slow)
    started, finished = held.when(events.ToolStarted), held.when(events.ToolFinished)
    assert finished - started == pytest.approx(3)
    spoken = [one.at for one in held.transport.heard]
    assert any(started <= at < finished - 1 for at in spoken)
    assert held.conversation[2].text == "Let me check It was shipped."


def test_end_call_waits_until_the_goodbye_was_heard() -> None:
    agent = sam(tools=("end_call",))
    llm = [Reply("Goodbye and thank you for calling us today.", [call("end_call", reason="done")])]
    held = hold_call(agent, ["Bye.", barge_in("wait wait", word=3)], llm=llm)
    assert (held.conversation.end_reason, held.conversation.ended_by) == ("end_call", "agent")
    assert held.secs == pytest.approx(held.transport.plays_until, abs=0.001)
    assert not held.conversation[2].interrupted


def test_skip_turn_says_nothing_and_waits_as_long_as_it_takes() -> None:
    agent = sam(tools=("skip_turn",))
    held = hold_call(
        agent, ["Give me a moment.", Stay(60), Say("Now go on.", at=75)], llm=[call("skip_turn"), "Here I am."]
    )
    assert [t.text for t in held.conversation if t.role == "agent" and t.text] == [HELLO, "Here I am."]
    assert held.when(events.AgentTurn, 1) > 75


def test_the_agent_speaks_again_when_nobody_does_and_ends_a_silent_call() -> None:
    agent = sam(turn=TurnTaking(timeout_secs=5, silence_end_call_secs=12))
    held = hold_call(agent, [Stay(100)], llm=["Are you there?"] * 9)
    assert [t.text for t in held.conversation] == [HELLO, "Are you there?", "Are you there?"]
    assert held.conversation.end_reason == "silence"
    hello_end = held.conversation[0].end_secs
    assert held.conversation[1].start_secs == pytest.approx(hello_end + 5, abs=0.03)


def test_the_initial_wait_counts_only_where_there_is_no_first_message() -> None:
    turn = TurnTaking(timeout_secs=5, initial_wait_secs=2)
    silent = hold_call(sam(first_message="", turn=turn), [Stay(4)], llm=["Hello?"] * 5)
    assert silent.conversation[0].start_secs == pytest.approx(2, abs=0.03)
    greeted = hold_call(sam(turn=turn), [Stay(8)], llm=["Hello?"] * 5)
    assert greeted.conversation[1].start_secs == pytest.approx(greeted.conversation[0].end_secs + 5, abs=0.03)


def test_a_key_pressed_puts_the_next_nudge_off() -> None:
    agent = sam(first_message="", turn=TurnTaking(timeout_secs=3))
    held = hold_call(agent, [Stay(2.5), Press("1")], llm=["Hello?"] * 5)
    assert held.conversation[0].text == "1"


def test_a_slow_reply_is_bridged_by_the_filler() -> None:
    agent = sam(turn=TurnTaking(soft_timeout_secs=1, soft_timeout_message="Let me think."))
    held = hold_call(agent, ["Where is it?"], llm=[Reply("Here it is.", delay_secs=4)])
    filler, answer = held.conversation[2], held.conversation[3]
    assert (filler.text, filler.marks, answer.text) == ("Let me think.", ("filler",), "Here it is.")
    assert filler.start_secs == pytest.approx(held.when(events.UserFinal) + 1, abs=0.001)
    assert answer.start_secs == pytest.approx(held.when(events.UserFinal) + 4, abs=0.001)


def test_a_call_is_over_at_its_longest_duration() -> None:
    held = hold_call(sam(max_duration_secs=20), [Stay(60)], llm=["Hello?"] * 9)
    assert (held.conversation.end_reason, held.secs) == ("max_duration_exceeded", 20)
    assert held.conversation.ended_by == "system"


FAREWELL = "Our time is up. Goodbye!"
LEAVING = {"conversation_config": {"agent": {"max_conversation_duration_message": FAREWELL}}}


def test_an_agent_takes_leave_before_a_call_at_its_longest_duration_is_over() -> None:
    held = hold_call(sam(max_duration_secs=20, extra=LEAVING), [Stay(60)], llm=["Hello?"] * 9)
    last = held.conversation.turns[-1]
    assert (last.text, last.marks, last.text_heard) == (FAREWELL, ("farewell",), None)
    assert last.start_secs == pytest.approx(20, abs=0.001)
    assert last.tts_engine == "stub"
    assert 20 < held.secs == last.end_secs < 23
    assert (held.conversation.end_reason, held.conversation.ended_by) == ("max_duration_exceeded", "system")


def test_an_agent_in_the_middle_of_a_word_at_the_longest_duration_is_cut_and_takes_leave() -> None:
    held = hold_call(sam(max_duration_secs=20, extra=LEAVING), [Stay(15), "Tell me"], llm=["word " * 200] * 3)
    cut, last = held.conversation.turns[-2:]
    assert (cut.interrupted, cut.text.strip() == "word " * 200, last.text) == (True, False, FAREWELL)
    assert cut.text_heard is not None
    assert 0 < len(cut.text_heard) < len(cut.text)
    assert cut.end_secs <= 20.02


def test_what_the_user_says_at_the_longest_duration_is_kept_and_cannot_cut_the_farewell() -> None:
    long = "I have very much more to say about this and I will not stop before all of it is said I am afraid"
    held = hold_call(sam(max_duration_secs=12, extra=LEAVING), [Stay(6), Say(long)], llm=["Yes?"] * 3)
    words, last = held.conversation.turns[-2:]
    assert words.role == "user"
    assert words.text
    assert long.startswith(words.text)
    assert (last.text, last.interrupted) == (FAREWELL, False)


def test_keys_pressed_in_a_row_are_one_message() -> None:
    held = hold_call(sam(), [Press("123#")], llm=["Thank you."])
    assert (held.conversation[1].text, held.conversation[1].marks) == ("123#", ("dtmf",))
    assert said(hold_call(sam(), [Press("45"), Stay(2)], llm=["Ok."]))[1] == ("user", "45")


def test_a_typed_message_is_answered_aloud() -> None:
    assert said(hold_call(sam(), [Type("hi")], llm=["Hello."]))[1:] == [("user", "hi"), ("agent", "Hello.")]


def test_the_language_that_the_agent_switched_to_is_listened_for() -> None:
    opened: list[str] = []

    def engines(clock: Any) -> Any:
        made = stub_engines(clock)
        opening = made.asr.open
        made.asr.open = lambda **how: (opened.append(how["language"]), opening(**how))[1]
        return made

    agent = sam(tools=("language_detection",))
    llm = [call("language_detection", language="de"), "Guten Tag.", "Ja."]
    hold_call(agent, ["Guten Tag.", "Sprechen Sie Deutsch?"], llm=llm, engines=engines)
    assert opened[0] == "en"
    assert opened[-1] == "de"


def test_a_model_that_fails_ends_the_session_with_its_words() -> None:
    held = hold_call(sam(), ["Hello."], llm=[ProviderConnectionError("no route", provider="fake")])
    assert held.conversation.status == "failed"
    assert "no route" in str(held.conversation.end_reason)
    assert "no route" in str(held.conversation[-1].error)
    assert held.failure is not None


def test_what_was_being_said_at_the_hang_up_is_in_the_record() -> None:
    held = hold_call(sam(first_message=""), [Say("I was just about to say", at=1.0), HangUp()], llm=[])
    assert said(held) == [("user", "I was just about to say")]
    assert held.conversation.end_reason == "hung_up"


def test_a_hang_up_while_the_agent_speaks_records_what_was_heard() -> None:
    held = hold_call(sam(), ["Hello.", HangUp(word=3)], llm=["One two three four five six seven."])
    assert held.conversation[2].interrupted
    assert held.conversation[2].text_heard == "One two three"


def test_a_cancelled_session_is_recorded_and_stays_cancelled() -> None:
    from convai_lab.clock import VirtualClock
    from convai_lab.conversations.conversation import Conversation
    from convai_lab.dialogue.conversation_loop import ConversationLoop
    from convai_lab.dialogue.tool_runner import ToolRunner
    from convai_lab.voice.session import VoiceSession
    from convai_lab.voice.transport import MemoryTransport

    clock = VirtualClock()
    agent = sam()
    loop = ConversationLoop(
        agent=agent,
        conversation=Conversation(id="c", agent_id="a"),
        llm=FakeLLM([], clock=clock),
        tools=ToolRunner(agent, client_tool=None, clock=clock),
        clock=clock,
    )

    async def main() -> None:
        session = VoiceSession(loop=loop, engines=stub_engines(clock), transport=MemoryTransport(clock), clock=clock)
        task = asyncio.ensure_future(session.run())
        await clock.sleep(0.5)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        left = [t for t in asyncio.all_tasks() if t is not asyncio.current_task()]
        assert left == []

    clock.run(main())
    assert (loop.end_reason, loop.conversation.status) == ("cancelled", "done")
    assert loop.conversation[0].interrupted


def test_both_sides_are_recorded_where_they_were_heard(tmp_path: Any) -> None:
    recording = Recording(tmp_path / "call.wav")
    held = hold_call(
        sam(),
        ["Where is it?", barge_in("stop please", word=4)],
        llm=["One two three four five six."] * 2,
        recording=recording,
    )
    from convai_lab.voice.recording import slice_recording

    agent_turn, cut_turn = held.conversation[0], held.conversation[2]
    sound = slice_recording(tmp_path / "call.wav", 0, held.secs, "agent")
    pcm = sound.pcm

    def is_silent(start: float, end: float) -> bool:
        return not any(pcm[2 * round(start * 16000) : 2 * round(end * 16000)])

    assert not is_silent(agent_turn.start_secs, agent_turn.end_secs)
    assert is_silent(agent_turn.end_secs + 0.01, cut_turn.start_secs - 0.01)
    assert is_silent(cut_turn.end_secs + 0.01, cut_turn.end_secs + 0.4)
    assert read_wav(tmp_path / "call.wav").secs == pytest.approx(held.secs, abs=0.05)


def test_a_cough_alone_is_no_turn() -> None:
    held = hold_call(sam(), [Cough(), Stay(1)], llm=[])
    assert said(held) == [("agent", HELLO)]
