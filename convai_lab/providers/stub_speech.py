"""Stub speech: how do tests and simulations speak and listen, exactly and without an engine?

What `StubTTS` says, `StubASR` reads back out of the audio itself, word for word: see `tone_speech`, also for what it
survives. Nothing here takes time unless it is asked to, and all of it repeats exactly.
"""

from __future__ import annotations

import functools
import math
import re
from collections import deque
from collections.abc import AsyncGenerator, Iterable, Iterator, Sequence
from typing import Any, Literal

from convai_lab.clock import Clock
from convai_lab.errors import ConvaiLabError, InvalidValueError
from convai_lab.providers.base import (
    ASRCapabilities,
    AudioChunk,
    Final,
    Mark,
    Partial,
    SpeechEngines,
    TTSCapabilities,
)
from convai_lab.providers.tone_speech import FAINTEST, MIN_RATE_HZ, SYMBOLS_A_SEC, Reader, hum_hz_of, word_pcm

CHARS_A_WORD = 5
"""Four letters and the gap after them: the words that people say are short."""
CHUNK_MS = 100
QUIET_DB = 36.0
"""The quietest background that `EnergyVAD` assumes, over one 16-bit step: -54 dB of full scale."""
BACKGROUND_FRAMES = 150
TONE_BINS = 8
TONAL_SHARE = 0.42


class StubTTS:
    """Speaks in tones that `StubASR` understands, about `words_a_minute`; every voice name has its own hum.

    It takes no time at all unless `first_byte_secs` says otherwise, or `realtime_factor` (0.5: twice as fast as it
    is heard); both pass on `clock`.
    """

    name = "stub"

    def __init__(
        self,
        clock: Clock | None = None,
        *,
        rate_hz: int = 16000,
        words_a_minute: float = 150,
        first_byte_secs: float = 0.0,
        realtime_factor: float = 0.0,
        chunk_ms: int = CHUNK_MS,
    ) -> None:
        _require_rate(rate_hz)
        if not 1 <= words_a_minute <= 1000:
            raise InvalidValueError(f"from 1 to 1000, got {words_a_minute}", field="words_a_minute")
        if not 1 <= chunk_ms <= 10_000:
            raise InvalidValueError(f"from 1 to 10000, got {chunk_ms}", field="chunk_ms")
        _require_clock(clock, first_byte_secs + realtime_factor)
        self.capabilities = TTSCapabilities(rate_hz=rate_hz, alignment="word", voices=(), languages=())
        self.words_a_minute, self.first_byte_secs = words_a_minute, first_byte_secs
        self._clock, self._factor = clock, realtime_factor
        self._chunk = rate_hz * chunk_ms // 1000

    async def synthesize(
        self, text: str, *, voice: str = "", speed: float = 1.0
    ) -> AsyncGenerator[AudioChunk | Mark, None]:
        """Yield the speech in chunks, and each word's mark before the chunk in which the word begins."""
        words = self._words(text, voice, speed)
        if self._clock is not None and self.first_byte_secs:
            await self._clock.sleep(self.first_byte_secs)
        for piece in self._in_chunks(words):
            yield piece
            if self._clock is not None and self._factor and isinstance(piece, AudioChunk):
                await self._clock.sleep(self._factor * len(piece.pcm) / 2 / self.capabilities.rate_hz)

    def render(self, text: str, *, voice: str = "", speed: float = 1.0) -> tuple[bytes, list[Mark]]:
        """Return the whole speech at once, and where each word of the text begins in it."""
        words = list(self._words(text, voice, speed))
        return b"".join(pcm for _, pcm in words), [mark for mark, _ in words if mark is not None]

    def _in_chunks(self, words: Iterable[tuple[Mark | None, bytes]]) -> Iterator[AudioChunk | Mark]:
        ready, marks, start = bytearray(), deque[Mark](), 0
        for mark, pcm in words:
            if mark is not None:
                marks.append(mark)
            ready += pcm
            while len(ready) >= 2 * self._chunk:
                yield from self._next_chunk(ready, marks, start)
                start += self._chunk
        if ready:
            yield from self._next_chunk(ready, marks, start)

    def _next_chunk(self, ready: bytearray, marks: deque[Mark], start: int) -> Iterator[AudioChunk | Mark]:
        while marks and marks[0].sample < start + self._chunk:
            yield marks.popleft()
        chunk = bytes(ready[: 2 * self._chunk])
        del ready[: 2 * self._chunk]
        yield AudioChunk(chunk, start)

    def _words(self, text: str, voice: str, speed: float) -> Iterator[tuple[Mark | None, bytes]]:
        """Yield each word's mark and sound, and no mark with the gap between two words."""
        if not 0.1 <= speed <= 10:
            raise InvalidValueError(f"from 0.1 to 10, got {speed}", field="speed")
        rate, hum_hz = self.capabilities.rate_hz, hum_hz_of(voice)
        char_symbols = SYMBOLS_A_SEC * 60 / (self.words_a_minute * CHARS_A_WORD * speed)
        gap = bytes(2 * (rate * max(1, round(char_symbols)) // SYMBOLS_A_SEC))
        sample = 0
        for word in re.finditer(r"\S+", text):
            if sample:
                yield None, gap
                sample += len(gap) // 2
            spoken = word_pcm(word[0], round(char_symbols * len(word[0])), hum_hz, rate)
            yield Mark(word.start(), len(word[0]), sample), spoken
            sample += len(spoken) // 2


class StubASR:
    """Reads the words out of tone-speech; everything else it hears as nothing.

    The final takes `finish_secs` on `clock`. Its confidence is 1 when every word came through whole and clear.
    """

    name = "stub"
    capabilities = ASRCapabilities(streaming=True, partials=True, word_times=True, languages=())

    def __init__(self, clock: Clock | None = None, *, finish_secs: float = 0.0) -> None:
        _require_clock(clock, finish_secs)
        self.finish_secs = finish_secs
        self._clock = clock

    def open(self, *, rate_hz: int, language: str = "en", phrases: Sequence[str] = ()) -> StubASRStream:  # noqa: ARG002
        """Start an utterance; language and phrases change nothing."""
        _require_rate(rate_hz)
        return StubASRStream(rate_hz, self._clock, self.finish_secs)


class StubASRStream:
    """One utterance of tone-speech being read."""

    def __init__(self, rate_hz: int, clock: Clock | None, finish_secs: float) -> None:
        self._reader = Reader(rate_hz)
        self._clock, self._finish_secs = clock, finish_secs
        self._final: Final | None = None
        self._partial: Partial | None = None
        self._aborted = False

    def feed(self, pcm: bytes) -> None:
        """Take some audio, any number of bytes.

        Raises:
            ConvaiLabError: The utterance is finished: what comes now belongs to a new one.
        """
        if self._final is not None and not self._aborted:
            raise ConvaiLabError("this utterance is finished: open a new one for what was said after it")
        if not self._aborted:
            self._reader.feed(pcm)

    def partial(self) -> Partial | None:
        """Return the words so far; all but the newest are certain."""
        if self._final is None and not self._aborted and self._reader.search():
            words = [word.text for word in self._reader.words]
            text = " ".join(words)
            stable = max(0, len(text) - len(words[-1]) - 1)
            self._partial = Partial(text, stable, self._reader.samples_fed)
        return self._partial

    async def finish(self) -> Final:
        """Return all the words; once more, the same."""
        if self._final is None:
            self._final = Final(text="") if self._aborted else self._read_rest()
            if self._clock is not None and self._finish_secs:
                await self._clock.sleep(self._finish_secs)
        return self._final

    def abort(self) -> None:
        """Give up."""
        self._aborted = True

    def _read_rest(self) -> Final:
        self._reader.search(to_the_end=True)
        fed = self._reader.samples_fed
        words = tuple(word._replace(end=min(word.end, fed)) for word in self._reader.words)
        return Final(text=" ".join(word.text for word in words), confidence=self._reader.confidence, words=words)


class EnergyVAD:
    """Anything clearly louder than the quietest moment of the last three seconds is speech.

    Cheap and exact, also for a cough; steady noise counts as speech until it has lasted three seconds.
    """

    name = "energy"
    rate_hz = 16000
    hop = 320

    def __init__(self, *, margin_db: float = 9.0) -> None:
        self.margin_db = margin_db
        self.reset()

    def probability(self, frame: bytes) -> float:
        """Return how likely the frame is speech: 0.5 where it stands `margin_db` over the background."""
        power = _power(frame, self.hop)
        level_db = 10 * math.log10(power) if power > 1 else 0.0
        floor_db = min(self._levels)
        self._levels.append(max(level_db, QUIET_DB))
        return 1 / (1 + math.exp(-(level_db - floor_db - self.margin_db)))

    def reset(self) -> None:
        """Forget what was heard: the background is quiet."""
        self._levels = deque([QUIET_DB] * BACKGROUND_FRAMES, maxlen=BACKGROUND_FRAMES)


class StubVAD:
    """Only tones are speech: neither coughs nor steady noise, up to noise as loud as the speech (0 dB)."""

    name = "stub"
    rate_hz = 16000
    hop = 320

    def probability(self, frame: bytes) -> float:
        """Return how likely the frame is speech, by how much of its power lies in a few tones."""
        np = _numpy()
        if _power(frame, self.hop) < FAINTEST**2 / 2:
            return 0.0
        spectrum = np.fft.rfft(np.frombuffer(frame, dtype="<i2") * _hann(self.hop))
        powers = (spectrum.real**2 + spectrum.imag**2)[2:]
        powers.partition(len(powers) - TONE_BINS)
        share = float(powers[-TONE_BINS:].sum() / powers.sum())
        return 1 / (1 + math.exp(-40 * (share - TONAL_SHARE)))

    def reset(self) -> None:
        """Forget what was heard; there is nothing to forget."""


def stub_engines(
    clock: Clock | None = None,
    *,
    rate_hz: int = 16000,
    words_a_minute: float = 150,
    finish_secs: float = 0.0,
    first_byte_secs: float = 0.0,
    vad: Literal["energy", "stub"] = "energy",
) -> SpeechEngines:
    """Return the three stub engines of one session; `rate_hz` is the voice's."""
    return SpeechEngines(
        asr=StubASR(clock, finish_secs=finish_secs),
        tts=StubTTS(clock, rate_hz=rate_hz, words_a_minute=words_a_minute, first_byte_secs=first_byte_secs),
        vad=EnergyVAD() if vad == "energy" else StubVAD(),
    )


@functools.cache
def _hann(size: int) -> Any:
    return _numpy().hanning(size).astype("f4")


def _power(frame: bytes, hop: int) -> float:
    if len(frame) != 2 * hop:
        raise InvalidValueError(f"a frame here has {hop} samples ({2 * hop} bytes), got {len(frame)} bytes")
    samples = _numpy().frombuffer(frame, dtype="<i2").astype("f4")
    return float(samples @ samples) / hop


def _require_clock(clock: Clock | None, secs: float) -> None:
    if clock is None and secs:
        raise InvalidValueError("an engine that takes time needs a clock on which it passes", field="clock")


def _require_rate(rate_hz: int) -> None:
    if not isinstance(rate_hz, int) or not MIN_RATE_HZ <= rate_hz <= 192_000:
        raise InvalidValueError(f"tone-speech needs 8000 to 192000 Hz, got {rate_hz}", field="rate_hz")


def _numpy() -> Any:
    import numpy

    return numpy
