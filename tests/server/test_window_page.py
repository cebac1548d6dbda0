"""The page in which one talks: who gets in, once, for how long, and what it may not do."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import pytest
from starlette.websockets import WebSocket
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from convai_lab.agents.agent import Agent
from convai_lab.agents.tools import tool
from convai_lab.clock import VirtualClock
from convai_lab.server.answers import Refusal
from convai_lab.server.window_links import LINK_SECS, PAGE_SECS, WindowLinks
from convai_lab.testing.fake_llm import call
from convai_lab.testing.stub_platform import StubPlatform, stub_platform
from convai_lab.workspace.window import Window

EVIL = "<script>alert(1)</script>"
FILES = ("", "/window.js", "/window_sound.js", "/window_worklet.js", "/window.css", "/icon.svg")
SHARED = ("/session_panel.js", "/session_panel.css", "/panel_measures.js", "/panel_worklet.js")


@pytest.fixture(scope="module")
def platform(tmp_path_factory: pytest.TempPathFactory) -> Iterator[StubPlatform]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CONVAI_LAB_HOME", str(tmp_path_factory.mktemp("home")))
        with stub_platform() as running:
            yield running


@pytest.fixture
def opened(platform: StubPlatform) -> Iterator[Callable[..., Window]]:
    windows: list[Window] = []

    def open_one(**agent: Any) -> Window:
        made = platform.workspace.agents.save(Agent(**{"name": "support", "first_message": "Hello there.", **agent}))
        windows.append(platform.workspace.open_window(made.agent))
        return windows[-1]

    yield open_one
    for window in windows:
        window.session.end()
        window.session.wait(10)


def token_of(window: Window) -> str:
    return window.url.partition("#")[2]


def exchange(platform: StubPlatform, body: Any, **headers: str) -> httpx.Response:
    sent = body if isinstance(body, bytes) else json.dumps(body).encode()
    return httpx.post(
        f"{platform.url}/window/open",
        content=sent,
        headers={"origin": platform.url, "content-type": "application/json", **headers},
    )


def page_token(platform: StubPlatform, window: Window) -> str:
    return str(exchange(platform, {"token": token_of(window)}).json()["token"])


def socket(platform: StubPlatform, **headers: str) -> connect:
    url = platform.url.replace("http", "ws", 1) + "/window/socket"
    return connect(url, additional_headers={"origin": platform.url, **headers}, max_queue=None)


async def entered(platform: StubPlatform, window: Window, page: ClientConnection) -> dict[str, Any]:
    """Show the page's token, and return what the page shows first."""
    await page.send(json.dumps({"type": "window", "token": page_token(platform, window)}))
    return dict(json.loads(await page.recv())["set"])


class Shown:
    """What a page was told so far."""

    def __init__(self, values: dict[str, Any]) -> None:
        self.values, self.audio, self.letters = values, 0, list[dict[str, Any]]()

    async def until(self, page: ClientConnection, is_it: Callable[[Shown], Any]) -> None:
        async with asyncio.timeout(15):
            while not is_it(self):
                letter = json.loads(await page.recv())
                self.letters.append(letter)
                self.values.update(letter.get("set", {}))
                self.audio += "audio" in letter

    @property
    def said(self) -> list[str]:
        return [turn["heard"] for turn in self.values["turns"]]


# The link


def test_a_link_works_once(platform: StubPlatform, opened: Callable[..., Window]) -> None:
    body = {"token": token_of(opened())}
    first, second = exchange(platform, body), exchange(platform, body)
    assert first.status_code == 200
    assert first.json()["token"] not in ("", body["token"])
    assert second.status_code == 403
    assert "was used already" in second.json()["detail"]["message"]
    assert "%talk AGENT --window" in second.json()["detail"]["message"]


def test_a_link_and_a_page_expire_by_the_clock(virtual: VirtualClock) -> None:
    async def later() -> list[str]:
        links, found = WindowLinks(virtual), list[str]()
        late, early, share = links.new_link(object()), links.new_link(object()), object()  # type: ignore[arg-type]
        ours = links.new_link(share)  # type: ignore[arg-type]
        await virtual.sleep(LINK_SECS - 1)
        slow = links.exchange(early)
        assert links.admit(links.exchange(ours)) is share
        await virtual.sleep(max(2.0, PAGE_SECS + 1))
        for attempt in (lambda: links.exchange(late), lambda: links.admit(slow)):
            with pytest.raises(Refusal) as refused:
                attempt()
            found.append(refused.value.message)
        return found

    expired, slow = virtual.run(later())
    assert expired.startswith("This link has expired")
    assert slow.startswith("This page may not talk any more")


def test_a_page_token_opens_one_socket_of_its_own_session_alone(virtual: VirtualClock) -> None:
    async def twice() -> None:
        links = WindowLinks(virtual)
        mine, other = object(), object()
        token, foreign = links.new_link(mine), links.new_link(other)  # type: ignore[arg-type]
        page = links.exchange(token)
        for wrong in (token, foreign, "", None, 7, ["x"], "x" * 10_000, "\ud800"):
            with pytest.raises(Refusal, match="may not talk"):
                links.admit(wrong)
        assert links.admit(page) is mine
        with pytest.raises(Refusal, match="may not talk"):
            links.admit(page)

    virtual.run(twice())


@pytest.mark.parametrize(
    "body",
    [{"token": "wrong"}, {"token": ""}, {"token": None}, {"token": ["x"]}, {"token": "x" * 3000}, {}, [], None, "x"],
)
def test_a_link_that_nobody_made_is_refused_in_words(platform: StubPlatform, body: Any) -> None:
    answer = exchange(platform, body)
    assert answer.status_code == 403
    assert answer.json()["detail"]["message"].startswith("This link is not known here")


@pytest.mark.parametrize(
    ("body", "status"), [(b"{", 400), (b"\xff", 400), (b"[" * 4000, 400), (b" " * 5000, 413), (b"x" * 200_000, 413)]
)
def test_a_body_that_is_none_is_refused(platform: StubPlatform, body: bytes, status: int) -> None:
    answer = exchange(platform, body)
    assert answer.status_code == status
    assert "internal" not in answer.text


def test_a_link_of_a_session_that_is_over_opens_nothing(platform: StubPlatform, opened: Callable[..., Window]) -> None:
    window = opened()
    window.session.end()
    window.session.wait(10)
    answer = exchange(platform, {"token": token_of(window)})
    assert answer.status_code == 403
    assert "its session is over" in answer.json()["detail"]["message"]


# Who may ask


@pytest.mark.parametrize(
    "headers",
    [
        {"origin": "https://evil.example"},
        {"origin": "null"},
        {"origin": "http://localhost:3000"},
        {"origin": "http://127.0.0.1:1"},
        {"origin": ""},
        {"host": "evil.example"},
        {"host": "evil.example", "origin": "http://evil.example"},
    ],
)
async def test_only_the_pages_own_origin_may_exchange_a_link_or_open_a_socket(
    platform: StubPlatform, opened: Callable[..., Window], headers: dict[str, str]
) -> None:
    window = await asyncio.to_thread(opened)
    answer = await asyncio.to_thread(exchange, platform, {"token": token_of(window)}, **headers)
    assert answer.status_code == 403
    assert answer.json()["detail"]["status"].startswith("forbidden_")
    if "host" not in headers:
        with pytest.raises(InvalidStatus) as refused:
            async with socket(platform, **headers):
                pass
        assert refused.value.response.status_code == 403
    usable = await asyncio.to_thread(exchange, platform, {"token": token_of(window)})
    assert usable.status_code == 200, "a refused page uses up no link"


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE", "OPTIONS", "PATCH"])
def test_other_methods_are_refused_and_no_other_page_may_read(platform: StubPlatform, method: str) -> None:
    headers = {"origin": "https://evil.example", "access-control-request-method": "POST"}
    answer = httpx.request(method, f"{platform.url}/window/open", headers=headers)
    assert answer.status_code == 405
    assert not [name for name in answer.headers if name.startswith("access-control")]


@pytest.mark.parametrize("path", [*FILES, *SHARED])
def test_every_file_of_the_page_has_the_strict_headers(platform: StubPlatform, path: str) -> None:
    answer = httpx.get(f"{platform.url}/window{path}")
    assert answer.status_code == 200
    policy = answer.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "script-src 'self';" in policy
    assert "frame-ancestors 'none'" in policy
    assert "unsafe" not in policy
    assert (answer.headers["referrer-policy"], answer.headers["x-frame-options"]) == ("no-referrer", "DENY")
    assert (answer.headers["cache-control"], answer.headers["x-content-type-options"]) == ("no-store", "nosniff")
    assert not [name for name in answer.headers if name.startswith("access-control")]
    assert platform.key not in answer.text
    assert httpx.post(f"{platform.url}/window{path}").status_code == 405


def test_the_page_holds_nothing_inline_and_nothing_of_a_session(
    platform: StubPlatform, opened: Callable[..., Window]
) -> None:
    opened(name=f"evil {EVIL}")
    page = httpx.get(f"{platform.url}/window").text
    assert EVIL not in page
    assert "evil" not in page
    assert page.count("<script") == page.count('<script type="module" src="/window/window.js">') == 1
    assert " style=" not in page
    assert "onload" not in page


@pytest.mark.parametrize("path", ["/", "/../app.py", "/%2e%2e/app.py", "/window.html", "/window.py", "/x" * 500])
def test_there_is_no_other_file(platform: StubPlatform, path: str) -> None:
    assert httpx.get(f"{platform.url}/window{path}").status_code == 404


# The socket


@pytest.mark.parametrize(
    "first",
    [
        '{"type":"window","token":"wrong"}',
        '{"type":"window"}',
        '{"type":"user_message","text":"hi"}',
        "{",
        "[" * 3000,
        "x" * 100_000,
        b"binary",
    ],
)
async def test_a_socket_without_its_token_is_closed_in_words(platform: StubPlatform, first: str | bytes) -> None:
    async with socket(platform) as page:
        await page.send(first)
        with pytest.raises(ConnectionClosed) as closed:
            await page.recv()
    assert closed.value.rcvd is not None
    assert closed.value.rcvd.code == 1008
    assert closed.value.rcvd.reason.startswith("This page may not talk any more")


async def test_a_page_talks_is_heard_and_ends_and_the_notebook_has_the_conversation(
    platform: StubPlatform, opened: Callable[..., Window]
) -> None:
    window = await asyncio.to_thread(opened, name=f"Sam {EVIL}")
    async with socket(platform) as page:
        shown = Shown(await entered(platform, window, page))
        assert shown.values["agent"] == f"Sam {EVIL}@{window.session.agent.version}"
        assert shown.values["status"]["state"] == "ready"
        await page.send(json.dumps({"type": "live_choose", "kind": "comm"}))
        await shown.until(page, lambda s: s.said == ["Hello there."] and s.audio)
        await page.send(json.dumps({"type": "user_message", "text": EVIL}))
        await shown.until(page, lambda s: s.said[1:] == [EVIL, "All right."])
        facts = dict(shown.values["facts"])
        assert facts["sound"] == "through this page's websocket"
        assert facts["model"] != "not known yet"
        await page.send('{"type":"window_end"}')
        with contextlib.suppress(ConnectionClosed):
            await shown.until(page, lambda s: s.values["finished"])
    assert shown.values["status"] == {"state": "ended", "words": "Ended by you"}
    assert EVIL in json.loads(shown.values["finished"]["test"])[0]["opening"]
    assert shown.values["finished"]["id"] == window.session.conversation_id != ""
    assert shown.values["partial"] == ""
    record = await asyncio.to_thread(window.session.wait, 10)
    assert [turn.text for turn in record.turns] == ["Hello there.", EVIL, "All right."]
    assert window.session.end_reason == "the session was ended in its page"
    assert platform.key not in json.dumps(shown.letters)


async def test_a_page_may_not_answer_tools_change_the_agent_or_make_another_link(
    platform: StubPlatform, opened: Callable[..., Window]
) -> None:
    window = await asyncio.to_thread(opened)
    forbidden: list[dict[str, Any]] = [
        {"type": "client_tool_result", "tool_call_id": "1", "result": "x", "is_error": False},
        {"type": "live_use_agent", "agent": {"name": "evil"}},
        {"type": "live_window", "agent": "a", "platform": "b"},
        {"type": "live_printed", "name": "tool", "text": "x"},
        {"type": "live_cloud", "url": "wss://evil.example", "who": "me"},
        {"type": "live_choose", "kind": "webrtc"},
        {"type": "contextual_update", "text": "obey"},
        {"type": "conversation_initiation_client_data", "dynamic_variables": {"a": 1}},
    ]
    async with socket(platform) as page:
        shown = Shown(await entered(platform, window, page))
        for frame in forbidden:
            await page.send(json.dumps(frame))
        await page.send(json.dumps({"type": "user_message", "text": "hi"}))
        await shown.until(page, lambda s: "All right." in s.said)
    assert shown.values["problem"] == {}
    assert shown.values["printed"] == ""
    assert "live_window_ready" not in json.dumps(shown.letters)


@pytest.mark.parametrize("frame", [b"binary", '{"user_audio_chunk":"%%%"}', "{", '{"type":"live_a","a":NaN}'])
async def test_a_page_that_says_nonsense_is_told_and_the_session_ends(
    platform: StubPlatform, opened: Callable[..., Window], frame: str | bytes
) -> None:
    window = await asyncio.to_thread(opened)
    async with socket(platform) as page:
        shown = Shown(await entered(platform, window, page))
        await page.send(json.dumps({"type": "live_choose", "kind": "comm"}))
        await shown.until(page, lambda s: s.audio)
        await page.send(frame)
        with contextlib.suppress(ConnectionClosed):
            await shown.until(page, lambda _: False)
    assert shown.values["status"]["state"] == "ended"
    assert shown.values["problem"]["what"]
    await asyncio.to_thread(window.session.wait, 10)


async def test_a_page_that_is_closed_ends_the_session(platform: StubPlatform, opened: Callable[..., Window]) -> None:
    window = await asyncio.to_thread(opened)
    async with socket(platform) as page:
        await entered(platform, window, page)
    await asyncio.to_thread(window.session.wait, 10)
    assert window.session.state == "ended"


async def test_a_page_that_takes_nothing_ends_the_session_and_fills_no_memory(
    platform: StubPlatform, opened: Callable[..., Window], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("convai_lab.server.window_share.MAX_LETTERS", 3)
    send = WebSocket.send_text

    async def stuck(line: WebSocket, text: str) -> None:
        await (asyncio.Event().wait() if line.url.path == "/window/socket" else send(line, text))

    window = await asyncio.to_thread(opened)
    async with socket(platform) as page:
        await entered(platform, window, page)
        monkeypatch.setattr(WebSocket, "send_text", stuck)
        for number in range(200):
            window.session.post({"type": "live_printed", "name": "tool", "text": f"{number}\n"})
        await asyncio.to_thread(window.session.wait, 20)
    assert window.session.end_reason == "the session was ended in its page"


async def test_when_its_owner_leaves_the_page_says_so(platform: StubPlatform, opened: Callable[..., Window]) -> None:
    window = await asyncio.to_thread(opened)
    async with socket(platform) as page:
        shown = Shown(await entered(platform, window, page))
        window.session.end()
        with contextlib.suppress(ConnectionClosed):
            await shown.until(page, lambda _: False)
    assert "the notebook or program that made this link ended it" in shown.values["status"]["words"]


async def test_the_notebooks_tools_answer_a_page_and_what_they_print_is_shown() -> None:
    @tool
    def order_status(order_id: str) -> str:
        "Look up an order."
        print("looking up", order_id)
        return "shipped"

    with stub_platform([call("order_status", {"order_id": "7"}), "It is shipped."]) as platform:
        made = platform.workspace.agents.save(Agent(name="support", tools=[order_status]))
        window = await asyncio.to_thread(platform.workspace.open_window, made.agent)
        async with socket(platform) as page:
            shown = Shown(await entered(platform, window, page))
            await page.send(json.dumps({"type": "user_message", "text": "where is it?"}))
            await shown.until(page, lambda s: "It is shipped." in s.said and s.values["printed"].endswith("\n"))
    assert shown.values["printed"] == "order_status: looking up 7\n"
    [used] = [use for turn in shown.values["turns"] for use in turn["tools"]]
    assert (used["name"], used["result"], used["is_error"]) == ("order_status", "shipped", False)
    assert '"7"' in used["arguments"]
