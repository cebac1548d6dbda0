"""Speaking: how does the agent's text become sound, while it is still being written?

A `Mouth` belongs to a session; a `Speech` is one turn of the agent. Sentences are synthesised in order, at most
`LEAD_SECS` ahead of the ear. A speech can be held (the user may be interrupting), go on where it was, or be stopped.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable
from contextlib import aclosing

from convai_lab.clock import Clock
from convai_lab.errors import ConvaiLabError
from convai_lab.providers.base import TTS, Mark
from convai_lab.voice.audio import SAMPLE_BYTES, Resampler, first_audible
from convai_lab.voice.playout import Playout, Word
from convai_lab.voice.sentences import Sentence, SentenceSplitter
from convai_lab.voice.transport import AgentAudio, CharTime, Transport

logger = logging.getLogger("convai_lab.voice")

LEAD_SECS = 6.0
"""So much speech is made before it is heard; more would be wasted when the user interrupts."""
MIN_WAIT_SECS = 0.1


class Mouth:
    """What a session speaks with; `on_audio` and `on_cut` hear what is sent and what of it will not be heard."""

    def __init__(self, *, tts: TTS, transport: Transport, clock: Clock, rate_hz: int) -> None:
        self.rate_hz, self.clock, self.tts, self.transport = rate_hz, clock, tts, transport
        self.voice, self.speed = "", 1.0
        self.started = clock.now()
        self.is_held = False
        self.free_at = 0
        """The instant, in samples, at which all that was sent will have been played."""
        self.released = asyncio.Event()
        self.released.set()
        self.on_audio: Callable[[bytes, int], None] = lambda _pcm, _at: None
        self.on_cut: Callable[[int], None] = lambda _at: None
        self._last_id = 0
        self._speeches: list[Speech] = []

    @property
    def now(self) -> int:
        """Return the present instant in samples since the session began."""
        return round((self.clock.now() - self.started) * self.rate_hz)

    def instant(self, sample: int) -> float:
        """Return an instant given in samples in seconds of the clock."""
        return self.started + sample / self.rate_hz

    @property
    def is_audible(self) -> bool:
        """Say whether the user hears the agent now, or would if it were not held."""
        return self.free_at > self.now or (self.is_held and any(not one.is_heard for one in self._speeches))

    @property
    def is_speaking(self) -> bool:
        """Say whether there is any speech that was not heard to its end."""
        return bool(self._speeches)

    def next_id(self) -> int:
        """Return the number of the next piece of agent audio; they only grow."""
        self._last_id += 1
        return self._last_id

    def begin(self) -> Speech:
        """Begin a turn of the agent, heard after those before it."""
        speech = Speech(self, after=self._speeches[-1] if self._speeches else None)
        self._speeches.append(speech)
        return speech

    def hold(self) -> None:
        """Fall silent at once; what was not heard is kept."""
        if self.is_held:
            return
        self.is_held = True
        self.released.clear()
        for speech in self._speeches:
            speech.cut()
        self._free()

    def resume(self) -> None:
        """Go on with what was held, from the start of the word that was cut."""
        if self.is_held:
            self.release()
            for speech in self._speeches:
                speech.go_on()

    def release(self) -> None:
        """End the hold without saying anything."""
        self.is_held = False
        self.released.set()

    def stop(self) -> None:
        """Stop every speech: what was not heard never will be."""
        for speech in self._speeches[:]:
            speech.stop()
        self.release()
        self._free()

    def forget(self, speech: Speech) -> None:
        """Let go of a speech that is over."""
        if speech in self._speeches:
            self._speeches.remove(speech)

    def _free(self) -> None:
        if self.free_at > self.now:
            self.free_at = self.now
            self.on_cut(self.now)


class Speech:
    """One turn of the agent: `write` its text, `finish`, then wait until it was `heard`."""

    def __init__(self, mouth: Mouth, *, after: Speech | None) -> None:
        self.turn_id = self.audio_id = mouth.next_id()
        self.text = ""
        self.error: Exception | None = None
        self.first_sentence_at: float | None = None
        self.tts_asked_at: float | None = None
        self.tts_first_at: float | None = None
        self._quiet, self._is_audible = 0, False
        self.playout = Playout(mouth.rate_hz)
        self.is_stopped = False
        self.on_audible: Callable[[], None] = lambda: None
        self._mouth, self._after = mouth, after
        self._was_flushed = False
        self._splitter = SentenceSplitter()
        self._sentences: deque[Sentence | None] = deque()
        self._news = asyncio.Event()
        self._made = asyncio.Event()
        self._line = bytearray()
        self._line_first = 0
        self._sent = 0
        self._task: asyncio.Task[None] | None = None

    def write(self, text: str) -> None:
        """Add text to say."""
        self.text += text
        self._queue(self._splitter.feed(text))

    def end_passage(self) -> None:
        """Say what was written so far without waiting for more, such as before a tool call."""
        self._queue(self._splitter.flush())

    def finish(self) -> None:
        """The text is complete."""
        self.end_passage()
        self._queue([None])

    @property
    def is_heard(self) -> bool:
        """Say whether all that was made was heard."""
        return self._sent >= self.playout.made and self.playout.ends_at <= self._mouth.now

    @property
    def text_heard(self) -> str:
        """Return what of the text was heard by now, whole words only."""
        chars = self.playout.chars_heard(self._mouth.now)
        return self.text[:chars] if self.text[chars:].strip() else self.text

    @property
    def starts_at(self) -> int | None:
        """Return the instant of the first audible sample, past the silence with which engines begin; None: not sent."""
        first = self.playout.first_at
        return None if first is None else first + self._quiet

    async def heard(self) -> None:
        """Wait until the speech is complete and all of it was played."""
        await self._made.wait()
        while not self.is_stopped:
            await self._mouth.released.wait()
            left = self.playout.ends_at - self._mouth.now
            if left <= 0 and not self._mouth.is_held:
                break
            await self._mouth.clock.sleep(max(0, left) / self._mouth.rate_hz)
        self._mouth.forget(self)

    def cut(self) -> None:
        """Stop playing, and keep what was not heard."""
        if self.playout.ends_at > self._mouth.now:
            self._mouth.transport.flush(self.audio_id)
            self._was_flushed = True
        self._sent = self.playout.cut(self._mouth.now) if self.playout.ends_at else 0

    def go_on(self) -> None:
        """Play what was kept, as a new piece of audio."""
        if self._was_flushed:
            self.audio_id, self._was_flushed = self._mouth.next_id(), False
            self._sent = max(self._line_first, self.playout.word_start(self._sent))
        self._send()

    def stop(self) -> None:
        """Stop for good; `text_heard` stays as it is."""
        self.cut()
        self.is_stopped = True
        if self._task is not None:
            self._task.cancel()
        self._made.set()
        self._mouth.forget(self)

    def _queue(self, sentences: list[Sentence] | list[None]) -> None:
        if sentences and self.first_sentence_at is None and sentences[0] is not None:
            self.first_sentence_at = self._mouth.clock.now()
        self._sentences.extend(sentences)
        self._news.set()
        if self._task is None and sentences and not self.is_stopped:
            self._task = asyncio.get_running_loop().create_task(self._make())

    async def _make(self) -> None:
        """Turn sentences into sound until the text ends, or the voice fails."""
        try:
            if self._after is not None:
                await self._after._made.wait()
            while (sentence := await self._next()) is not None:
                if sentence.spoken:
                    await self._ahead()
                    await self._speak(sentence)
        except ConvaiLabError as error:
            self.error = error
        except Exception as error:  # the edge: an engine from outside
            logger.error("the voice engine failed", exc_info=error)
            self.error = error
        finally:
            self._made.set()

    async def _next(self) -> Sentence | None:
        while not self._sentences:
            self._news.clear()
            await self._news.wait()
        return self._sentences.popleft()

    async def _ahead(self) -> None:
        """Wait until not too much is ahead of the ear."""
        mouth = self._mouth
        while (ahead := (self.playout.made - self.playout.heard(mouth.now)) / mouth.rate_hz) > LEAD_SECS:
            await mouth.clock.sleep(max(MIN_WAIT_SECS, ahead - LEAD_SECS))

    async def _speak(self, sentence: Sentence) -> None:
        mouth, engine_hz = self._mouth, self._mouth.tts.capabilities.rate_hz
        resampler = Resampler(engine_hz, mouth.rate_hz)
        self.playout.begin_sentence(sentence)
        if self.tts_asked_at is None:
            self.tts_asked_at = mouth.clock.now()
        async with aclosing(mouth.tts.synthesize(sentence.spoken, voice=mouth.voice, speed=mouth.speed)) as items:  # type: ignore[type-var]
            async for item in items:
                if isinstance(item, Mark):
                    self.playout.mark(item.char_start, item.sample * mouth.rate_hz // engine_hz)
                else:
                    self._put(resampler.feed(item.pcm))
        self._put(resampler.flush())
        self.playout.end_sentence()

    def _put(self, pcm: bytes) -> None:
        if not pcm or self.is_stopped:
            return
        if self.tts_first_at is None:
            self.tts_first_at = self._mouth.clock.now()
        if not self._is_audible:
            found = first_audible(pcm)
            self._quiet += len(pcm) // SAMPLE_BYTES if found is None else found
            self._is_audible = found is not None
        self._line += pcm
        self.playout.make(len(pcm) // SAMPLE_BYTES)
        self._send()

    def _send(self) -> None:
        """Send all that was made and not sent, unless the agent is held."""
        mouth, first = self._mouth, self._sent
        count = self.playout.made - first
        if mouth.is_held or self.is_stopped or count <= 0:
            return
        at, begin = max(mouth.now, mouth.free_at), SAMPLE_BYTES * (first - self._line_first)
        pcm = bytes(self._line[begin:])
        is_first = self.playout.first_at is None
        self.playout.send(first, count, at=at)
        self._sent, mouth.free_at = self.playout.made, at + count
        mouth.transport.send(AgentAudio(pcm, mouth.rate_hz, self.audio_id, self._alignment(first, count)))
        mouth.on_audio(pcm, at)
        self._drop_heard()
        if is_first:
            self.on_audible()

    def _drop_heard(self) -> None:
        """Forget speech that cannot be needed again."""
        keep = self.playout.word_start(self.playout.heard(self._mouth.now))
        if keep - self._line_first > 10 * self._mouth.rate_hz:
            del self._line[: SAMPLE_BYTES * (keep - self._line_first)]
            self._line_first = keep

    def _alignment(self, first: int, count: int) -> tuple[CharTime, ...] | None:
        if not (words := self.playout.words_in(first, count)):
            return None
        ends = [*(word.sample for word in words[1:]), first + count]
        chars = [char for word, end in zip(words, ends, strict=True) for char in self._timed(word, first, end)]
        return tuple(chars)

    def _timed(self, word: Word, first: int, end: int) -> list[CharTime]:
        """Spread the characters of a word, and the space after it, over the time it takes."""
        text = self.text[word.start : word.end]
        if self.text[word.end : word.end + 1].isspace():
            text += " "
        ms_a_sample = 1000 / self._mouth.rate_hz
        start, each = (word.sample - first) * ms_a_sample, (end - word.sample) * ms_a_sample / max(1, len(text))
        return [CharTime(char, round(start + i * each), round(each)) for i, char in enumerate(text)]
