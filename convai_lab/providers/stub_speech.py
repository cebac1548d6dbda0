"""Stub speech: how do tests and simulations speak and listen, exactly and without an engine?

A spoken word is a burst of tones that spells it, then a hum for as long as a person would need to say it. The
recogniser reads the words back out of the audio itself: after resampling to 8 to 48 kHz, mu-law, gains from 0.1 to 2,
and under white noise as loud as the speech (0 dB). A word that is too damaged is left out; it is never a wrong one.
"""

from __future__ import annotations

import binascii
import functools
import math
import re
import zlib
from collections import deque
from collections.abc import AsyncIterator, Sequence
from typing import Any, Literal, NamedTuple

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
    WordTime,
)

SYMBOLS_A_SEC = 100
"""A symbol is a tone of 10 ms; words and the gaps between them last whole symbols, at every rate."""
SYNC_HZ = (2700.0, 3000.0)
DATA_HZ = tuple(900.0 + 100.0 * value for value in range(16))
MAX_PIECE_BYTES = 63
GOES_ON = 0x80
"""Set in the length of a piece that is not the last one of its word."""
OVERHEAD_SYMBOLS = 10
"""Sync 2, length 2, duration 2, check 4."""
PEAK = 8192
HUM_PEAK = 6000
GAP_SYMBOLS = 7
CHARS_A_WORD = 6
"""Five letters and the gap, as words a minute are counted."""
CHUNK_MS = 100
MIN_RATE_HZ = 8000

SEARCH_SECS = 0.1
"""So much new audio is waited for before it is searched: cheaper, and soon enough for a partial."""
HOPS_A_SYMBOL = 4
TONE_SHARE = 0.2
"""Both sync tones must hold this share of the power: 0.5 under noise as loud as they are, 0.02 in noise alone."""
FAINTEST = 30.0
"""A tone with a softer peak than this, in 16-bit steps, is silence."""
QUIET_DB = 36.0
"""The quietest background that `EnergyVAD` assumes, over one 16-bit step: -54 dB of full scale."""
TONE_BINS = 8
TONAL_SHARE = 0.42


class _Piece(NamedTuple):
    data: bytes
    goes_on: bool
    natural: int


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
        if clock is None and (first_byte_secs or realtime_factor):
            raise InvalidValueError("a latency needs a clock to pass on", field="clock")
        self.capabilities = TTSCapabilities(rate_hz=rate_hz, alignment="word", voices=(), languages=())
        self.words_a_minute, self.first_byte_secs = words_a_minute, first_byte_secs
        self._clock, self._factor = clock, realtime_factor
        self._chunk = max(1, rate_hz * chunk_ms // 1000)

    async def synthesize(self, text: str, *, voice: str = "", speed: float = 1.0) -> AsyncIterator[AudioChunk | Mark]:
        """Yield the speech in chunks of 100 ms, each word's mark before the chunk in which the word begins."""
        pcm, marks = self.render(text, voice=voice, speed=speed)
        if self._clock is not None and self.first_byte_secs:
            await self._clock.sleep(self.first_byte_secs)
        waiting = iter([*marks, None])
        mark = next(waiting)
        for start in range(0, len(pcm) // 2, self._chunk):
            while mark is not None and mark.sample < start + self._chunk:
                yield mark
                mark = next(waiting)
            chunk = pcm[2 * start : 2 * (start + self._chunk)]
            yield AudioChunk(chunk, start)
            if self._clock is not None and self._factor:
                await self._clock.sleep(self._factor * len(chunk) / 2 / self.capabilities.rate_hz)

    def render(self, text: str, *, voice: str = "", speed: float = 1.0) -> tuple[bytes, list[Mark]]:
        """Return the whole speech at once, and where each word of the text begins in it."""
        if not 0.1 <= speed <= 10:
            raise InvalidValueError(f"from 0.1 to 10, got {speed}", field="speed")
        rate, hum_hz = self.capabilities.rate_hz, _hum_hz(voice)
        a_char = SYMBOLS_A_SEC * 60 / (self.words_a_minute * CHARS_A_WORD * speed)
        gap = bytes(2 * (rate * max(1, round(GAP_SYMBOLS / speed)) // SYMBOLS_A_SEC))
        parts: list[bytes] = []
        marks: list[Mark] = []
        sample = 0
        for word in re.finditer(r"\S+", text):
            if parts:
                parts.append(gap)
                sample += len(gap) // 2
            marks.append(Mark(word.start(), len(word[0]), sample))
            spoken = _word_pcm(word[0], round(a_char * len(word[0])), hum_hz, rate)
            parts.append(spoken)
            sample += len(spoken) // 2
        return b"".join(parts), marks


class StubASR:
    """Reads the words out of tone-speech; everything else it hears as nothing.

    The final takes `finish_secs` on `clock`. Confidence is the share of words that came through whole.
    """

    name = "stub"
    capabilities = ASRCapabilities(streaming=True, partials=True, word_times=True, languages=())

    def __init__(self, clock: Clock | None = None, *, finish_secs: float = 0.0) -> None:
        if clock is None and finish_secs:
            raise InvalidValueError("a latency needs a clock to pass on", field="clock")
        self.finish_secs = finish_secs
        self._clock = clock

    def open(self, *, rate_hz: int, language: str = "en", phrases: Sequence[str] = ()) -> StubASRStream:  # noqa: ARG002
        """Start an utterance; language and phrases change nothing."""
        _require_rate(rate_hz)
        return StubASRStream(rate_hz, self._clock, self.finish_secs)


class StubASRStream:
    """One utterance of tone-speech being read."""

    def __init__(self, rate_hz: int, clock: Clock | None, finish_secs: float) -> None:
        self._reader = _Reader(rate_hz)
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
        words, damaged = tuple(self._reader.words), self._reader.damaged
        confidence = round(len(words) / (len(words) + damaged), 3) if words or damaged else None
        return Final(text=" ".join(word.text for word in words), confidence=confidence, words=words)


class _Reader:
    """Finds words in a stream of samples; keeps only what it has not searched yet.

    Above 32 kHz it looks at every second or third sample: the tones end far below what that folds.
    """

    def __init__(self, rate_hz: int) -> None:
        self.words: list[WordTime] = []
        self.damaged = 0
        self._step_samples = max(1, rate_hz // MIN_RATE_HZ // 2)
        self._rate = rate_hz / self._step_samples
        self._symbol = self._rate / SYMBOLS_A_SEC
        self._window = int(self._symbol)
        self._hop = self._window // HOPS_A_SYMBOL
        self._pcm = bytearray()
        self._start = 0
        self._at = 0
        self._wait_for = 0.0
        self._pieces: list[tuple[_Piece, int]] = []

    @property
    def samples_fed(self) -> int:
        """Return how many whole samples came."""
        return self._start * self._step_samples + len(self._pcm) // 2

    def feed(self, pcm: bytes) -> None:
        """Keep some audio until the next search."""
        self._pcm += pcm

    def search(self, *, to_the_end: bool = False) -> bool:
        """Read what is new, when there is enough of it; true when there are more words than before."""
        known, ready = len(self.words), self._start + len(self._pcm) // (2 * self._step_samples)
        if not to_the_end and ready < max(self._wait_for, self._at + SEARCH_SECS * self._rate):
            return False
        samples = _numpy().frombuffer(self._pcm, dtype="<i2", count=len(self._pcm) // 2)
        samples = samples[:: self._step_samples].astype("f4")
        while self._read_next(samples, to_the_end=to_the_end):
            pass
        self._forget()
        return len(self.words) > known

    def _read_next(self, samples: Any, *, to_the_end: bool) -> bool:
        """Go on to the next piece of a word and read it; false when more audio is needed first."""
        found = self._next_sync(samples[self._at - self._start :], to_the_end=to_the_end)
        if found is None:
            return False
        begin, self._at = self._at, self._at + found
        head = self._values(samples, 4)
        length = head[0] << 4 | head[1] if head else 0
        symbols = OVERHEAD_SYMBOLS + 2 * (length & ~GOES_ON)
        values = self._values(samples, symbols) if symbols <= OVERHEAD_SYMBOLS + 2 * MAX_PIECE_BYTES else []
        if values is None and not to_the_end:
            self._wait_for = self._at + math.ceil(symbols * self._symbol) + 1
            self._at = max(begin, self._at - self._hop)
            return False
        self._take(_decoded(values) if values else None, symbols)
        return True

    def _take(self, piece: _Piece | None, symbols: int) -> None:
        """Keep a piece, and the word that ends with it; a damaged piece spoils its word."""
        if piece is None:
            self.damaged += 1
            self._pieces = []
            self._at += 2 * self._window
            return
        self._pieces.append((piece, self._at))
        self._at += int(symbols * self._symbol)
        if not piece.goes_on:
            text = b"".join(one.data for one, _ in self._pieces).decode(errors="replace")
            end = self._pieces[-1][1] + round(piece.natural * self._symbol)
            self.words.append(
                WordTime(text, self._pieces[0][1] * self._step_samples, min(end * self._step_samples, self.samples_fed))
            )
            self._pieces = []

    def _next_sync(self, samples: Any, *, to_the_end: bool) -> int | None:
        """Return where the next sync begins; None when there is none, and then skip what was searched."""
        np = _numpy()
        count = (len(samples) - self._window) // self._hop + 1
        if count <= HOPS_A_SYMBOL:
            return None
        stride = samples.strides[0]
        windows = np.lib.stride_tricks.as_strided(samples, (count, self._window), (stride * self._hop, stride))
        shares = _tone_shares(windows, _waves(SYNC_HZ, self._rate, self._window))
        both = np.minimum(shares[:-HOPS_A_SYMBOL, 0], shares[HOPS_A_SYMBOL:, 1])
        hits = np.flatnonzero(both > TONE_SHARE)
        if not len(hits):
            self._at += len(both) * self._hop
            return None
        first = int(hits[0])
        if first + 2 * HOPS_A_SYMBOL > len(both) and not to_the_end:
            self._at += max(0, first - 1) * self._hop
            return None
        best = first + int(np.argmax(both[first : first + HOPS_A_SYMBOL]))
        return self._aligned(samples, best * self._hop)

    def _aligned(self, samples: Any, near: int) -> int:
        """Return the exact start of the sync: where its two tones are purest."""
        np = _numpy()
        starts = np.arange(max(0, near - self._hop), near + self._hop + 1, max(1, self._hop // 10))
        starts = starts[starts + round(self._symbol) + self._window <= len(samples)]
        if not len(starts):
            return near
        both = np.stack([starts, starts + round(self._symbol)])
        windows = samples[both[..., None] + np.arange(self._window)]
        shares = _tone_shares(windows, _waves(SYNC_HZ, self._rate, self._window))
        return int(starts[np.argmax(shares[0, :, 0] + shares[1, :, 1])])

    def _values(self, samples: Any, end: int) -> list[int] | None:
        """Return the values of the symbols after the sync and before `end`; None when they have not all come."""
        np = _numpy()
        starts = self._at - self._start + np.rint(np.arange(2, end) * self._symbol).astype(int)
        if starts[-1] + self._window > len(samples):
            return None
        windows = samples[starts[:, None] + np.arange(self._window)]
        powers = _tone_powers(windows, _waves(DATA_HZ, self._rate, self._window))
        return [int(value) for value in powers.argmax(axis=-1)]

    def _forget(self) -> None:
        done = max(0, self._at - self._start)
        del self._pcm[: 2 * self._step_samples * done]
        self._start += done


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
        self._levels = deque([QUIET_DB] * 150, maxlen=150)


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


@functools.lru_cache(maxsize=512)
def _word_pcm(word: str, natural: int, hum_hz: float, rate_hz: int) -> bytes:
    """Return one spoken word that lasts `natural` symbols, or as long as it takes to spell it."""
    data = word.encode(errors="replace")
    cuts = [data[at : at + MAX_PIECE_BYTES] for at in range(0, len(data), MAX_PIECE_BYTES)]
    tones: list[float] = []
    for number, cut in enumerate(cuts):
        code = OVERHEAD_SYMBOLS + 2 * len(cut)
        is_last = number == len(cuts) - 1
        length = min(255, max(code, natural - len(tones))) if is_last else code
        tones += _spelled(_Piece(cut, not is_last, length))
        tones += [hum_hz] * (length - code)
    return _sung(tones, hum_hz, rate_hz)


def _spelled(piece: _Piece) -> list[float]:
    head = bytes([len(piece.data) | (GOES_ON if piece.goes_on else 0), piece.natural])
    block = head + piece.data
    block += binascii.crc_hqx(block, 0xFFFF).to_bytes(2, "big")
    return [*SYNC_HZ, *(DATA_HZ[nibble] for byte in block for nibble in (byte >> 4, byte & 15))]


def _decoded(values: Sequence[int]) -> _Piece | None:
    block = bytes(high << 4 | low for high, low in zip(values[::2], values[1::2], strict=True))
    if binascii.crc_hqx(block[:-2], 0xFFFF).to_bytes(2, "big") != block[-2:]:
        return None
    return _Piece(block[2:-2], bool(block[0] & GOES_ON), block[1])


def _sung(tones: Sequence[float], hum_hz: float, rate_hz: int) -> bytes:
    """Return tones of one symbol each as PCM without a break in phase, with soft ends of 2 ms."""
    np = _numpy()
    hz = np.asarray(tones)
    lengths = np.diff(np.rint(np.arange(len(hz) + 1) * rate_hz / SYMBOLS_A_SEC).astype(int))
    wave = np.sin(np.cumsum(np.repeat(2 * np.pi / rate_hz * hz, lengths)))
    wave *= np.repeat(np.where(hz == hum_hz, HUM_PEAK, PEAK), lengths)
    ramp = np.linspace(0, 1, rate_hz // 500)
    wave[: len(ramp)] *= ramp
    wave[-len(ramp) :] *= ramp[::-1]
    return bytes(np.rint(wave).astype("<i2").tobytes())


def _hum_hz(voice: str) -> float:
    return 200.0 + 20.0 * (zlib.crc32(str(voice).encode(errors="replace")) % 8)


def _tone_powers(windows: Any, waves: Any) -> Any:
    both = windows @ waves
    half = waves.shape[1] // 2
    return both[..., :half] ** 2 + both[..., half:] ** 2


def _tone_shares(windows: Any, waves: Any) -> Any:
    """Return how much of each window's power each tone has, from 0 to 1; 0 where it is silent."""
    np = _numpy()
    power = np.einsum("...i,...i->...", windows, windows)
    size = windows.shape[-1]
    power = np.where(power < size * FAINTEST**2 / 2, np.inf, power)
    return _tone_powers(windows, waves) * (2 / size) / power[..., None]


@functools.lru_cache(maxsize=32)
def _waves(tones: tuple[float, ...], rate_hz: float, size: int) -> Any:
    np = _numpy()
    phase = 2 * np.pi / rate_hz * np.arange(size)[:, None] * np.asarray(tones)
    return np.concatenate([np.cos(phase), np.sin(phase)], axis=1).astype("f4")


@functools.cache
def _hann(size: int) -> Any:
    return _numpy().hanning(size).astype("f4")


def _power(frame: bytes, hop: int) -> float:
    if len(frame) != 2 * hop:
        raise InvalidValueError(f"a frame here has {hop} samples ({2 * hop} bytes), got {len(frame)} bytes")
    samples = _numpy().frombuffer(frame, dtype="<i2").astype("f4")
    return float(samples @ samples) / hop


def _require_rate(rate_hz: int) -> None:
    if not isinstance(rate_hz, int) or not MIN_RATE_HZ <= rate_hz <= 192_000:
        raise InvalidValueError(f"tone-speech needs 8000 to 192000 Hz, got {rate_hz}", field="rate_hz")


def _numpy() -> Any:
    import numpy

    return numpy
