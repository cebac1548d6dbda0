"""Pocketsphinx: speech in without a key or a network, bound to what the agent expects to hear.

Decoding runs in processes of its own: pocketsphinx holds Python's lock while it works, up to 130 ms at the end of an
utterance, which on a thread would stop every session.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import functools
import hashlib
import json
import os
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from convai_lab import settings
from convai_lab.clock import Clock, SystemClock
from convai_lab.errors import (
    ConvaiLabError,
    InvalidValueError,
    ProviderError,
    ProviderStreamError,
    ProviderTimeoutError,
)
from convai_lab.providers.base import ASRCapabilities, Final, Partial, WordTime
from convai_lab.providers.offline_speech.child_frames import Frame
from convai_lab.providers.offline_speech.child_process import Connection, ProcessPool, new_stream_id
from convai_lab.providers.offline_speech.decoding import RATE_HZ
from convai_lab.providers.offline_speech.espeak import speaking_process
from convai_lab.providers.offline_speech.installed import is_installed, require_package
from convai_lab.providers.utterance import WholeSamples, check_rate

NAME = "pocketsphinx"
MAX_PHRASES_CHARS = 1_000_000
FRAME_BYTES = 1 << 16
KEPT_BYTES = 2 * RATE_HZ * 120
"""Audio of one utterance that is kept in case its process dies: two minutes."""
MAX_BEHIND_BYTES = 2 * RATE_HZ * 3600
"""Audio that may wait to be recognised: an hour, 115 MB."""
ANSWER_LIMIT_SECS = 30.0
SECS_FOR_A_SECOND = 0.5
"""What recognising a second of audio may take, on a machine that is busy with other things."""
MOST_PROCESSES = min(4, os.cpu_count() or 1)
OWNER_STREAM = 0

listening_processes = ProcessPool("convai_lab.providers.offline_speech.pocketsphinx_process", MOST_PROCESSES)
"""The processes that listen for everybody here: one, and others while it is busy."""


@dataclass(frozen=True, kw_only=True)
class Vocabulary:
    """What the recogniser can hear: how many words, which are pronounced by rule, and which it cannot know.

    `guessed` are words that the dictionary lacks, with the pronunciation that espeak-ng's rules give them: respell
    one in the agent's phrases if it is said otherwise. `unknown` are words that nobody knows how to say.
    """

    words: int
    guessed: Mapping[str, str]
    unknown: tuple[str, ...]


class PocketsphinxASR:
    """Recognises English with pocketsphinx: demo grade, and dependable only for the phrases it was given.

    The phrases become a language model, mixed with what every caller says; without any, general English is used,
    where every third sentence is wrong (measured on 22 recordings). `fast` leaves out one of three passes: the end
    of an utterance comes 30 to 80 ms sooner, with a few more wrong words. `processes` are others to listen in.

    Raises:
        MissingPackageError: pocketsphinx is not installed.
    """

    name = NAME
    capabilities = ASRCapabilities(
        streaming=True, partials=True, word_times=True, languages=("en",), biasing="lm", needs_network=False
    )

    def __init__(self, *, clock: Clock | None = None, fast: bool = False, processes: ProcessPool | None = None) -> None:
        require_package("pocketsphinx", "pocketsphinx", needed_for="the embedded recogniser")
        self._clock, self.fast, self._processes = clock or SystemClock(), fast, processes or listening_processes

    def open(self, *, rate_hz: int, language: str, phrases: Sequence[str] = ()) -> PocketsphinxStream:
        """Start an utterance; `phrases` may hold digits and signs, which are expected as they are read out.

        Raises:
            InvalidValueError: The rate is not 16,000 Hz, the language is not English, or the phrases are no phrases.
        """
        check_rate(rate_hz, allowed=(RATE_HZ,))
        if not isinstance(language, str) or language.strip().lower().replace("_", "-").split("-")[0] != "en":
            raise InvalidValueError(
                f"{NAME} understands English (en) only, got {language!r:.40}: choose another recogniser for it",
                field="language",
            )
        return PocketsphinxStream(_checked(phrases), fast=self.fast, clock=self._clock, processes=self._processes)

    async def prepare(self, phrases: Sequence[str] = ()) -> Vocabulary:
        """Make the model of these phrases now, and say what it knows; the next utterance starts at once.

        Raises:
            InvalidValueError: The phrases are no phrases.
            ProviderError: The engine failed.
        """
        stream = self.open(rate_hz=RATE_HZ, language="en", phrases=phrases)
        stream.feed(bytes(2 * RATE_HZ // 50))
        await stream.finish()
        assert stream.vocabulary is not None
        return stream.vocabulary


class PocketsphinxStream:
    """One utterance; what it is fed travels to a process that listens, and beliefs come back."""

    def __init__(
        self, phrases: tuple[str, ...], *, fast: bool, clock: Clock, processes: ProcessPool = listening_processes
    ) -> None:
        self.vocabulary: Vocabulary | None = None
        """What can be heard; known as soon as the model is there."""
        self._clock, self._fast, self._processes = clock, fast, processes
        self._spec = _spec(phrases, str(settings.home() / "speech"))
        self._stream = new_stream_id()
        self._samples, self._kept = WholeSamples(), bytearray()
        self._fed = self._acknowledged = 0
        self._beliefs = ("", "")
        self._final: concurrent.futures.Future[Final] = concurrent.futures.Future()
        self._is_finishing = self._is_aborted = self._was_lost = False
        self._lock = threading.RLock()
        self._connection = self._opened()

    @property
    def unknown_words(self) -> tuple[str, ...]:
        """Return the words of the phrases that nobody knows how to say; empty until the model is there."""
        return self.vocabulary.unknown if self.vocabulary else ()

    def feed(self, pcm: bytes) -> None:
        """Take some audio; never blocks.

        Raises:
            ConvaiLabError: The utterance is finished: what comes now belongs to a new one.
        """
        with self._lock:
            if self._is_finishing and not self._is_aborted:
                raise ConvaiLabError("this utterance is finished: open a new one for what was said after it")
            if self._final.done() or not (audio := self._samples.feed(bytes(pcm))):
                return
            self._fed += len(audio)
            if self._fed - self._acknowledged > MAX_BEHIND_BYTES:
                self._fail(ProviderStreamError("more than an hour of audio is waiting", provider=NAME))
                return
            if self._fed <= KEPT_BYTES:
                self._kept += audio
            self._send_audio(audio)

    def partial(self) -> Partial | None:
        """Return the newest belief; what two beliefs in a row share, word by word, is called stable."""
        before, now = self._beliefs
        if not now:
            return None
        stable = 0
        for old, new in zip(before.split(), now.split(), strict=False):
            if old != new:
                break
            stable += len(new) + 1
        return Partial(now, min(stable, len(now)), self._acknowledged // 2)

    async def finish(self) -> Final:
        """Return what was heard in all that was fed; once more, the same. Nothing, when it was aborted.

        Raises:
            ProviderError: The process failed or did not answer.
        """
        with self._lock:
            if not (self._is_finishing or self._final.done()):
                self._is_finishing = True
                self._send("finish")
        behind_secs = (self._fed - self._acknowledged) / (2 * RATE_HZ)
        try:
            return await self._clock.outside(lambda: self._answer(ANSWER_LIMIT_SECS + SECS_FOR_A_SECOND * behind_secs))
        except asyncio.CancelledError:
            self.abort()
            raise

    def abort(self) -> None:
        """Give the utterance up; harmless when repeated or after `finish`."""
        with self._lock:
            if not self._final.done():
                self._is_aborted = True
                self._send("cancel")
                self._end(Final(text=""))

    def on_frame(self, frame: Frame) -> None:
        """Take an answer of the process, on its reading thread."""
        op = frame.head["op"]
        with self._lock:
            if op == "partial":
                self._beliefs = (self._beliefs[1], frame.body.decode())
                self._acknowledged = 2 * int(frame.head["samples"])
            elif op == "model":
                about = json.loads(frame.body)
                self.vocabulary = Vocabulary(**{**about, "unknown": tuple(about["unknown"])})
            elif op == "final":
                self._end(_final(json.loads(frame.body)))
            elif op == "again" and self._fed <= KEPT_BYTES:  # the process had to forget the model
                self._connection.known.discard(self._spec.key)
                self._start_again()
            elif op in ("error", "again"):
                self._fail(ProviderError(str(frame.head.get("message", "its model is gone")), provider=NAME))

    def on_loss(self, reason: str) -> None:
        """Learn that the process is gone; the utterance is given whole to another one, once."""
        with self._lock:
            if self._final.done():
                return
            if self._was_lost or self._fed > KEPT_BYTES:
                self._fail(ProviderStreamError(f"the recogniser stopped: {reason}", provider=NAME))
                return
            self._was_lost = True
            self._start_again()

    async def _answer(self, limit_secs: float) -> Final:
        try:
            return await asyncio.wait_for(asyncio.shield(asyncio.wrap_future(self._final)), limit_secs)
        except TimeoutError:
            with self._lock:
                self._was_lost = True  # what hangs a process is not given to another
                connection = self._connection
            connection.stop()
            raise ProviderTimeoutError(
                f"the recogniser did not answer within {limit_secs:.0f} s; it is started again", provider=NAME
            ) from None

    def _start_again(self) -> None:
        self._acknowledged = 0
        self._connection = self._opened()
        self._send_audio(bytes(self._kept))
        if self._is_finishing:
            self._send("finish")

    def _opened(self) -> Connection:
        """Return a process that knows the model and waits for the audio of this utterance."""
        connection = self._processes.connection()
        while not connection.listen(self._stream, self):
            connection = self._processes.connection()
        if not connection.known:
            connection.listen(OWNER_STREAM, _Pronouncer(connection))
        if self._spec.key not in connection.known:
            connection.known.add(self._spec.key)
            connection.send({"op": "model", "key": self._spec.key, "folder": self._spec.folder}, self._spec.phrases)
        connection.send({"op": "open", "id": self._stream, "key": self._spec.key, "fast": self._fast})
        return connection

    def _send_audio(self, audio: bytes) -> None:
        for start in range(0, len(audio), FRAME_BYTES):
            self._connection.send({"op": "audio", "id": self._stream}, audio[start : start + FRAME_BYTES])

    def _send(self, op: str) -> None:
        self._connection.send({"op": op, "id": self._stream})

    def _fail(self, error: ProviderError) -> None:
        self._forget()  # first, so that whoever waits finds the process with one stream less
        if not self._final.done():
            self._final.set_exception(error)

    def _end(self, final: Final) -> None:
        self._forget()  # first, so that whoever waits finds the process with one stream less
        if not self._final.done():
            self._final.set_result(final)

    def _forget(self) -> None:
        self._connection.forget(self._stream)
        self._kept.clear()


class _Pronouncer:
    """Asks espeak-ng, in its own process, how words are said, and tells the recogniser."""

    def __init__(self, recogniser: Connection) -> None:
        self._recogniser = recogniser

    def on_frame(self, frame: Frame) -> None:
        """Take a question of the recogniser."""
        if frame.head["op"] == "pronounce":
            _Pronunciation(self._recogniser, frame.head["key"]).ask(frame.body)

    def on_loss(self, reason: str) -> None:
        """Nothing is to be told to a process that is gone."""


class _Pronunciation:
    """One question; without an answer the words stay unknown."""

    def __init__(self, recogniser: Connection, key: str) -> None:
        self._recogniser, self._key = recogniser, key
        self._stream = new_stream_id()

    def ask(self, words: bytes) -> None:
        """Send the words to espeak-ng."""
        if is_installed("espeakng_loader"):
            self._speaker = speaking_process.connection()
            if self._speaker.listen(self._stream, self):
                self._speaker.send({"op": "phonemes", "id": self._stream}, words)
                return
        self._tell(b"{}")

    def on_frame(self, frame: Frame) -> None:
        """Take the answer."""
        self._speaker.forget(self._stream)
        self._tell(frame.body)

    def on_loss(self, reason: str) -> None:  # noqa: ARG002 - the words stay unknown, whatever it was
        """Go on without an answer."""
        self._tell(b"{}")

    def _tell(self, phonemes: bytes) -> None:
        self._recogniser.send({"op": "phonemes", "key": self._key}, phonemes)


class _Spec(NamedTuple):
    key: str
    folder: str
    phrases: bytes


@functools.lru_cache(maxsize=32)
def _spec(phrases: tuple[str, ...], folder: str) -> _Spec:
    """Return what the process is told about a model; utterance after utterance has the same phrases."""
    said = json.dumps(phrases, ensure_ascii=False).encode("utf-8", "replace")
    key = hashlib.sha256(folder.encode("utf-8", "replace") + b"\0" + said).hexdigest()[:32]
    return _Spec(key, folder, said)


def _checked(phrases: Sequence[str]) -> tuple[str, ...]:
    if isinstance(phrases, str | bytes) or not all(isinstance(phrase, str) for phrase in phrases):
        raise InvalidValueError("must be a list of texts", field="phrases")
    if (chars := sum(map(len, phrases)) + len(phrases)) > MAX_PHRASES_CHARS:
        raise InvalidValueError(
            f"{chars:,} characters are more than the recogniser can use ({MAX_PHRASES_CHARS:,}): give fewer",
            field="phrases",
        )
    return tuple(phrases)


def _final(said: Mapping[str, Any]) -> Final:
    words = tuple(WordTime(str(text), int(start), int(end)) for text, start, end in said["words"])
    return Final(text=" ".join(word.text for word in words), confidence=said["confidence"], words=words)
