"""Posting past httpx is the same as posting through it, only quicker."""

from __future__ import annotations

import gzip

import httpx
import pytest

from convai_lab.http import new_client, post_stream
from convai_lab.http.proxies import Proxies
from convai_lab.http.transport import AiohttpTransport

OK = b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n"
PIECES = OK + b"Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n6\r\n world\r\n0\r\n\r\n"
HEADERS = {"content-type": "application/json", "authorization": "Bearer k"}


async def _read(answer):
    body = b""
    try:
        while not answer.is_over:
            if not (piece := answer.ready() or await answer.read()):
                break
            body += piece
    finally:
        await answer.aclose()
    return body


def _lines(raw: bytes) -> tuple[bytes, set[bytes], bytes]:
    head, _, body = raw.partition(b"\r\n\r\n")
    first, *headers = head.split(b"\r\n")
    return first, {line.partition(b":")[0].lower() + b":" + line.partition(b":")[2] for line in headers}, body


async def test_the_same_bytes_are_sent_and_the_same_answer_is_read(serve):
    server = await serve(PIECES, keep_open=True)
    over_httpx = httpx.AsyncClient(transport=AiohttpTransport(max_connections=1), headers={"x-own": "1"})
    async with new_client(headers={"x-own": "1"}) as direct, over_httpx:
        for client in (direct, over_httpx):
            answer = await post_stream(client, f"{server.url}/a%2Fb?q=%C3%A4", content=b'{"a":1}', headers=HEADERS)
            assert (answer.status_code, answer.content_type) == (200, "text/plain")
            assert await _read(answer) == b"hello world"
    assert _lines(server.requests[0]) == _lines(server.requests[1])
    assert b"POST /a%2Fb?q=%C3%A4 HTTP/1.1" in server.requests[0]


async def test_a_connection_whose_answer_was_read_is_used_again_and_no_other(serve):
    server = await serve(PIECES, keep_open=True)
    async with new_client() as client:
        for _ in range(3):
            await _read(await post_stream(client, server.url, content=b"{}", headers=HEADERS))
        assert server.connections == 1
    left = await serve(OK + b"Content-Length: 10\r\n\r\nhello", "hang")
    async with new_client() as client:
        answer = await post_stream(client, left.url, content=b"{}", headers=HEADERS)
        await answer.aclose()
        await left.closed_by_client.wait()


async def test_a_compressed_answer_is_unpacked(serve):
    packed = gzip.compress(b"hello world")
    server = await serve(OK + b"Content-Encoding: gzip\r\nContent-Length: %d\r\n\r\n%b" % (len(packed), packed))
    async with new_client() as client:
        assert await _read(await post_stream(client, server.url, content=b"{}", headers=HEADERS)) == b"hello world"


async def test_an_answer_can_still_be_read_as_httpx_reads_it(serve):
    server = await serve(b"HTTP/1.1 429 Slow\r\nRetry-After: 7\r\nContent-Length: 4\r\n\r\nwait")
    async with new_client() as client:
        answer = await post_stream(client, server.url, content=b"{}", headers=HEADERS)
        response = answer.as_response()
        assert (response.status_code, response.headers["retry-after"]) == (429, "7")
        assert await response.aread() == b"wait"
        await answer.aclose()


@pytest.mark.parametrize("how", ["hooks", "auth", "user in the address", "large"])
async def test_what_only_httpx_can_do_is_left_to_httpx(how, serve):
    server, seen = await serve(PIECES), []

    async def hook(request: httpx.Request) -> None:
        seen.append(request)

    url, content = f"{server.url}/x", b"{}"
    async with new_client() as client:
        if how == "hooks":
            client.event_hooks = {"request": [hook]}
        elif how == "auth":
            client.auth = ("ada", "secret")
        elif how == "user in the address":
            url = url.replace("//", "//ada:secret@")
        else:
            content = b"x" * (1 << 20)
        answer = await post_stream(client, url, content=content, headers={"content-type": "text/plain"})
        assert await _read(answer) == b"hello world"
    assert len(seen) == (how == "hooks")
    assert (b"Authorization: Basic" in server.requests[0]) == (how in ("auth", "user in the address"))
    assert server.requests[0].endswith(content)


async def test_a_closed_client_says_so(serve):
    server = await serve(PIECES)
    client = new_client()
    await client.aclose()
    with pytest.raises(RuntimeError, match="closed"):
        await post_stream(client, server.url, content=b"{}", headers=HEADERS)
    assert not server.requests


@pytest.mark.parametrize("url", ["ftp://example.com/x", "nothing", "http://"])
async def test_what_is_no_web_address_is_unsupported(url):
    async with new_client() as client:
        with pytest.raises(httpx.UnsupportedProtocol):
            await post_stream(client, url, content=b"{}", headers=HEADERS)


async def test_a_proxy_of_the_environment_is_used():
    proxies = Proxies({"http": "socks5://127.0.0.1:1"})
    transport = AiohttpTransport(max_connections=1, proxies=proxies)
    with pytest.raises(httpx.UnsupportedProtocol, match="socks5"):
        transport.route(httpx.URL("http://example.com/x"))


async def test_whoever_listens_hears_the_headers_of_every_answer_whatever_way_it_took(serve):
    server = await serve(b"HTTP/1.1 200 OK\r\nX-Left: 5\r\nContent-Length: 0\r\n\r\n", keep_open=True)
    heard = []
    async with new_client() as client:
        client.listeners.append(lambda headers: heard.append(headers.get("x-left")))
        for content in (b"{}", b"x" * (1 << 17)):
            answer = await post_stream(client, server.url, content=content, headers=HEADERS)
            assert await _read(answer) == b""
        await client.get(server.url)
    assert heard == ["5", "5", "5"]
