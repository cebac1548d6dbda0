"""Pipecat pipeline: the same instant model and voice in a pipeline of pipecat (1.14), when it is installed.

A turn goes in as a context frame and comes out as audio, without any socket, which is in its favour. It is run by
`reply_overhead.py`, or alone with the Python that has pipecat: ``python pipecat_pipeline.py MODEL_URL``.
"""

from __future__ import annotations

import asyncio
import json
import statistics
import sys
import time
from collections.abc import AsyncGenerator
from typing import Any

TURN_SECS = 0.4


async def measure(model_url: str, sound: bytes, sessions: int, turns: int) -> dict[str, Any]:
    """Return the median and 95th percentile of the milliseconds from the end of a turn to the first audio."""
    from loguru import logger

    logger.remove()
    ready = asyncio.Barrier(sessions)
    found = await asyncio.gather(*(_session(model_url, sound, turns, ready) for _ in range(sessions)))
    took = sorted(value for values in found for value in values)
    p95 = took[round(0.95 * (len(took) - 1))]
    return {"median_ms": round(statistics.median(took), 2), "p95_ms": round(p95, 2), "turns": len(took)}


async def _session(model_url: str, sound: bytes, turns: int, ready: asyncio.Barrier) -> list[float]:
    from pipecat.frames.frames import EndFrame, Frame, LLMContextFrame, TTSAudioRawFrame
    from pipecat.pipeline.pipeline import Pipeline
    from pipecat.pipeline.runner import PipelineRunner
    from pipecat.pipeline.task import PipelineTask
    from pipecat.processors.aggregators.llm_context import LLMContext
    from pipecat.processors.frame_processor import FrameDirection, FrameProcessor
    from pipecat.services.openai.llm import OpenAILLMService
    from pipecat.services.tts_service import TTSService

    heard: list[float] = []

    class InstantTTS(TTSService):
        async def run_tts(self, text: str, context_id: str) -> AsyncGenerator[Frame | None, None]:
            yield TTSAudioRawFrame(audio=sound, sample_rate=16000, num_channels=1, context_id=context_id)

    class Ear(FrameProcessor):
        async def process_frame(self, frame: Frame, direction: FrameDirection) -> None:
            await super().process_frame(frame, direction)
            if isinstance(frame, TTSAudioRawFrame):
                heard.append(time.perf_counter())
            await self.push_frame(frame, direction)

    llm = OpenAILLMService(api_key="sk-benchmark", base_url=model_url, model="gpt-4o-mini")
    task = PipelineTask(Pipeline([llm, InstantTTS(sample_rate=16000), Ear()]), idle_timeout_secs=None)
    running = asyncio.create_task(PipelineRunner(handle_sigint=False).run(task))
    took = []
    await asyncio.sleep(1)
    for turn in range(turns + 3):
        await ready.wait()
        heard.clear()
        started = time.perf_counter()
        await task.queue_frame(LLMContextFrame(LLMContext([{"role": "user", "content": f"turn {turn}"}])))
        await asyncio.sleep(TURN_SECS)
        if not heard:
            raise SystemExit("pipecat gave no audio: its interface has changed since 1.14")
        took.append((heard[0] - started) * 1000)
    await task.queue_frame(EndFrame())
    await running
    return took[3:]


if __name__ == "__main__":
    results = {n: asyncio.run(measure(sys.argv[1], bytes(3200), n, 30)) for n in (1, 10)}
    print(json.dumps(results))
