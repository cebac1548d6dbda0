"""The sound of a conversation over HTTP: whole, in parts, refused in words, and gone with its conversation."""

from __future__ import annotations

import asyncio
import io
import wave
from collections.abc import Callable
from typing import Any

import pytest

from convai_lab import settings
from convai_lab.clock import SystemClock, VirtualClock
from convai_lab.conversations.conversation import Conversation
from convai_lab.conversations.store import ConversationStore
from convai_lab.errors import InvalidValueError
from convai_lab.server.audio_files import delete_recording, recording_file, recordings_of, start_recording
from convai_lab.storage import open_database
from convai_lab.voice.audio import tone

Make = Callable[..., Any]
CONVERSATIONS = "/v1/convai/conversations"


def record(conversation_id: str, secs: float = 1.0, *, hz: float = 440) -> bytes:
    recording = start_recording(settings.home(), conversation_id)
    assert recording is not None
    recording.user(tone(hz, secs))
    recording.agent(tone(2 * hz, secs), 0)
    recording.stop()
    return recording_file(settings.home(), conversation_id).read_bytes()


def store(conversation_id: str, **details: Any) -> None:
    kept = Conversation(id=conversation_id, agent_id="agent_1", started_at=0.0, **{"has_audio": True, **details})
    ConversationStore(open_database(settings.home()), SystemClock()).start(kept)


async def test_a_recording_is_a_wav_file_of_both_sides(bench: Make) -> None:
    made = bench()
    store("conv_a", channel="voice")
    written = await asyncio.to_thread(record, "conv_a")
    async with made.client() as client:
        answer = await client.get(f"{CONVERSATIONS}/conv_a/audio")
        head = await client.head(f"{CONVERSATIONS}/conv_a/audio")
    assert (answer.status_code, answer.headers["content-type"]) == (200, "audio/wav")
    assert answer.content == written
    assert (head.status_code, head.headers["content-length"], head.content) == (200, str(len(written)), b"")
    with wave.open(io.BytesIO(answer.content)) as file:
        assert (file.getnchannels(), file.getframerate(), file.getnframes()) == (2, 16000, 16000)


@pytest.mark.parametrize(
    ("asked", "first", "last"), [("bytes=0-43", 0, 44), ("bytes=100-", 100, None), ("bytes=-1000", -1000, None)]
)
async def test_a_part_may_be_asked_for(asked: str, first: int, last: int | None, bench: Make) -> None:
    made = bench()
    store("conv_a", channel="voice")
    written = record("conv_a")
    async with made.client() as client:
        answer = await client.get(f"{CONVERSATIONS}/conv_a/audio", headers={"range": asked})
    assert (answer.status_code, answer.content) == (206, written[first:last])
    assert answer.headers["content-range"].endswith(f"/{len(written)}")


@pytest.mark.parametrize(("asked", "status"), [("bytes=999999999-", 416), ("bytes=x-y", 400), ("lines=1-2", 400)])
async def test_a_part_that_is_not_there_is_refused(asked: str, status: int, bench: Make) -> None:
    made = bench()
    store("conv_a", channel="voice")
    record("conv_a")
    async with made.client() as client:
        answer = await client.get(f"{CONVERSATIONS}/conv_a/audio", headers={"range": asked})
    assert answer.status_code == status


@pytest.mark.parametrize(
    ("details", "why"),
    [
        ({"has_audio": False, "channel": "text"}, "held in text"),
        ({"has_audio": False, "channel": "voice"}, "privacy"),
        ({"channel": "voice"}, "not there any more"),
    ],
)
async def test_a_missing_recording_is_explained(details: dict[str, Any], why: str, bench: Make) -> None:
    made = bench()
    store("conv_a", **details)
    async with made.client() as client:
        answer = await client.get(f"{CONVERSATIONS}/conv_a/audio")
    assert (answer.status_code, answer.json()["detail"]["status"]) == (404, "audio_not_found")
    assert why in answer.json()["detail"]["message"]


async def test_a_conversation_that_goes_on_has_no_recording_yet(bench: Make) -> None:
    made = bench()
    made.platform.live.release_secs = 0.0
    store("conv_a", channel="voice")
    record("conv_a")
    with made.platform.live.hold("conv_a"):
        async with made.client() as client:
            answer = await client.get(f"{CONVERSATIONS}/conv_a/audio")
    assert answer.status_code == 409


async def test_a_deleted_conversation_leaves_no_sound(bench: Make) -> None:
    made = bench()
    store("conv_a", channel="voice")
    store("conv_ab", channel="voice")
    record("conv_a")
    record("conv_a")
    record("conv_ab")
    async with made.client() as client:
        assert (await client.delete(f"{CONVERSATIONS}/conv_a")).status_code == 200
        assert (await client.delete(f"{CONVERSATIONS}/conv_a")).status_code == 404
    assert [path.name for path in (settings.home() / "audio").iterdir()] == ["conv_ab.wav"]


async def test_a_conversation_that_was_taken_up_again_is_heard_from_its_start(bench: Make) -> None:
    made = bench()
    store("conv_a", channel="voice")
    for secs in (1.0, 0.5, 0.25):
        record("conv_a", secs)
    async with made.client() as client:
        answer = await client.get(f"{CONVERSATIONS}/conv_a/audio")
    with wave.open(io.BytesIO(answer.content)) as file:
        assert (file.getnchannels(), file.getnframes()) == (2, 28000)


def test_an_id_cannot_lead_to_another_place() -> None:
    for wrong in ("../api_key", "a/b", "", "conv\0", "x" * 300, ".."):
        with pytest.raises(InvalidValueError):
            recording_file(settings.home(), wrong)
        delete_recording(settings.home(), wrong)
        assert start_recording(settings.home(), wrong) is None


def test_parts_are_found_in_order() -> None:
    for _ in range(11):
        record("conv_a", 0.1)
    names = [path.stem for path in recordings_of(settings.home(), "conv_a")]
    assert names == [*(f"conv_a.part-{n:04}" for n in range(1, 11)), "conv_a"]


def test_a_call_that_is_continued_by_voice_keeps_both_recordings(
    virtual: VirtualClock, virtual_bench: Make, phone: Any
) -> None:
    bench = virtual_bench()
    key = bench.platform.door.api_key.reveal()
    agent_id = bench.make_agent(conversation_config__agent__first_message="Hello there.")

    async def talk(**query: str) -> str:
        caller = phone(bench, bench.line(agent_id, key=key, **query))
        await caller.call()
        await virtual.sleep(2)
        await caller.hang_up()
        return str(bench.only_conversation().id)

    conversation_id = virtual.run(talk())
    virtual.run(talk(continue_=conversation_id))
    assert len(recordings_of(settings.home(), conversation_id)) == 2
