"""The sound of a live session: what is sent faster than it can be heard is refused in words, and kept by nobody."""

from __future__ import annotations

from typing import Any

import pytest

from convai_lab.clock import SystemClock, VirtualClock
from convai_lab.server import live_frames as live
from convai_lab.server import voice_socket
from convai_lab.server.live_media import LiveAudio, LiveMedia
from convai_lab.voice.audio import silence

SECOND = bytes(2 * 16000)


def is_steady_after(*pieces: tuple[float, float]) -> bool:
    """Say whether a user is steady after pieces of so many seconds, each so long after the one before."""
    clock = VirtualClock()
    user = LiveAudio(clock)

    async def hear() -> bool:
        for after, secs in pieces:
            await clock.sleep(after)
            user.put(silence(secs))
        return user.is_steady

    return clock.run(hear())


def test_sound_is_steady_when_it_comes_piece_by_piece_as_from_a_microphone() -> None:
    microphone = [(0.06, 0.06)] * 10
    assert is_steady_after(*microphone)
    assert is_steady_after(*microphone, (0.8, 0.06)), "it is late"
    assert is_steady_after(*microphone, *[(0.001, 0.06)] * 13)
    assert not is_steady_after(*microphone[:5])
    assert not is_steady_after(*microphone, (1.1, 0.06)), "there was none"
    assert not is_steady_after((0.5, 1.5), (0.9, 1.5)), "a file is no microphone"
    assert not is_steady_after(*[(0.001, 0.06)] * 100)


@pytest.mark.parametrize("kind", ["push_to_talk", "text", "webrtc"])
async def test_only_a_line_that_stands_is_waited_for(kind: live.MediaKind) -> None:
    media = LiveMedia(SystemClock(), lambda _: None)
    try:
        media.user = LiveAudio(VirtualClock())
        media.kind = kind
        vars(media.user)["_came_at"] = 5.0
        assert media.user.is_steady
        assert not media.is_steady
        media.kind = "comm"
        assert media.is_steady
    finally:
        await media.close()


@pytest.mark.parametrize("rate_hz", [8000, 48000])
async def test_sound_that_nobody_hears_in_time_is_refused_and_does_not_fill_the_memory(
    rate_hz: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(voice_socket, "MAX_WAITING_SECS", 15.0)
    told: list[dict[str, Any]] = []
    media = LiveMedia(SystemClock(), told.append)
    try:
        second = bytes(2 * rate_hz)
        for _ in range(20):
            assert await media.take(live.UserSound(second, rate_hz))
        refused = [event["message"] for event in told if event["type"] == "live_refused"]
        assert len(refused) == 5
        assert "too much is waiting to be heard" in refused[0]
        assert not media.user.has_room(len(SECOND))
        assert media.user.has_room(0)
    finally:
        await media.close()
