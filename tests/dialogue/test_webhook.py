"""Webhook tools against a server on loopback: what is sent byte for byte, and what comes back."""

from __future__ import annotations

import asyncio
import contextlib
import gzip
import json
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any

import pytest

from convai_lab.agents.agent import Agent
from convai_lab.agents.tools import WebhookTool
from convai_lab.clock import SystemClock, VirtualClock
from convai_lab.conversations.turn import ToolCall, ToolResult
from convai_lab.dialogue.tool_runner import ToolRunner

OK = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 13\r\n\r\n" + b'{"ok":  true}'


@dataclass
class Server:
    """A server that answers each request with the next bytes of its script."""

    port: int = 0
    script: list[bytes] = field(default_factory=lambda: [OK])
    requests: list[str] = field(default_factory=list)
    bodies: list[bytes] = field(default_factory=list)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def target(self) -> str:
        return self.requests[-1].split("\r\n")[0]

    def header(self, name: str) -> str | None:
        lines = [line.partition(": ") for line in self.requests[-1].split("\r\n")[1:]]
        return next((value for key, _, value in lines if key.lower() == name), None)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
                self.requests.append(head)
                length = next(
                    (ln.split(":")[1] for ln in head.split("\r\n") if ln.lower().startswith("content-len")), 0
                )
                self.bodies.append(await reader.readexactly(int(length)))
                answer = self.script.pop(0) if len(self.script) > 1 else self.script[0]
                if not answer:
                    await reader.read()
                writer.write(answer)
                await writer.drain()
        writer.close()


@pytest.fixture
async def server() -> AsyncIterator[Server]:
    one = Server()
    listening = await asyncio.start_server(one.serve, "127.0.0.1", 0)
    one.port = listening.sockets[0].getsockname()[1]
    yield one
    listening.close()


async def run(tool: WebhookTool, arguments: Any = None, *, own_ports: Any = (), **variables: Any) -> ToolResult:
    runner = ToolRunner(Agent(tools=(tool,)), clock=SystemClock(), own_ports=own_ports)
    return await runner.run(ToolCall(id="c1", name=tool.name, arguments=arguments or {}), variables=variables)


def answer(status: str, body: bytes = b"", **headers: str) -> bytes:
    fields = {"content_type": "application/json", "content_length": str(len(body)), **headers}
    lines = "".join(f"{name.replace('_', '-')}: {value}\r\n" for name, value in fields.items())
    return f"HTTP/1.1 {status}\r\n{lines}\r\n".encode() + body


TEXT = {"type": "string"}


async def test_path_query_body_and_headers_are_filled(server: Server) -> None:
    tool = WebhookTool(
        name="book",
        url=server.url + "/shops/{{shop}}/orders/{order_id}?lang=en",
        method="POST",
        path_schema={"order_id": TEXT},
        query_schema={"properties": {"q": TEXT, "tags": {"type": "array", "items": TEXT}, "page": {"type": "integer"}}},
        body_schema={
            "type": "object",
            "properties": {
                "note": TEXT,
                "source": {"type": "string", "constant_value": "phone"},
                "customer": {"type": "integer", "dynamic_variable": "customer_id"},
                "guest": {"type": "object", "properties": {"name": TEXT, "vip": {"type": "boolean"}}},
            },
            "required": ["note"],
        },
        headers={"Authorization": "Bearer {{secret__token}}", "X-Who": {"variable_name": "customer_id"}},
    )
    arguments = {"order_id": "A 1", "q": "ü&x=1", "tags": ["a", "b"], "note": "größer", "guest": {"name": "Ada"}}
    result = await run(tool, arguments, shop="köln", customer_id="42", secret__token="t0ps3cret")
    assert (result.is_error, result.kind, result.value) == (False, "webhook", '{"ok":  true}')
    assert server.target == "POST /shops/k%C3%B6ln/orders/A%201?lang=en&q=%C3%BC%26x%3D1&tags=a&tags=b HTTP/1.1"
    assert json.loads(server.bodies[0]) == {
        "note": "größer",
        "source": "phone",
        "customer": 42,
        "guest": {"name": "Ada"},
    }
    assert server.header("authorization") == "Bearer t0ps3cret"
    assert server.header("x-who") == "42"
    assert server.header("content-type") == "application/json"
    assert result.latency_secs is not None


async def test_the_model_is_asked_for_every_value_that_nobody_else_gives(server: Server) -> None:
    tool = WebhookTool(
        name="t",
        url=server.url + "/{id}",
        query_schema={"properties": {"id": TEXT, "q": TEXT}, "required": ["q"]},
        body_schema={"properties": {"id": TEXT, "fixed": {"type": "string", "constant_value": "x"}}},
        headers={"X-Trace": {"type": "string", "description": "An id."}, "X-Key": "abc"},
    )
    (spec,) = ToolRunner(Agent(tools=(tool,)), clock=SystemClock()).toolbox.specs({})
    assert sorted(spec.parameters["properties"]) == ["X-Trace", "body_id", "id", "q", "query_id"]
    assert spec.parameters["required"] == ["id", "q"]
    await run(tool, {"id": "1", "query_id": "2", "body_id": "3", "q": "4", "X-Trace": "5"})
    assert server.target == "GET /1?id=2&q=4 HTTP/1.1"
    assert json.loads(server.bodies[0]) == {"id": "3", "fixed": "x"}
    assert server.header("x-trace") == "5"


@pytest.mark.parametrize(
    ("value", "path"),
    [
        ("a/b", "/orders/a%2Fb"),
        ("a?b#c", "/orders/a%3Fb%23c"),
        ("@evil.com", "/orders/%40evil.com"),
        ("%2e%2e", "/orders/%252e%252e"),
        ("//evil.com/", "/orders/%2F%2Fevil.com%2F"),
        ("http://evil.com:80", "/orders/http%3A%2F%2Fevil.com%3A80"),
        ("{{secret__token}}", "/orders/%7B%7Bsecret__token%7D%7D"),
    ],
)
async def test_a_path_value_stays_inside_its_segment(server: Server, value: str, path: str) -> None:
    tool = WebhookTool(name="t", url=server.url + "/orders/{id}", path_schema={"id": TEXT})
    await run(tool, {"id": value}, secret__token="t0ps3cret")
    assert server.target == f"GET {path} HTTP/1.1"


@pytest.mark.parametrize(
    "value", ["..", ".", "", "../admin", "a/../../b", "..\\x", "a\r\nX: y", "\x00", ["a"], {"a": 1}]
)
async def test_a_path_value_that_would_change_the_path_is_refused(server: Server, value: Any) -> None:
    tool = WebhookTool(name="t", url=server.url + "/orders/{id}", path_schema={"id": {}})
    result = await run(tool, {"id": value})
    assert result.error_type == "bad_arguments"
    assert server.requests == []


@pytest.mark.parametrize("value", ["..", "", "a/../b"])
async def test_a_variable_in_the_path_is_held_to_the_same(server: Server, value: str) -> None:
    result = await run(WebhookTool(name="t", url=server.url + "/u/{{who}}"), {}, who=value)
    assert result.is_error
    assert server.requests == []


@pytest.mark.parametrize(
    "url",
    [
        "http://{host}/x",
        "http://{{host}}/x",
        "{{base}}/x",
        "http://user:pass@127.0.0.1/x",
        "http://127.0.0.1\\@evil/x",
        "ftp://x/",
        "x",
    ],
)
async def test_the_host_is_never_filled(url: str) -> None:
    try:
        tool = WebhookTool(name="t", url=url, path_schema={"host": TEXT})
        result = await run(tool, {"host": "127.0.0.1"}, host="127.0.0.1", base="http://127.0.0.1")
    except ValueError:
        return  # the agent itself refuses such a tool
    assert result.is_error


async def test_a_variable_without_a_value_is_named(server: Server) -> None:
    for tool in (
        WebhookTool(name="t", url=server.url + "/{{nobody}}"),
        WebhookTool(name="t", url=server.url, headers={"X-A": "{{nobody}}"}),
        WebhookTool(name="t", url=server.url, body_schema={"properties": {"a": {"dynamic_variable": "nobody"}}}),
    ):
        result = await run(tool)
        assert result.error_type == "missing_variable"
        assert "nobody" in result.value
    assert server.requests == []


@pytest.mark.parametrize(
    "headers",
    [
        {"Host": "evil"},
        {"Content-Length": "0"},
        {"X-A": "a\r\nX-B: c"},
        {"X-A": "ü"},
        {"bad name": "x"},
        {"X-A": {"secret_id": "s1"}},
    ],
)
async def test_a_header_that_cannot_be_sent_is_told(server: Server, headers: Any) -> None:
    result = await run(WebhookTool(name="t", url=server.url, headers=headers))
    assert result.error_type == "webhook_error"
    assert "header" in result.value
    assert server.requests == []


async def test_secrets_in_headers_are_not_in_the_result(server: Server) -> None:
    echoed = json.dumps({"headers": {"authorization": "Bearer t0ps3cret", "k": "k3y-in-full", "t": "t0ps3cret"}})
    tool = WebhookTool(
        name="t", url=server.url, headers={"Authorization": "Bearer {{secret__token}}", "X-Key": "k3y-in-full"}
    )
    for status in ("200 OK", "500 Oops"):
        server.script = [answer(status, echoed.encode())]
        result = await run(tool, secret__token="t0ps3cret")
        assert "t0ps3cret" not in result.value
        assert "k3y-in-full" not in result.value
        assert "********" in result.value


@pytest.mark.parametrize(("status", "said"), [("404 Not Found", "404"), ("503 Down", "503"), ("401 No", "401")])
async def test_an_error_status_is_an_error_result_with_a_short_body(server: Server, status: str, said: str) -> None:
    server.script = [answer(status, b"no such order " * 1000)]
    result = await run(WebhookTool(name="t", url=server.url))
    assert (result.is_error, result.error_type) == (True, "webhook_error")
    assert said in result.value
    assert "no such order" in result.value
    assert len(result.value) < 700


async def test_an_answer_that_is_too_large_is_an_error_and_a_large_one_is_cut(server: Server) -> None:
    server.script = [answer("200 OK", b"x" * 2_000_000)]
    assert "larger than" in (await run(WebhookTool(name="t", url=server.url))).value
    server.script = [answer("200 OK", b"x" * 100_000)]
    result = await run(WebhookTool(name="t", url=server.url))
    assert not result.is_error
    assert len(result.value) < 20_200


async def test_a_compressed_bomb_is_not_unpacked(server: Server) -> None:
    server.script = [answer("200 OK", gzip.compress(b"x" * 50_000_000), content_encoding="gzip")]
    assert (await run(WebhookTool(name="t", url=server.url))).is_error


async def test_an_answer_that_is_not_text_is_not_shown(server: Server) -> None:
    server.script = [answer("200 OK", b"\x89PNG" + b"\x00" * 100, content_type="image/png")]
    assert (await run(WebhookTool(name="t", url=server.url))).value == "[the answer is not text but image/png]"


@pytest.mark.parametrize("charset", ["utf-8", "latin-1", "no-such", "unicode_escape", "utf-7", "punycode"])
async def test_bytes_that_are_no_text_are_replaced(server: Server, charset: str) -> None:
    server.script = [answer("200 OK", b"a\xff\x00b", content_type=f"text/plain; charset={charset}")]
    value = (await run(WebhookTool(name="t", url=server.url))).value
    assert value[0] == "a"
    assert "\x00" not in value


@pytest.mark.parametrize(
    "said", [b"HTTP/1.1 200 OK\r\ncontent-length: 50\r\n\r\nhalf", b"nonsense\r\n\r\n", b"\x16\x03"]
)
async def test_a_broken_answer_is_an_error_result(said: bytes) -> None:
    async def broken(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(said)
        await writer.drain()
        writer.close()

    listening = await asyncio.start_server(broken, "127.0.0.1", 0)
    port = listening.sockets[0].getsockname()[1]
    result = await run(WebhookTool(name="t", url=f"http://127.0.0.1:{port}/"))
    listening.close()
    assert result.error_type == "webhook_error"


async def test_nobody_listening_is_an_error_result(server: Server) -> None:
    listening = await asyncio.start_server(lambda r, w: None, "127.0.0.1", 0)
    port = listening.sockets[0].getsockname()[1]
    listening.close()
    await listening.wait_closed()
    result = await run(WebhookTool(name="t", url=f"http://127.0.0.1:{port}/"))
    assert result.error_type == "webhook_error"
    assert "could not be reached" in result.value


@pytest.mark.parametrize(
    "url",
    [
        "http://169.254.169.254/latest/meta-data",
        "http://[::ffff:169.254.169.254]/",
        "http://2852039166/",
        "http://0xa9fea9fe/",
    ],
)
async def test_metadata_addresses_are_never_called(url: str) -> None:
    assert (await run(WebhookTool(name="t", url=url))).error_type == "forbidden_address"


async def test_our_own_port_is_never_called(server: Server) -> None:
    result = await run(WebhookTool(name="t", url=server.url), own_ports=(server.port,))
    assert result.error_type == "forbidden_address"
    assert server.requests == []


async def test_a_redirect_is_not_followed_unless_the_tool_says_so(server: Server) -> None:
    moved = answer("302 Found", location="/elsewhere")
    server.script = [moved, OK]
    tool = WebhookTool(name="t", url=server.url + "/a")
    assert "302" in (await run(tool)).value
    server.script = [moved, OK]
    follows = WebhookTool(name="t", url=server.url + "/a", extra={"follow_redirects": True})
    assert (await run(follows)).value == '{"ok":  true}'
    assert server.target.startswith("GET /elsewhere")


async def test_a_redirect_elsewhere_is_not_followed_and_endless_ones_end(server: Server) -> None:
    tool = WebhookTool(name="t", url=server.url, extra={"follow_redirects": True})
    server.script = [answer("302 Found", location="http://169.254.169.254/latest")]
    assert "302" in (await run(tool)).value
    server.script = [answer("302 Found", location="/again")]
    assert "more than 5 times" in (await run(tool)).value


async def test_a_redirect_to_a_named_domain_is_still_held_to_the_address_rules(server: Server) -> None:
    extra = {"follow_redirects": True, "follow_redirects_allowed_domains": ["169.254.169.254"]}
    server.script = [answer("302 Found", location="http://169.254.169.254/latest")]
    assert (await run(WebhookTool(name="t", url=server.url, extra=extra))).error_type == "forbidden_address"


async def test_what_the_response_filter_hides_the_model_does_not_see(server: Server) -> None:
    body = b'{"user": {"name": "Ada", "card": "4111"}}'
    server.script = [answer("200 OK", body)]
    hidden = WebhookTool(name="t", url=server.url, extra={"response_filter": {"mode": "hide_all"}})
    assert "Ada" not in (await run(hidden)).value
    allowed = {"api_schema": {"response_filter": {"mode": "allow", "filters": ["user.name", "user.none"]}}}
    assert (await run(WebhookTool(name="t", url=server.url, extra=allowed))).value == '{"user.name": "Ada"}'


async def test_a_form_is_sent_as_a_form(server: Server) -> None:
    tool = WebhookTool(
        name="t",
        url=server.url,
        method="POST",
        content_type="application/x-www-form-urlencoded",
        body_schema={"properties": {"a": TEXT, "b": {"type": "array"}, "c": {"type": "object"}}},
    )
    await run(tool, {"a": "x y&z", "b": [1, True], "c": {"d": 1}})
    assert server.bodies[0] == b"a=x%20y%26z&b=1&b=true&c=%7B%22d%22%3A%201%7D"
    assert server.header("content-type") == "application/x-www-form-urlencoded"


async def test_a_body_that_is_no_json_is_refused(server: Server) -> None:
    tool = WebhookTool(name="t", url=server.url, method="POST", body_schema={"properties": {"a": {"type": "number"}}})
    assert (await run(tool, {"a": float("nan")})).error_type == "bad_arguments"
    assert server.requests == []


async def test_a_body_without_described_properties_is_what_the_model_gives(server: Server) -> None:
    tool = WebhookTool(name="t", url=server.url, method="POST", body_schema={"type": "object", "description": "any"})
    await run(tool, {"body": {"a": [1, 2]}})
    assert json.loads(server.bodies[0]) == {"a": [1, 2]}


def test_a_webhook_called_in_virtual_time_holds_the_clock_while_it_runs() -> None:
    clock = VirtualClock()
    server = Server()

    async def call() -> ToolResult:
        listening = await clock.outside(lambda: asyncio.start_server(server.serve, "127.0.0.1", 0), took=0)
        server.port = listening.sockets[0].getsockname()[1]
        tool = WebhookTool(name="t", url=server.url + "/a")
        return await ToolRunner(Agent(tools=(tool,)), clock=clock).run(ToolCall(id="c1", name="t"))

    result = clock.run(call())
    assert result.value == '{"ok":  true}'
    assert 0 < result.latency_secs < 5  # type: ignore[operator]


async def test_a_server_that_never_answers_is_a_time_out(server: Server) -> None:
    server.script = [b""]
    tool = WebhookTool(name="t", url=server.url, response_timeout_secs=5)
    object.__setattr__(tool, "response_timeout_secs", 0.05)
    runner = ToolRunner(Agent(), clock=SystemClock())
    runner.toolbox._tools["t"] = tool
    result = await runner.run(ToolCall(id="c1", name="t"))
    assert (result.error_type, result.value) == ("timeout", "t did not answer within 0.05 seconds")
