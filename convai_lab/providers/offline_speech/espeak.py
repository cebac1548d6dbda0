"""Espeak: speech out without a key or a network, from espeak-ng in a process of its own."""

from __future__ import annotations

import asyncio
import concurrent.futures
import threading
from collections import deque
from collections.abc import AsyncGenerator
from typing import Any

from convai_lab.clock import Clock, SystemClock
from convai_lab.errors import InvalidValueError, ProviderError, ProviderStreamError, ProviderTimeoutError
from convai_lab.providers.base import AudioChunk, Mark
from convai_lab.providers.offline_speech.child_frames import BrokenFrameError, Frame
from convai_lab.providers.offline_speech.child_process import Connection, SpeechProcess, new_stream_id
from convai_lab.providers.offline_speech.espeak_voices import (
    LANGUAGES,
    VOICES,
    EspeakCapabilities,
    check_speed,
    engine_voice,
    stand_in,
)
from convai_lab.providers.offline_speech.installed import require_package
from convai_lab.providers.offline_speech.spoken_text import Piece, WordMarks, pieces

RATE_HZ = 22050
SENTENCE_PAUSE_MS = 150
"""Silence after a sentence: the engine itself adds none, and a reply comes sentence by sentence."""
ANSWER_LIMIT_SECS = 20.0
"""How long the process may be silent: the longest queue seen was rendered in a tenth of it."""

speaking_process = SpeechProcess("convai_lab.providers.offline_speech.espeak_process")
"""The process that speaks for everybody here; it also knows how unknown words are pronounced."""


class EspeakTTS:
    """Speaks with espeak-ng: robotic, but at once, anywhere, and with a mark for every word.

    `language` is what it speaks unless `synthesize` says otherwise. All sessions share one process; each of them has
    one piece of text in its queue at a time, so that they take turns. `process` is another process to speak in.

    Raises:
        MissingPackageError: espeakng-loader is not installed.
    """

    name = "espeak"
    capabilities = EspeakCapabilities(
        rate_hz=RATE_HZ, alignment="word", voices=tuple(VOICES), languages=LANGUAGES, needs_network=False
    )

    def __init__(
        self, *, clock: Clock | None = None, language: str = "en", process: SpeechProcess | None = None
    ) -> None:
        require_package("espeakng_loader", "espeakng-loader", needed_for="the embedded voice")
        self._clock, self._process = clock or SystemClock(), process or speaking_process
        self.language = language
        engine_voice(VOICES["George"], language)

    @staticmethod
    def voice_for(voice: str) -> str:
        """Return which of the four voices speaks for a voice name or id."""
        return stand_in(voice)

    def synthesize(
        self, text: str, *, voice: str = "George", speed: float = 1.0, language: str | None = None
    ) -> AsyncGenerator[AudioChunk | Mark, None]:
        """Yield the speech in chunks, and each word's mark before the chunk in which the word begins.

        The text is taken as it is written: there is no markup. Closing the iterator stops the engine within a chunk.

        Raises:
            InvalidValueError: The text is no text, the speed is out of range, or the language is not spoken here.
            ProviderError: (while iterating) The engine failed.
        """
        if not isinstance(text, str):
            raise InvalidValueError(f"must be text, got {type(text).__name__}", field="text")
        chosen = VOICES[stand_in(voice)]
        request = {
            "op": "speak",
            "voice": engine_voice(chosen, self.language if language is None else language),
            "wpm": round(chosen.words_a_minute * check_speed(speed)),
            "pitch": chosen.pitch,
            "range": chosen.pitch_range,
        }
        return self._speak(text, request)

    async def prepare(self) -> None:
        """Start the process, so that the first words do not wait for it.

        Raises:
            ProviderError: It cannot be started.
        """
        async for _ in self.synthesize("a"):
            pass

    async def _speak(self, text: str, request: dict[str, Any]) -> AsyncGenerator[AudioChunk | Mark, None]:
        sample = 0
        for piece in pieces(text):
            rendering = _Rendering(piece, request, self._clock, self._process)
            try:
                async for item in rendering.items(sample):
                    yield item
            finally:
                rendering.close()
            sample += rendering.samples


class _Rendering:
    """One piece of text being spoken."""

    def __init__(self, piece: Piece, request: dict[str, Any], clock: Clock, process: SpeechProcess) -> None:
        self.samples = 0
        self._piece, self._clock, self._process = piece, clock, process
        self._stream = new_stream_id()
        self._request = {**request, "id": self._stream}
        self._inbox = _Inbox()
        self._connection: Connection | None = None
        self._heard = self._retried = self._over = False

    async def items(self, first_sample: int) -> AsyncGenerator[AudioChunk | Mark, None]:
        """Yield marks and chunks; the newest chunk is held back until it is known whether it is the last."""
        marks, held, start = WordMarks(self._piece, first_sample), b"", first_sample
        self._ask()
        while (frame := await self._next()).head["op"] == "audio":
            if frame.body and held:
                yield AudioChunk(held, start)
                start, held = start + len(held) // 2, b""
            for char, _, at in frame.head["words"]:
                for mark in marks.reported(char, first_sample + at, chunk_start=start):
                    yield mark
            held += frame.body
        self._over = True
        for mark in marks.rest(chunk_start=start, end=start + len(held) // 2):
            yield mark
        held += self._pause()
        self.samples = start + len(held) // 2 - first_sample
        if held:
            yield AudioChunk(held, start)

    def close(self) -> None:
        """Stop the engine if it is still speaking this, and forget it."""
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.forget(self._stream)
            if not self._over:
                connection.send({"op": "cancel", "id": self._stream})

    def _pause(self) -> bytes:
        return bytes(2 * (SENTENCE_PAUSE_MS * RATE_HZ // 1000)) if self._piece.ends_sentence else b""

    def _ask(self) -> None:
        self._connection = self._process.connection()
        if self._connection.listen(self._stream, self._inbox):
            self._connection.send(self._request, self._piece.spoken.encode())
        else:
            self._inbox.on_loss("its process ended")

    async def _next(self) -> Frame:
        """Return the next frame; a new process is asked once when the old one died before any sound."""
        while isinstance(arrived := await self._arrival(), str):
            if self._heard or self._retried:
                raise ProviderStreamError(f"the voice engine stopped: {arrived}", provider=EspeakTTS.name)
            self._retried = True
            self._ask()
        if arrived.head["op"] == "error":
            self._over = True
            raise ProviderError(str(arrived.head["message"]), provider=EspeakTTS.name)
        self._heard = True
        return arrived

    async def _arrival(self) -> Frame | str:
        if not self._inbox.items:
            try:
                await self._clock.outside(lambda: self._inbox.wait(ANSWER_LIMIT_SECS))
            except TimeoutError:
                if self._connection is not None:
                    self._connection.stop()
                raise ProviderTimeoutError(
                    f"the voice engine said nothing for {ANSWER_LIMIT_SECS:.0f} s; it is started again",
                    provider=EspeakTTS.name,
                ) from None
        return self._inbox.items.popleft()


class _Inbox:
    """What has come from the process: filled by the reading thread, waited for on whichever loop is running."""

    def __init__(self) -> None:
        self.items: deque[Frame | str] = deque()
        self._waiting: concurrent.futures.Future[None] | None = None
        self._lock = threading.Lock()

    def on_frame(self, frame: Frame) -> None:
        """Take a frame; one that is none of the three breaks the connection, on the reading thread."""
        if frame.head["op"] == "audio":
            if len(frame.body) % 2 or not all(len([int(n) for n in word]) == 3 for word in frame.head["words"]):
                raise BrokenFrameError("half a sample, or words without their place")
        elif frame.head["op"] not in ("done", "error"):
            raise BrokenFrameError("no such answer")
        self._put(frame)

    def on_loss(self, reason: str) -> None:
        """Take the news that the process is gone."""
        self._put(reason)

    async def wait(self, limit_secs: float) -> None:
        """Wait until there is something.

        Raises:
            TimeoutError: Nothing came.
        """
        with self._lock:
            if self.items:
                return
            waiting: concurrent.futures.Future[None] = concurrent.futures.Future()
            self._waiting = waiting
        await asyncio.wait_for(asyncio.wrap_future(waiting), limit_secs)

    def _put(self, item: Frame | str) -> None:
        with self._lock:
            self.items.append(item)
            waiting, self._waiting = self._waiting, None
        if waiting is not None and waiting.set_running_or_notify_cancel():
            waiting.set_result(None)
