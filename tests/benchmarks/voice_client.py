"""Voice client: the caller of the voice benchmarks, and the processes that they run against."""

from __future__ import annotations

import asyncio
import base64
import bisect
import contextlib
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from typing import Any

from websockets.asyncio.client import ClientConnection, connect

FRAME_SECS = 0.02
FRAME_BYTES = 640
KEY = "lab_benchmark_key"
SILENCE = json.dumps({"user_audio_chunk": base64.b64encode(bytes(FRAME_BYTES)).decode()})


@contextlib.contextmanager
def served(script: str, *arguments: str, **environment: str) -> Iterator[str]:
    """Run ``script --serve ...`` in a process of its own, with a data folder of its own; gives the line it prints."""
    with tempfile.TemporaryDirectory() as home:
        child = subprocess.Popen(
            [sys.executable, script, "--serve", *arguments],
            stdout=subprocess.PIPE,
            stdin=subprocess.PIPE,
            text=True,
            env={**os.environ, "CONVAI_LAB_HOME": home, **environment},
        )
        try:
            assert child.stdout is not None
            yield child.stdout.readline().strip()
        finally:
            child.terminate()
            child.wait(10)


def in_frames(pcm: bytes) -> list[str]:
    """Return sound at 16 kHz as the frames that are sent."""
    cut = [pcm[at : at + FRAME_BYTES].ljust(FRAME_BYTES, b"\0") for at in range(0, len(pcm), FRAME_BYTES)]
    return [json.dumps({"user_audio_chunk": base64.b64encode(frame).decode()}) for frame in cut]


class Caller:
    """One caller in real time: silence or speech every 20 ms, and the instant of everything that comes back."""

    def __init__(self, line: ClientConnection) -> None:
        self.line = line
        self.sent_at: list[float] = []
        self.events: list[tuple[float, dict[str, Any]]] = []
        self.play_until = 0.0
        self._to_say: list[str] = []
        self._said = asyncio.Event()
        self._news = asyncio.Event()
        self._tasks = [asyncio.create_task(self._speak()), asyncio.create_task(self._listen())]

    @classmethod
    async def call(cls, url: str, initiation: dict[str, Any] | None = None) -> Caller:
        """Open a line and start the conversation."""
        line = await connect(url, max_size=None, compression=None, proxy=None)
        await line.send(json.dumps({"type": "conversation_initiation_client_data", **(initiation or {})}))
        return cls(line)

    async def say(self, frames: Sequence[str]) -> int:
        """Say something; returns the number of its last frame."""
        self._said.clear()
        self._to_say = list(frames)
        await self._said.wait()
        return len(self.sent_at) - 1

    async def next(self, kind: str, since: int) -> tuple[float, dict[str, Any]]:
        """Wait for the next event of a kind after the first `since` events."""
        async with asyncio.timeout(60):
            while True:
                found = next((one for one in self.events[since:] if one[1]["type"] == kind), None)
                if found is not None:
                    return found
                self._news.clear()
                await self._news.wait()

    async def hang_up(self) -> None:
        """End the call."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self.line.close()

    async def quiet(self, secs: float) -> None:
        """Wait until the agent has been quiet for so long."""
        while (left := self.play_until + secs - time.perf_counter()) > 0:
            await asyncio.sleep(left)

    async def _speak(self) -> None:
        due = time.perf_counter()
        while True:
            due += FRAME_SECS
            await asyncio.sleep(due - time.perf_counter())
            frame = self._to_say.pop(0) if self._to_say else SILENCE
            await self.line.send(frame)
            self.sent_at.append(time.perf_counter())
            if not self._to_say:
                self._said.set()

    async def _listen(self) -> None:
        async for message in self.line:
            now, event = time.perf_counter(), json.loads(message)
            if event["type"] == "ping":
                await self.line.send(json.dumps({"type": "pong", "event_id": event["ping_event"]["event_id"]}))
                continue
            if event["type"] == "audio":
                encoded = event["audio_event"].pop("audio_base_64")
                event["encoded"] = encoded
                event["pcm_bytes"] = len(encoded) * 3 // 4 - encoded.count("=", -2)
                self.play_until = max(now, self.play_until) + event["pcm_bytes"] / 32000
            self.events.append((now, event))
            self._news.set()

    def frame_before(self, instant: float) -> int:
        """Return the number of the newest frame that was sent before an instant."""
        return bisect.bisect(self.sent_at, instant) - 1


def percentile(values: Sequence[float], share: float) -> float:
    """Return the value below which this share of the values lies."""
    ranked = sorted(values)
    return ranked[min(len(ranked) - 1, round(share * (len(ranked) - 1)))]


def serve_platform(**options: Any) -> None:
    """Serve a platform until terminated; prints its URL."""
    from convai_lab.server.run import Options, PlatformServer
    from convai_lab.server.warm_up import keep_what_stays, load_voice
    from convai_lab.settings import Secret

    load_voice()
    keep_what_stays()
    server = PlatformServer(Options(port=0, api_key=Secret(KEY)), **options)
    server.run(when_ready=lambda running: print(running.url, flush=True))


def make_agent(url: str, **config: Any) -> str:
    """Store an agent, and return the address of its conversations."""
    import httpx

    body = {"name": "bench", "conversation_config": config}
    with httpx.Client(base_url=url, headers={"xi-api-key": KEY}, trust_env=False) as client:
        agent_id = client.post("/v1/convai/agents/create", json=body).json()["agent_id"]
    return f"{url.replace('http', 'ws', 1)}/v1/convai/conversation?agent_id={agent_id}"
