"""A small Agents platform that records what it is asked, in a thread; and clocks that do not wait."""

from __future__ import annotations

import contextlib
import json
import socket
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route, WebSocketRoute
from starlette.websockets import WebSocket, WebSocketDisconnect

from convai_lab.clock import SystemClock
from convai_lab.settings import Secret
from convai_lab.workspace.transport import FixedPlatform, Place, Transport
from convai_lab.workspace.workspace import Workspace

KEY = "key-of-the-recording-platform-0123456789"


class PatientClock(SystemClock):
    """The wall clock, except that sleeping takes no time and is written down, and short pauses are cut short."""

    def __init__(self) -> None:
        self.slept: list[float] = []
        self._skipped = 0.0

    def now(self) -> float:
        return super().now() + self._skipped

    @contextlib.asynccontextmanager
    async def timeout(self, secs: float | None) -> AsyncIterator[None]:
        async with super().timeout(secs / 40 if secs is not None and secs < 1 else secs):
            yield

    async def sleep(self, secs: float) -> None:
        self.slept.append(secs)
        self._skipped += secs
        await super().sleep(0)


@dataclass(frozen=True)
class Asked:
    """One request as it arrived."""

    method: str
    path: str
    query: dict[str, str]
    headers: dict[str, str]
    body: Any = None


Script = Callable[["Talk"], Any]


@dataclass
class Talk:
    """One conversation socket, from the platform's side."""

    socket: WebSocket
    platform: RecordingPlatform
    conversation_id: str
    frames: list[dict[str, Any]] = field(default_factory=list)
    event_id: int = 0

    async def send(self, kind: str, **payload: Any) -> None:
        await self.socket.send_text(json.dumps({"type": kind, **payload}))

    async def metadata(self) -> None:
        event = {"conversation_id": self.conversation_id, "agent_output_audio_format": "pcm_16000"}
        await self.send("conversation_initiation_metadata", conversation_initiation_metadata_event=event)

    async def part(self, kind: str, text: str = "") -> None:
        part = {"type": kind, "text": text, "event_id": self.event_id}
        await self.send("agent_chat_response_part", text_response_part=part)

    async def response(self, text: str) -> None:
        event = {"agent_response": text, "event_id": self.event_id}
        await self.send("agent_response", agent_response_event=event)

    async def reply(self, text: str) -> None:
        self.event_id += 1
        await self.part("start")
        for word in text.split(" "):
            await self.part("delta", word + " ")
        await self.part("stop")
        await self.response(text)
        self.platform.said(self.conversation_id, "agent", text)

    async def call_tool(self, name: str, call_id: str = "call_1", **parameters: Any) -> None:
        call = {"tool_name": name, "tool_call_id": call_id, "parameters": parameters, "event_id": self.event_id}
        await self.send("client_tool_call", client_tool_call=call)

    async def error(self, error_type: str, message: str, code: int = 1008, **details: Any) -> None:
        event = {"code": code, "message": message, "error_type": error_type, "details": details}
        await self.send("error", error_event=event)
        await self.socket.close(code, message[:100])

    async def frame(self, kind: str | None = None) -> dict[str, Any]:
        while True:
            frame = json.loads(await self.socket.receive_text())
            self.frames.append(frame)
            if kind is None or frame.get("type") == kind:
                return frame

    async def message(self) -> str:
        text = (await self.frame("user_message"))["text"]
        self.platform.said(self.conversation_id, "user", text)
        return text


async def echo(talk: Talk) -> None:
    """Greet if the agent greets, then repeat what is said."""
    await talk.metadata()
    await talk.frame("conversation_initiation_client_data")
    if first := talk.platform.first_message and "continue" not in talk.socket.query_params:
        await talk.reply(talk.platform.first_message if first else "")
    while True:
        await talk.reply(f"You said: {await talk.message()}")


class RecordingPlatform:
    """An Agents platform with agents and conversations in memory; `is_ours` adds the private routes."""

    def __init__(self) -> None:
        self.url = ""
        self.reset()

    def reset(self) -> None:
        self.is_ours = True
        self.asked: list[Asked] = []
        self.talks: list[Talk] = []
        self.agents: dict[str, dict[str, Any]] = {}
        self.versions: dict[str, list[dict[str, Any]]] = {}
        self.conversations: dict[str, dict[str, Any]] = {}
        self.first_message = ""
        self.script: Script = echo
        self.signed_url: Any = None
        self.answers: list[Response | Callable[[Request], Any]] = []
        """Answers to give instead of the real ones, first to last."""
        self.page_size = 100

    def paths(self) -> list[str]:
        return [f"{asked.method} {asked.path}" for asked in self.asked]

    def said(self, conversation_id: str, role: str, text: str) -> None:
        turn = {"role": role, "message": text, "time_in_call_secs": 0}
        self.conversations[conversation_id]["transcript"].append(turn)

    def new_conversation(self, agent_id: str, *, started_at: int = 1_767_000_000, status: str = "done") -> str:
        conversation_id = f"conv_{len(self.conversations):032x}"
        self.conversations[conversation_id] = {
            "agent_id": agent_id,
            "conversation_id": conversation_id,
            "status": status,
            "transcript": [],
            "metadata": {"start_time_unix_secs": started_at, "call_duration_secs": 3},
        }
        return conversation_id

    async def hold(self, websocket: WebSocket) -> None:
        query = dict(websocket.query_params)
        self.asked.append(Asked("WS", websocket.url.path, query, dict(websocket.headers)))
        await websocket.accept()
        conversation_id = query.get("continue") or self.new_conversation(query.get("agent_id", ""))
        self.conversations[conversation_id]["status"] = "in-progress"
        talk = Talk(websocket, self, conversation_id)
        self.talks.append(talk)
        with contextlib.suppress(WebSocketDisconnect, RuntimeError):
            try:
                await self.script(talk)
            finally:
                self.conversations[conversation_id]["status"] = "done"
        with contextlib.suppress(RuntimeError):
            await websocket.close()

    async def answer(self, request: Request) -> Response:
        raw = await request.body()
        body = json.loads(raw) if raw else None
        asked = Asked(request.method, request.url.path, dict(request.query_params), dict(request.headers), body)
        self.asked.append(asked)
        if self.answers:
            given = self.answers.pop(0)
            return given if isinstance(given, Response) else await given(request)
        parts = request.url.path.removeprefix("/v1/").split("/")
        if parts[0] == "local":
            return self._local(asked, parts[1:]) if self.is_ours else missing("Not Found")
        handler = getattr(self, f"_{parts[1].replace('-', '_')}", None)
        return handler(asked, parts[2:]) if handler else missing("Not Found")

    def _agents(self, asked: Asked, parts: list[str]) -> Response:
        if not parts:
            return self._page("agents", [self._agent_row(a) for a in reversed(self.agents.values())], asked)
        if parts == ["create"]:
            agent_id = f"agent_{len(self.agents):032x}"
            doc = {"agent_id": agent_id, "name": "Agent", **asked.body}
            doc["metadata"] = {"created_at_unix_secs": 1, "updated_at_unix_secs": 1, "version": 1}
            self.agents[agent_id] = doc
            self.versions[agent_id] = [doc]
            return JSONResponse({"agent_id": agent_id})
        doc = self.agents.get(parts[0])
        if doc is None:
            return missing(f"Agent with ID {parts[0]} not found", "agent_not_found")
        if asked.method == "DELETE":
            del self.agents[parts[0]]
            return Response(status_code=204)
        if asked.method == "PATCH":
            doc = merged(doc, {k: v for k, v in asked.body.items() if k != "version_description"})
            doc["metadata"] = {**doc["metadata"], "version": len(self.versions[parts[0]]) + 1}
            self.agents[parts[0]] = doc
            self.versions[parts[0]].insert(0, doc)
        return JSONResponse(doc)

    def _agent_row(self, doc: dict[str, Any]) -> dict[str, Any]:
        return {"agent_id": doc["agent_id"], "name": doc.get("name"), "tags": [], "created_at_unix_secs": 1}

    def _page(self, noun: str, rows: list[dict[str, Any]], asked: Asked) -> Response:
        if (search := asked.query.get("search")) is not None:
            rows = [row for row in rows if search.lower() in str(row.get("name")).lower()]
        start = int(asked.query.get("cursor", 0))
        end = start + min(self.page_size, int(asked.query.get("page_size", 30)))
        more = end < len(rows)
        return JSONResponse({noun: rows[start:end], "has_more": more, "next_cursor": str(end) if more else None})

    def _conversation(self, asked: Asked, parts: list[str]) -> Response:
        address = self.url.replace("http", "ws", 1)
        signed = f"{address}/v1/convai/conversation?agent_id={asked.query['agent_id']}&conversation_signature=sig"
        return JSONResponse({"signed_url": self.signed_url or signed})

    def _conversations(self, asked: Asked, parts: list[str]) -> Response:
        if not parts:
            return self._page("conversations", [self._conversation_row(c) for c in self._wanted(asked.query)], asked)
        doc = self.conversations.get(parts[0])
        if doc is None:
            return missing("no such conversation")
        if asked.method == "DELETE":
            del self.conversations[parts[0]]
            return Response(status_code=204)
        return JSONResponse(doc)

    def _wanted(self, query: dict[str, str]) -> list[dict[str, Any]]:
        low = float(query.get("since_unix") or query.get("call_start_after_unix") or 0)
        high = float(query.get("until_unix") or query.get("call_start_before_unix") or 2**53)
        agent_id = query.get("agent_id")
        return [
            doc
            for doc in reversed(self.conversations.values())
            if low <= doc["metadata"]["start_time_unix_secs"] <= high and agent_id in (None, doc["agent_id"])
        ]

    def _conversation_row(self, doc: dict[str, Any]) -> dict[str, Any]:
        return {
            "agent_id": doc["agent_id"],
            "agent_name": "Support",
            "conversation_id": doc["conversation_id"],
            "status": doc["status"],
            "message_count": len(doc["transcript"]),
            **doc["metadata"],
        }

    def _twilio(self, asked: Asked, parts: list[str]) -> Response:
        return JSONResponse({"success": True, "message": "ok", "conversation_id": "conv_1", "callSid": "CA1"})

    def _local(self, asked: Asked, parts: list[str]) -> Response:
        if parts == ["status"]:
            return JSONResponse({"version": "0.1.0", "pid": 4711, "home": "/nowhere", "keys": {"OPENAI_API_KEY": True}})
        if parts == ["settings"]:
            return Response(status_code=204)
        if parts[0] == "agents":
            return JSONResponse({"versions": self.versions[parts[1]]})
        if parts == ["conversations.ndjson"]:
            wanted = self._wanted(asked.query)[: int(asked.query.get("limit", 10**9))]
            return Response("".join(json.dumps(doc) + "\n" for doc in wanted), media_type="application/x-ndjson")
        doc = self.conversations[parts[1]]
        doc["transcript"] = doc["transcript"][:-2]
        return JSONResponse({"removed": 2, "conversation": doc})


def missing(message: str, status: str = "not_found") -> Response:
    return JSONResponse({"detail": {"status": status, "message": message}}, 404)


def merged(doc: dict[str, Any], patch: dict[str, Any]) -> dict[str, Any]:
    out = dict(doc)
    for name, value in patch.items():
        old = out.get(name)
        out[name] = merged(old, value) if isinstance(old, dict) and isinstance(value, dict) else value
        if name in ("dynamic_variable_placeholders", "data_collection"):
            out[name] = {k: v for k, v in out[name].items() if v is not None}
    return out


@pytest.fixture(scope="session")
def _served() -> Iterator[RecordingPlatform]:
    platform = RecordingPlatform()
    methods = ["GET", "POST", "PUT", "PATCH", "DELETE"]
    app = Starlette(
        routes=[
            WebSocketRoute("/v1/convai/conversation", platform.hold),
            Route("/{rest:path}", platform.answer, methods=methods),
        ]
    )
    listener = socket.create_server(("127.0.0.1", 0))
    server = uvicorn.Server(uvicorn.Config(app, log_level="error", lifespan="off", timeout_graceful_shutdown=1))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, daemon=True)
    thread.start()
    platform.url = f"http://127.0.0.1:{listener.getsockname()[1]}"
    yield platform
    server.should_exit = True
    thread.join(timeout=5)


@pytest.fixture
def recording(_served: RecordingPlatform) -> RecordingPlatform:
    """A platform that speaks the API and writes down what it is asked; ours unless the test says otherwise."""
    _served.reset()
    return _served


@pytest.fixture
def patient_clock() -> PatientClock:
    return PatientClock()


@pytest.fixture
def connect_to(recording: RecordingPlatform, patient_clock: PatientClock) -> Callable[..., Workspace]:
    """Make a workspace on the recording platform: ``local`` by name (ours), or ``elevenlabs``."""

    def connect(name: str = "local") -> Workspace:
        recording.is_ours = name == "local"
        place = Place(recording.url, Secret(KEY))
        return Workspace(Transport(FixedPlatform(name, place), clock=patient_clock))

    return connect


@pytest.fixture
def ws(connect_to: Callable[..., Workspace]) -> Workspace:
    """A workspace on the recording platform, which is ours."""
    return connect_to()


@pytest.fixture
def cloud(connect_to: Callable[..., Workspace]) -> Workspace:
    """A workspace on the recording platform, which plays the cloud."""
    return connect_to("elevenlabs")
