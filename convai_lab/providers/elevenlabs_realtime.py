"""ElevenLabs realtime: how is speech recognised while it is being spoken?

One websocket for each utterance: audio goes out as it is heard, guesses come back, and `finish` commits what was sent
and waits for the committed transcript. When that fails, the whole utterance is transcribed at once instead, and the
log says why.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any
from urllib.parse import urlencode

from convai_lab.errors import (
    ProviderAuthError,
    ProviderConnectionError,
    ProviderError,
    ProviderStreamError,
    ProviderTimeoutError,
)
from convai_lab.providers.base import ASRCapabilities, ASRStream, Final, Partial, WordTime
from convai_lab.providers.elevenlabs import ElevenLabsBatch, expected_terms, read_transcript
from convai_lab.providers.elevenlabs_socket import ScribeSocket, error_in, is_hopeless, open_scribe
from convai_lab.providers.http_speech import SpeechVendor
from convai_lab.providers.utterance import (
    WholeSamples,
    WholeUtterance,
    base_language,
    check_rate,
    padded,
    result_of,
)

REALTIME_MODEL = "scribe_v2_realtime"
INPUT_RATES_HZ = (8000, 16000, 22050, 24000, 44100, 48000)
SEND_SECS = 0.1
"""Audio is sent in pieces of at least this; fewer messages, and soon enough for a guess."""
LONGEST_SEND_SECS = 1.0
LEAST_COMMIT_SECS = 0.35
"""The vendor closes the connection when less than 0.3 s is committed; silence makes up for what is missing."""
COMMIT_SECS = 30.0
"""So much speech is committed without waiting for its end, before the vendor does it by itself."""
FINISH_SECS = 5.0
"""How long the last transcript may take before the utterance is transcribed at once instead."""
PAUSE_SECS = 60.0
"""How long realtime recognition is left alone after the vendor could not be reached for it."""

_NOTHING_HEARD = "insufficient_audio_activity"
_WITHOUT_SPACES = frozenset({"ja", "zh", "yue", "th", "lo", "my", "km"})

Recognise = Callable[[bytes], Awaitable[Final]]

_log = logging.getLogger("convai_lab.providers.elevenlabs")


class ElevenLabsASR:
    """Recognises speech with ElevenLabs' Scribe, with guesses while it is spoken.

    Args:
        vendor: The way to ElevenLabs; `find_asr("elevenlabs")` makes one.
        realtime: False sends each utterance whole; no guesses then.
        word_times: Ask for the time of every word and the confidence, which come a moment later.
    """

    name = "elevenlabs"

    def __init__(
        self,
        *,
        vendor: SpeechVendor,
        model: str = REALTIME_MODEL,
        batch: ElevenLabsBatch | None = None,
        realtime: bool = True,
        word_times: bool = False,
    ) -> None:
        self.model, self.vendor, self.word_times = model, vendor, word_times
        self.batch = batch or ElevenLabsBatch(vendor=vendor)
        self.capabilities = ASRCapabilities(
            streaming=realtime,
            partials=realtime,
            word_times=word_times or not realtime,
            languages=(),
            biasing="phrases",
            needs_network=True,
        )
        self._paused_until = 0.0
        self._open: set[asyncio.Task[Any]] = set()

    def open(self, *, rate_hz: int, language: str, phrases: Sequence[str] = ()) -> ASRStream:
        """Start an utterance; connects with the first audio.

        Raises:
            InvalidValueError: The vendor does not take that rate.
        """
        check_rate(rate_hz, allowed=INPUT_RATES_HZ)

        async def whole(pcm: bytes) -> Final:
            pcm = padded(pcm, secs=LEAST_COMMIT_SECS, rate_hz=rate_hz)
            return await self.batch.transcribe(pcm, rate_hz=rate_hz, language=language, phrases=phrases)

        if not self.capabilities.streaming or self.vendor.clock.now() < self._paused_until:
            return WholeUtterance(whole)
        return _Utterance(self, rate_hz=rate_hz, language=base_language(language), phrases=phrases, whole=whole)

    def pause(self) -> None:
        """Leave realtime recognition alone for a minute."""
        self._paused_until = self.vendor.clock.now() + PAUSE_SECS

    def keep(self, task: asyncio.Task[Any]) -> None:
        """Hold on to a running recognition, or the closing of its socket, until it ends."""
        self._open.add(task)
        task.add_done_callback(self._open.discard)

    def url(self, rate_hz: int, language: str, phrases: Sequence[str]) -> str:
        """Return the address of the socket for one utterance."""
        query: list[tuple[str, str]] = [
            ("model_id", self.model),
            ("audio_format", f"pcm_{rate_hz}"),
            ("commit_strategy", "manual"),
            ("include_timestamps", str(self.word_times).lower()),
        ]
        if language:
            query.append(("language_code", language))
        query.extend(("keyterms", term) for term in expected_terms(phrases))
        http = self.vendor.url(f"/v1/speech-to-text/realtime?{urlencode(query)}")
        return "ws" + http.removeprefix("http")


class _Utterance:
    """One utterance on its socket: `_run` talks to the vendor, the rest only looks and adds."""

    def __init__(
        self, asr: ElevenLabsASR, *, rate_hz: int, language: str, phrases: Sequence[str], whole: Recognise
    ) -> None:
        self._asr, self._vendor, self._whole = asr, asr.vendor, whole
        self._rate_hz, self._language = rate_hz, language
        self._url = asr.url(rate_hz, language, phrases)
        self._samples = WholeSamples()
        self._audio = bytearray()
        self._sent = 0
        self._commits = 0
        self._committed: list[tuple[Final, int]] = []
        self._committed_at: list[int] = [0]
        self._guess: Partial | None = None
        self._ending = False
        self._is_hopeless = False
        self._aborted = False
        self._more = asyncio.Event()
        self._task: asyncio.Task[Final] | None = None
        self._result: asyncio.Task[Final] | None = None

    @property
    def has_guesses(self) -> bool:
        """Say whether guesses may come: none do after the connection failed."""
        return self._task is None or not self._task.done()

    def feed(self, pcm: bytes) -> None:
        """Take some audio, to be sent as soon as possible."""
        if self._ending or self._aborted:
            return
        self._audio += self._samples.feed(pcm)
        if len(self._audio) - self._sent >= self._bytes(SEND_SECS):
            self._start()
            self._more.set()

    def partial(self) -> Partial | None:
        """Return the newest guess; only what is committed will not change."""
        return self._guess

    async def finish(self) -> Final:
        """Return the committed transcript of all that was fed.

        Raises:
            ProviderError: Neither realtime recognition nor that of the whole utterance worked.
        """
        if self._aborted or not self._audio:
            self.abort()
            return Final(text="")
        if self._result is None:
            self._ending = True
            self._more.set()
            self._result = asyncio.ensure_future(self._either())
            self._asr.keep(self._result)
        return await result_of(self._result, abort=self.abort)

    def abort(self) -> None:
        """Close the socket and forget the audio; harmless when repeated or after `finish`."""
        self._aborted = True
        self._audio.clear()
        self._sent = 0
        for task in (self._result, self._task):
            if task is not None:
                task.cancel()

    async def _either(self) -> Final:
        """Return what realtime recognition says; when it fails, what the whole utterance gives."""
        task = self._start()
        try:
            async with self._vendor.clock.timeout(FINISH_SECS):
                return await task
        except TimeoutError:
            why: ProviderError = ProviderTimeoutError(
                f"the last transcript did not come in {FINISH_SECS:.0f} s",
                provider=self._vendor.name,
                model=self._asr.model,
            )
        except ProviderError as error:
            if self._is_hopeless or isinstance(error, ProviderAuthError):
                raise
            why = error
        if isinstance(why, ProviderConnectionError | ProviderTimeoutError):
            self._asr.pause()
        _log.warning("realtime recognition failed, so the utterance was sent whole: %s", why)
        return await self._whole(bytes(self._audio))

    def _start(self) -> asyncio.Task[Final]:
        if self._task is None:
            self._task = asyncio.ensure_future(self._run())
            self._task.add_done_callback(_retrieve)
            self._asr.keep(self._task)
        return self._task

    async def _run(self) -> Final:
        """Talk to the vendor from the first audio to the last transcript."""
        socket = await open_scribe(self._vendor, self._url, model=self._asr.model)
        sending = asyncio.ensure_future(self._send(socket))
        try:
            await self._listen(socket)
        finally:
            sending.cancel()
            self._asr.keep(asyncio.ensure_future(socket.close()))  # nobody should wait for the goodbye
        return self._joined()

    async def _send(self, socket: ScribeSocket) -> None:
        while not self._ending:
            await self._more.wait()
            self._more.clear()
            await self._send_audio(socket)
        await self._send_audio(socket)
        await self._commit(socket, last=True)

    async def _send_audio(self, socket: ScribeSocket) -> None:
        """Send what is waiting, in pieces; commit when enough is uncommitted."""
        while self._sent < len(self._audio):
            waiting = len(self._audio) - self._sent
            if waiting < self._bytes(SEND_SECS) and not self._ending:
                return
            piece = bytes(self._audio[self._sent : self._sent + self._bytes(LONGEST_SEND_SECS)])
            self._sent += len(piece)
            await socket.send(piece, rate_hz=self._rate_hz)
            if self._sent - self._committed_at[-1] >= self._bytes(COMMIT_SECS):
                await self._commit(socket)

    async def _commit(self, socket: ScribeSocket, *, last: bool = False) -> None:
        uncommitted = self._sent - self._committed_at[-1]
        if last and not uncommitted:
            if len(self._committed) == self._commits:
                await socket.close()  # nothing more will come
            return
        silence = padded(b"", secs=LEAST_COMMIT_SECS, rate_hz=self._rate_hz)[uncommitted:]
        self._committed_at.append(self._sent)
        self._commits += 1
        await socket.send(silence, rate_hz=self._rate_hz, commit=True)

    async def _listen(self, socket: ScribeSocket) -> None:
        """Read until everything that was fed is committed.

        Raises:
            ProviderError: The vendor said what went wrong, or closed too early.
        """
        async with contextlib.aclosing(socket.messages()) as messages:
            async for message in messages:
                self._hear(message)
                if self._is_complete():
                    return
        if not self._is_complete():
            raise ProviderStreamError(
                f"closed the connection before the last transcript ({socket.closing_words})",
                provider=self._vendor.name,
                model=self._asr.model,
            )

    def _is_complete(self) -> bool:
        everything = self._ending and self._sent == len(self._audio) == self._committed_at[-1]
        return everything and len(self._committed) == self._commits

    def _hear(self, message: Mapping[str, Any]) -> None:
        kind = message.get("message_type")
        final_kind = "committed_transcript_with_timestamps" if self._asr.word_times else "committed_transcript"
        if kind == "partial_transcript":
            self._guess = self._partial(message.get("text"))
        elif kind == final_kind:
            self._take(self._transcript(message))
        elif kind == _NOTHING_HEARD:
            self._take(Final(text=""))
        elif error := error_in(message, self._vendor, model=self._asr.model):
            self._is_hopeless = is_hopeless(message)
            raise error

    def _transcript(self, message: Mapping[str, Any]) -> Final:
        return read_transcript(message, rate_hz=self._rate_hz, vendor=self._vendor, model=self._asr.model)

    def _take(self, final: Final) -> None:
        """Keep a committed piece; a piece that we did not ask for begins where the last one did."""
        begins = self._committed_at[min(len(self._committed), len(self._committed_at) - 1)]
        self._committed.append((final, begins // 2))
        self._commits = max(self._commits, len(self._committed))
        self._guess = self._partial("")

    def _partial(self, guess: object) -> Partial | None:
        stable = self._words()
        text = self._join([stable, guess.strip() if isinstance(guess, str) else ""])
        return Partial(text, len(stable), self._sent // 2) if text else None

    def _joined(self) -> Final:
        """Return all committed pieces as one, the times of their words counted from the start of the utterance."""
        words = [word for final, begins in self._committed for word in _moved(final.words, begins)]
        sure = [final.confidence for final, _ in self._committed if final.confidence is not None]
        return Final(text=self._words(), confidence=min(sure) if sure else None, words=tuple(words))

    def _words(self) -> str:
        return self._join([final.text for final, _ in self._committed])

    def _join(self, pieces: Sequence[str]) -> str:
        return ("" if self._language in _WITHOUT_SPACES else " ").join(piece for piece in pieces if piece)

    def _bytes(self, secs: float) -> int:
        return 2 * int(secs * self._rate_hz)


def _moved(words: Sequence[WordTime], begins: int) -> list[WordTime]:
    """Return the words of a piece with times that count from the start of the utterance.

    The vendor counts from the start of the session; times that lie before the piece count from the piece.
    """
    if not words or words[0].start >= begins:
        return list(words)
    return [WordTime(word.text, word.start + begins, word.end + begins) for word in words]


def _retrieve(task: asyncio.Task[Final]) -> None:
    """Look at a failure, so that one nobody asked for is not reported as forgotten."""
    if not task.cancelled():
        task.exception()
