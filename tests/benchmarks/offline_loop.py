"""How soon does the embedded agent answer: from the end of the user's speech to the agent's first sound?

A caller with an embedded voice speaks 50 sentences in real time, microphone noise included, over the conversation
socket, to a platform with all embedded engines and a canned model. Both ends are measured in the sound itself: the
last loud frame that was sent, and the first loud sample of what came back. The stages are the platform's own account.

A misheard last word ("... confirmation really") makes an unfinished sentence, which is given more time in mode
``turn``; in mode ``silence`` words do not count.

`python tests/benchmarks/offline_loop.py [--turns 50] [--mode turn]` prints one line of JSON; it takes four minutes.
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import json
import statistics
import sys
from typing import Any

from voice_client import FRAME_SECS, KEY, Caller, in_frames, make_agent, percentile, serve_platform, served

SENTENCES = (
    "what time do you open tomorrow",
    "can you check the status of my order",
    "i want to speak to a human agent please",
    "turn on the lights in the kitchen",
    "how much does the large pizza cost",
    "could you repeat that please",
    "i need to change my delivery address",
    "please send me a confirmation by email",
    "what is the balance of my account",
    "is breakfast included in the price",
)
VOICE = "Charlotte"
ANSWER = "Okay. I will look that up for you."
LOUD = 300
"""In 16-bit steps: what is softer is no speech yet, or no more."""
NOISE_DBFS = -65.0


def serve_ours() -> None:
    """Serve a platform with the embedded engines and a canned model."""
    from convai_lab.testing.fake_llm import FakeLLM

    llm = FakeLLM(lambda _: ANSWER)
    serve_platform(find_llm=lambda *_, **__: llm)


async def spoken(text: str) -> bytes:
    """Return a sentence as the caller says it, at 16 kHz."""
    from convai_lab.clock import SystemClock
    from convai_lab.providers.base import AudioChunk
    from convai_lab.providers.speech import find_tts
    from convai_lab.voice.audio import resample

    tts = find_tts("espeak", clock=SystemClock())
    pieces = [piece.pcm async for piece in tts.synthesize(text, voice=VOICE) if isinstance(piece, AudioChunk)]
    return resample(b"".join(pieces), tts.capabilities.rate_hz, 16000)


def loud_samples(pcm: bytes) -> Any:
    """Return the numbers of the samples that are loud."""
    import numpy as np

    return np.flatnonzero(np.abs(np.frombuffer(pcm, dtype="<i2").astype("i4")) > LOUD)


async def call(url: str, turns: int) -> tuple[list[float], list[str]]:
    """Hold the call; returns seconds from last loud to first loud sample, and what was recognised."""
    from convai_lab.voice.audio import mix, noise

    caller = await Caller.call(url, {"conversation_config_override": {}})
    latencies = []
    sounds = [await spoken(text) for text in SENTENCES]
    for turn in range(turns):
        await asyncio.sleep(0.6)
        clean = sounds[turn % len(sounds)]
        frames = in_frames(mix(clean, noise(len(clean) / 32000, dbfs=NOISE_DBFS, seed=turn)))
        since = len(caller.events)
        last = await caller.say(frames)
        end_at = caller.sent_at[last - len(frames) + 1] - FRAME_SECS + int(loud_samples(clean)[-1]) / 16000
        at, event = await caller.next("audio", since)
        silent = loud_samples(base64.b64decode(event["encoded"]))
        latencies.append(at - end_at + int(silent[0]) / 16000)
        await caller.next("agent_response", since)
        await caller.quiet(0.4)
    await caller.hang_up()
    heard = [
        e["user_transcription_event"]["user_transcript"] for _, e in caller.events if e["type"] == "user_transcript"
    ]
    return latencies, heard


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--turns", type=int, default=50)
    parser.add_argument("--mode", choices=["turn", "silence"], default="turn", help="whether words count too")
    parser.add_argument("--serve", action="store_true")
    given = parser.parse_args()
    if given.serve:
        return serve_ours()
    with served(sys.argv[0]) as url:
        agent = {"prompt": {"prompt": "Help."}, "language": "en"}
        address = make_agent(
            url, agent=agent, asr={"keywords": list(SENTENCES)}, conversation={"max_duration_seconds": 3600}
        )
        took, heard = asyncio.run(call(address, given.turns))
        turns = last_conversation(url)
    of = {name: [t[name] for t in turns if t.get(name) is not None] for name in STAGES}
    stages = {name: round(statistics.median(values), 1) for name, values in of.items() if values}
    ms = [secs * 1000 for secs in took]
    own = [
        t["voice_to_voice_ms"] - sum(t.get(name) or 0 for name in ("endpointing_ms", "asr_ms", "tts_ttfb_ms"))
        for t in turns
        if t.get("voice_to_voice_ms") is not None
    ]
    exact = sum(a == SENTENCES[n % len(SENTENCES)] for n, a in enumerate(heard))
    print(
        json.dumps(
            {
                "mode": given.mode,
                "turns": len(ms),
                "median_ms": round(statistics.median(ms)),
                "p95_ms": round(percentile(ms, 0.95)),
                "max_ms": round(max(ms)),
                "own_overhead_ms_median": round(statistics.median(own), 1),
                "stages_ms_median": stages,
                "slowest": [[round(value), text] for value, text in sorted(zip(ms, heard, strict=False))[-3:]],
                "recognised_exactly": f"{exact} of {len(heard)}",
            }
        )
    )
    return None


STAGES = ("endpointing_ms", "asr_ms", "llm_ttft_ms", "tts_ttfb_ms", "unexplained_ms", "voice_to_voice_ms")


def last_conversation(url: str) -> list[dict[str, Any]]:
    """Return the metrics of the agent's turns, as the platform keeps them."""
    import httpx

    from convai_lab.conversations.wire_format import conversation_from_wire

    with httpx.Client(base_url=url, headers={"xi-api-key": KEY}, trust_env=False) as client:
        row = client.get("/v1/convai/conversations").json()["conversations"][0]
        document = client.get(f"/v1/convai/conversations/{row['conversation_id']}").json()
    return [vars(turn.metrics) for turn in conversation_from_wire(document) if turn.role == "agent"]


if __name__ == "__main__":
    main()
