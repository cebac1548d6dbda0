"""The in-memory transport: what the session does is heard as a loudspeaker would play it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from convai_lab.clock import VirtualClock
from convai_lab.errors import ConvaiLabError
from convai_lab.voice.audio import rms_dbfs, silence, tone
from convai_lab.voice.transport import AgentAudio, CharTime, MemoryTransport


def held(test: Callable[[MemoryTransport, VirtualClock], Awaitable[Any]]) -> Any:
    clock = VirtualClock()

    async def run() -> Any:
        return await test(MemoryTransport(clock), clock)

    return clock.run(run())


def speech(secs: float, turn_id: int = 1, rate_hz: int = 16000) -> AgentAudio:
    return AgentAudio(tone(440, secs, rate_hz), rate_hz, turn_id)


def times(transport: MemoryTransport) -> list[tuple[float, float, int]]:
    return [(round(one.at, 6), round(one.until, 6), one.audio.turn_id) for one in transport.heard]


def test_what_the_user_says_arrives_whole_and_in_order_also_after_hanging_up() -> None:
    async def test(transport: MemoryTransport, clock: VirtualClock) -> list[bytes | None]:
        for piece in (b"ab", b"c", b"", b"defg"):
            transport.speak(piece)
        transport.hang_up()
        transport.hang_up()
        return [await transport.receive() for _ in range(5)]

    assert held(test) == [b"ab", b"c", b"defg", None, None]


def test_receiving_waits_until_the_user_speaks_or_leaves() -> None:
    async def test(transport: MemoryTransport, clock: VirtualClock) -> list[tuple[float, bytes | None]]:
        got = []

        async def listen() -> None:
            while True:
                got.append((await transport.receive(), clock.now()))
                if got[-1][0] is None:
                    return

        listening = asyncio.create_task(listen())
        await clock.sleep(1)
        transport.speak(b"hi")
        await clock.sleep(1)
        transport.hang_up()
        await listening
        return got

    assert held(test) == [(b"hi", 1.0), (None, 2.0)]


def test_who_has_hung_up_says_and_hears_no_more() -> None:
    async def test(transport: MemoryTransport, clock: VirtualClock) -> None:
        transport.send(speech(2.0))
        await clock.sleep(0.5)
        transport.hang_up()
        transport.send(speech(1.0))
        assert times(transport) == [(0, 0.5, 1)]
        assert len(transport.sent) == 2
        with pytest.raises(ConvaiLabError, match="hung up"):
            transport.speak(b"x")

    held(test)


def test_agent_audio_plays_at_once_or_after_what_still_plays() -> None:
    async def test(transport: MemoryTransport, clock: VirtualClock) -> None:
        await clock.sleep(1)
        for _ in range(3):
            transport.send(speech(0.5))
        assert transport.plays_until == 2.5
        await clock.sleep(3)
        assert not transport.is_playing
        transport.send(speech(0.5, rate_hz=8000))
        assert transport.is_playing
        assert times(transport) == [(1, 1.5, 1), (1.5, 2, 1), (2, 2.5, 1), (4, 4.5, 1)]

    held(test)


def test_the_user_hears_the_agent_in_the_middle_of_many_pieces() -> None:
    async def test(transport: MemoryTransport, clock: VirtualClock) -> list[bool]:
        for _ in range(50):
            transport.send(speech(0.1))
        heard = [transport.is_playing]
        for _ in range(3):
            await clock.sleep(2)
            heard.append(transport.is_playing)
        return heard

    assert held(test) == [True, True, True, False]


def test_a_flush_stops_its_turn_in_mid_sound_and_nothing_else() -> None:
    async def test(transport: MemoryTransport, clock: VirtualClock) -> None:
        for audio in (speech(1), speech(1), speech(1, turn_id=2), speech(1, turn_id=2)):
            transport.send(audio)
        await clock.sleep(1.25)
        transport.flush(1)
        assert times(transport) == [(0, 1, 1), (1, 1.25, 1), (1.25, 2.25, 2), (2.25, 3.25, 2)]
        transport.flush(7)
        transport.flush(1)
        assert times(transport)[1:] == [(1, 1.25, 1), (1.25, 2.25, 2), (2.25, 3.25, 2)]
        await clock.sleep(5)
        transport.flush(2)
        assert times(transport)[-1] == (2.25, 3.25, 2)
        assert transport.flushed == [1, 7, 1, 2]

    held(test)


def test_a_later_turn_that_is_dropped_leaves_the_one_that_plays_alone() -> None:
    async def test(transport: MemoryTransport, clock: VirtualClock) -> None:
        transport.send(speech(1))
        transport.send(speech(1, turn_id=2))
        await clock.sleep(0.5)
        transport.flush(2)
        assert times(transport) == [(0, 1, 1)]

    held(test)


def test_what_is_cut_keeps_the_characters_that_began() -> None:
    alignment = tuple(CharTime(char, 100 * n, 100) for n, char in enumerate("hello"))

    async def test(transport: MemoryTransport, clock: VirtualClock) -> str:
        transport.send(AgentAudio(tone(440, 0.5), 16000, 1, alignment))
        await clock.sleep(0.25)
        transport.flush(1)
        return "".join(one.char for one in transport.heard[0].audio.alignment or ())

    assert held(test) == "hel"


def test_the_track_that_was_heard_has_every_silence_in_it() -> None:
    async def test(transport: MemoryTransport, clock: VirtualClock) -> bytes:
        await clock.sleep(1)
        transport.send(speech(1, rate_hz=24000))
        transport.send(speech(5, turn_id=2))
        await clock.sleep(1.5)
        return transport.pcm_heard()

    track = held(test)
    assert len(track) == 2.5 * 32000
    assert track[:32000] == silence(1)
    assert rms_dbfs(track[32100:]) == pytest.approx(-12, abs=0.1)


def test_news_come_when_something_is_sent_or_stopped_or_the_user_leaves() -> None:
    async def test(transport: MemoryTransport, clock: VirtualClock) -> list[float]:
        instants = []

        async def watch() -> None:
            for _ in range(3):
                await transport.next_news()
                instants.append(clock.now())

        watching = asyncio.create_task(watch())
        for act in (lambda: transport.send(speech(1)), lambda: transport.flush(1), transport.hang_up):
            await clock.sleep(1)
            act()
        await watching
        return instants

    assert held(test) == [1.0, 2.0, 3.0]


def test_audio_that_is_empty_is_sent_and_not_heard() -> None:
    async def test(transport: MemoryTransport, clock: VirtualClock) -> None:
        transport.send(AgentAudio(b"", 16000, 1))
        assert transport.heard == []
        assert transport.pcm_heard() == b""
        assert transport.plays_until == 0

    held(test)
