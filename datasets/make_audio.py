"""Make the sound files of `datasets/audio`: questions of callers, spoken by the embedded voices.

Run by hand when the texts change: `python datasets/make_audio.py`. The sound is ours to give away: what a synthetic
voice says is not covered by the licence of the voice.
"""

from __future__ import annotations

import asyncio
from pathlib import Path

from convai_lab.clock import SystemClock
from convai_lab.providers.base import AudioChunk
from convai_lab.providers.speech import find_tts
from convai_lab.voice.audio import SESSION_RATE_HZ, Sound, rms_dbfs, silence, write_wav

OUT = Path(__file__).parent / "audio"
EDGE_SECS = 0.3

TEXTS = {
    "order": ("Daniel", "Where is my order one two three four?"),
    "address": ("Sarah", "Can I change the address?"),
    "booking": ("Daniel", "I would like to book a table for four people on Friday."),
}
"""The name of each file, the voice, and what is said."""


async def spoken(text: str, voice: str) -> Sound:
    """Return a text as it is spoken, at the rate of a session, with a moment of silence at both ends."""
    tts = find_tts("espeak", clock=SystemClock())
    chunks = [piece.pcm async for piece in tts.synthesize(text, voice=voice) if isinstance(piece, AudioChunk)]
    sound = Sound(b"".join(chunks), tts.capabilities.rate_hz).at(SESSION_RATE_HZ)
    edge = silence(EDGE_SECS, SESSION_RATE_HZ)
    return Sound(edge + sound.pcm + edge, SESSION_RATE_HZ)


async def main() -> None:
    """Write all files."""
    OUT.mkdir(exist_ok=True)
    for name, (voice, text) in TEXTS.items():
        sound = await spoken(text, voice)
        write_wav(OUT / f"{name}.wav", sound)
        print(f"{name}.wav: {sound.secs:.1f} s, {rms_dbfs(sound.pcm):.0f} dBFS, {voice}: {text}")


if __name__ == "__main__":
    asyncio.run(main())
