"""A connection goes on reading where it had stopped, and does nothing where it had not."""

from __future__ import annotations

import asyncio

from convai_lab.http import new_client
from convai_lab.http.connections import Connections, Handler

PIECE = bytes(64 * 1024)
PIECES = 64
CHUNK = b"%x\r\n%b\r\n" % (len(PIECE), PIECE)
LONG = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + CHUNK * PIECES + b"0\r\n\r\n"


class Watched(Handler):
    def __init__(self) -> None:
        super().__init__(asyncio.get_running_loop())
        self.parsed: list[bytes] = []

    def data_received(self, data: bytes) -> None:
        self.parsed.append(data)


async def test_a_connection_that_had_not_stopped_does_not_look_for_more() -> None:
    handler = Watched()
    handler.resume_reading()
    assert handler.parsed == []
    handler._reading_paused = True  # as `pause_reading` leaves it in the middle of an answer
    handler.resume_reading()
    assert handler.parsed == [b""]


async def test_every_connection_of_ours_is_handled_so() -> None:
    async with Connections(max_connections=1, resolver=None) as connections:
        assert isinstance(connections._factory(), Handler)


async def test_an_answer_that_is_longer_than_what_is_read_ahead_comes_whole(serve) -> None:
    server = await serve(LONG)
    async with new_client(base_url=server.url) as client, client.stream("GET", "/") as response:
        await asyncio.sleep(0)  # more comes than is wanted, so that reading stops
        sizes = [len(piece) async for piece in response.aiter_raw()]
    assert sum(sizes) == PIECES * len(PIECE)
