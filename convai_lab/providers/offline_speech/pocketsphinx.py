"""Pocketsphinx: speech in without a key or a network, bound to what the agent expects to hear."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping, Sequence
from typing import Any

from convai_lab import settings
from convai_lab.clock import Clock, SystemClock
from convai_lab.errors import InvalidValueError, ProviderError, ProviderStreamError
from convai_lab.providers.base import ASRCapabilities, Final, Partial, WordTime
from convai_lab.providers.offline_speech.child_frames import Frame
from convai_lab.providers.offline_speech.child_process import Connection, ProcessPool, new_stream_id
from convai_lab.providers.offline_speech.installed import require_package

RATE_HZ = 16000
NAME = "pocketsphinx"
FINISH_LIMIT_SECS = 20.0
MOST_PROCESSES = 2
MAX_FEED_BYTES = 1 << 20

listening_processes = ProcessPool("pocketsphinx_process", MOST_PROCESSES)


class PocketsphinxASR:
    """Recognises English with pocketsphinx: demo grade, and dependable only for the phrases it was given.

    `fast` leaves out one of three passes: an answer comes up to 100 ms sooner, with a few more wrong words.

    Raises:
        MissingPackageError: pocketsphinx is not installed.
    """

    name = NAME
    capabilities = ASRCapabilities(
        streaming=True, partials=True, word_times=True, languages=("en",), biasing="lm", needs_network=False
    )

    def __init__(self, *, clock: Clock | None = None, fast: bool = False) -> None:
        require_package("pocketsphinx", "pocketsphinx", needed_for="the embedded recogniser")
        self._clock, self.fast = clock or SystemClock(), fast

    def open(self, *, rate_hz: int, language: str, phrases: Sequence[str] = ()) -> PocketsphinxStream:
        """Start an utterance.

        Raises:
            InvalidValueError: The rate is not 16,000 Hz, or the language is not English.
        """
        if rate_hz != RATE_HZ:
            raise InvalidValueError(f"must be {RATE_HZ}, got {rate_hz}", field="rate_hz")
        if language.split("-")[0].lower() != "en":
            raise InvalidValueError(f"{NAME} understands English only, got {language}", field="language")
        return PocketsphinxStream(tuple(phrases), fast=self.fast, clock=self._clock)


class PocketsphinxStream:
    """One utterance; what it is fed travels to a process that listens, and beliefs come back."""

    def __init__(self, phrases: tuple[str, ...], *, fast: bool, clock: Clock) -> None:
        self.unknown_words: tuple[str, ...] = ()
        self._clock = clock
        self._loop = asyncio.get_running_loop()
        self._stream = new_stream_id()
        self._final: asyncio.Future[Final] = self._loop.create_future()
        self._final.add_done_callback(lambda done: done.cancelled() or done.exception())
        self._believed, self._before, self._at = "", "", 0
        self._over = False
        self._connection: Connection = listening_processes.connection()
        if not self._connection.listen(self._stream, self):
            self._connection = listening_processes.connection()
            self._connection.listen(self._stream, self)
        asked = {"folder": str(settings.home() / "speech"), "phrases": list(phrases)}
        self._send("open", json.dumps(asked).encode(), fast=fast)

    def feed(self, pcm: bytes) -> None:
        """Take some audio; never blocks."""
        if not self._over:
            for start in range(0, len(pcm), MAX_FEED_BYTES):
                self._send("feed", pcm[start : start + MAX_FEED_BYTES])

    def partial(self) -> Partial | None:
        """Return the newest belief; what two beliefs in a row share is called stable."""
        if not self._believed:
            return None
        stable = 0
        for new, old in zip(self._believed.split(), self._before.split(), strict=False):
            if new != old:
                break
            stable += len(new) + 1
        return Partial(self._believed, min(stable, len(self._believed)), self._at)

    async def finish(self) -> Final:
        """Return what was heard in all that was fed.

        Raises:
            ProviderError: The process failed or did not answer.
        """
        if not self._over:
            self._over = True
            self._send("finish")
        try:
            async with asyncio.timeout(FINISH_LIMIT_SECS):
                return await asyncio.shield(self._final)
        except TimeoutError:
            raise ProviderStreamError("it did not answer in time", provider=NAME) from None
        finally:
            self._connection.forget(self._stream)

    def abort(self) -> None:
        """Give the utterance up; harmless when repeated."""
        self._over = True
        self._connection.forget(self._stream)
        self._send("cancel")
        self._final.cancel()

    def on_frame(self, frame: Frame) -> None:
        """Take an answer of the process, on its reading thread."""
        self._loop.call_soon_threadsafe(self._take, frame)

    def on_loss(self, reason: str) -> None:
        """Learn that the process is gone."""
        self._loop.call_soon_threadsafe(self._fail, reason)

    def _take(self, frame: Frame) -> None:
        op = frame.head["op"]
        if op == "partial":
            self._before, self._believed = self._believed, frame.body.decode()
            self._at = int(frame.head["samples"])
        elif op == "model":
            self.unknown_words = tuple(frame.head["unknown"])
        elif op == "final" and not self._final.done():
            self._final.set_result(_final(frame.head, json.loads(frame.body)))
        elif op == "error":
            self._fail(str(frame.head["message"]))

    def _fail(self, reason: str) -> None:
        if not self._final.done():
            self._final.set_exception(ProviderError(reason, provider=NAME))

    def _send(self, op: str, body: bytes = b"", **more: Any) -> None:
        self._connection.send({"op": op, "id": self._stream, **more}, body)


def _final(head: Mapping[str, Any], words: list[list[Any]]) -> Final:
    times = tuple(WordTime(str(text), int(start), int(end)) for text, start, end in words)
    return Final(text=" ".join(word.text for word in times), confidence=head["confidence"], words=times)
