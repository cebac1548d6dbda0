"""The client sends what httpx built, keeps its connections in order, and leaves nothing behind."""

from __future__ import annotations

import asyncio
import gc
import gzip
import subprocess
import sys
import threading
import warnings

import httpx
import pytest

from convai_lab.clock import VirtualClock
from convai_lab.http import new_client
from convai_lab.http.proxies import Proxies
from convai_lab.http.transport import AiohttpTransport

HELLO = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"
CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n"
REST = b"5\r\nworld\r\n0\r\n\r\n"


async def test_a_request_leaves_as_httpx_built_it(serve):
    server = await serve(HELLO)
    async with new_client(base_url=server.url, headers={"X-Key": "abc"}) as client:
        del client.headers["accept"], client.headers["user-agent"]
        await client.post("/a%2Fb/%7Ec?q=%41&r=a+b#part", content=b"body")
    head, _, body = server.requests[0].partition(b"\r\n\r\n")
    line, *headers = head.split(b"\r\n")
    assert line == b"POST /a%2Fb/%7Ec?q=%41&r=a+b HTTP/1.1"
    assert sorted(name.partition(b":")[0] for name in headers) == [
        b"Accept-Encoding",
        b"Connection",
        b"Content-Length",
        b"Host",
        b"X-Key",
    ]
    assert body == b"body"


async def test_a_post_without_a_body_says_so(serve):
    server = await serve(HELLO)
    async with new_client() as client:
        await client.post(server.url)
    assert b"Content-Length: 0\r\n" in server.requests[0]


async def test_a_streamed_body_is_sent_in_chunks(serve):
    async def pieces():
        yield b"one"
        yield b"two"

    server = await serve(HELLO)
    async with new_client() as client:
        assert (await client.post(server.url, content=pieces())).text == "hello"
    assert server.requests[0].endswith(b"\r\n\r\n3\r\none\r\n3\r\ntwo\r\n0\r\n\r\n")
    assert server.requests[0].lower().count(b"transfer-encoding") == 1


async def test_a_file_is_sent_as_httpx_built_it(serve):
    server = await serve(HELLO)
    async with new_client() as client:
        await client.post(server.url, files={"file": ("a.txt", b"content")}, data={"name": "x"})
    assert server.requests[0].count(b"Content-Type: multipart/form-data") == 1
    assert b"content\r\n--" in server.requests[0]


async def test_a_user_name_in_the_url_becomes_a_header(serve):
    server = await serve(HELLO)
    async with new_client() as client:
        await client.get(server.url.replace("//", "//ada:pass%40word@"))
    assert b"Authorization: Basic YWRhOnBhc3NAd29yZA==\r\n" in server.requests[0]


async def test_only_httpx_keeps_cookies(serve):
    server = await serve(b"HTTP/1.1 200 OK\r\nSet-Cookie: a=1\r\nContent-Length: 0\r\n\r\n", keep_open=True)
    async with new_client() as client:
        await client.get(server.url)
        client.cookies.clear()
        await client.get(server.url)
    assert b"Cookie" not in server.requests[1]


async def test_redirects_are_not_followed_unless_asked(serve):
    goal = await serve(HELLO)
    server = await serve(b"HTTP/1.1 302 Found\r\nLocation: " + goal.url.encode() + b"\r\nContent-Length: 0\r\n\r\n")
    async with new_client() as client:
        assert (await client.get(server.url)).status_code == 302
        assert (await client.get(server.url, follow_redirects=True)).text == "hello"


async def test_compressed_answers_are_unpacked(serve):
    packed = gzip.compress(b"hello" * 1000)
    head = b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: %d\r\n\r\n" % len(packed)
    server = await serve(head + packed)
    async with new_client() as client:
        assert (await client.get(server.url)).content == b"hello" * 1000


async def test_an_early_hint_is_not_the_answer(serve):
    server = await serve(b"HTTP/1.1 103 Early Hints\r\n\r\n" + HELLO)
    async with new_client() as client:
        response = await client.get(server.url)
    assert (response.status_code, response.reason_phrase, response.text) == (200, "OK", "hello")


async def test_a_body_that_ends_with_the_connection_is_read_slowly_and_whole(serve):
    server = await serve(b"HTTP/1.1 200 OK\r\n\r\n" + b"x" * 3_000_000)
    size = 0
    async with new_client() as client, client.stream("GET", server.url) as response:
        async for piece in response.aiter_raw():
            size += len(piece)
            await asyncio.sleep(0)
    assert size == 3_000_000


async def test_a_connection_is_used_again_when_its_answer_was_read_to_the_end(serve):
    server = await serve(CHUNKED, REST, keep_open=True)
    async with new_client() as client:
        for _ in range(3):
            async with client.stream("GET", server.url) as response:
                assert await response.aread() == b"helloworld"
    assert (server.connections, len(server.requests)) == (1, 3)


async def test_a_stream_left_early_does_not_spoil_the_next_request(serve):
    server = await serve(CHUNKED, "flush", REST, keep_open=True)
    async with new_client(max_connections=1) as client:
        async with client.stream("GET", server.url) as response:
            async for _ in response.aiter_bytes():
                break
        assert (await client.get(server.url)).text == "helloworld"
    assert server.connections == 2


async def test_cancelling_a_stream_closes_its_connection_and_leaks_nothing(serve, quiet):
    server = await serve(CHUNKED, "hang")
    started = asyncio.Event()

    async def read() -> None:
        async with client.stream("POST", server.url, json={}) as response:
            async for _ in response.aiter_lines():
                pytest.fail("there was no whole line")

    async def watched() -> None:
        reading = asyncio.create_task(read())
        await server.reached.wait()
        started.set()
        reading.cancel()
        with pytest.raises(asyncio.CancelledError):
            await reading

    async with new_client(max_connections=1) as client, asyncio.timeout(10):
        await watched()
        await server.closed_by_client.wait()


@pytest.mark.parametrize("steps", [("hang",), (b"HTTP/1.1 200 OK\r\nContent-", "hang")])
async def test_cancelling_before_the_answer_leaks_nothing(steps, serve, quiet):
    server = await serve(*steps)
    async with new_client(max_connections=1) as client, asyncio.timeout(10):
        asking = asyncio.create_task(client.get(server.url))
        await server.reached.wait()
        asking.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asking
        await server.closed_by_client.wait()


async def test_cancelling_who_waits_for_a_connection_gives_the_place_to_the_next(serve, quiet):
    server = await serve(CHUNKED, "flush", REST)
    async with new_client(max_connections=1) as client, asyncio.timeout(10):
        async with client.stream("GET", server.url) as response:
            first, second = (asyncio.create_task(client.get(server.url)) for _ in range(2))
            for _ in range(5):
                await asyncio.sleep(0)
            first.cancel()
            await response.aread()
        assert (await second).text == "helloworld"


async def test_a_client_can_be_closed_in_the_middle_of_a_stream(serve, quiet):
    server = await serve(CHUNKED, "hang")
    client = new_client()
    async with asyncio.timeout(10), client.stream("GET", server.url) as response:
        await client.aclose()
        with pytest.raises(httpx.ReadError):
            await response.aread()
        await server.closed_by_client.wait()


async def ask_hello(client: httpx.AsyncClient) -> str:
    """Start a server on this event loop, ask it once, and let it go."""

    async def hello(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(HELLO)
        writer.close()

    async with await asyncio.start_server(hello, "127.0.0.1", 0) as server:
        return (await client.get(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/")).text


def test_one_client_serves_several_event_loops():
    client = new_client()
    assert [asyncio.run(ask_hello(client)) for _ in range(3)] == ["hello"] * 3
    asyncio.run(client.aclose())


def test_a_client_closes_its_connections_on_other_loops(quiet):
    client = new_client()
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()

    assert asyncio.run_coroutine_threadsafe(ask_hello(client), loop).result() == "hello"
    asyncio.run(client.aclose())
    loop.call_soon_threadsafe(loop.stop)
    thread.join()
    loop.close()


def test_a_real_call_works_under_virtual_time():
    clock = VirtualClock()
    client = new_client(timeout=30)

    async def main() -> str:
        return await clock.outside(lambda: ask_hello(client), took=1.5)

    assert clock.run(main()) == "hello"
    assert clock.now() == 1.5


async def test_the_environment_names_the_proxy(serve, monkeypatch):
    proxy = await serve(HELLO)
    monkeypatch.setenv("http_proxy", proxy.url)
    monkeypatch.setenv("no_proxy", "inside.example,.corp.example")
    async with new_client() as client:
        assert (await client.get("http://example.com/path?q=1")).text == "hello"
    assert proxy.requests[0].startswith(b"GET http://example.com/path?q=1 HTTP/1.1\r\n")


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("http://example.com/", "http://proxy:1"),
        ("https://example.com/", "http://all:2"),
        ("http://localhost:8300/", None),
        ("http://localhost./", None),
        ("http://lab.localhost/", None),
        ("http://127.0.0.1:11434/", None),
        ("http://127.8.9.10/", None),
        ("http://[::1]:8300/", None),
        ("http://inside.example/", None),
        ("http://www.corp.example/", None),
        ("http://notinside.example/", "http://proxy:1"),
    ],
)
def test_no_proxy_is_used_for_this_machine(url, expected):
    proxies = Proxies({"http": "proxy:1", "all": "http://all:2", "no": "inside.example,.corp.example"})
    assert proxies.for_url(httpx.URL(url)) == expected


def test_importing_the_package_does_not_load_aiohttp():
    code = "import sys, convai_lab.http; sys.exit('aiohttp' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_a_client_nobody_closed_says_nothing_when_the_process_ends():
    code = """
import asyncio, convai_lab.background as background
from convai_lab.http import new_client
client = new_client()
async def ask():
    hello = b"HTTP/1.1 200 OK\\r\\nContent-Length: 5\\r\\n\\r\\nhello"
    server = await asyncio.start_server(lambda _, writer: writer.write(hello), "127.0.0.1", 0)
    url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/"
    print((await client.get(url)).text)
background.run(ask())
asyncio.run(ask())
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "hello\nhello\n", "")


def test_a_client_that_is_forgotten_lets_go_of_its_connections(quiet):
    async def main() -> None:
        closed = asyncio.Event()

        async def hello(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await reader.readuntil(b"\r\n\r\n")
            writer.write(HELLO)
            await reader.read()
            closed.set()
            writer.close()

        server = await asyncio.start_server(hello, "127.0.0.1", 0)
        transport = AiohttpTransport(max_connections=1)
        request = httpx.Request("GET", f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/")
        await (await transport.handle_async_request(request)).aread()
        del transport, request
        gc.collect()
        async with server, asyncio.timeout(10):
            await closed.wait()

    asyncio.run(main())


@pytest.fixture
def quiet():
    """Fail when anything is left unclosed, or a task's error is never looked at."""
    seen: list[str] = []
    default = asyncio.BaseEventLoop.default_exception_handler
    with pytest.MonkeyPatch.context() as patch, warnings.catch_warnings():
        warnings.simplefilter("error", ResourceWarning)
        patch.setattr(sys, "unraisablehook", lambda unraisable: seen.append(str(unraisable.exc_value)))
        patch.setattr(
            asyncio.BaseEventLoop,
            "default_exception_handler",
            lambda loop, context: (seen.append(context["message"]), default(loop, context)),
        )
        yield
        gc.collect()
    assert seen == []


async def test_an_idle_connection_that_breaks_is_nobodys_traceback(serve):
    server = await serve(CHUNKED, "flush", REST, "flush", "reset", keep_open=True)
    printed: list[dict] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: printed.append(context))
    async with new_client(base_url=server.url) as client:
        for _ in range(2):
            assert (await client.get("/")).text == "helloworld"
            for _ in range(50):  # client and server share one event loop
                await asyncio.sleep(0)
    gc.collect()
    assert server.connections == 2
    assert printed == []
