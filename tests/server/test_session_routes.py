"""The private session sockets: whose they are, and what they refuse in one sentence."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import Iterator
from typing import Any

import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from convai_lab.agents.agent import Agent
from convai_lab.server.live_frames import read_live_frame
from convai_lab.server.socket_events import Problem
from convai_lab.testing.stub_platform import StubPlatform, stub_platform

ROUTES = ("session", "cloud_session")


@pytest.fixture(scope="module")
def platform(tmp_path_factory: pytest.TempPathFactory) -> Iterator[StubPlatform]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CONVAI_LAB_HOME", str(tmp_path_factory.mktemp("home")))
        with stub_platform() as running:
            yield running


@pytest.fixture
def agent_id(platform: StubPlatform) -> str:
    return platform.workspace.agents.save(Agent(name="support", first_message="Hello there.")).agent.id or ""


def address(platform: StubPlatform, route: str, agent_id: str = "") -> str:
    return platform.url.replace("http", "ws", 1) + f"/v1/local/{route}?agent_id={agent_id}"


def at(platform: StubPlatform, route: str, agent_id: str = "") -> connect:
    """Connect as a program with the key does; a full queue would stop reading, and then no goodbye is heard."""
    headers = {"xi-api-key": platform.key}
    return connect(address(platform, route, agent_id), additional_headers=headers, max_queue=None)


async def said(platform: StubPlatform, agent_id: str, frames: list[str | bytes], *, until: str) -> list[dict[str, Any]]:
    """Send frames, and return what is said until a type of event comes, or the connection is closed."""
    heard: list[dict[str, Any]] = []
    async with at(platform, "session", agent_id) as socket:
        try:
            with contextlib.suppress(ConnectionClosed):  # what was said before is read below
                await socket.send(json.dumps({"type": "conversation_initiation_client_data"}))
                for frame in frames:
                    await socket.send(frame)
            async with asyncio.timeout(10):
                while not heard or heard[-1]["type"] != until:
                    heard.append(json.loads(await socket.recv()))
        except ConnectionClosed as closed:
            heard.append({"type": "closed", "code": closed.rcvd.code if closed.rcvd else 1006})
    return heard


def frame(kind: str, /, **values: Any) -> str:
    return json.dumps({"type": kind, **values})


@pytest.mark.parametrize("route", ROUTES)
@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 401),
        ({"xi-api-key": "lab_wrong_key"}, 401),
        ({"xi-api-key": "lab_stub_platform_key", "origin": "https://evil.example"}, 403),
    ],
)
async def test_only_programs_with_the_key_hold_a_session(
    platform: StubPlatform, agent_id: str, route: str, headers: dict[str, str], status: int
) -> None:
    with pytest.raises(InvalidStatus) as refused:
        async with connect(address(platform, route, agent_id), additional_headers=headers):
            pass
    assert refused.value.response.status_code == status
    assert platform.key not in str(refused.value.response.body)


async def test_an_agent_that_is_not_there_is_told_in_words(platform: StubPlatform) -> None:
    heard = await said(platform, "agent_nobody", [], until="closed")
    assert heard[0]["error_event"]["error_type"] == "agent_not_found"
    assert heard[-1]["code"] == 1008


HARMLESS = [
    (frame("live_choose", kind="smoke"), "live_choose: kind must be one of webrtc, comm"),
    (frame("live_choose"), "live_choose: kind must be one of"),
    (frame("live_mute", on="yes"), "live_mute: on must be true or false"),
    (frame("live_clip", data="%%%", mime="audio/webm"), "live_clip: data is not base64"),
    (frame("live_clip", data="AAAA", mime=7), "live_clip: mime must be a text"),
    (frame("live_sound", pcm=7, rate_hz=16000), "live_sound: pcm is not base64"),
    (frame("live_signal", message="x" * 1_100_000), "the message is too large: 1 MB at most"),
    (frame("live_signal", message={"room_id": "page"}), "before the sound was chosen"),
    *(
        (
            frame("live_sound_takes", **{"to_agent_ms": 5, "to_user_ms": 5, "number": 1, **wrong}),
            f"live_sound_takes: {says}",
        )
        for wrong, says in (
            ({"to_user_ms": -1}, "to_agent_ms and to_user_ms must be milliseconds from 0 to 10000"),
            ({"to_agent_ms": 10_001}, "to_agent_ms and to_user_ms must be"),
            ({"to_agent_ms": "5"}, "to_agent_ms and to_user_ms must be"),
            ({"to_agent_ms": True}, "to_agent_ms and to_user_ms must be"),
            ({"number": None}, "number must be a whole number"),
            ({"number": -1}, "number must be a whole number"),
            ({"heard_at": "now"}, "heard_at must be seconds"),
            ({"heard_at": 1e300}, "heard_at must be seconds"),
        )
    ),
    (frame("live_use_agent", agent="me"), "live_use_agent: agent must be an agent document"),
]


@pytest.mark.parametrize(("sent", "says"), HARMLESS)
async def test_a_private_message_that_is_wrong_is_refused_and_the_session_goes_on(
    platform: StubPlatform, agent_id: str, sent: str, says: str
) -> None:
    heard = await said(platform, agent_id, [sent], until="live_refused")
    assert says in heard[-1]["message"]
    heard = await said(platform, agent_id, [sent, frame("live_choose", kind="comm")], until="audio")
    assert heard[-1]["type"] == "audio"


async def test_a_measurement_of_the_page_is_answered_with_the_platforms_clock(
    platform: StubPlatform, agent_id: str
) -> None:
    sent = [
        frame("live_sound_takes", to_agent_ms=None, to_user_ms=None, number=7),
        frame("live_sound_takes", to_agent_ms=5.5, to_user_ms=80, number=8, is_at_start=True, heard_at=12.5),
        frame("live_choose", kind="comm"),
    ]
    heard = await said(platform, agent_id, sent, until="audio")
    answers = [event for event in heard if event["type"] == "live_sound_timed"]
    assert [answer["number"] for answer in answers] == [7, 8]
    assert 0 <= answers[1]["at"] - answers[0]["at"] < 60


@pytest.mark.parametrize(
    "sent", ['{"type":"live_choose"', b"binary", '{"type":"live_x",' + '"a":[' * 500, "[]", '{"type":"live_a","a":NaN}']
)
async def test_a_frame_that_is_no_message_closes_the_socket_in_words(
    platform: StubPlatform, agent_id: str, sent: str | bytes
) -> None:
    heard = await said(platform, agent_id, [sent], until="closed")
    assert heard[-1]["code"] == 1008
    assert heard[-2]["error_event"]["error_type"] == "bad_message"


async def test_private_messages_that_nobody_knows_are_passed_over(platform: StubPlatform, agent_id: str) -> None:
    unknown = [frame("live_dance"), '{"type":"live_x","type":5}', '{"type":"live_x","type":[]}', frame("live_")]
    heard = await said(platform, agent_id, [*unknown, frame("live_choose", kind="comm")], until="audio")
    assert heard[-1]["type"] == "audio"


async def test_the_cloud_route_asks_for_the_address_first(platform: StubPlatform) -> None:
    async with at(platform, "cloud_session") as socket:
        await socket.send(frame("live_choose", kind="comm"))
        event = json.loads(await socket.recv())
        while event["type"] != "error":
            event = json.loads(await socket.recv())
    assert "live_cloud must come first" in event["error_event"]["message"]


@pytest.mark.parametrize("text", ['{"type":"live_clip","data":"' + "A" * (12 * 1024 * 1024) + '"}'])
def test_a_clip_of_any_size_is_measured_before_it_is_read(text: str) -> None:
    assert "8 MB of sound at most" in read_live_frame(text).what


def test_frames_of_the_vendor_are_read_as_ever() -> None:
    with pytest.raises(Problem, match="frames must be JSON text"):
        read_live_frame(None)
    assert read_live_frame('{"type":"user_message","text":"hi"}').text == "hi"
