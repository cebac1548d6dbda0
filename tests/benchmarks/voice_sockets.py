"""How late is the agent's audio with 30 real-time voice sessions at once?

The agent's first sound of a turn is due when the frame has been sent that ends the user's turn; which frame that is
shows in a single session on a quiet platform. Lateness is what passes from then until the audio is here. The bare
sockets answer every frame of the same callers with a frame of audio, and do nothing else.

`python tests/benchmarks/voice_sockets.py [--sessions 30] [--turns 6]` prints one line of JSON.
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import json
import random
import sys
from typing import Any

from voice_client import FRAME_BYTES, Caller, in_frames, make_agent, percentile, serve_platform, served

QUESTION = "where is my order"
ANSWER = "It ships tomorrow."
PAUSE_SECS = 0.5


def serve_stub() -> None:
    """Serve our platform with stub engines and an instant model."""
    from convai_lab.providers.stub_speech import stub_engines
    from convai_lab.testing.fake_llm import FakeLLM

    llm = FakeLLM(lambda _: ANSWER)
    serve_platform(
        find_llm=lambda *_, **__: llm,
        find_engines=lambda _, *, clock: stub_engines(clock),
    )


def serve_bare() -> None:
    """Serve sockets that answer each frame with a frame."""
    import socket

    import uvicorn
    from starlette.applications import Starlette
    from starlette.routing import WebSocketRoute
    from starlette.websockets import WebSocket, WebSocketDisconnect

    answer = base64.b64encode(bytes(FRAME_BYTES)).decode()

    async def echo(line: WebSocket) -> None:
        await line.accept()
        number = 0
        try:
            while True:
                if "user_audio_chunk" in json.loads(await line.receive_text()):
                    event = {"type": "audio", "audio_event": {"audio_base_64": answer, "event_id": number}}
                    await line.send_text(json.dumps(event))
                    number += 1
        except WebSocketDisconnect:
            return

    listening = socket.create_server(("127.0.0.1", 0))
    print(f"http://127.0.0.1:{listening.getsockname()[1]}", flush=True)
    config = uvicorn.Config(
        Starlette(routes=[WebSocketRoute("/", echo)]),
        ws="websockets-sansio",
        ws_per_message_deflate=False,
        log_level="error",
        lifespan="off",
    )
    asyncio.run(uvicorn.Server(config).serve(sockets=[listening]))


async def session(
    url: str, frames: list[str], turns: int, start_after: float
) -> tuple[Caller, list[tuple[int, float]]]:
    """Hold one session; for each turn, the number of the last frame of speech and when the first audio came."""
    await asyncio.sleep(start_after)
    caller = await Caller.call(url)
    found = []
    for _ in range(turns):
        await asyncio.sleep(PAUSE_SECS)
        since = len(caller.events)
        last = await caller.say(frames)
        at, _ = await caller.next("audio", since)
        found.append((last, at))
        await caller.next("agent_response", since)
        await caller.quiet(PAUSE_SECS)
    await caller.hang_up()
    return caller, found


async def ours(url: str, sessions: int, turns: int) -> dict[str, Any]:
    """Measure our platform."""
    from convai_lab.providers.stub_speech import StubTTS

    frames = in_frames(StubTTS(rate_hz=16000).render(QUESTION)[0])
    alone, found = await session(url, frames, 6, 0)
    needed = min(alone.frame_before(at) - last for last, at in found)
    calls = await asyncio.gather(*(session(url, frames, turns, random.Random(n).random() * 3) for n in range(sessions)))
    late = [(at - caller.sent_at[last + needed]) * 1000 for caller, found in calls for last, at in found]
    jitter = [
        (later - earlier - 0.02) * 1000
        for caller, _ in calls
        for earlier, later in zip(caller.sent_at, caller.sent_at[1:], strict=False)
    ]
    return {
        "frames_after_speech": needed,
        "turns": len(late),
        "late_ms_p50": round(percentile(late, 0.5), 2),
        "late_ms_p99": round(percentile(late, 0.99), 2),
        "late_ms_max": round(max(late), 2),
        "callers_own_jitter_ms_p99": round(percentile(jitter, 0.99), 2),
    }


async def bare(url: str, sessions: int, secs: float) -> dict[str, Any]:
    """Measure the bare sockets."""

    async def one(start_after: float) -> list[float]:
        await asyncio.sleep(start_after)
        caller = await Caller.call(url.replace("http", "ws", 1))
        await asyncio.sleep(secs)
        await caller.hang_up()
        answers = [(at, event["audio_event"]["event_id"]) for at, event in caller.events]
        return [(at - caller.sent_at[number]) * 1000 for at, number in answers if number < len(caller.sent_at)]

    late = [value for values in await asyncio.gather(*(one(n * 0.01) for n in range(sessions))) for value in values]
    return {
        "late_ms_p50": round(percentile(late, 0.5), 2),
        "late_ms_p99": round(percentile(late, 0.99), 2),
        "late_ms_max": round(max(late), 2),
    }


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--sessions", type=int, default=30)
    parser.add_argument("--turns", type=int, default=6)
    parser.add_argument("--serve", choices=["stub", "bare"])
    given = parser.parse_args()
    if given.serve:
        return serve_stub() if given.serve == "stub" else serve_bare()
    result: dict[str, Any] = {"sessions": given.sessions}
    with served(sys.argv[0], "bare") as url:
        result["bare"] = asyncio.run(bare(url, given.sessions, 15))
    with served(sys.argv[0], "stub") as url:
        address = make_agent(url, agent={"prompt": {"prompt": "Help."}})
        result["ours"] = asyncio.run(ours(address, given.sessions, given.turns))
    with served(sys.argv[0], "bare") as url:
        result["bare_again"] = asyncio.run(bare(url, given.sessions, 15))
    print(json.dumps(result))
    return None


if __name__ == "__main__":
    main()
