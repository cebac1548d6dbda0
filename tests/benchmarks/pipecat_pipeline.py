"""Pipecat pipeline: the same instant model and voice in a pipeline of pipecat (1.14), run by the Python that has it.

A turn goes in as a context frame and comes out as audio, without any socket, which is in its favour. It is run by
`reply_overhead.py --pipecat PYTHON`, or alone: ``PYTHON pipecat_pipeline.py MODEL_URL SESSIONS TURNS`` prints one line.
"""

from __future__ import annotations

import asyncio
import json
import statistics
import sys
import time
from collections.abc import AsyncGenerator
from typing import Any

SOUND = bytes(3200)
TURN_SECS = 0.4
WARM_UP_TURNS = 3
LONGEST_SECS = 10.0
"""The first turns load what splits sentences."""


async def measure(model_url: str, sessions: int, turns: int) -> dict[str, Any]:
    """Return the median and 95th percentile of the milliseconds from the end of a turn to the first audio."""
    from loguru import logger

    logger.remove()
    ready = asyncio.Barrier(sessions)
    found = await asyncio.gather(*(_session(model_url, turns, ready) for _ in range(sessions)))
    took = sorted(value for values in found for value in values)
    p95 = took[round(0.95 * (len(took) - 1))]
    return {"median_ms": round(statistics.median(took), 2), "p95_ms": round(p95, 2), "turns": len(took)}


async def _session(model_url: str, turns: int, ready: asyncio.Barrier) -> list[float]:
    from pipecat.frames.frames import EndFrame, Frame, LLMContextFrame, TTSAudioRawFrame
    from pipecat.pipeline.pipeline import Pipeline
    from pipecat.pipeline.worker import PipelineWorker
    from pipecat.processors.aggregators.llm_context import LLMContext
    from pipecat.processors.frame_processor import FrameDirection, FrameProcessor
    from pipecat.services.openai.llm import OpenAILLMService
    from pipecat.services.settings import TTSSettings
    from pipecat.services.tts_service import TTSService
    from pipecat.workers.runner import WorkerRunner

    heard: asyncio.Queue[float] = asyncio.Queue()

    class InstantTTS(TTSService):
        async def run_tts(self, text: str, context_id: str) -> AsyncGenerator[Frame | None, None]:
            yield TTSAudioRawFrame(audio=SOUND, sample_rate=16000, num_channels=1, context_id=context_id)

    class Ear(FrameProcessor):
        async def process_frame(self, frame: Frame, direction: FrameDirection) -> None:
            await super().process_frame(frame, direction)
            if isinstance(frame, TTSAudioRawFrame):
                heard.put_nowait(time.perf_counter())
            await self.push_frame(frame, direction)

    settings = OpenAILLMService.Settings(model="gpt-4o-mini")
    llm = OpenAILLMService(api_key="sk-benchmark", base_url=model_url, settings=settings)
    voice = InstantTTS(sample_rate=16000, settings=TTSSettings(model="instant", voice="instant", language=None))
    worker = PipelineWorker(Pipeline([llm, voice, Ear()]), idle_timeout_secs=None)
    runner = WorkerRunner(handle_sigint=False)
    await runner.add_workers(worker)
    running = asyncio.create_task(runner.run())
    await asyncio.sleep(1)
    took = []
    for turn in range(turns + WARM_UP_TURNS):
        await ready.wait()
        started = time.perf_counter()
        await worker.queue_frame(LLMContextFrame(LLMContext([{"role": "user", "content": f"turn {turn}"}])))
        first = await asyncio.wait_for(heard.get(), LONGEST_SECS)
        await asyncio.sleep(TURN_SECS)
        if heard.qsize() != 1:
            raise SystemExit(f"pipecat spoke {1 + heard.qsize()} sentences of 2: its interface has changed since 1.14")
        heard.get_nowait()
        took.append((first - started) * 1000)
    await worker.queue_frame(EndFrame())
    await running
    return took[WARM_UP_TURNS:]


if __name__ == "__main__":
    print(json.dumps(asyncio.run(measure(sys.argv[1], int(sys.argv[2]), int(sys.argv[3])))))
