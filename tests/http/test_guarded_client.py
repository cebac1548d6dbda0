"""The guarded client: the rules reach every request, every redirect and every name."""

from __future__ import annotations

import socket

import httpx
import pytest

from convai_lab.errors import ForbiddenAddressError
from convai_lab.http import guarded_client

HELLO = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"
CLOSE = b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 5\r\n\r\nhello"


class Names:
    """A resolver whose answers a test decides; it plays them in order and repeats the last."""

    def __init__(self, **answers: list[list[str]]) -> None:
        self.answers = answers
        self.asked: list[tuple[str, int]] = []

    async def __call__(self, host: str, port: int) -> list[str]:
        self.asked.append((host, port))
        answers = self.answers[host.replace(".", "_")]
        return answers.pop(0) if len(answers) > 1 else answers[0]


def redirect(location: str, status: int = 302) -> bytes:
    return f"HTTP/1.1 {status} Moved\r\nLocation: {location}\r\nContent-Length: 0\r\n\r\n".encode()


async def test_a_stored_loopback_url_is_called(serve):
    server = await serve(HELLO)
    async with guarded_client(f"{server.url}/hook", headers={"x-secret": "abc"}) as client:
        assert (await client.post(f"{server.url}/hook", json={"a": 1})).text == "hello"
    assert b"x-secret: abc" in server.requests[0]


async def test_localhost_is_resolved_by_the_system_and_called(serve):
    server = await serve(HELLO)
    url = f"http://localhost:{server.port}/"
    async with guarded_client(url) as client:
        assert (await client.get(url)).text == "hello"


async def test_the_url_is_refused_before_anything_is_sent():
    with pytest.raises(ForbiddenAddressError):
        guarded_client("http://169.254.169.254/latest")


async def test_a_public_name_that_resolves_to_loopback_is_refused(serve):
    server = await serve(HELLO)
    names = Names(evil_example=[["127.0.0.1"]])
    url = f"http://evil.example:{server.port}/"
    async with guarded_client(url, resolve=names) as client:
        with pytest.raises(ForbiddenAddressError, match=r"evil\.example resolves to 127\.0\.0\.1"):
            await client.get(url)
    assert server.connections == 0


async def test_a_name_that_changes_its_answer_is_refused_when_it_does(serve):
    server = await serve(CLOSE)
    names = Names(ollama=[["127.0.0.1"], ["169.254.169.254"]])
    url = f"http://ollama:{server.port}/"
    async with guarded_client(url, resolve=names) as client:
        assert (await client.get(url)).text == "hello"
        with pytest.raises(ForbiddenAddressError, match="metadata"):
            await client.get(url)
    assert server.connections == 1


async def test_the_address_that_was_checked_is_the_one_connected_to(serve):
    server = await serve(CLOSE)
    names = Names(ollama=[["127.0.0.1"], ["127.0.0.1"], ["10.255.255.1"]])
    url = f"http://ollama:{server.port}/"
    async with guarded_client(url, resolve=names) as client:
        await client.get(url)
        await client.get(url)
    assert names.asked == [("ollama", server.port)] * 2
    assert server.connections == 2
    assert f"Host: ollama:{server.port}\r\n".encode() in server.requests[0]


async def test_one_forbidden_answer_among_good_ones_refuses_the_name():
    names = Names(mixed_example=[["93.184.216.34", "10.0.0.1"]])
    async with guarded_client("https://mixed.example/", resolve=names) as client:
        with pytest.raises(ForbiddenAddressError):
            await client.get("https://mixed.example/")


async def test_a_name_without_addresses_is_a_connect_error():
    async with guarded_client("https://empty.example/", resolve=Names(empty_example=[[]])) as client:
        with pytest.raises(httpx.ConnectError):
            await client.get("https://empty.example/")


@pytest.mark.parametrize(
    "url",
    [
        "http://127.0.0.1:6379/",
        "http://10.0.0.1/",
        "http://169.254.169.254/",
        "http://2130706433/",
        "http://[::ffff:169.254.169.254]/",
        "http://user@example.com/",
        "file:///etc/passwd",
        "gopher://127.0.0.1:6379/_INFO",
    ],
)
async def test_a_request_to_somewhere_else_is_refused(url):
    async with guarded_client("https://example.com/") as client:
        with pytest.raises(ForbiddenAddressError):
            await client.get(url)


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
@pytest.mark.parametrize(
    "location",
    [
        "http://169.254.169.254/latest/meta-data/",
        "http://169.254.169.254./",
        "//169.254.169.254/",
        "http://0xa9fea9fe/",
        "http://[fd00:ec2::254]/",
        "http://localhost:1/",
        "http://127.0.0.1:1/",
        "http://0.0.0.0/",
        "http://x@127.0.0.1/",
        "gopher://127.0.0.1:6379/_INFO",
        "file:///etc/passwd",
    ],
)
async def test_a_redirect_into_a_forbidden_place_is_refused(location, status, serve):
    server = await serve(redirect(location, status))
    async with guarded_client(server.url) as client:
        with pytest.raises((ForbiddenAddressError, httpx.UnsupportedProtocol, httpx.RemoteProtocolError)) as caught:
            await client.post(server.url, json={}, follow_redirects=True)
        if location.startswith("http:"):
            assert caught.type is ForbiddenAddressError


async def test_redirects_to_the_same_place_are_followed_when_asked(serve):
    server = await serve(redirect("/there"), keep_open=True)
    async with guarded_client(server.url) as client:
        assert (await client.get(server.url)).status_code == 302
        with pytest.raises(httpx.TooManyRedirects):
            await client.get(server.url, follow_redirects=True)
    assert len(server.requests) == 1 + 1 + 5


async def test_own_ports_are_refused_even_when_stored(serve):
    server = await serve(HELLO)
    with pytest.raises(ForbiddenAddressError):
        guarded_client(server.url, own_ports={server.port})
    url = f"http://localhost:{server.port}/"
    async with guarded_client(url, own_ports={server.port}) as client:
        with pytest.raises(ForbiddenAddressError, match="port of this program"):
            await client.get(url)
    assert server.connections == 0


async def test_the_environments_proxy_is_not_used(serve, monkeypatch):
    server, proxy = await serve(HELLO), await serve(HELLO)
    monkeypatch.setenv("http_proxy", proxy.url)
    url = f"http://ollama:{server.port}/"
    async with guarded_client(url, resolve=Names(ollama=[["127.0.0.1"]])) as client:
        await client.get(url)
    assert (server.connections, proxy.connections) == (1, 0)


async def test_keys_do_not_leave_for_another_origin():
    names = Names(elsewhere_example=[[]])
    headers = {"x-secret": "abc", "authorization": "Bearer abc", "cookie": "a=1"}
    async with guarded_client("https://example.com/", resolve=names, headers=headers) as client:
        request = client.build_request("POST", "https://elsewhere.example/", json={}, headers={"x-api-key": "abc"})
        with pytest.raises(httpx.ConnectError):
            await client.send(request)
    assert set(request.headers) <= {
        "accept",
        "accept-encoding",
        "connection",
        "content-length",
        "content-type",
        "host",
        "user-agent",
    }


async def test_only_encodings_that_can_be_counted_are_asked_for(serve):
    server = await serve(HELLO)
    async with guarded_client(server.url) as client:
        await client.get(server.url)
    assert b"accept-encoding: gzip, deflate\r\n" in server.requests[0].lower()


async def test_failures_on_the_wire_are_httpx_errors_here_too(serve):
    server = await serve(b"HELLO\r\n\r\n")
    async with guarded_client(server.url) as client:
        with pytest.raises(httpx.RemoteProtocolError):
            await client.get(server.url)
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{taken.getsockname()[1]}/"
        async with guarded_client(url) as client:
            with pytest.raises(httpx.ConnectError):
                await client.get(url)
