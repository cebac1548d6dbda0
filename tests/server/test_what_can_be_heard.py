"""What of a conversation can be heard: it says so itself, also when the disk was full or a file has gone since."""

from __future__ import annotations

import errno
import json
from collections.abc import Callable
from typing import Any

import pytest

from convai_lab import settings
from convai_lab.clock import SystemClock, VirtualClock
from convai_lab.conversations.conversation import Conversation
from convai_lab.conversations.store import ConversationStore
from convai_lab.conversations.wire_format import conversation_from_wire
from convai_lab.errors import NotFoundError
from convai_lab.server.audio_files import start_recording
from convai_lab.storage import open_database
from convai_lab.voice.audio import tone
from convai_lab.voice.recording import Recording

Make = Callable[..., Any]
CONVERSATIONS = "/v1/convai/conversations"
HELLO = {"conversation_config__agent__first_message": "Hello there."}


def store(conversation_id: str, **details: Any) -> None:
    kept = Conversation(id=conversation_id, agent_id="agent_1", started_at=0.0, has_audio=True, **details)
    ConversationStore(open_database(settings.home()), SystemClock()).start(kept)


@pytest.mark.parametrize(
    ("limit_bytes", "has_audio", "why"),
    [
        (None, True, None),
        (40_000, True, "its recording stops before its end, because the disk took no more"),
        (0, False, "the disk took none of its sound"),
    ],
)
def test_a_conversation_says_what_of_it_can_be_heard(
    limit_bytes: int | None,
    has_audio: bool,
    why: str | None,
    virtual: VirtualClock,
    virtual_bench: Make,
    phone: Any,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    written = Recording._write_at

    def write_at(recording: Recording, offset: int, data: bytes) -> None:
        if offset and limit_bytes is not None and offset + len(data) > limit_bytes:
            raise OSError(errno.ENOSPC, "No space left on device")
        written(recording, offset, data)

    monkeypatch.setattr(Recording, "_write_at", write_at)
    bench = virtual_bench()
    caller = phone(bench, bench.line(bench.make_agent(**HELLO)))

    async def talk() -> None:
        await caller.call()
        await caller.hear("agent_response")
        await caller.say("where is my order")
        await virtual.sleep(3)
        await caller.hang_up()

    virtual.run(talk())
    kept = bench.only_conversation()
    assert (kept.has_audio, kept.audio_problem) == (has_audio, why)


async def test_a_recording_that_has_gone_is_not_claimed(bench: Make) -> None:
    made = bench()
    for kept in ("conv_gone", "conv_here"):
        store(kept, channel="voice", status="done")
    store("conv_cloud", channel="voice", status="done", source="import", platform="elevenlabs")
    recording = start_recording(settings.home(), "conv_here")
    assert recording is not None
    recording.user(tone(440, 1.0))
    recording.stop()
    async with made.client() as client:
        one = (await client.get(f"{CONVERSATIONS}/conv_gone")).json()
        lines = (await client.get("/v1/local/conversations.ndjson?source=all")).text.splitlines()
    every = {document["conversation_id"]: document for document in map(json.loads, lines)}
    assert {name: document["has_audio"] for name, document in every.items()} == {
        "conv_gone": False,
        "conv_here": True,
        "conv_cloud": True,
    }
    for document in (one, every["conv_gone"]):
        assert not document["has_user_audio"]
        assert conversation_from_wire(document).audio_problem == "its recording is not there"
    with pytest.raises(NotFoundError, match="conv_gone has no sound: its recording is not there"):
        _ = conversation_from_wire(one).audio
