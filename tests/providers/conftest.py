"""What the tests of the adapters share: how to build one against a fake server, and how to read an answer."""

from __future__ import annotations

import asyncio
import contextlib
import random
import socketserver
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from typing import Any

import httpx
import pytest

from convai_lab.clock import SystemClock
from convai_lab.http import new_client
from convai_lab.providers.base import LLM, ChatMessage, ChatRequest, LLMEvent, ToolSpec
from convai_lab.providers.elevenlabs import read_elevenlabs_refusal
from convai_lab.providers.http_speech import SpeechVendor
from convai_lab.providers.registry import VENDORS, load_adapter
from convai_lab.providers.retry import NO_RETRIES
from convai_lab.settings import Secret
from convai_lab.testing.fake_speech_vendors import FakeSpeechVendor
from convai_lab.testing.fake_vendors import FakeVendor

KEY = "sk-test-0123456789abcdefghij"


@pytest.fixture
async def client() -> AsyncIterator[httpx.AsyncClient]:
    async with new_client(timeout=10) as made:
        yield made


@pytest.fixture
def llm_at(client: httpx.AsyncClient) -> Callable[..., Any]:
    """Build the adapter of a vendor against a fake server."""

    def build(vendor: str, server: FakeVendor, *, model: str = "m-1", **options: Any) -> Any:
        options = {"retry": NO_RETRIES, "rng": random.Random(1), "clock": SystemClock(), **options}
        adapter = load_adapter(VENDORS[vendor])
        return adapter(model, api_key=Secret(KEY), http=client, provider=vendor, base_url=server.base_url, **options)

    return build


class QuickClock(SystemClock):
    """Real time, but waits take none, and time-outs up to `up_to_secs` a tenth of a second: for servers that hang."""

    def __init__(self, up_to_secs: float = 0) -> None:
        self.up_to_secs = up_to_secs

    def timeout(self, secs: float | None) -> Any:
        return super().timeout(0.1 if secs is not None and secs <= self.up_to_secs else secs)

    async def sleep(self, secs: float) -> None:
        await asyncio.sleep(0)


@pytest.fixture
def quick_clock() -> type[QuickClock]:
    return QuickClock


@pytest.fixture
def elevenlabs_at(client: httpx.AsyncClient) -> Callable[..., SpeechVendor]:
    """Build the way to a fake ElevenLabs."""

    def build(server: FakeSpeechVendor | str, **options: Any) -> SpeechVendor:
        options = {"retry": NO_RETRIES, "clock": SystemClock(), "api_key": Secret(KEY), **options}
        return SpeechVendor(
            "elevenlabs",
            base_url=server if isinstance(server, str) else server.base_url,
            http=client,
            key_headers=lambda key: {"xi-api-key": key},
            read_refusal=read_elevenlabs_refusal,
            **options,
        )

    return build


@pytest.fixture
def hello() -> ChatRequest:
    tools = [ToolSpec(name="look_up", description="Look something up."), ToolSpec(name="end_call")]
    messages = [ChatMessage(role="system", content="Be kind."), ChatMessage(role="user", content="Hi")]
    return ChatRequest(messages=messages, tools=tools)


@pytest.fixture
def read() -> Callable[[LLM, ChatRequest], Awaitable[list[LLMEvent]]]:
    async def read_all(llm: LLM, request: ChatRequest) -> list[LLMEvent]:
        return [event async for event in llm.stream(request)]

    return read_all


@pytest.fixture
def raw_server() -> Iterator[Callable[[bytes], str]]:
    """Start servers that answer every connection with the same bytes, and close it."""
    with contextlib.ExitStack() as open_servers:

        def start(answer: bytes) -> str:
            class Handler(socketserver.BaseRequestHandler):
                def handle(self) -> None:
                    self.request.recv(65536)
                    with contextlib.suppress(OSError):
                        self.request.sendall(answer)

            server = open_servers.enter_context(socketserver.ThreadingTCPServer(("127.0.0.1", 0), Handler))
            threading.Thread(target=lambda: server.serve_forever(poll_interval=0.01), daemon=True).start()
            open_servers.callback(server.shutdown)
            return f"http://127.0.0.1:{server.server_address[1]}/v1"

        yield start
