"""How long from the end of the user's turn to the agent's first audio, with a model and a voice that take no time?

The model is a server that streams 20 tokens at once, as OpenAI does; the voice gives 100 ms of sound at once. A turn
ends with a typed message on the conversation socket, so that only our own work is measured: the record, the request,
the sentences, the sound, the socket. The bare server does the least that can be done: it forwards the message to the
same model, cuts the stream at the first full stop, and sends the sound. A pipeline of pipecat runs too, by the Python
that has it: ours, or another one (`python3 -m venv other && other/bin/pip install 'pipecat-ai[openai]'`).

`python tests/benchmarks/reply_overhead.py [--turns 60] [--sessions 10] [--pipecat other/bin/python]` prints one line of
JSON.
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import importlib.util
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

from voice_client import make_agent, percentile, serve_platform, served
from websockets.asyncio.client import connect

TOKENS = [f"w{n} " for n in range(9)] + ["one. "] + [f"x{n} " for n in range(9)] + ["two."]
SOUND = bytes(3200)
TURN_SECS = 0.4


def serve_model() -> None:
    """Serve the model: 20 tokens in the chunks of a chat completion, at once."""
    chunks = [{"choices": [{"index": 0, "delta": {"content": token}}], "model": "mock"} for token in TOKENS]
    chunks.append({"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}], "model": "mock"})
    events = [b"data: " + json.dumps(chunk).encode() + b"\n\n" for chunk in chunks] + [b"data: [DONE]\n\n"]
    body = b"".join(b"%x\r\n%b\r\n" % (len(event), event) for event in events) + b"0\r\n\r\n"
    head = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"

    class Model(asyncio.Protocol):
        def connection_made(self, transport: asyncio.BaseTransport) -> None:
            self.transport, self.received = transport, b""

        def data_received(self, data: bytes) -> None:
            self.received += data
            top, separator, rest = self.received.partition(b"\r\n\r\n")
            if not separator:
                return
            size = next(
                int(line.split(b":")[1]) for line in top.lower().split(b"\r\n") if line.startswith(b"content-length")
            )
            if len(rest) >= size:
                self.received = rest[size:]
                self.transport.write(head + body)  # type: ignore[attr-defined]

    async def run() -> None:
        server = await asyncio.get_running_loop().create_server(Model, "127.0.0.1", 0)
        print(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1", flush=True)
        await server.serve_forever()

    asyncio.run(run())


class InstantTTS:
    """A voice that gives 100 ms of sound for every sentence, at once."""

    name = "instant"

    def __init__(self) -> None:
        from convai_lab.providers.base import TTSCapabilities

        self.capabilities = TTSCapabilities(rate_hz=16000, alignment="none", voices=(), languages=())

    async def synthesize(self, text: str, *, voice: str, speed: float = 1.0) -> AsyncIterator[Any]:
        """Yield the sound."""
        from convai_lab.providers.base import AudioChunk

        yield AudioChunk(SOUND, 0)


def serve_ours() -> None:
    """Serve our platform with the instant voice."""
    from dataclasses import replace

    from convai_lab.providers.stub_speech import stub_engines

    serve_platform(find_engines=lambda _, *, clock: replace(stub_engines(clock), tts=InstantTTS()))


def serve_bare() -> None:
    """Serve the least that can be done."""
    import socket

    import uvicorn
    from starlette.applications import Starlette
    from starlette.routing import WebSocketRoute
    from starlette.websockets import WebSocket, WebSocketDisconnect

    from convai_lab.http import new_client

    base_url = os.environ["OPENAI_BASE_URL"]
    audio = json.dumps({"type": "audio", "audio_event": {"audio_base_64": base64.b64encode(SOUND).decode()}})
    http = new_client()

    async def hold(line: WebSocket) -> None:
        await line.accept()
        try:
            while True:
                message = json.loads(await line.receive_text())
                if message["type"] != "user_message":
                    continue
                body = {"model": "mock", "stream": True, "messages": [{"role": "user", "content": message["text"]}]}
                text = ""
                async with http.stream("POST", f"{base_url}/chat/completions", json=body) as answer:
                    async for one in answer.aiter_lines():
                        if one.startswith("data: {"):
                            text += json.loads(one[6:])["choices"][0]["delta"].get("content", "")
                            if "." in text:
                                await line.send_text(audio)
                                text = ""
                await line.send_text('{"type": "agent_response"}')
        except WebSocketDisconnect:
            return

    listening = socket.create_server(("127.0.0.1", 0))
    print(f"http://127.0.0.1:{listening.getsockname()[1]}", flush=True)
    config = uvicorn.Config(
        Starlette(routes=[WebSocketRoute("/", hold)]),
        ws="websockets-sansio",
        ws_per_message_deflate=False,
        log_level="error",
        lifespan="off",
    )
    asyncio.run(uvicorn.Server(config).serve(sockets=[listening]))


async def measure(url: str, sessions: int, turns: int) -> dict[str, float]:
    """Hold sessions whose turns end at the same instants; from each, the milliseconds to the first audio."""
    ready = asyncio.Barrier(sessions)

    async def one() -> list[float]:
        took, events = [], list[tuple[float, str]]()

        async def listen() -> None:
            async for message in line:
                events.append((time.perf_counter(), json.loads(message)["type"]))

        async with connect(url, compression=None, proxy=None) as line:
            listening = asyncio.create_task(listen())
            await line.send('{"type": "conversation_initiation_client_data"}')
            await asyncio.sleep(0.5)
            for turn in range(turns + 3):
                await ready.wait()
                events.clear()
                started = time.perf_counter()
                await line.send(json.dumps({"type": "user_message", "text": f"turn {turn}"}))
                await asyncio.sleep(TURN_SECS)  # longer than the sound of both sentences
                heard = [at for at, kind in events if kind == "audio"]
                assert len(heard) == 2, events
                took.append((heard[0] - started) * 1000)
            listening.cancel()
        return took[3:]

    took = [value for values in await asyncio.gather(*(one() for _ in range(sessions))) for value in values]
    return {
        "median_ms": round(statistics.median(took), 2),
        "p95_ms": round(percentile(took, 0.95), 2),
        "turns": len(took),
    }


def pipecat(python: str | None, model_url: str, sessions: int, turns: int) -> dict[str, Any] | None:
    """Measure a pipecat pipeline with the same model and voice, where there is a Python that has it."""
    if python is None:
        return None
    script = Path(__file__).with_name("pipecat_pipeline.py")
    command = [python, str(script), model_url, str(sessions), str(turns)]
    ran = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    result: dict[str, Any] = json.loads(ran.stdout.splitlines()[-1])
    return result


def keep_better(result: dict[str, Any], name: str, found: dict[str, Any] | None) -> None:
    """Keep the better run."""
    if result.get(name) is None or (found is not None and found["median_ms"] < result[name]["median_ms"]):
        result[name] = found


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--turns", type=int, default=60)
    parser.add_argument("--sessions", type=int, default=10)
    parser.add_argument("--serve", choices=["model", "ours", "bare"])
    has_pipecat = importlib.util.find_spec("pipecat") is not None
    parser.add_argument(
        "--pipecat", default=sys.executable if has_pipecat else None, help="the Python that has pipecat"
    )
    given = parser.parse_args()
    if given.serve:
        {"model": serve_model, "ours": serve_ours, "bare": serve_bare}[given.serve]()
        return
    result: dict[str, Any] = {}
    with served(sys.argv[0], "model") as model:
        keys = {"OPENAI_BASE_URL": model, "OPENAI_API_KEY": "sk-benchmark"}
        for _ in range(2):  # all twice, in turns: the better run of each counts
            for name in ("bare", "ours"):
                with served(sys.argv[0], name, **keys) as url:
                    if name == "ours":
                        prompt = {"prompt": "You are a benchmark.", "llm": "gpt-4o-mini"}
                        address = make_agent(url, agent={"prompt": prompt})
                    else:
                        address = url.replace("http", "ws", 1)
                    for count, each in ((1, given.turns), (given.sessions, given.turns // 2)):
                        keep_better(result, f"{name}_{count}", asyncio.run(measure(address, count, each)))
            for count, each in ((1, given.turns), (given.sessions, given.turns // 2)):
                keep_better(result, f"pipecat_{count}", pipecat(given.pipecat, model, count, each))
    print(json.dumps(result))


if __name__ == "__main__":
    main()
