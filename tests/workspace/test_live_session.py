"""A live session held from Python, the sound in pieces: it talks, listens, runs tools, and leaves its record."""

from __future__ import annotations

import _thread
import asyncio
import gc
import io
import threading
import time
from collections.abc import Iterator
from typing import Any

import av
import pytest

from convai_lab.agents.agent import Agent
from convai_lab.agents.tools import tool
from convai_lab.agents.turn_taking import TurnTaking
from convai_lab.errors import ConvaiLabError, ConversationClosedError, InvalidValueError
from convai_lab.server import live_conversation
from convai_lab.testing.fake_llm import call
from convai_lab.testing.live_watcher import LiveWatcher, stub_speech
from convai_lab.testing.stub_platform import StubPlatform, stub_platform
from convai_lab.voice.audio import rms_dbfs
from convai_lab.workspace import live_events as live
from convai_lab.workspace.events import AgentTurn, Ended, Started, ToolAnswered, ToolCalled, UserTurn
from convai_lab.workspace.live_session import LiveSession

HURRY = 4.0
PIECE_BYTES = 1280
QUIET = TurnTaking(timeout_secs=-1)
"""Says nothing by itself, however long the thread of a test halts."""
HELLO, LONG = "Hello there.", "This answer goes on and on because there is so very much to say about your order."


@pytest.fixture
def script() -> list[Any]:
    """What the model says, to be filled by a test before it opens a session."""
    return []


@pytest.fixture
def platform(script: list[Any]) -> Iterator[StubPlatform]:
    def reply(_: Any) -> Any:
        return script.pop(0) if script else "All right."

    with stub_platform(reply, hurry=HURRY) as running:
        yield running


@pytest.fixture
def watcher() -> LiveWatcher:
    return LiveWatcher()


def opened(platform: StubPlatform, watcher: LiveWatcher, kind: live.MediaKind = "comm", **agent: Any) -> LiveSession:
    """Open a session and hear the first message out."""
    wanted = {"name": "support", "first_message": HELLO, "turn": QUIET, **agent}
    made = platform.workspace.agents.create(Agent(**wanted))
    session = platform.workspace.start_session(made, voice=True, on_event=watcher.watch)
    session.media.choose(kind)
    watcher.wait_for(live.StateChanged, lambda event: event.state == "listening")
    return session


def speak(session: LiveSession, text: str, rate_hz: int = 16000) -> None:
    """Say something, in pieces that come as fast as they can: the platform hears them at the pace of speech."""
    pcm, piece = stub_speech(text, rate_hz), PIECE_BYTES * rate_hz // 16000
    for at in range(0, len(pcm), piece):
        session.media.push(pcm[at : at + piece], rate_hz)


def webm(pcm: bytes) -> bytes:
    """Return a sound as a page's recorder would make it."""
    file = io.BytesIO()
    with av.open(file, "w", format="webm") as container:
        stream = container.add_stream("libopus", rate=48000, layout="mono")
        stream.bit_rate = 96_000
        frame = av.AudioFrame(format="s16", layout="mono", samples=len(pcm) // 2)
        frame.planes[0].update(pcm)
        frame.sample_rate = 16000
        resampler = av.AudioResampler("s16", "mono", 48000, frame_size=960)
        for piece in [*resampler.resample(frame), *resampler.resample(None)]:
            container.mux(stream.encode(piece))
        container.mux(stream.encode(None))
    return file.getvalue()


def test_a_spoken_order_is_understood_answered_and_stored(
    platform: StubPlatform, watcher: LiveWatcher, script: list[Any]
) -> None:
    script += ["It ships tomorrow."]
    session = opened(platform, watcher)
    assert session.engines == live.EngineNames(llm="offline", asr="stub", tts="stub", vad="energy")
    speak(session, "where is my order")
    assert watcher.wait_for(UserTurn).text == "where is my order"
    watcher.wait_for(live.StateChanged, lambda event: event.state == "listening", number=2)
    assert [turn.text for turn in session.conversation] == [HELLO, "where is my order", "It ships tomorrow."]
    session.end()
    record = session.wait(10)
    assert [(turn.role, turn.text) for turn in record] == [
        ("agent", HELLO),
        ("user", "where is my order"),
        ("agent", "It ships tomorrow."),
    ]
    assert record.turns[2].metrics.voice_to_voice_ms is not None
    assert (record.channel, record.status, record.has_audio) == ("voice", "done", True)
    assert platform.workspace.conversations.get(record.id).turns == record.turns
    assert (session.state, session.end_reason) == ("ended", "you ended the session")
    assert session.conversation == record
    assert [event.state for event in watcher.of(live.StateChanged)][-1] == "ended"
    assert watcher.of(live.UserPartial)
    assert watcher.of(Started)[0].conversation_id == record.id == session.conversation_id


def test_the_agents_sound_comes_in_pieces_that_are_its_words(platform: StubPlatform, watcher: LiveWatcher) -> None:
    session = opened(platform, watcher, first_message=LONG)  # its level is measured only while it speaks
    pcm = b"".join(event.pcm for event in watcher.of(live.AgentAudio))
    assert len(pcm) == len(stub_speech(LONG))
    assert rms_dbfs(pcm) > -30
    assert {event.rate_hz for event in watcher.of(live.AgentAudio)} == {16000}
    assert max(event.agent for event in watcher.of(live.Level)) > 0.3
    session.end()
    session.wait(10)


def test_every_stored_turn_is_told_and_told_again_once_it_was_heard(
    platform: StubPlatform, watcher: LiveWatcher
) -> None:
    session = opened(platform, watcher)
    session.say("and now")
    watcher.wait_for(live.StateChanged, lambda event: event.state == "listening", number=2)
    session.end()
    record = session.wait(10)
    for index, turn in enumerate(record):
        told = [event.turn for event in watcher.of(live.TurnStored) if event.index == index]
        assert told[-1].text == turn.text
        assert told[-1].metrics == turn.metrics


def test_the_agent_does_not_speak_before_the_sound_has_a_way(platform: StubPlatform, watcher: LiveWatcher) -> None:
    made = platform.workspace.agents.create(Agent(name="patient", first_message=HELLO))
    session = platform.workspace.start_session(made, voice=True, on_event=watcher.watch)
    watcher.wait_for(live.EnginesKnown)
    watcher.wait_for(Started)
    assert (session.state, watcher.of(AgentTurn)) == ("connecting", [])
    session.media.choose("comm")
    assert watcher.wait_for(AgentTurn).text == HELLO
    session.end()
    assert session.wait(10).turns[0].text == HELLO


def test_typing_begins_a_session_and_is_answered(
    platform: StubPlatform, watcher: LiveWatcher, script: list[Any]
) -> None:
    script += ["In writing."]
    made = platform.workspace.agents.create(Agent(name="writer", turn=QUIET))
    with platform.workspace.start_session(made, voice=True, on_event=watcher.watch) as session:
        session.context("The user is called Ada.")
        session.say("Hello?")
        assert watcher.wait_for(AgentTurn).text == "In writing."
        assert watcher.of(UserTurn) == [UserTurn("Hello?")]
    assert [turn.text for turn in session.conversation] == ["Hello?", "In writing."]
    assert "Ada" in str(platform.llm.requests[0])


def test_muted_the_agent_hears_silence(platform: StubPlatform, watcher: LiveWatcher) -> None:
    session = opened(platform, watcher)
    session.mute()
    speak(session, "nobody hears this")
    session.mute(False)
    speak(session, "but this they hear")
    assert watcher.wait_for(UserTurn).text == "but this they hear"
    assert not session.is_muted
    assert [event.on for event in watcher.of(live.Muted)] == [True, False]
    session.end()
    assert [turn.text for turn in session.wait(10) if turn.role == "user"] == ["but this they hear"]


def test_a_recorded_clip_is_heard(platform: StubPlatform, watcher: LiveWatcher) -> None:
    session = opened(platform, watcher, "push_to_talk")
    session.media.push_clip(webm(stub_speech("where is my order")), "audio/webm")
    assert watcher.wait_for(UserTurn).text == "where is my order"
    session.end()
    session.wait(10)


@pytest.mark.parametrize(
    ("data", "mime", "says"),
    [
        (b"RIFF no sound", "audio/webm", "clip: is no recording that can be read"),
        (webm(bytes(32000))[:200], "audio/webm", "clip: is empty: hold the button"),
        (b"x", "m" * 200, "mime must be a text"),
    ],
)
def test_a_clip_that_cannot_be_read_is_refused_in_words_and_the_session_goes_on(
    platform: StubPlatform, watcher: LiveWatcher, data: bytes, mime: str, says: str
) -> None:
    session = opened(platform, watcher, "push_to_talk")
    session.media.push_clip(data, mime)
    assert says in watcher.wait_for(live.Refused).message
    session.say("still there?")
    watcher.wait_for(AgentTurn, number=2)
    session.end()
    assert session.wait(10).status == "done"


def test_a_clip_that_is_empty_or_huge_is_refused_before_it_is_sent(
    platform: StubPlatform, watcher: LiveWatcher
) -> None:
    session = opened(platform, watcher)
    for data in (b"", bytes(9 * 1024 * 1024)):
        with pytest.raises(InvalidValueError, match="from 1 byte to 8 MB"):
            session.media.push_clip(data, "audio/webm")
    with pytest.raises(InvalidValueError, match="use one of webrtc, comm, push_to_talk, text"):
        session.media.choose("telepathy")  # type: ignore[arg-type]
    session.end()
    session.wait(10)


def test_sound_at_the_rate_of_a_page_is_understood(platform: StubPlatform, watcher: LiveWatcher) -> None:
    session = opened(platform, watcher)
    speak(session, "where is my order", 48000)
    assert watcher.wait_for(UserTurn).text == "where is my order"
    session.media.push(b"\0\0" * 100, 7)
    assert "rate_hz" in watcher.wait_for(live.Refused).message
    session.end()
    session.wait(10)


def test_another_agent_speaks_from_the_next_turn_on_and_is_marked(platform: StubPlatform, watcher: LiveWatcher) -> None:
    session = opened(platform, watcher, prompt="You are slow.")
    before = session.agent
    session.say("one")
    watcher.wait_for(AgentTurn, number=2)
    newer = platform.workspace.agents.update(before, prompt="You are quick.")
    session.use_agent(newer)
    session.say("two")
    watcher.wait_for(AgentTurn, number=3)
    session.end()
    turns = [turn for turn in session.wait(10) if turn.role == "agent"]
    assert [(turn.agent_version, turn.marks) for turn in turns[1:]] == [(1, ()), (2, ("live_edit",))]
    assert "You are quick." in str(platform.llm.requests[-1])
    assert session.agent.version == 2
    assert session.conversation.last_version == 2


def test_an_agent_that_cannot_speak_is_refused_and_the_old_one_goes_on(
    platform: StubPlatform, watcher: LiveWatcher
) -> None:
    session = opened(platform, watcher)
    with pytest.raises(ConvaiLabError, match="nickname"):
        session.use_agent(session.agent.with_changes(prompt="Call the user {{nickname}}."))
    assert session.agent.prompt == ""
    session.say("go on")
    assert watcher.wait_for(AgentTurn, number=2).text == "All right."
    session.end()
    session.wait(10)


def test_a_client_tool_runs_while_this_thread_is_busy_and_its_prints_are_heard(
    platform: StubPlatform, watcher: LiveWatcher, script: list[Any], capsys: pytest.CaptureFixture[str]
) -> None:
    threads = []

    @tool
    def order_state(order_id: str) -> dict[str, str]:
        """Look up an order."""
        print("looking up", order_id)
        threads.append(threading.current_thread())
        return {"state": "shipped"}

    script += [call("order_state", order_id="1234"), "It has shipped."]
    session = opened(platform, watcher, tools=(order_state,))
    session.say("where is 1234")
    until = time.monotonic() + 20
    while len(watcher.of(AgentTurn)) < 2 and time.monotonic() < until:
        sum(range(1000))  # this thread never waits
    assert watcher.of(ToolCalled) == [ToolCalled("order_state", {"order_id": "1234"})]
    assert '"shipped"' in watcher.of(ToolAnswered)[0].value
    assert "".join(event.text for event in watcher.of(live.ToolPrinted)) == "looking up 1234\n"
    assert watcher.of(live.ToolPrinted)[0].name == "order_state"
    assert threads[0] is not threading.main_thread()
    session.end()
    record = session.wait(10)
    assert record.turns[-1].tool_results[0].value == '{"state": "shipped"}'
    assert "looking up" not in capsys.readouterr().out


def test_waiting_has_a_limit_and_can_be_awaited_on_any_loop(platform: StubPlatform, watcher: LiveWatcher) -> None:
    session = opened(platform, watcher)
    with pytest.raises(TimeoutError, match="the session is still listening"):
        session.wait(0.05)

    async def opened_here() -> Any:
        again = await platform.workspace.astart_session(session.agent, voice=True)
        again.end()
        return await again.ended()

    assert asyncio.run(opened_here()).turns == ()

    async def awaited() -> Any:
        waiting = asyncio.create_task(session.ended())
        await asyncio.sleep(0)
        session.end()
        return await waiting

    assert asyncio.run(awaited()).id == session.conversation_id
    assert session.wait().id == session.conversation_id


def test_an_interrupt_while_waiting_leaves_the_session_as_it_is(platform: StubPlatform, watcher: LiveWatcher) -> None:
    session = opened(platform, watcher)

    def interrupted() -> None:
        threading.Timer(0.1, _thread.interrupt_main).start()
        session.wait()

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert session.state == "listening"
    session.end()
    session.wait(10)


def test_nothing_can_be_said_after_the_end(platform: StubPlatform, watcher: LiveWatcher) -> None:
    session = opened(platform, watcher)
    session.end()
    session.end()
    session.wait(10)
    with pytest.raises(ConversationClosedError, match="the session is over \\(you ended the session\\)"):
        session.say("too late")
    with pytest.raises(ConversationClosedError):
        session.use_agent(session.agent)
    session.media.push(bytes(640))
    session.mute()
    with pytest.raises(InvalidValueError, match="is empty"):
        session.say(" ")


def test_the_agent_ends_the_session_and_says_so(
    platform: StubPlatform, watcher: LiveWatcher, script: list[Any]
) -> None:
    script += [call("end_call", reason="done")]
    session = opened(platform, watcher, tools=("end_call",))
    session.say("goodbye")
    record = session.wait(15)
    assert (record.end_reason, record.ended_by) == ("end_call", "agent")
    assert session.state == "ended"
    assert watcher.of(Ended)


def test_an_agent_without_a_voice_or_an_old_conversation_is_refused_at_once(platform: StubPlatform) -> None:
    ws = platform.workspace
    silent = ws.agents.create(Agent(name="silent", text_only=True))
    with pytest.raises(InvalidValueError, match="silent takes no voice"):
        ws.start_session(silent, voice=True)
    with pytest.raises(InvalidValueError, match="continue_from"):
        ws.start_session(silent, voice=True, continue_from="conv_1")  # type: ignore[call-overload]


def test_a_session_that_nobody_refers_to_any_more_ends(platform: StubPlatform) -> None:
    made = platform.workspace.agents.create(Agent(name="forgotten", first_message=HELLO))
    session = platform.workspace.start_session(made, voice=True)
    session.media.choose("comm")
    assert platform.workspace.open_sessions == [session]
    core = session._core
    del session
    gc.collect()
    assert core.wait(10).status == "done"
    assert platform.workspace.open_sessions == []


def test_a_session_that_waits_for_its_sound_too_long_ends_in_words(
    platform: StubPlatform, watcher: LiveWatcher, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(live_conversation, "MAX_WAIT_SECS", 0.5)
    made = platform.workspace.agents.create(Agent(name="lonely", first_message=HELLO))
    session = platform.workspace.start_session(made, voice=True, on_event=watcher.watch)
    record = session.wait(10)
    assert live_conversation.NEVER_CHOSEN in str(session.end_reason)
    assert record.turns == ()


def test_a_listener_that_fails_disturbs_nobody(
    platform: StubPlatform, watcher: LiveWatcher, caplog: pytest.LogCaptureFixture
) -> None:
    session = opened(platform, watcher)

    def failing(_: Any) -> None:
        raise ZeroDivisionError

    unsubscribe = session.subscribe(failing)
    session.say("one")
    watcher.wait_for(AgentTurn, number=2)
    unsubscribe()
    session.end()
    session.wait(10)
    assert len([one for one in caplog.records if "a listener of a live session failed" in one.message]) == 1
