"""A live session with an agent of another platform: this machine's platform carries the sound and the events."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import urlsplit

import pytest

from convai_lab import background
from convai_lab.agents.agent import Agent
from convai_lab.agents.tools import tool
from convai_lab.agents.turn_taking import TurnTaking
from convai_lab.errors import ConversationClosedError, NotSupportedError
from convai_lab.server.live_frames import CloudAddress
from convai_lab.settings import Secret
from convai_lab.testing.fake_llm import call
from convai_lab.testing.fake_page import FakePage, loud_secs
from convai_lab.testing.live_watcher import LiveWatcher, stub_speech
from convai_lab.testing.stub_platform import StubPlatform, stub_platform
from convai_lab.workspace import live_events as live
from convai_lab.workspace.events import AgentCutShort, AgentTurn, Started, ToolAnswered, UserTurn
from convai_lab.workspace.live_session import LiveSession
from convai_lab.workspace.transport import FixedPlatform, Place, Transport
from convai_lab.workspace.workspace import Workspace

pytest.importorskip("aiortc", reason="needs aiortc: pip install 'convai-lab[voice]'")

HELLO = "Hello there."
PATIENT = TurnTaking(eagerness="patient")
"""A page is another thread, which may halt for a while in the middle of a sentence."""
TRIES = 3
"""A machine under load lets the page's sound come so late that a word is damaged, as on a bad line."""
LONG = "This answer goes on and on because there is so very much to say about your order today and tomorrow."


@pytest.fixture(scope="module")
def script() -> list[Any]:
    return []


@pytest.fixture(scope="module")
def platforms(
    script: list[Any], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[StubPlatform, StubPlatform]]:
    """Two platforms: one plays the cloud, the other is this machine's own."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CONVAI_LAB_HOME", str(tmp_path_factory.mktemp("cloud")))
        with stub_platform(lambda _: script.pop(0) if script else "All right.") as cloud:
            patch.setenv("CONVAI_LAB_HOME", str(tmp_path_factory.mktemp("local")))
            with stub_platform() as local:
                yield cloud, local


@pytest.fixture
def cloud(platforms: tuple[StubPlatform, StubPlatform]) -> Workspace:
    """A workspace on the cloud, whose live sessions go by way of the local platform."""
    far, near = platforms
    ws = Workspace(Transport(FixedPlatform("elevenlabs", Place(far.url, Secret(far.key)))))
    ws._live._bridge = lambda: FixedPlatform("local", Place(near.url, Secret(near.key)))
    return ws


@pytest.fixture
def watcher() -> LiveWatcher:
    return LiveWatcher()


@pytest.fixture
def open_session(
    cloud: Workspace, platforms: tuple[StubPlatform, StubPlatform], watcher: LiveWatcher, script: list[Any]
) -> Iterator[Callable[..., LiveSession]]:
    sessions: list[LiveSession] = []

    def make(**agent: Any) -> LiveSession:
        wanted = Agent(**{"name": "support", "turn": PATIENT, **agent})
        found = platforms[0].workspace.agents.find(wanted.name)
        saved = found if wanted.name.startswith("phone") else platforms[0].workspace.agents.save(wanted).agent
        sessions.append(cloud.start_session(saved or wanted, voice=True, on_event=watcher.watch))
        return sessions[-1]

    script.clear()
    yield make
    for session in sessions:
        session.end()
        session.wait(20)


def test_a_spoken_order_reaches_the_cloud_and_its_answer_the_page(
    open_session: Callable[..., LiveSession], watcher: LiveWatcher, script: list[Any], cloud: Workspace
) -> None:
    script += ["It ships tomorrow."] * TRIES
    session = open_session(first_message=HELLO)
    with FakePage(session.media.signal) as page:
        session.subscribe(lambda event: page.signal(event.message) if isinstance(event, live.Signal) else None)
        session.media.choose("webrtc")
        watcher.wait_for(live.StateChanged, lambda event: event.state == "speaking")
        watcher.wait_for(live.StateChanged, lambda event: event.state == "listening", number=2)
        for said in range(1, TRIES + 1):
            page.say(stub_speech("where is my order"))
            heard = watcher.wait_for(UserTurn, number=said).text
            assert watcher.wait_for(AgentTurn, number=said + 1).text == "It ships tomorrow."
            watcher.wait_for(live.StateChanged, lambda event: event.state == "listening", number=said + 2)
            if heard == "where is my order":
                break
        assert page.loud_secs() > 1.5
        assert watcher.of(live.AgentAudio) == []
        expected = ["where is my order", "It ships tomorrow."]
        assert [turn.text for turn in session.conversation][-2:] == expected
        session.end()
        record = session.wait(20)
    assert record.turns[0].text == HELLO
    assert [turn.text for turn in record][-2:] == expected
    assert session.platform == "elevenlabs"
    assert watcher.of(Started)[0].conversation_id == record.id == cloud.conversations.get(record.id).id
    assert record.turns[2].metrics.voice_to_voice_ms is not None


@pytest.mark.parametrize("name", ["ulaw_8000", "pcm_24000"])
def test_sound_in_pieces_is_carried_in_the_formats_of_the_cloud(
    open_session: Callable[..., LiveSession],
    platforms: tuple[StubPlatform, StubPlatform],
    watcher: LiveWatcher,
    name: str,
) -> None:
    far = platforms[0].workspace
    agent = far.agents.save(Agent(name=f"phone {name}", first_message=HELLO)).agent
    config = {"asr": {"user_input_audio_format": name}, "tts": {"agent_output_audio_format": name}}
    body = {"conversation_config": config}
    background.run(far._transport.document("PATCH", f"/v1/convai/agents/{agent.id}", json=body))
    session = open_session(name=f"phone {name}", first_message=HELLO)
    session.media.choose("comm")
    watcher.wait_for(live.StateChanged, lambda event: event.state == "listening", number=2)
    rate = 8000 if name == "ulaw_8000" else 24000
    assert {event.rate_hz for event in watcher.of(live.AgentAudio)} == {rate}
    session.media.push(stub_speech("where is my order"))  # all at once: nobody has to keep a pace
    assert watcher.wait_for(UserTurn).text == "where is my order"


def test_an_interruption_in_the_cloud_silences_the_page(
    open_session: Callable[..., LiveSession], watcher: LiveWatcher, script: list[Any]
) -> None:
    script += [LONG, "Sorry."]
    session = open_session(first_message="")
    with FakePage(session.media.signal) as page:
        session.subscribe(lambda event: page.signal(event.message) if isinstance(event, live.Signal) else None)
        session.media.choose("webrtc")
        watcher.wait_for(live.MediaChanged, lambda event: event.is_connected)
        session.say("tell me everything")
        watcher.wait_for(live.StateChanged, lambda event: event.state == "speaking")
        page.until(lambda: page.loud_secs() > 1.0)
        page.say(stub_speech("stop please stop"))
        flushed = watcher.wait_for(live.Flush)
        at = next(at for at, event in watcher.happened if event is flushed)
        page.until(lambda: len(page.pcm_heard(at)) > 32000)
        heard = watcher.wait_for(AgentCutShort).heard
        assert page.loud_secs() < loud_secs(stub_speech(heard)) + 0.5, (
            "the answer would have been loud for a second more"
        )
        assert LONG.startswith(heard)
        assert heard != LONG
        told = [event.turn for event in watcher.of(live.TurnStored) if event.turn.interrupted]
        assert told[0].text_heard == heard


def test_a_client_tool_of_the_cloud_runs_here_and_the_record_tells_it(
    open_session: Callable[..., LiveSession], watcher: LiveWatcher, script: list[Any]
) -> None:
    @tool
    def cloud_order(order_id: str) -> dict[str, str]:
        """Look up an order."""
        print("from the cloud")
        return {"state": order_id}

    script += [call("cloud_order", order_id="77"), "It has shipped."]
    session = open_session(name="tools", first_message="", tools=(cloud_order,))
    session.say("where is 77")
    assert watcher.wait_for(AgentTurn).text == "It has shipped."
    assert watcher.of(ToolAnswered)[0].value == '{"state": "77"}'
    assert watcher.of(live.ToolPrinted)[0].text == "from the cloud"
    turn = watcher.wait_for(live.TurnStored, lambda event: event.turn.role == "agent").turn
    assert (turn.tool_calls[0].arguments, turn.tool_results[0].value) == ({"order_id": "77"}, '{"state": "77"}')
    with pytest.raises(NotSupportedError, match="ElevenLabs keeps the agent"):
        session.use_agent(session.agent)


def test_a_cloud_that_hangs_up_ends_the_session_and_its_last_words_are_heard(
    open_session: Callable[..., LiveSession], watcher: LiveWatcher, script: list[Any]
) -> None:
    script += [call("end_call", reason="done", message="Goodbye then.")]
    session = open_session(name="brief", first_message="", tools=("end_call",))
    session.say("that was all")
    record = session.wait(20)
    assert (session.end_reason, record.end_reason) == ("the agent ended the conversation", "end_call")
    assert watcher.of(live.AgentAudio)
    assert record.turns[-1].text == "Goodbye then."


def test_what_was_said_before_the_cloud_was_reached_is_recorded_there(open_session: Callable[..., LiveSession]) -> None:
    session = open_session(first_message=HELLO)
    session.say("where is my order")
    session.end()
    assert [turn.text for turn in session.wait(20) if turn.role == "user"] == ["where is my order"]


def test_the_signed_address_is_shown_to_nobody(
    open_session: Callable[..., LiveSession], watcher: LiveWatcher, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.DEBUG):
        session = open_session(first_message=HELLO)
        session.media.choose("comm")
        watcher.wait_for(live.AgentAudio)
        session.end()
        session.wait(20)
    shown = "\n".join(
        [record.getMessage() for record in caplog.records] + [repr(event) for _, event in watcher.happened]
    )
    ours = [line for line in shown.splitlines() if "asyncio" not in line and "websockets.server" not in line]
    assert not [line for line in ours if "live_cloud" in line and "cvtkn_" in line]
    assert "cvtkn_" not in repr(session)
    assert "cvtkn_" not in repr(CloudAddress("wss://a/?conversation_signature=cvtkn_secret", "x"))


@pytest.mark.parametrize(
    ("signed_url", "says"),
    [
        ("ws://127.0.0.1:9/v1?conversation_signature=cvtkn_secret", "could not be reached"),
        ("ws://example.com/v1?conversation_signature=cvtkn_secret", "must be the wss address"),
        ("file:///etc/passwd", "no websocket URL"),
    ],
)
def test_a_cloud_that_cannot_be_reached_ends_the_session_in_words_without_its_address(
    cloud: Workspace,
    platforms: tuple[StubPlatform, StubPlatform],
    watcher: LiveWatcher,
    signed_url: str,
    says: str,
) -> None:
    agent = platforms[0].workspace.agents.save(Agent(name="support")).agent
    whole = cloud._live._transport.document

    async def document(method: str, path: str, **more: Any) -> dict[str, Any]:
        return {"signed_url": signed_url} if "signed" in path else await whole(method, path, **more)

    cloud._live._transport.document = document  # type: ignore[method-assign]
    session = cloud.start_session(agent, voice=True, on_event=watcher.watch)
    with contextlib.suppress(ConversationClosedError):  # one that cannot even be tried is over at once
        session.say("hello")
    session.wait(20)
    assert says in str(session.end_reason)
    assert "cvtkn_secret" not in str(session.end_reason)
    assert urlsplit(signed_url).query not in str(session.end_reason) or not urlsplit(signed_url).query
