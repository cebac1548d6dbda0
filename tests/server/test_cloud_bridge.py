"""The bridge to another platform: what a platform there may not say, and where the bridge does not go."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from websockets.asyncio.client import connect
from websockets.asyncio.server import ServerConnection, serve
from websockets.exceptions import ConnectionClosed

from convai_lab.testing.stub_platform import StubPlatform, stub_platform

HELLO = {"type": "conversation_initiation_client_data"}
BEGUN = {
    "type": "conversation_initiation_metadata",
    "conversation_initiation_metadata_event": {"conversation_id": "conv_far"},
}
LAST = {"type": "agent_response", "agent_response_event": {"agent_response": "That is all."}}


@pytest.fixture(scope="module")
def platform(tmp_path_factory: pytest.TempPathFactory) -> Iterator[StubPlatform]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CONVAI_LAB_HOME", str(tmp_path_factory.mktemp("home")))
        with stub_platform() as running:
            yield running


@asynccontextmanager
async def far_platform(*frames: Any, hangs_up: bool = False) -> AsyncIterator[str]:
    """Serve a platform that says these frames, whatever it is told; yields its address."""

    async def talk(socket: ServerConnection) -> None:
        for frame in (BEGUN, *frames, LAST):
            await socket.send(json.dumps(frame))
        if not hangs_up:
            await socket.wait_closed()

    async with serve(talk, "127.0.0.1", 0) as server:
        yield f"ws://127.0.0.1:{next(iter(server.sockets)).getsockname()[1]}/v1?conversation_signature=cvtkn_secret"


async def bridged(platform: StubPlatform, url: str, is_last: Callable[[Any], bool]) -> list[Any]:
    """Open a session at an address, choose to type, and return what is said until `is_last` or the end."""
    heard: list[Any] = []
    address = platform.url.replace("http", "ws", 1) + "/v1/local/cloud_session"
    async with connect(address, additional_headers={"xi-api-key": platform.key}, max_queue=None) as socket:
        for frame in ({"type": "live_cloud", "url": url, "who": "Far"}, HELLO, {"type": "live_choose", "kind": "text"}):
            await socket.send(json.dumps(frame))
        try:
            async with asyncio.timeout(20):
                while not heard or not is_last(heard[-1]):
                    heard.append(json.loads(await socket.recv()))
        except ConnectionClosed:
            return heard
    return heard


@pytest.mark.parametrize(
    "frame",
    [
        {"type": "live_window_ready", "token": "forged"},
        {"type": "live_turn_stored", "index": 0, "turn": {"role": "agent", "message": "forged"}},
        {"type": "live_refused", "message": "forged"},
        {"forged": True},
        {"type": ["forged"]},
        {"type": None, "forged": 1},
    ],
)
async def test_another_platform_cannot_speak_for_this_one_nor_break_the_session(
    platform: StubPlatform, frame: Any
) -> None:
    async with far_platform(frame) as url:
        heard = await bridged(platform, url, lambda event: event["type"] == "agent_response")
    assert heard[-1] == LAST
    assert "forged" not in json.dumps(heard)


async def test_what_the_other_platform_said_last_is_heard_although_its_pings_cannot_be_answered_any_more(
    platform: StubPlatform,
) -> None:
    pings = [{"type": "ping", "ping_event": {"event_id": n}} for n in range(20)]
    async with far_platform(*pings, hangs_up=True) as url:
        assert LAST in await bridged(platform, url, lambda event: event["type"] == "agent_response")


@pytest.mark.parametrize(
    "host",
    [
        "169.254.169.254",
        "[fe80::1]",
        "[::ffff:169.254.169.254]",
        "metadata.google.internal",
        "0.0.0.0",
        "2852039166",
        "user:password@example.com",
        "224.0.0.1",
    ],
)
async def test_the_bridge_goes_to_no_address_that_only_this_machine_should_reach(
    platform: StubPlatform, host: str
) -> None:
    url = f"wss://{host}/v1?conversation_signature=cvtkn_secret"
    heard = await bridged(platform, url, lambda event: event["type"] == "error")
    assert "live_cloud: url must be the wss address of a conversation" in json.dumps(heard[-1])
    assert "cvtkn_secret" not in json.dumps(heard)
