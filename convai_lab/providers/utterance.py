"""Utterance: how is sound kept whole on its way to and from an engine that takes or gives it in its own pieces?"""

from __future__ import annotations

import asyncio
import io
import math
import wave
from collections.abc import Awaitable, Callable, Iterable, Sequence

from convai_lab.errors import InvalidValueError
from convai_lab.providers.base import Final, Partial

SAMPLE_BYTES = 2
LOWEST_RATE_HZ, HIGHEST_RATE_HZ = 4000, 192000


class WholeSamples:
    """Passes bytes on as whole 16-bit samples, however they arrive: an odd byte waits for its other half."""

    def __init__(self) -> None:
        self._odd = b""

    def feed(self, data: bytes) -> bytes:
        """Return all the whole samples there are."""
        data = self._odd + data
        end = len(data) - len(data) % SAMPLE_BYTES
        self._odd = data[end:]
        return data[:end]


class WholeUtterance:
    """An utterance for an engine that does not stream: everything is kept, and recognised at the end.

    `recognise` is awaited once with all the audio, also when `finish` is called again; never for no audio at all.
    """

    has_guesses = False

    def __init__(self, recognise: Callable[[bytes], Awaitable[Final]]) -> None:
        self._recognise = recognise
        self._samples = WholeSamples()
        self._audio = bytearray()
        self._result: asyncio.Task[Final] | None = None
        self._aborted = False

    def feed(self, pcm: bytes) -> None:
        """Keep some audio; what comes after the end is not heard."""
        if self._result is None and not self._aborted:
            self._audio += self._samples.feed(pcm)

    def partial(self) -> Partial | None:
        """Return None: this engine says nothing before the end."""
        return None

    async def finish(self) -> Final:
        """Recognise all that was fed.

        Raises:
            ProviderError: The engine failed.
        """
        if not self._audio:
            return Final(text="")
        if self._result is None:
            self._result = asyncio.ensure_future(self._ask())
        return await result_of(self._result, abort=self.abort)

    def abort(self) -> None:
        """Give up; harmless when repeated or after `finish`."""
        self._aborted = True
        self._audio.clear()
        if self._result is not None:
            self._result.cancel()

    async def _ask(self) -> Final:
        return await self._recognise(bytes(self._audio))


async def result_of(task: asyncio.Task[Final], *, abort: Callable[[], None]) -> Final:
    """Return what a recognition found: nothing when it was aborted; whoever is cancelled while waiting aborts it."""
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        waiting = asyncio.current_task()
        if task.cancelled() and not (waiting and waiting.cancelling()):
            return Final(text="")
        abort()
        raise


def wav_file(pcm: bytes, rate_hz: int) -> bytes:
    """Return the audio as a WAV file."""
    file = io.BytesIO()
    with wave.open(file, "wb") as out:
        out.setnchannels(1)
        out.setsampwidth(SAMPLE_BYTES)
        out.setframerate(rate_hz)
        out.writeframes(pcm)
    return file.getvalue()


def padded(pcm: bytes, *, secs: float, rate_hz: int) -> bytes:
    """Return the audio with silence after it, so that it lasts `secs` at least."""
    return pcm + bytes(max(0, SAMPLE_BYTES * math.ceil(secs * rate_hz) - len(pcm)))


def check_rate(rate_hz: int, *, allowed: Sequence[int] = ()) -> None:
    """Refuse a sample rate that cannot be one, or that the engine does not take.

    Raises:
        InvalidValueError: It says which rates can be used.
    """
    if isinstance(rate_hz, bool) or not isinstance(rate_hz, int):
        raise InvalidValueError(f"must be a whole number of samples a second, got {rate_hz!r}", field="rate_hz")
    if allowed and rate_hz not in allowed:
        rates = ", ".join(map(str, allowed))
        raise InvalidValueError(f"this engine takes {rates}, got {rate_hz}: resample first", field="rate_hz")
    if not LOWEST_RATE_HZ <= rate_hz <= HIGHEST_RATE_HZ:
        raise InvalidValueError(f"from {LOWEST_RATE_HZ} to {HIGHEST_RATE_HZ}, got {rate_hz}", field="rate_hz")


def key_terms(phrases: Iterable[str], *, most: int, longest: int, forbidden: str = "") -> list[str]:
    """Return the phrases that a vendor takes as words to expect: short ones, each once, in the order given."""
    terms: dict[str, None] = {}
    for phrase in phrases:
        term = " ".join(phrase.split())
        if term and len(term) <= longest and term.isprintable() and not any(c in forbidden for c in term):
            terms.setdefault(term)
        if len(terms) == most:
            break
    return list(terms)


def confidence(log_probabilities: Iterable[object]) -> float | None:
    """Return the geometric mean of what a vendor gives as logarithms of probabilities; None when it gives none."""
    logs = [
        min(0.0, float(value))
        for value in log_probabilities
        if isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
    ]
    return round(math.exp(sum(logs) / len(logs)), 4) if logs else None


def sample_at(secs: object, rate_hz: int) -> int | None:
    """Return the sample at an instant a vendor gives in seconds; None when it is not one."""
    if isinstance(secs, bool) or not isinstance(secs, int | float) or not math.isfinite(secs) or abs(secs) > 1e6:
        return None
    return max(0, round(secs * rate_hz))


def base_language(language: str) -> str:
    """Return the two or three letters of a language such as ``pt-br``; "" leaves the choice to the vendor."""
    code = language.strip().replace("_", "-").partition("-")[0].lower()
    return code if code.isalpha() and code.isascii() and 2 <= len(code) <= 3 else ""
