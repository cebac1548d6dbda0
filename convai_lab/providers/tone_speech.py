"""Tone speech: how is a word written as sound, so that it can be read back out of the sound alone?

A word is a burst of tones that spells it (sync, length, duration, its bytes, a check), then a hum for as long as a
person would need to say it. It survives rates from 8 to 48 kHz, mu-law, gains from 0.1 to 2, and white noise as loud
as itself (0 dB). A word that is too damaged is left out; it is never a wrong one.
"""

from __future__ import annotations

import binascii
import functools
import math
import zlib
from collections.abc import Sequence
from typing import Any, NamedTuple

from convai_lab.providers.base import WordTime

SYMBOLS_A_SEC = 100
"""A symbol is a tone of 10 ms; words and the gaps between them last whole symbols, at every rate."""
SYNC_HZ = (2700.0, 3000.0)
DATA_HZ = tuple(900.0 + 100.0 * value for value in range(16))
MAX_PIECE_BYTES = 63
GOES_ON = 0x80
"""Set in the length of a piece that is not the last one of its word."""
OVERHEAD_SYMBOLS = 10
"""Sync 2, length 2, duration 2, check 4."""
LONGEST_SYMBOLS = 255
PEAK = 8192
HUM_PEAK = 6000
MIN_RATE_HZ = 8000

SEARCH_SECS = 0.1
"""So much new audio is waited for before it is searched: cheaper, and soon enough for a partial."""
SPAN_SECS = 1.0
"""So much is searched at once: a burst of megabytes is not searched anew for every word in it."""
HOPS_A_SYMBOL = 4
LEAST_SHARE = 0.12
"""Both sync tones must hold this share of the power, or of a short window (`SHARE_SAMPLES` / its length) more.

Under noise as loud as they are it is 0.5; noise alone gets there less than once in a day of sound.
"""
SHARE_SAMPLES = 18
CLEAR_FACTOR = 2.5
"""A word is quite clear when its tones hold 40 % of the power: under noise 2 dB louder than it."""
FAINTEST = 30.0
"""A tone with a softer peak than this, in 16-bit steps, is silence."""


@functools.lru_cache(maxsize=512)
def word_pcm(word: str, natural: int, hum_hz: float, rate_hz: int) -> bytes:
    """Return one spoken word that lasts `natural` symbols, or as long as it takes to spell it."""
    data = word.encode(errors="replace")
    cuts = [data[at : at + MAX_PIECE_BYTES] for at in range(0, len(data), MAX_PIECE_BYTES)]
    tones: list[float] = []
    for number, cut in enumerate(cuts):
        code = OVERHEAD_SYMBOLS + 2 * len(cut)
        is_last = number == len(cuts) - 1
        length = min(LONGEST_SYMBOLS, max(code, natural - len(tones))) if is_last else code
        tones += _spelled(_Piece(cut, not is_last, length))
        tones += [hum_hz] * (length - code)
    return _sung(tones, hum_hz, rate_hz)


def hum_hz_of(voice: str) -> float:
    """Return the pitch of a voice's hum."""
    return 200.0 + 20.0 * (zlib.crc32(str(voice).encode(errors="replace")) % 8)


class Reader:
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
        self._wait_for = 0
        self._synced = False
        self._clear = 0.0
        self._clearness = 0.0
        self._pieces: list[tuple[_Piece, int]] = []

    @property
    def samples_fed(self) -> int:
        """Return how many whole samples came."""
        return self._start * self._step_samples + len(self._pcm) // 2

    @property
    def confidence(self) -> float | None:
        """Return how clear the words were, from 0 to 1: all 1 down to noise as loud as they, each damaged one 0."""
        count = len(self.words) + self.damaged
        return round(self._clearness / count, 3) if count else None

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
        if to_the_end:
            samples = _numpy().append(samples, _numpy().zeros(2 * self._window, dtype="f4"))
        while self._read_next(samples, to_the_end=to_the_end):
            pass
        self._forget()
        return len(self.words) > known

    def _read_next(self, samples: Any, *, to_the_end: bool) -> bool:
        """Go on to the next piece of a word and read it; false when more audio is needed first."""
        if not self._synced:
            self._synced = self._go_to_next_sync(samples, to_the_end=to_the_end)
        if not self._synced:
            return False
        head = self._values(samples, 4)
        length = head[0] << 4 | head[1] if head else 0
        symbols = OVERHEAD_SYMBOLS + 2 * (length & ~GOES_ON)
        values = self._values(samples, symbols) if symbols <= OVERHEAD_SYMBOLS + 2 * MAX_PIECE_BYTES else []
        if values is None and not to_the_end:
            self._wait_for = self._at + math.ceil(symbols * self._symbol) + 1
            return False
        self._synced = False
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
            self.words.append(WordTime(text, self._pieces[0][1] * self._step_samples, end * self._step_samples))
            self._clearness += min(1.0, self._clear * CLEAR_FACTOR)
            self._pieces = []

    def _go_to_next_sync(self, samples: Any, *, to_the_end: bool) -> bool:
        """Go on to where the next sync begins; when there is none, skip what was searched and say so."""
        is_last = False
        while not is_last:
            begin = self._at - self._start
            end = begin + int(SPAN_SECS * self._rate)
            is_last = end >= len(samples)
            found = self._sync_in(samples[begin:end], is_end=is_last and to_the_end)
            if found is not None:
                self._at += found
                return True
        return False

    def _sync_in(self, samples: Any, *, is_end: bool) -> int | None:
        """Return where a sync begins; when there is none, skip what was searched."""
        np = _numpy()
        count = (len(samples) - self._window) // self._hop + 1
        if count <= HOPS_A_SYMBOL:
            return None
        stride = samples.strides[0]
        windows = np.lib.stride_tricks.as_strided(samples, (count, self._window), (stride * self._hop, stride))
        shares = _tone_shares(windows, _waves(SYNC_HZ, self._rate, self._window))
        both = np.minimum(shares[:-HOPS_A_SYMBOL, 0], shares[HOPS_A_SYMBOL:, 1])
        hits = np.flatnonzero(both > max(LEAST_SHARE, SHARE_SAMPLES / self._window))
        first = int(hits[0]) if len(hits) else len(both)
        if first == len(both) or (first + 2 * HOPS_A_SYMBOL > len(both) and not is_end):
            self._at += max(0, first - 1) * self._hop
            return None
        best = first + int(np.argmax(both[first : first + HOPS_A_SYMBOL]))
        return self._aligned(samples, best * self._hop)

    def _aligned(self, samples: Any, near: int) -> int:
        """Return the exact start of the sync: where its two tones are purest.

        Only every so many samples of the whole stream are tried, so that the answer is the same for any chunks.
        """
        np = _numpy()
        step = max(1, self._hop // 10)
        starts = np.arange(near - self._hop, near + self._hop + 1)
        starts = starts[(starts >= 0) & ((starts + self._at) % step == 0)]
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
        shares = _tone_shares(windows, _waves(DATA_HZ, self._rate, self._window))
        self._clear = float(shares.max(axis=-1).mean())
        return [int(value) for value in shares.argmax(axis=-1)]

    def _forget(self) -> None:
        done = min(self._at - self._start, len(self._pcm) // (2 * self._step_samples))
        del self._pcm[: 2 * self._step_samples * done]
        self._start += done


class _Piece(NamedTuple):
    data: bytes
    goes_on: bool
    natural: int


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


def _numpy() -> Any:
    import numpy

    return numpy
