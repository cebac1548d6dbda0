"""The sound of a live session: what is sent faster than it can be heard is refused in words, and kept by nobody."""

from __future__ import annotations

from typing import Any

import pytest

from convai_lab.clock import SystemClock
from convai_lab.server import live_frames as live
from convai_lab.server.live_media import LiveMedia

SECOND = bytes(2 * 16000)


@pytest.mark.parametrize("rate_hz", [8000, 48000])
async def test_sound_that_nobody_hears_in_time_is_refused_and_does_not_fill_the_memory(rate_hz: int) -> None:
    told: list[dict[str, Any]] = []
    media = LiveMedia(SystemClock(), told.append)
    try:
        minute = bytes(2 * rate_hz * 60)
        for _ in range(20):
            assert await media.take(live.UserSound(minute, rate_hz))
        refused = [event["message"] for event in told if event["type"] == "live_refused"]
        assert len(refused) == 5
        assert "too much is waiting to be heard" in refused[0]
        assert not media.user.has_room(30 * len(SECOND) * 2)
        assert media.user.has_room(0)
    finally:
        await media.close()
