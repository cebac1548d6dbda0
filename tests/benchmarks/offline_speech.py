"""How soon are the embedded engines done: the recogniser after the last word, the voice with its first sound?

Each beside the bare engine in this process: pocketsphinx's decoder on the same audio and model, with nothing else
(one call with all the audio, then the end), and libespeak-ng up to its first callback. The difference is what our
processes, frames and sections cost. `domain` has the sentences as phrases, `full` has none: general English. The
sentences are spoken by an embedded voice and fed as fast as they are taken; only the time from `finish` on counts,
after all that was fed has been heard. Ratios are of medians, taken in turns.

`python tests/benchmarks/offline_speech.py [--rounds 5]` prints one line of JSON; it takes a minute.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import statistics
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from convai_lab.clock import SystemClock
from convai_lab.providers.base import AudioChunk
from convai_lab.providers.offline_speech import EspeakTTS, PocketsphinxASR, stop_speech_processes
from convai_lab.providers.offline_speech.decoding import RATE_HZ
from convai_lab.providers.offline_speech.domain_lm import DomainModel, build_model
from convai_lab.providers.offline_speech.espeak_library import EspeakLibrary, VoiceSettings
from convai_lab.voice.audio import resample, silence

SENTENCES = (
    "what time do you open tomorrow",
    "can you check the status of my order",
    "turn on the lights in the kitchen",
    "how much does the large pizza cost",
    "please send me a confirmation by email",
)
VOICE = "Daniel"
BARE_VOICE = VoiceSettings("en-gb-x-rp+f2", 165, 50, 50)
HEARD_WITHIN_SECS = 30.0
BELIEF_SAMPLES = RATE_HZ // 2 + RATE_HZ // 5
"""What may have been heard since the newest belief came; it is heard in `REST_SECS`."""
REST_SECS = 0.5


async def spoken(text: str) -> bytes:
    """Return a sentence at the recogniser's rate, with the silence around it that a session has."""
    chunks = [piece.pcm async for piece in EspeakTTS().synthesize(text, voice=VOICE) if isinstance(piece, AudioChunk)]
    return silence(0.3, RATE_HZ) + resample(b"".join(chunks), 22050, RATE_HZ) + silence(0.2, RATE_HZ)


async def ours(pcm: bytes, phrases: Sequence[str]) -> float:
    """Return the milliseconds from `finish` to the final words, once all audio was heard."""
    stream = PocketsphinxASR().open(rate_hz=RATE_HZ, language="en", phrases=phrases)
    stream.feed(pcm)
    async with asyncio.timeout(HEARD_WITHIN_SECS):
        while (belief := stream.partial()) is None or belief.at_sample < len(pcm) // 2 - BELIEF_SAMPLES:
            await asyncio.sleep(0.01)
        await asyncio.sleep(REST_SECS)
    started = time.perf_counter()
    await stream.finish()
    return (time.perf_counter() - started) * 1000


def bare(decoder: Any, pcm: bytes) -> float:
    """Return the milliseconds that the decoder itself takes at the end of an utterance."""
    decoder.start_utt()
    decoder.process_raw(pcm)
    started = time.perf_counter()
    decoder.end_utt()
    list(decoder.seg() or ())
    return (time.perf_counter() - started) * 1000


def decoder_of(model: DomainModel) -> Any:
    """Return a decoder with the files of a model."""
    import pocketsphinx

    return pocketsphinx.Decoder(lm=model.lm, dict=model.dictionary, samprate=RATE_HZ, loglevel="FATAL")


async def first_sound(text: str) -> float:
    """Return the milliseconds to the first chunk of our voice."""
    started = time.perf_counter()
    speech = EspeakTTS().synthesize(text, voice=VOICE)
    async for piece in speech:
        if isinstance(piece, AudioChunk):
            break
    took = (time.perf_counter() - started) * 1000
    await speech.aclose()
    return took


def bare_first_sound(library: EspeakLibrary, text: str) -> float:
    """Return the milliseconds to the library's first sound."""
    at: list[float] = []

    def take(pcm: bytes, _words: object) -> bool:
        if pcm:
            at.append(time.perf_counter())
        return bool(at)

    started = time.perf_counter()
    library.speak(text, BARE_VOICE, take)
    return (at[0] - started) * 1000


async def recogniser(rounds: int, folder: Path) -> dict[str, Any]:
    """Measure the end of every sentence with both dictionaries, ours and bare in turns."""
    sounds = [await spoken(text) for text in SENTENCES]
    measured = {}
    for name, phrases in (("domain", SENTENCES), ("full", ())):
        await PocketsphinxASR().prepare(phrases)
        decoder = decoder_of(build_model(folder, phrases, {}))
        took: dict[str, list[float]] = {"ours": [], "bare": []}
        for _ in range(rounds):
            for pcm in sounds:
                took["ours"].append(await ours(pcm, phrases))
                took["bare"].append(bare(decoder, pcm))
        measured[name] = compared(took)
    return measured


async def voice(rounds: int) -> dict[str, Any]:
    """Measure the first sound of every sentence, ours and bare in turns."""
    await EspeakTTS().prepare()
    library = EspeakLibrary()
    bare_first_sound(library, "a")
    took: dict[str, list[float]] = {"ours": [], "bare": []}
    for _ in range(rounds):
        for text in SENTENCES:
            took["ours"].append(await first_sound(text))
            took["bare"].append(bare_first_sound(library, text))
    return compared(took)


def compared(took: Mapping[str, Sequence[float]]) -> dict[str, Any]:
    """Return medians, our 95th percentile, and how many times the bare engine's time ours is."""
    middle = {name: statistics.median(values) for name, values in took.items()}
    p95 = statistics.quantiles(took["ours"], n=20)[-1]
    return {
        "median_ms": round(middle["ours"], 2),
        "p95_ms": round(p95, 2),
        "bare_median_ms": round(middle["bare"], 2),
        "ratio": round(middle["ours"] / middle["bare"], 2),
    }


async def measure(rounds: int) -> dict[str, Any]:
    """Measure everything."""
    started, cpu = SystemClock().now(), time.process_time()
    with tempfile.TemporaryDirectory() as folder:
        said = {"first_sound": await voice(rounds), "finalisation": await recogniser(rounds, Path(folder))}
    own = {"secs": round(SystemClock().now() - started, 1), "own_cpu_secs": round(time.process_time() - cpu, 1)}
    return {"benchmark": "offline_speech", "utterances": rounds * len(SENTENCES), **said, **own}


def main() -> None:
    """Measure, and print one line of JSON."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=5)
    try:
        print(json.dumps(asyncio.run(measure(parser.parse_args().rounds))))
    finally:
        stop_speech_processes()


if __name__ == "__main__":
    main()
