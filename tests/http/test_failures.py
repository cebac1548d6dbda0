"""Whatever goes wrong on the wire arrives as the httpx exception that says so."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator

import httpx
import pytest

from convai_lab.clock import VirtualClock
from convai_lab.http import new_client, post_stream
from convai_lab.http.proxies import Proxies
from convai_lab.http.transport import AiohttpTransport

OK = b"HTTP/1.1 200 OK\r\n"
CHUNKED = OK + b"Transfer-Encoding: chunked\r\n\r\n"
LENGTH_100 = OK + b"Content-Length: 100\r\n\r\n"
CHUNK = b"5\r\nhello\r\n"
NOT_GZIP = OK + b"Content-Encoding: gzip\r\nContent-Length: 5\r\n\r\nhello"

FAILURES = {
    "closed before an answer": ((), httpx.ReadError),
    "reset before an answer": (("reset",), httpx.ReadError),
    "closed in the middle of the headers": ((OK + b"Content-",), httpx.ReadError),
    "reset in the middle of the headers": ((OK + b"Content-", "flush", "reset"), httpx.ReadError),
    "reset after the headers": ((LENGTH_100, "flush", "reset"), httpx.ReadError),
    "reset in the middle of the body": ((LENGTH_100 + b"abc", "flush", "reset"), httpx.ReadError),
    "closed in the middle of the body": ((LENGTH_100 + b"abc",), httpx.ReadError),
    "closed between two chunks": ((CHUNKED + CHUNK,), httpx.ReadError),
    "closed in the middle of a chunk": ((CHUNKED + b"5\r\nhel",), httpx.ReadError),
    "not http": ((b"HELLO WORLD\r\n\r\n",), httpx.RemoteProtocolError),
    "binary rubbish": ((bytes(range(256)) * 10,), httpx.RemoteProtocolError),
    "tls where http was expected": ((b"\x16\x03\x01\x02\x00\x01",), httpx.RemoteProtocolError),
    "a status that is no number": ((b"HTTP/1.1 abc OK\r\n\r\n",), httpx.RemoteProtocolError),
    "a bad first chunk": ((CHUNKED + b"zz\r\nhello\r\n",), httpx.RemoteProtocolError),
    "a bad later chunk": ((CHUNKED + CHUNK, "flush", b"zz\r\nhello\r\n", "hang"), httpx.RemoteProtocolError),
    "a bad later chunk, then closed": ((CHUNKED + CHUNK, "flush", b"zz\r\nhello\r\n"), httpx.RemoteProtocolError),
    "a chunk longer than it said": ((CHUNKED + b"5\r\nhelloXX3\r\nabc\r\n", "hang"), httpx.RemoteProtocolError),
    "a huge header": ((OK + b"X: " + b"a" * 200_000 + b"\r\n\r\n",), httpx.RemoteProtocolError),
    "a huge status line": ((b"HTTP/1.1 200 " + b"a" * 200_000 + b"\r\n\r\n",), httpx.RemoteProtocolError),
    "thousands of headers": ((OK + b"X: 1\r\n" * 5_000 + b"\r\n",), httpx.RemoteProtocolError),
    "two lengths": ((OK + b"Content-Length: 5\r\nContent-Length: 6\r\n\r\nhello!",), httpx.RemoteProtocolError),
    "a negative length": ((OK + b"Content-Length: -5\r\n\r\nhello",), httpx.RemoteProtocolError),
    "a length that is no number": ((OK + b"Content-Length: five\r\n\r\nhello",), httpx.RemoteProtocolError),
    "a zero byte in a header": ((OK + b"X: a\0b\r\n\r\n",), httpx.RemoteProtocolError),
    "broken gzip": ((NOT_GZIP,), httpx.DecodingError),
    "silence before an answer": (("hang",), httpx.ReadTimeout),
    "silence in the middle of the headers": ((OK + b"X-A", "hang"), httpx.ReadTimeout),
    "silence in the middle of the body": ((CHUNKED + CHUNK, "hang"), httpx.ReadTimeout),
}


def _over_httpx(**options):
    return httpx.AsyncClient(transport=AiohttpTransport(max_connections=10), **options)


SHORT = httpx.Timeout(30, read=0.1)


def _patience(expected: type[Exception]) -> httpx.Timeout:
    """Return a short patience for a server that falls silent; one that says something is waited for."""
    return SHORT if expected is httpx.ReadTimeout else httpx.Timeout(10)


@pytest.mark.parametrize("method", ["GET", "POST"])
@pytest.mark.parametrize("case", FAILURES)
async def test_a_request_fails_as_httpx_says(case, method, serve):
    steps, expected = FAILURES[case]
    server = await serve(*steps)
    async with new_client(timeout=_patience(expected)) as client, asyncio.timeout(10):
        with pytest.raises(httpx.RequestError) as caught:
            await client.request(method, server.url)
    assert type(caught.value) is expected
    assert str(caught.value)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) <= 200
    assert caught.value.request.url == server.url


@pytest.mark.parametrize("case", FAILURES)
async def test_a_stream_fails_as_httpx_says(case, serve):
    steps, expected = FAILURES[case]
    server = await serve(*steps)
    async with new_client(timeout=_patience(expected)) as client, asyncio.timeout(10):
        with pytest.raises(httpx.RequestError) as caught:
            async with client.stream("POST", server.url, json={"stream": True}) as response:
                [line async for line in response.aiter_lines()]
    assert type(caught.value) is expected


@pytest.mark.parametrize("make", [new_client, _over_httpx])
@pytest.mark.parametrize("case", FAILURES)
async def test_a_posted_stream_fails_as_httpx_says_whatever_way_it_takes(case, make, serve):
    steps, expected = FAILURES[case]
    server = await serve(*steps)
    async with make(timeout=_patience(expected)) as client:
        with pytest.raises(expected) as caught:
            await _posted(client, server.url)
    assert type(caught.value) is expected
    assert len(str(caught.value)) < 300


async def _posted(client, url):
    answer = await post_stream(client, f"{url}/x", content=b"{}", headers={"content-type": "application/json"})
    try:
        body = b""
        while not answer.is_over:
            body += answer.ready() or await answer.read()
        return answer.status_code, body
    finally:
        await answer.aclose()


async def test_a_stream_gives_what_came_before_it_was_cut(serve):
    server = await serve(CHUNKED + CHUNK, "flush", b"5\r\nwor")
    async with new_client() as client, client.stream("GET", server.url) as response:
        pieces = response.aiter_bytes()
        assert await anext(pieces) == b"hello"
        with pytest.raises(httpx.ReadError, match="in the middle of its answer"):
            [piece async for piece in pieces]


async def test_a_refused_connection_is_a_connect_error():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # bound but not listening
        async with new_client() as client:
            with pytest.raises(httpx.ConnectError, match="Cannot connect to host"):
                await client.post(f"http://127.0.0.1:{taken.getsockname()[1]}/")


async def test_a_refused_stream_is_a_connect_error():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        async with new_client() as client:
            with pytest.raises(httpx.ConnectError):
                async with client.stream("GET", f"http://127.0.0.1:{taken.getsockname()[1]}/"):
                    pytest.fail("there is nobody to answer")


async def test_a_name_without_an_address_is_a_connect_error():
    async with _client(resolver=_Resolver(OSError("no such host"))) as client:
        with pytest.raises(httpx.ConnectError):
            await client.get("http://nowhere.example/")


async def test_a_server_without_tls_is_a_connect_error():
    def answer(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 400 No\r\n\r\n")
        writer.close()

    async with await asyncio.start_server(answer, "127.0.0.1", 0) as server, new_client() as client:
        with pytest.raises(httpx.ConnectError):
            await client.get(_url(server).replace("http:", "https:"))


async def test_a_lookup_that_hangs_is_a_connect_timeout():
    async with _client(resolver=_Resolver(None), timeout=httpx.Timeout(30, connect=0.05)) as client:
        with pytest.raises(httpx.ConnectTimeout):
            await client.get("http://slow.example/")


async def test_waiting_for_a_connection_is_a_pool_timeout(serve):
    server = await serve(CHUNKED + CHUNK, "hang")
    async with new_client(max_connections=1, timeout=httpx.Timeout(30, pool=0.05)) as client:
        async with client.stream("GET", server.url):
            with pytest.raises(httpx.PoolTimeout, match="all 1 connections are in use"):
                await client.get(server.url)
        async with client.stream("GET", server.url) as again:
            assert again.status_code == 200


async def test_closing_the_client_wakes_who_waits_for_a_connection(serve):
    server = await serve(CHUNKED + CHUNK, "hang")
    client = new_client(max_connections=1)
    async with client.stream("GET", server.url):
        waiting = asyncio.create_task(client.get(server.url))
        for _ in range(5):
            await asyncio.sleep(0)
        await client.aclose()
        with pytest.raises(httpx.PoolTimeout, match="closed"):
            await waiting


async def test_a_server_that_never_reads_is_a_write_timeout(serve):
    server = await serve(read=False)
    async with new_client(timeout=0.05) as client:
        with pytest.raises(httpx.WriteTimeout):
            await client.post(server.url, content=b"x" * 50_000_000)


async def test_a_server_that_stops_reading_a_stream_is_a_write_timeout(serve):
    async def pieces() -> AsyncIterator[bytes]:
        while True:
            yield b"x" * 100_000

    server = await serve(read=False)
    async with new_client(timeout=0.05) as client, asyncio.timeout(10):
        with pytest.raises(httpx.WriteTimeout):
            await client.post(server.url, content=pieces())


def test_a_stream_of_ours_may_take_longer_than_any_limit():
    async def slow() -> AsyncIterator[bytes]:
        for _ in range(3):
            yield b"piece"
            await asyncio.sleep(100)

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"0\r\n\r\n")
        writer.write(OK + b"Content-Length: 0\r\n\r\n")
        writer.close()

    async def main() -> int:
        async with await asyncio.start_server(answer, "127.0.0.1", 0) as server, new_client(timeout=5) as client:
            return (await client.post(_url(server), content=slow())).status_code

    clock = VirtualClock()
    assert clock.run(main()) == 200
    assert clock.now() == 300


async def test_a_stream_of_ours_that_fails_ends_the_request(serve):
    async def broken() -> AsyncIterator[bytes]:
        yield b"some"
        raise RuntimeError("our own fault")

    server = await serve(OK + b"\r\n")
    async with new_client() as client:
        with pytest.raises(httpx.WriteError, match="our own fault"):
            await client.post(server.url, content=broken())


@pytest.mark.parametrize("url", ["file:///etc/passwd", "gopher://example.com/", "/no/host", "http://"])
async def test_other_schemes_are_unsupported(url):
    async with new_client() as client:
        with pytest.raises(httpx.UnsupportedProtocol):
            await client.get(url)


async def test_a_line_break_in_a_header_is_a_local_protocol_error(serve):
    server = await serve(OK + b"\r\n")
    async with new_client() as client:
        with pytest.raises(httpx.LocalProtocolError):
            await client.get(server.url, headers={"x-name": "a\r\nx-injected: b"})
    assert server.requests == []


async def test_a_proxy_that_refuses_is_a_proxy_error():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        proxies = Proxies({"http": f"http://127.0.0.1:{taken.getsockname()[1]}"})
        async with _client(proxies=proxies) as client:
            with pytest.raises(httpx.ProxyError):
                await client.get("http://example.com/")


async def test_a_socks_proxy_is_refused_in_words():
    async with _client(proxies=Proxies({"all": "socks5://127.0.0.1:1"})) as client:
        with pytest.raises(httpx.UnsupportedProtocol, match=r"socks5 proxy.*HTTPS_PROXY"):
            await client.get("http://example.com/")


class _Resolver:
    """Answers with addresses, fails, or (None) never answers."""

    def __init__(self, answer):
        self.answer = answer

    async def resolve(self, host, port=0, family=socket.AF_INET):
        if self.answer is None:
            await asyncio.Event().wait()
        raise self.answer

    async def close(self):
        pass


def _client(*, resolver=None, proxies=None, timeout=30):
    transport = AiohttpTransport(max_connections=10, resolver=resolver, proxies=proxies)
    return httpx.AsyncClient(transport=transport, timeout=timeout)


def _url(server: asyncio.Server) -> str:
    return f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/"
