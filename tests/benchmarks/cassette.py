"""What does a cassette cost a call? One JSON line; run by hand: ``python tests/benchmarks/cassette.py``.

The baseline is the same scripted model without a cassette, interleaved, medians of three; each call has a prompt of
2.6 kB and eight other messages, all of them new.
"""

from __future__ import annotations

import asyncio
import json
import statistics
import tempfile
import time
from pathlib import Path

from convai_lab.providers.base import LLM, ChatMessage, ChatRequest
from convai_lab.providers.cassette import Cassette
from convai_lab.testing.fake_llm import FakeLLM

CALLS = 1000
PROMPT = ChatMessage(role="system", content="You are Sam. " * 200)
ANSWER = "This is an answer of about twelve words, which is usual here today."


def request(number: int) -> ChatRequest:
    said = [ChatMessage(role="user", content=f"question {number} {j} " + "word " * 30) for j in range(8)]
    return ChatRequest(messages=[PROMPT, *said], seed=number)


async def _asked(llm: LLM) -> None:
    for number in range(CALLS):
        async for _ in llm.stream(request(number)):
            pass


def micros_a_call(llm: LLM) -> float:
    began = time.perf_counter()
    asyncio.run(_asked(llm))
    return (time.perf_counter() - began) / CALLS * 1e6


def scripted() -> FakeLLM:
    return FakeLLM(lambda _: ANSWER)


def main() -> None:
    times: dict[str, list[float]] = {"bare": [], "record": [], "replay": []}
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "bench.jsonl"
        for _ in range(3):
            path.unlink(missing_ok=True)
            times["bare"].append(micros_a_call(scripted()))
            times["record"].append(micros_a_call(Cassette(path, "record").llm(scripted())))
            times["replay"].append(micros_a_call(Cassette(path).llm_named("fake", "fake-model")))
        size = path.stat().st_size
    medians = {f"{name}_us_a_call": round(statistics.median(found), 1) for name, found in times.items()}
    added = medians["record_us_a_call"] - medians["bare_us_a_call"]
    most = round(1e6 / max(1.0, medians["record_us_a_call"]))
    print(
        json.dumps(
            {**medians, "record_adds_us": round(added, 1), "record_calls_a_sec": most, "bytes_a_call": size // CALLS}
        )
    )


if __name__ == "__main__":
    main()
