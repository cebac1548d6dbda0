"""A live session whose sound travels by WebRTC: a page of aiortc speaks, hears, interrupts, leaves, and lies."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from convai_lab.agents.agent import Agent
from convai_lab.testing.fake_page import FakePage, loud_secs
from convai_lab.testing.live_watcher import LiveWatcher, stub_speech
from convai_lab.testing.stub_platform import StubPlatform, stub_platform
from convai_lab.workspace import live_events as live
from convai_lab.workspace.events import AgentCutShort, UserTurn
from convai_lab.workspace.live_session import LiveSession

pytest.importorskip("aiortc", reason="needs aiortc: pip install 'convai-lab[voice]'")

HELLO = "Hello there."
MIDDLING = "It ships tomorrow, early in the morning."
LONG = "This answer goes on and on because there is so very much to say about your order today and tomorrow."
Open = Callable[..., LiveSession]


@pytest.fixture(scope="module")
def script() -> list[str]:
    return []


@pytest.fixture(scope="module")
def platform(script: list[str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[StubPlatform]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CONVAI_LAB_HOME", str(tmp_path_factory.mktemp("home")))
        with stub_platform(lambda _: script.pop(0) if script else "All right.") as running:
            yield running


@pytest.fixture
def watcher() -> LiveWatcher:
    return LiveWatcher()


@pytest.fixture
def open_session(platform: StubPlatform, watcher: LiveWatcher, script: list[str]) -> Iterator[Open]:
    """Open a session; it is over when the test is."""
    sessions: list[LiveSession] = []

    def make(first_message: str = HELLO) -> LiveSession:
        wanted = Agent(name="support", first_message=first_message)
        saved = platform.workspace.agents.save(wanted)
        sessions.append(platform.workspace.start_session(saved.agent, voice=True, on_event=watcher.watch))
        return sessions[-1]

    script.clear()
    yield make
    for session in sessions:
        session.end()
        session.wait(15)


@pytest.fixture
def page_of() -> Iterator[Callable[..., FakePage]]:
    """Open a page for a session; it is closed when the test is over."""
    pages: list[FakePage] = []

    def make(session: LiveSession, **options: Any) -> FakePage:
        page = FakePage(session.media.signal, **options).__enter__()
        session.subscribe(lambda event: page.signal(event.message) if isinstance(event, live.Signal) else None)
        pages.append(page)
        return page

    yield make
    for page in pages:
        page.__exit__()


def listening(watcher: LiveWatcher, number: int = 1) -> None:
    watcher.wait_for(live.StateChanged, lambda event: event.state == "listening", number=number)


def test_a_spoken_order_is_understood_and_the_answer_is_heard_in_the_page(
    open_session: Open, page_of: Callable[..., FakePage], watcher: LiveWatcher, script: list[str]
) -> None:
    script += ["It ships tomorrow."]
    session = open_session()
    page = page_of(session)
    session.media.choose("webrtc")
    listening(watcher)
    assert [(event.kind, event.is_connected) for event in watcher.of(live.MediaChanged)] == [
        ("webrtc", False),
        ("webrtc", True),
    ]
    page.until(lambda: page.loud_secs() > 0.7)
    spoken_at = time.monotonic()
    page.say(stub_speech("where is my order"))
    assert watcher.wait_for(UserTurn).text == "where is my order"
    listening(watcher, 2)
    page.until(lambda: page.loud_secs(spoken_at) > 1.0)
    assert watcher.of(live.AgentAudio) == []
    session.end()
    record = session.wait(15)
    greeted, asked, answered = record.turns
    assert greeted.text == HELLO
    assert (asked.text, answered.text) == ("where is my order", "It ships tomorrow.")
    assert asked.asr_confidence == 1.0
    assert answered.metrics.voice_to_voice_ms is not None


def test_a_platform_without_aiortc_says_how_to_install_it_and_goes_on_another_way(
    open_session: Open, watcher: LiveWatcher, monkeypatch: pytest.MonkeyPatch
) -> None:
    session = open_session()
    watcher.wait_for(live.EnginesKnown)
    with monkeypatch.context() as patch:
        patch.setitem(sys.modules, "aiortc", None)
        session.media.choose("webrtc")
        missing = watcher.wait_for(live.MediaChanged)
    assert (missing.kind, missing.is_connected) == ("webrtc", False)
    assert missing.reason == "Sound over WebRTC needs the package aiortc: pip install 'convai-lab[voice]'"
    session.media.choose("comm")
    watcher.wait_for(live.AgentAudio)


def test_an_interruption_silences_the_page_and_only_what_was_heard_counts(
    open_session: Open, page_of: Callable[..., FakePage], watcher: LiveWatcher, script: list[str]
) -> None:
    script += [LONG, "Sorry."]
    session = open_session("")
    page = page_of(session)
    session.media.choose("webrtc")
    watcher.wait_for(live.MediaChanged, lambda event: event.is_connected)
    session.say("tell me everything")
    page.until(lambda: page.loud_secs() > 1.0)
    page.say(stub_speech("stop please stop"))
    flushed = watcher.wait_for(live.Flush)
    at = next(at for at, event in watcher.happened if event is flushed)
    page.until(lambda: len(page.pcm_heard(at)) > 32000)
    heard = watcher.wait_for(AgentCutShort).heard
    assert page.loud_secs() < loud_secs(stub_speech(heard)) + 0.5, "the answer would have been loud for a second more"
    assert LONG.startswith(heard)
    assert 0 < len(heard) < len(LONG)
    assert watcher.wait_for(UserTurn, number=2).text == "stop please stop"
    listening(watcher, 2)
    turn = session.conversation.turns[1]
    assert (turn.interrupted, turn.text_heard) == (True, heard)


def test_a_page_that_never_connects_falls_back_and_nothing_is_lost(
    open_session: Open, page_of: Callable[..., FakePage], watcher: LiveWatcher
) -> None:
    session = open_session()
    page_of(session, is_deaf=True)
    session.media.choose("webrtc")
    watcher.wait_for(live.Signal, lambda event: "sdp" in event.message)
    assert session.state == "connecting"
    session.media.choose("comm")
    listening(watcher)
    pcm = b"".join(event.pcm for event in watcher.of(live.AgentAudio))
    assert len(pcm) == len(stub_speech(HELLO))
    session.media.push(stub_speech("where is my order"))
    assert watcher.wait_for(UserTurn).text == "where is my order"


def test_what_was_not_heard_when_the_sound_changes_its_way_is_heard_on_the_new_one(
    open_session: Open, page_of: Callable[..., FakePage], watcher: LiveWatcher, script: list[str]
) -> None:
    script += [MIDDLING]
    session = open_session("")
    page = page_of(session)
    session.media.choose("comm")
    session.say("tell me everything")
    watcher.wait_for(live.StateChanged, lambda event: event.state == "speaking")
    sent = watcher.wait_for(live.AgentAudio)
    began = time.monotonic()
    session.media.choose("webrtc")
    watcher.wait_for(live.MediaChanged, lambda event: event.is_connected and event.kind == "webrtc")
    moved = time.monotonic() - began
    assert watcher.wait_for(live.Flush).event_id >= sent.event_id
    listening(watcher, 1)
    whole = len(stub_speech(MIDDLING)) / 32000
    page.until(lambda: page.loud_secs() > (whole - moved) * 0.8)
    session.media.choose("comm")
    session.say("once more")
    again = watcher.wait_for(live.AgentAudio, lambda event: event.event_id > sent.event_id)
    assert again.pcm


def test_a_page_that_closes_in_the_middle_of_a_sentence_leaves_a_session_that_goes_on(
    open_session: Open, page_of: Callable[..., FakePage], watcher: LiveWatcher
) -> None:
    session = open_session()
    page = page_of(session)
    session.media.choose("webrtc")
    listening(watcher)
    page.say(stub_speech("where is"))
    watcher.wait_for(live.UserPartial)
    page.close()
    lost = watcher.wait_for(live.MediaChanged, lambda event: event.reason is not None)
    assert "was lost" in str(lost.reason)
    session.media.choose("comm")
    assert watcher.wait_for(UserTurn).text in ("where", "where is")
    session.say("still there")
    watcher.wait_for(live.AgentAudio)


def test_a_page_that_was_loaded_again_is_joined_again(
    open_session: Open, page_of: Callable[..., FakePage], watcher: LiveWatcher
) -> None:
    session = open_session()
    page_of(session)
    session.media.choose("webrtc")
    listening(watcher)
    session.media.signal({"type": "join", "room_id": "page"})
    watcher.wait_for(live.MediaChanged, lambda event: event.is_connected, number=2)
    assert len([one for one in watcher.of(live.Signal) if one.message.get("type") == "join"]) == 2


HOSTILE: list[tuple[Any, str]] = [
    ({}, "signal.room_id: is missing"),
    ({"room_id": "page"}, "must be a join, an sdp or a candidate"),
    ({"room_id": "x" * 300, "type": "join"}, "signal.room_id"),
    ({"room_id": "page", "sdp": "v=0"}, "signal.sdp: is no session description"),
    ({"room_id": "page", "sdp": {"type": "answer", "sdp": "v=0 m=audio"}}, "must be an offer"),
    ({"room_id": "page", "sdp": {"type": "offer", "sdp": "v=0\r\n"}}, "offers no sound"),
    ({"room_id": "page", "sdp": {"type": "offer", "sdp": "v=0\r\nm=audio nonsense"}}, "does not understand it"),
    ({"room_id": "page", "sdp": {"type": "offer", "sdp": "v=0" + "m=audio" * 20_000}}, "65536 characters"),
    ({"room_id": "page", "candidate": 7}, "signal.candidate.candidate"),
    ({"room_id": "page", "candidate": {"candidate": "x" * 2000}}, "signal.candidate.candidate"),
    ({"room_id": "page", "candidate": {"candidate": "candidate:1 1 udp 1 1.2.3.4 5 typ host"}}, "before the offer"),
]


@pytest.mark.parametrize(("message", "says"), HOSTILE)
def test_a_signal_that_is_none_is_refused_in_words(
    open_session: Open, watcher: LiveWatcher, message: Any, says: str
) -> None:
    session = open_session("")
    session.media.choose("webrtc")
    watcher.wait_for(live.Signal)
    session.media.signal(message)
    refused = watcher.wait_for(live.Refused).message
    assert says in refused
    assert len(refused) < 200
    session.say("still there")
    watcher.wait_for(live.AgentAudio)


def test_signals_that_come_too_early_twice_or_for_somebody_else_do_no_harm(
    open_session: Open, page_of: Callable[..., FakePage], watcher: LiveWatcher
) -> None:
    session = open_session()
    said: list[dict[str, Any]] = []
    session.media.signal({"type": "join", "room_id": "page"})
    assert "before the sound was chosen" in watcher.wait_for(live.Refused).message

    def twice(message: dict[str, Any]) -> None:
        said.append(message)
        for _ in range(2):
            session.media.signal(message)
        session.media.signal({**message, "to": "somebody else"})

    with FakePage(twice) as page:
        session.subscribe(lambda event: page.signal(event.message) if isinstance(event, live.Signal) else None)
        session.media.choose("webrtc")
        session.media.choose("webrtc")
        listening(watcher)
        for message in said:
            session.media.signal(message)
        page.until(lambda: page.loud_secs() > 0.7)
    assert len([one for one in watcher.of(live.Signal) if "sdp" in one.message]) == 1
