"""Model servers on this machine are found fast, and nothing they answer does harm."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
from collections.abc import Iterator

import pytest

from convai_lab.providers.local_servers import PLACES, LocalServer, find_local_servers
from convai_lab.providers.registry import VENDORS
from convai_lab.testing.fake_vendors import fake_openai


@pytest.fixture
def closed_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture
def silent_port() -> Iterator[int]:
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen()
        yield listening.getsockname()[1]


def test_they_are_looked_for_where_the_registry_calls_them() -> None:
    assert {name: VENDORS[name].base_url for name in PLACES} == PLACES


async def test_servers_that_answer_are_listed_with_their_models(closed_port: int) -> None:
    with fake_openai(models=["llama3.2:latest", "qwen3:4b"]) as ollama, fake_openai(models=["m"]) as vllm:
        places = {"ollama": ollama.base_url, "lmstudio": f"http://127.0.0.1:{closed_port}/v1", "vllm": vllm.base_url}
        found = await find_local_servers(5, places=places)
    assert found == [
        LocalServer("ollama", ollama.base_url, ("llama3.2:latest", "qwen3:4b")),
        LocalServer("vllm", vllm.base_url, ("m",)),
    ]
    assert found[0].llms == ("ollama/llama3.2:latest", "ollama/qwen3:4b")


async def test_a_silent_server_is_given_up(silent_port: int) -> None:
    assert await find_local_servers(0.05, places={"vllm": f"http://127.0.0.1:{silent_port}/v1"}) == []


def test_where_nobody_listens_nothing_heavy_is_loaded(closed_port: int) -> None:
    code = (
        "import asyncio, sys; from convai_lab.providers.local_servers import find_local_servers as find; "
        f"print(asyncio.run(find(places={{'vllm': 'http://127.0.0.1:{closed_port}/v1'}})), "
        "{'httpx', 'aiohttp'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[] set()\n"


LISTS: list[tuple[bytes, tuple[str, ...] | None]] = [
    (b"", None),
    (b"<html>", None),
    (b"[]", None),
    (b"{}", None),
    (b'{"data": {}}', None),
    (b'{"data": []}', ()),
    (
        b'{"data": [null, 5, {}, {"id": 5}, {"id": ""}, {"id": "a\\nb"}, {"id": "a b"}, {"id": "ok"}, {"id": "ok"}]}',
        ("ok",),
    ),
    (json.dumps({"data": [{"id": "x" * 201}]}).encode(), ()),
    (json.dumps({"data": [{"id": f"m{n}"} for n in range(5000)]}).encode(), tuple(f"m{n}" for n in range(200))),
    (b"[" * 100_000, None),
    (b" " * (2 << 20) + b'{"data": []}', None),
    (b"\xff\xfe\x00", None),
]


@pytest.mark.parametrize(("body", "models"), LISTS, ids=range(len(LISTS)))
async def test_hostile_answers_are_harmless(body: bytes, models: tuple[str, ...] | None, raw_server: object) -> None:
    head = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n" % len(body)
    url = raw_server(head + body)  # type: ignore[operator]
    found = await find_local_servers(5, places={"vllm": url})
    assert [server.models for server in found] == ([] if models is None else [models])


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"SSH-2.0-OpenSSH_9.0\r\n",
        b"HTTP/1.1 500 Oh\r\ncontent-length: 0\r\n\r\n",
        b"HTTP/1.1 302 Go\r\nlocation: http://169.254.169.254/\r\ncontent-length: 0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\n{",
        b"HTTP/1.1 200 OK\r\nx: " + b"y" * 200_000 + b"\r\n\r\n",
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n",
        b"HTTP/1.1 200 OK\r\ncontent-encoding: gzip\r\ncontent-length: 4\r\n\r\nnope",
    ],
    ids=range(8),
)
async def test_what_is_no_model_server_is_not_listed(answer: bytes, raw_server: object) -> None:
    assert await find_local_servers(5, places={"vllm": raw_server(answer)}) == []  # type: ignore[operator]
