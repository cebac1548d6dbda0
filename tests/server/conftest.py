"""A platform in memory, a client for its routes, and a telephone line to its conversation socket."""

from __future__ import annotations

import asyncio
import base64
import json
import queue
import threading
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, NamedTuple
from urllib.parse import urlencode

import httpx
import pytest

from convai_lab import settings
from convai_lab.agents.agent import Agent
from convai_lab.agents.store import AgentStore
from convai_lab.clock import Clock, SystemClock, VirtualClock
from convai_lab.conversations.store import ConversationStore
from convai_lab.providers.base import LLM, SpeechEngines
from convai_lab.providers.stub_speech import StubASR, StubTTS, stub_engines
from convai_lab.server.access import Door, read_origins
from convai_lab.server.app import build_app
from convai_lab.server.context import Platform
from convai_lab.settings import Secret
from convai_lab.storage import open_database
from convai_lab.testing.fake_llm import FakeLLM
from convai_lab.voice.audio import AudioFormat

KEY = "lab_test_key_0123456789"
BASE_URL = "http://127.0.0.1:8300"


class Closed(NamedTuple):
    """How the platform closed the line; `status` when it never opened it."""

    code: int
    reason: str = ""
    status: int | None = None
    body: Any = None


@dataclass
class Line:
    """One connection to the conversation socket, spoken over ASGI: no network, and virtual time works."""

    platform: Platform
    query: dict[str, str]
    headers: dict[str, str] = field(default_factory=dict)
    subprotocols: Sequence[str] = ()

    def __post_init__(self) -> None:
        self.accepted: dict[str, Any] | None = None
        self.pings: list[dict[str, Any]] = []
        self._to_server: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        self._to_client: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        self._task: asyncio.Task[None] | None = None

    async def open(self) -> None:
        headers = {"host": "127.0.0.1:8300", **self.headers}
        scope = {
            "type": "websocket",
            "path": "/v1/convai/conversation",
            "query_string": urlencode(self.query).encode(),
            "headers": [(name.encode(), value.encode()) for name, value in headers.items()],
            "subprotocols": list(self.subprotocols),
            "extensions": {"websocket.http.response": {}},
        }
        app = build_app(self.platform)
        await self._to_server.put({"type": "websocket.connect"})
        self._task = asyncio.get_running_loop().create_task(
            app(scope, self._to_server.get, self._to_client.put)  # type: ignore[arg-type]
        )

    async def send(self, frame: Any) -> None:
        await self.send_text(json.dumps(frame))

    async def send_text(self, text: str) -> None:
        await self._to_server.put({"type": "websocket.receive", "text": text})

    async def send_bytes(self, data: bytes) -> None:
        await self._to_server.put({"type": "websocket.receive", "bytes": data})

    async def say(self, text: str) -> None:
        await self.send({"type": "user_message", "text": text})

    async def begin(self, **initiation: Any) -> dict[str, Any]:
        """Send the initiation data and return the first event."""
        await self.send({"type": "conversation_initiation_client_data", **initiation})
        return await self.event()

    async def hang_up(self, code: int = 1000) -> None:
        await self._to_server.put({"type": "websocket.disconnect", "code": code})
        await self.over()

    async def over(self) -> None:
        """Wait until the platform has put everything away."""
        assert self._task is not None
        await self._task

    async def next(self) -> dict[str, Any] | Closed:
        """Return the next event that is no ping, or how the line was closed."""
        while True:
            message = await self._to_client.get()
            match message["type"]:
                case "websocket.accept":
                    self.accepted = message
                case "websocket.send":
                    event = json.loads(message["text"])
                    if event["type"] != "ping":
                        return dict(event)
                    self.pings.append(event["ping_event"])
                case "websocket.close":
                    return Closed(message["code"], message.get("reason") or "")
                case "websocket.http.response.start":
                    body = await self._to_client.get()
                    return Closed(0, status=message["status"], body=json.loads(body["body"]))

    async def event(self, kind: str | None = None) -> dict[str, Any]:
        """Return the next event, which must be an event; of this kind, when one is named, leaving out others."""
        while True:
            found = await self.next()
            assert not isinstance(found, Closed), f"the line was closed: {found}"
            if kind is None or found["type"] == kind:
                return found

    async def reply(self) -> str:
        """Return the next whole response of the agent."""
        event = await self.event("agent_response")
        return str(event["agent_response_event"]["agent_response"])

    async def rest(self) -> list[dict[str, Any] | Closed]:
        """Return everything that comes until the line is closed, the close included."""
        found = [await self.next()]
        while not isinstance(found[-1], Closed):
            found.append(await self.next())
        return found


class Bench:
    """A platform in memory with a scripted model."""

    def __init__(self, clock: Clock, llm: LLM | Callable[..., LLM] | None, **door: Any) -> None:
        self.clock, self.asked_models = clock, list[str]()
        self.llm = llm or FakeLLM(clock=clock)
        self.engines: SpeechEngines | None = door.pop("engines", None)
        database = open_database(settings.home())
        origins = read_origins(door.pop("allow_origins", ()))
        self.platform = Platform(
            clock=clock,
            home=settings.home(),
            door=Door(api_key=Secret(KEY), allow_origins=origins, **door),
            agents=AgentStore(database, clock),
            conversations=ConversationStore(database, clock),
            find_llm=self._find,
            find_engines=self._find_engines,
            owner="owner-1",
            own_ports=lambda: (8300,),
        )

    def _find(self, model: str, *, own_ports: Any, **more: Any) -> LLM:
        assert 8300 in own_ports
        self.asked_models.append(model)
        found = self.llm
        if not hasattr(found, "stream"):
            found = found(model, **more)  # type: ignore[operator]
        return found  # type: ignore[return-value]

    def _find_engines(self, agent: Agent, *, clock: Clock) -> SpeechEngines:
        return self.engines or stub_engines(clock)

    def make_agent(self, **changes: Any) -> str:
        """Store an agent and return its id; keys with dots lead into the configuration."""
        from convai_lab.agents.wire_rules import with_defaults

        body: dict[str, Any] = {"name": "Sam", "conversation_config": {}}
        for path, value in changes.items():
            place = body
            *way, last = path.split("__")
            for name in way:
                place = place.setdefault(name, {})
            place[last] = value
        return str(self.platform.agents.create(with_defaults(body))["agent_id"])

    def line(self, agent_id: str = "", /, *, key: str | None = None, **options: Any) -> Line:
        headers = {**({"xi-api-key": key} if key else {}), **options.pop("headers", {})}
        subprotocols = options.pop("subprotocols", ())
        query = {**({"agent_id": agent_id} if agent_id else {}), **options}
        return Line(self.platform, {name.rstrip("_"): value for name, value in query.items()}, headers, subprotocols)

    @asynccontextmanager
    async def client(self, *, key: str | None = KEY, **headers: str) -> AsyncIterator[httpx.AsyncClient]:
        transport = httpx.ASGITransport(app=build_app(self.platform), raise_app_exceptions=False)
        sent = {**({"xi-api-key": key} if key is not None else {}), **headers}
        async with httpx.AsyncClient(transport=transport, base_url=BASE_URL, headers=sent) as client:
            yield client

    def only_conversation(self) -> Any:
        """Return the one conversation that is stored."""
        rows = self.platform.conversations.list().items
        assert len(rows) == 1
        return self.platform.conversations.get(rows[0]["conversation_id"])


@pytest.fixture
def bench() -> Callable[..., Bench]:
    """Make a platform on the real clock, for HTTP routes, whose handlers run in threads."""
    return lambda llm=None, **door: Bench(SystemClock(), llm, **door)


@pytest.fixture
def virtual() -> VirtualClock:
    """A clock that jumps."""
    return VirtualClock(seed=7)


@pytest.fixture
def virtual_bench(virtual: VirtualClock) -> Callable[..., Bench]:
    """Make a platform on the virtual clock, for conversations."""
    return lambda llm=None, **door: Bench(virtual, llm, **door)


class Served(NamedTuple):
    """A platform behind a real port, in a thread of this process."""

    url: str
    key: str
    llm: FakeLLM


@pytest.fixture
def served() -> Iterator[Callable[..., Served]]:
    """Start platforms on free ports; they are stopped at the end of the test."""
    from convai_lab.server.auth import load_or_make_key
    from convai_lab.server.run import Options, PlatformServer, Running

    started: list[tuple[PlatformServer, threading.Thread]] = []

    def start(replies: Any = (), *, clock: Clock | None = None, **options: Any) -> Served:
        llm = FakeLLM(replies)
        server = PlatformServer(
            Options(port=0, **options),
            find_llm=lambda *_, **__: llm,
            find_engines=lambda _, *, clock: stub_engines(clock),
            clock=clock or SystemClock(),
        )
        ready: queue.SimpleQueue[Running] = queue.SimpleQueue()
        thread = threading.Thread(target=lambda: server.run(when_ready=ready.put))
        thread.start()
        started.append((server, thread))
        return Served(ready.get(timeout=20).url, load_or_make_key(settings.home()).reveal(), llm)

    yield start
    for server, thread in started:
        server.stop()
        thread.join(20)


class Phone:
    """A caller on a line: speaks in tones, hears everything, and understands what the agent says by its sound."""

    def __init__(self, bench: Bench, line: Line, *, user: str = "pcm_16000", agent: str = "pcm_16000") -> None:
        self.line, self.clock = line, bench.clock
        self.user, self.agent = AudioFormat.parse(user), AudioFormat.parse(agent)
        self.events: list[dict[str, Any]] = []
        self.closed: Closed | None = None
        self._news = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    async def call(self, **initiation: Any) -> None:
        await self.line.open()
        await self.line.begin(**initiation)
        self._task = asyncio.get_running_loop().create_task(self._listen())

    async def _listen(self) -> None:
        while not isinstance(found := await self.line.next(), Closed):
            self.events.append(found)
            self._news.set()
        self.closed = found
        self._news.set()

    def sound(self, text: str) -> bytes:
        """Return a text as sound in the format of the line."""
        pcm, _ = StubTTS(rate_hz=self.user.rate_hz).render(text)
        return self.user.encode(pcm)

    async def send(self, data: bytes) -> None:
        await self.line.send({"user_audio_chunk": base64.b64encode(data).decode()})

    async def say(self, text: str, *, chunk_ms: int = 20) -> None:
        """Say something at the pace at which it is spoken."""
        data, size = self.sound(text), self.user.rate_hz * self.user.sample_bytes * chunk_ms // 1000
        for at in range(0, len(data), size):
            await self.send(data[at : at + size])
            await self.clock.sleep(chunk_ms / 1000)

    async def hear(self, kind: str, count: int = 1) -> dict[str, Any]:
        """Wait until so many events of a kind have come, and return the last one."""
        async with self.clock.timeout(120):
            while len(found := self.of(kind)) < count:
                assert self.closed is None, f"closed: {self.closed}; {self.events[-3:]}"
                self._news.clear()
                await self._news.wait()
        return found[count - 1]

    async def end(self) -> Closed:
        """Wait until the platform closes the line."""
        async with self.clock.timeout(120):
            while self.closed is None:
                self._news.clear()
                await self._news.wait()
        await self.line.over()
        return self.closed

    async def hang_up(self) -> None:
        await self.line.hang_up()
        assert self._task is not None
        self._task.cancel()

    def of(self, kind: str) -> list[dict[str, Any]]:
        return [event for event in self.events if event["type"] == kind]

    @property
    def kinds(self) -> list[str]:
        return [event["type"] for event in self.events]

    @property
    def audio_ids(self) -> list[int]:
        return [event["audio_event"]["event_id"] for event in self.of("audio")]

    def heard(self, event_id: int | None = None) -> bytes:
        """Return the agent's sound, of one turn or all, as PCM."""
        audio = [event["audio_event"] for event in self.of("audio")]
        wanted = [one for one in audio if event_id in (None, one["event_id"])]
        return b"".join(self.agent.decode(base64.b64decode(one["audio_base_64"])) for one in wanted)

    async def understood(self, event_id: int | None = None) -> str:
        """Return the words in the agent's sound."""
        stream = StubASR().open(rate_hz=self.agent.rate_hz)
        stream.feed(self.heard(event_id) + bytes(self.agent.rate_hz))
        return (await stream.finish()).text


@pytest.fixture
def phone() -> type[Phone]:
    """Call a platform in memory by voice."""
    return Phone
