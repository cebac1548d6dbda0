"""The page in which one talks, after the end and by clips: its recording, for it alone, and how long sound takes."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import json
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

from convai_lab.agents.agent import Agent
from convai_lab.clock import VirtualClock
from convai_lab.conversations.turn import Turn
from convai_lab.providers.stub_speech import StubTTS
from convai_lab.server import live_frames as live
from convai_lab.server.answers import Refusal
from convai_lab.server.window_links import RECORDING_SECS, WindowLinks
from convai_lab.server.window_view import WindowView
from convai_lab.testing.stub_platform import StubPlatform, stub_platform
from convai_lab.voice.sound import Sound
from convai_lab.voice.wav import wav_bytes
from convai_lab.workspace.window import Window

NO_RECORDING = {"platform_settings": {"privacy": {"record_voice": False}}}
END = '{"type":"window_end"}'


@pytest.fixture(scope="module")
def platform(tmp_path_factory: pytest.TempPathFactory) -> Iterator[StubPlatform]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CONVAI_LAB_HOME", str(tmp_path_factory.mktemp("home")))
        with stub_platform(lambda _: "All right.") as running:
            yield running


class Page:
    """A page that has opened its link."""

    def __init__(self, platform: StubPlatform, window: Window, socket: ClientConnection) -> None:
        self.platform, self.window, self._socket = platform, window, socket
        self.values: dict[str, Any] = {}
        self.letters: list[dict[str, Any]] = []

    async def say(self, **message: Any) -> None:
        await self._socket.send(json.dumps(message))

    async def until(self, is_it: Callable[[Page], Any]) -> None:
        async with asyncio.timeout(15):
            while not is_it(self):
                self.letters.append(json.loads(await self._socket.recv()))
                self.values.update(self.letters[-1].get("set", {}))

    async def end(self) -> dict[str, Any]:
        """End the session and return what the page may keep of it."""
        await self._socket.send(END)
        with contextlib.suppress(ConnectionClosed):
            await self.until(lambda page: page.values["finished"])
        return dict(self.values["finished"])

    def fetched(self, token: object, **headers: str) -> httpx.Response:
        return posted(self.platform, "recording", {"token": token}, **headers)

    @property
    def said(self) -> list[str]:
        return [turn["heard"] for turn in self.values["turns"]]


def posted(platform: StubPlatform, path: str, body: Any, **headers: str) -> httpx.Response:
    return httpx.post(f"{platform.url}/window/{path}", json=body, headers={"origin": platform.url, **headers})


@contextlib.asynccontextmanager
async def opened(platform: StubPlatform, kind: str, **agent: Any) -> Any:
    made = platform.workspace.agents.save(Agent(**{"name": "support", "first_message": "Hello there.", **agent}))
    window = await asyncio.to_thread(platform.workspace.open_window, made.agent)
    link = window.url.partition("#")[2]
    token = (await asyncio.to_thread(posted, platform, "open", {"token": link})).json()["token"]
    url = platform.url.replace("http", "ws", 1) + "/window/socket"
    async with connect(url, additional_headers={"origin": platform.url}, max_queue=None) as socket:
        page = Page(platform, window, socket)
        await page.say(type="window", token=token)
        await page.say(type="live_choose", kind=kind)
        await page.until(lambda page: page.values.get("turns"))
        yield page
    await asyncio.to_thread(window.session.wait, 10)


async def test_after_the_end_the_page_may_fetch_its_recording_and_nobody_else(platform: StubPlatform) -> None:
    async with opened(platform, "comm") as page:
        finished = await page.end()
        assert finished["has_audio"] is True
        for _ in range(2):
            answer = await asyncio.to_thread(page.fetched, finished["recording"])
            assert answer.status_code == 200
            assert answer.headers["content-type"] == "audio/wav"
            assert answer.headers["cache-control"] == "no-store"
            assert answer.content[:4] == b"RIFF"
        strangers = [
            await asyncio.to_thread(page.fetched, "wrong"),
            await asyncio.to_thread(page.fetched, None),
            await asyncio.to_thread(page.fetched, finished["id"]),
            await asyncio.to_thread(page.fetched, finished["recording"], origin="https://evil.example"),
        ]
        assert [answer.status_code for answer in strangers] == [403] * 4
        assert "play conv.audio" in strangers[0].json()["detail"]["message"]


async def test_what_was_not_recorded_is_not_offered(platform: StubPlatform) -> None:
    async with opened(platform, "comm", name="private", extra=NO_RECORDING) as page:
        finished = await page.end()
    assert (finished["has_audio"], finished["recording"]) == (False, "")


def test_a_recording_is_the_pages_for_an_hour(virtual: VirtualClock) -> None:
    async def later() -> None:
        links = WindowLinks(virtual)
        token = links.new_recording("conv_1")
        assert links.recorded(token) == "conv_1"
        await virtual.sleep(RECORDING_SECS + 1)
        with pytest.raises(Refusal, match="may not have the recording"):
            links.recorded(token)

    virtual.run(later())


async def test_a_page_can_hold_a_conversation_clip_by_clip(platform: StubPlatform) -> None:
    clip = wav_bytes(Sound(StubTTS(rate_hz=16000, words_a_minute=300).render("where is it")[0], 16000))
    async with opened(platform, "push_to_talk") as page:
        assert dict(page.values["facts"])["sound"] == "push to talk, one clip at a time"
        await page.say(type="live_clip", data=base64.b64encode(clip).decode(), mime="audio/wav")
        await page.until(lambda page: page.said[1:] == ["where is it", "All right."])


async def test_how_long_sound_takes_is_answered_with_the_platforms_time(platform: StubPlatform) -> None:
    async with opened(platform, "comm") as page:
        await page.say(type="live_sound_takes", to_agent_ms=5, to_user_ms=80, number=7)
        await page.until(lambda page: "timed" in page.letters[-1])
    assert page.letters[-1]["timed"] == 7
    assert page.letters[-1]["at"] > 0


def test_a_doubt_about_what_was_heard_is_said_and_a_hello_alone_costs_nothing_yet(virtual: VirtualClock) -> None:
    view = WindowView(virtual, agent="support", platform="local")
    view.hear(live.turn_stored(0, Turn(role="agent", text="Hello.")))
    assert dict(view.shown["facts"])["cost"] == "none yet"
    view.hear(live.turn_stored(1, Turn(role="user", text="one too", marks=("low_confidence",))))
    assert view.shown["turns"][1]["marks"] == ["not sure what was heard"]
