"""How many streamed calls a second does each HTTP client manage with 100 in flight?

Run by hand: ``python tests/benchmarks/http_pool.py [--calls 3000] [--in-flight 100]``. A child process serves a
small server-sent stream; the clients take turns for a few rounds, and the best round of each counts. Prints one line.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import multiprocessing
import time
from collections.abc import Awaitable, Callable
from multiprocessing.connection import Connection

import aiohttp
import httpx

from convai_lab.http import new_client

EVENT = b'data: {"choices": [{"delta": {"content": "word "}}]}\n\n'
STREAM = b"".join(b"%x\r\n%b\r\n" % (len(EVENT), EVENT) for _ in range(10)) + b"0\r\n\r\n"
ANSWER = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n" + STREAM
BODY = {"model": "mock", "stream": True, "messages": [{"role": "user", "content": "hello " * 50}]}
TIMEOUT_SECS = 60

Call = Callable[[], Awaitable[int]]


class MockVendor(asyncio.Protocol):
    """Answers every request on a connection with the same stream, as cheaply as can be."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport, self.received = transport, b""

    def data_received(self, data: bytes) -> None:
        self.received += data
        head, separator, body = self.received.partition(b"\r\n\r\n")
        if not separator:
            return
        length = int(head.lower().partition(b"content-length:")[2].partition(b"\r\n")[0])
        if len(body) >= length:
            self.received = body[length:]
            self.transport.write(ANSWER)


def serve(pipe: Connection) -> None:
    """Serve until the pipe closes; sends the port first."""

    async def main() -> None:
        loop = asyncio.get_running_loop()
        server = await loop.create_server(MockVendor, "127.0.0.1", 0, backlog=1024)
        pipe.send(server.sockets[0].getsockname()[1])
        await loop.run_in_executor(None, pipe.poll, None)

    asyncio.run(main())


async def rate(call: Call, *, calls: int, in_flight: int) -> float:
    """Return how many calls a second finish, with so many in flight."""
    left = iter(range(calls))

    async def worker() -> None:
        for _ in left:
            if await call() != len(EVENT) * 10:
                raise SystemExit("a client lost a part of the stream")

    started = time.perf_counter()
    await asyncio.gather(*(worker() for _ in range(in_flight)))
    return calls / (time.perf_counter() - started)


def over_httpx(client: httpx.AsyncClient, url: str) -> Call:
    """Return a call that streams an answer through an httpx client."""

    async def call() -> int:
        async with client.stream("POST", url, json=BODY) as response:
            return sum([len(piece) async for piece in response.aiter_raw()])

    return call


def over_aiohttp(session: aiohttp.ClientSession, url: str) -> Call:
    """Return a call that streams an answer through bare aiohttp."""

    async def call() -> int:
        async with session.post(url, json=BODY) as response:
            return sum([len(piece) async for piece in response.content.iter_any()])

    return call


async def measure(url: str, *, calls: int, in_flight: int, rounds: int) -> dict[str, float]:
    """Return the best rate of each client."""
    limits = httpx.Limits(max_connections=in_flight, max_keepalive_connections=in_flight)
    async with (
        aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=in_flight)) as session,
        new_client(max_connections=in_flight, timeout=TIMEOUT_SECS) as ours,
        httpx.AsyncClient(limits=limits, timeout=TIMEOUT_SECS, trust_env=False) as plain,
    ):
        contenders = {
            "aiohttp": (over_aiohttp(session, url), calls),
            "new_client": (over_httpx(ours, url), calls),
            "httpx": (over_httpx(plain, url), max(in_flight, calls // 5)),  # it is slow: fewer calls, same answer
        }
        best = dict.fromkeys(contenders, 0.0)
        for _ in range(rounds):
            for name, (call, count) in contenders.items():
                best[name] = max(best[name], await rate(call, calls=count, in_flight=in_flight))
        return best


def main() -> None:
    """Measure and print one line of JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--calls", type=int, default=3000)
    parser.add_argument("--in-flight", type=int, default=100)
    parser.add_argument("--rounds", type=int, default=3)
    chosen = parser.parse_args()
    ours, theirs = multiprocessing.Pipe()
    server = multiprocessing.get_context("spawn").Process(target=serve, args=(theirs,), daemon=True)
    server.start()
    url = f"http://127.0.0.1:{ours.recv()}/v1/chat/completions"
    best = asyncio.run(measure(url, calls=chosen.calls, in_flight=chosen.in_flight, rounds=chosen.rounds))
    ours.close()
    server.terminate()
    line = {f"{name}_calls_per_sec": round(value) for name, value in best.items()}
    line["new_client_vs_httpx"] = round(best["new_client"] / best["httpx"], 2)
    line["new_client_vs_aiohttp"] = round(best["new_client"] / best["aiohttp"], 2)
    line["in_flight"] = chosen.in_flight
    print(json.dumps(line))


if __name__ == "__main__":
    main()
