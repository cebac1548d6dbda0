"""A session held in a page: of another platform, without a notebook behind it, and when there can be none."""

from __future__ import annotations

import asyncio
import base64
import json
import threading
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import pytest
from websockets.asyncio.client import ClientConnection, connect

from convai_lab.agents.agent import Agent
from convai_lab.agents.tools import ClientTool
from convai_lab.errors import ConversationClosedError, InvalidValueError, MissingVariableError
from convai_lab.settings import Secret
from convai_lab.testing.fake_llm import call
from convai_lab.testing.live_watcher import stub_speech
from convai_lab.testing.stub_platform import StubPlatform, stub_platform
from convai_lab.workspace.live_events import StateChanged
from convai_lab.workspace.transport import FixedPlatform, Place, Transport
from convai_lab.workspace.window import Window
from convai_lab.workspace.workspace import Workspace

QUESTION = base64.b64encode(stub_speech("where is my order")).decode()


@pytest.fixture
def near() -> Iterator[StubPlatform]:
    with stub_platform() as local:
        yield local


def enter(window: Window) -> connect:
    """Connect as the page does; returns the connection that is still to be opened and its token sent."""
    url, _, token = window.url.partition("/window#")
    answer = httpx.post(f"{url}/window/open", json={"token": token}, headers={"origin": url})
    window.__dict__["page_token"] = answer.json()["token"]
    return connect(url.replace("http", "ws", 1) + "/window/socket", additional_headers={"origin": url}, max_queue=None)


async def talk(window: Window, *frames: dict[str, Any], until: Callable[[dict[str, Any]], Any]) -> dict[str, Any]:
    """Send what a page sends, and return what it shows once `until` is true of it."""
    shown: dict[str, Any] = {"audio": 0}
    page: ClientConnection
    async with await asyncio.to_thread(enter, window) as page, asyncio.timeout(20):
        for frame in ({"type": "window", "token": window.__dict__["page_token"]}, *frames):
            await page.send(json.dumps(frame))
        while not until(shown):
            letter = json.loads(await page.recv())
            shown.update(letter.get("set", {}))
            shown["audio"] += "audio" in letter
    return shown


def texts(shown: dict[str, Any]) -> list[str]:
    return [turn["heard"] for turn in shown.get("turns", [])]


async def test_a_page_talks_with_an_agent_of_the_cloud_by_way_of_this_machines_platform(
    near: StubPlatform, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CONVAI_LAB_HOME", str(tmp_path_factory.mktemp("cloud")))
    with stub_platform(["It ships tomorrow."]) as far:
        await far.workspace.agents.asave(Agent(name="support", first_message="Hello there."))
        cloud = Workspace(Transport(FixedPlatform("elevenlabs", Place(far.url, Secret(far.key)))))
        cloud._live._bridge = lambda: FixedPlatform("local", Place(near.url, Secret(near.key)))
        window = await asyncio.to_thread(cloud.open_window, "support")
        assert window.url.startswith(near.url)
        shown = await talk(
            window,
            {"type": "live_choose", "kind": "comm"},
            {"user_audio_chunk": QUESTION},
            until=lambda shown: "It ships tomorrow." in texts(shown) and shown["audio"],
        )
        record = await asyncio.to_thread(window.session.wait, 20)
    assert "where is my order" in texts(shown)
    assert dict(shown["facts"])["platform"] == "elevenlabs"
    assert "cvtkn_" not in json.dumps(shown)
    assert "It ships tomorrow." in [turn.text for turn in record]


async def test_a_tool_that_no_function_here_answers_fails_in_words_and_the_session_goes_on() -> None:
    with stub_platform([call("weigh_parcel"), "I could not look."]) as platform:
        await platform.workspace.agents.asave(Agent(name="support", tools=[ClientTool(name="weigh_parcel")]))
        elsewhere = Workspace(Transport(FixedPlatform("local", Place(platform.url, Secret(platform.key)))))
        window = await asyncio.to_thread(elsewhere.open_window, "support")
        asked = {"type": "user_message", "text": "where is it?"}
        shown = await talk(window, asked, until=lambda shown: "I could not look." in texts(shown))
        await asyncio.to_thread(window.session.wait, 20)
    [used] = [use for turn in shown["turns"] for use in turn["tools"]]
    assert used["is_error"] is True, used
    assert "weigh_parcel" in used["result"]


def test_an_agent_without_a_voice_has_no_page(near: StubPlatform) -> None:
    near.workspace.agents.save(Agent(name="mute", text_only=True))
    with pytest.raises(InvalidValueError, match="takes no voice"):
        near.workspace.window_url("mute")


async def test_the_variables_of_the_link_are_those_of_the_conversation(near: StubPlatform) -> None:
    await near.workspace.agents.asave(Agent(name="support", first_message="Hi {{name}}."))
    window = await asyncio.to_thread(near.workspace.open_window, "support", variables={"name": "Ada"})
    shown = await talk(window, {"type": "live_choose", "kind": "text"}, until=lambda s: "Hi Ada." in texts(s))
    assert dict(shown["facts"])["sound"] == "typing only"
    await asyncio.to_thread(window.session.wait, 20)


def test_a_session_that_cannot_begin_has_no_link_but_a_reason(near: StubPlatform) -> None:
    near.workspace.agents.save(Agent(name="support", first_message="Hi {{name}}."))
    with pytest.raises((ConversationClosedError, MissingVariableError), match="name"):
        near.workspace.window_url("support")
    assert near.workspace.open_sessions == []


class BusyWorkspace(Workspace):
    """A workspace in a program so busy that a session has long got through when the program gets to see it."""

    def start_session(self, *given: Any, on_event: Callable[[Any], object] = lambda _: None, **options: Any) -> Any:  # type: ignore[override]
        got_through = threading.Event()

        def hear(event: Any) -> None:
            on_event(event)
            if isinstance(event, StateChanged):
                got_through.set()

        session = super().start_session(*given, on_event=hear, **options)
        assert got_through.wait(20)
        return session


def test_a_program_that_is_busy_while_its_session_gets_through_has_its_link(near: StubPlatform) -> None:
    near.workspace.agents.save(Agent(name="support"))
    busy = BusyWorkspace(Transport(FixedPlatform("local", Place(near.url, Secret(near.key)))))
    window = busy.open_window("support")
    assert window.url.startswith(f"{near.url}/window#")
    window.session.end()
    window.session.wait(20)


def test_a_platform_that_is_gone_has_no_link_but_a_reason(near: StubPlatform) -> None:
    agent = near.workspace.agents.save(Agent(name="support")).agent
    lost = Workspace(Transport(FixedPlatform("local", Place("http://127.0.0.1:9", Secret(near.key)))))
    with pytest.raises(Exception, match=r"127\.0\.0\.1|reach|refused"):
        lost.window_url(agent)


def test_neither_link_nor_token_is_in_what_a_notebook_shows_of_a_window(near: StubPlatform) -> None:
    near.workspace.agents.save(Agent(name="support"))
    window = near.workspace.open_window("support")
    assert window.url.partition("#")[2] not in repr(window)
    window.session.end()
    window.session.wait(20)
