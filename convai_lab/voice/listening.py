"""Listening: what is the user saying, and are they done?

The `Listener` hears frames: voice activity, recognition and endpointing. Recognition is finished at every pause, in
the background, so that the words are there when the turn ends; when speech resumes, the next piece is recognised and
the pieces are joined. Where words decide how long a silence ends the turn, it does not end before they are there:
nothing can be answered without them anyway.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Iterable
from typing import Literal

from convai_lab.agents.turn_taking import TurnTaking
from convai_lab.errors import ConvaiLabError
from convai_lab.providers.base import ASRStream, Final, Partial, SpeechEngines
from convai_lab.voice.audio import FRAME_BYTES, FRAME_MS, SAMPLE_BYTES, SESSION_RATE_HZ
from convai_lab.voice.endpointing import Endpointer
from convai_lab.voice.vad import SpeechDetector, samples_of, secs_of

FRAME_SAMPLES = FRAME_BYTES // SAMPLE_BYTES
OPEN_MS = 80
"""So much speech begins an utterance, or goes on with one after a pause."""
PREROLL_MS = 300
"""So much audio before that is recognised too, because words begin softly."""
PAUSE_MS = 200
"""After so much silence the recogniser is asked for its final words, in case the turn is over."""
LATEST_WORDS_MS = 2000
"""A turn ends without the final words when they have not come after so much silence."""
PIECE_SECS = 30
"""An utterance without any pause is recognised in pieces of this length, cut at the next gap between words,"""
LONGEST_PIECE_SECS = 40
"""or here, when there is no gap."""
NOISE_SECS = 8
"""An utterance so long in which no word was recognised is noise."""
STALE_SECS = 3
"""Sound goes on but no new word has come for so long: it is not the user any more, and their turn is over."""
Happening = Literal["started", "paused", "resumed", "ended", "noise"]
"""What a frame brought: an utterance began, paused, went on, or is over; or it was only noise."""

_SILENT_FRAME = bytes(FRAME_BYTES)


class Utterance:
    """What the user says in one turn: from `start` to `end`, in samples of input."""

    def __init__(self, open_stream: Callable[[], ASRStream], *, start: int, over_agent: bool) -> None:
        self.start, self.end = start, start
        self.audible_end = start
        """Where the user's voice ended in the audio; `end` is where voice activity noticed, and turns are decided."""
        self.over_agent = over_agent
        """Whether the agent was speaking when it began."""
        self.asr_asked_at: float | None = None
        self.asr_done_at: float | None = None
        self.quiet_at: float | None = None
        """When there was silence enough, should the recogniser not have been done then."""
        self.piece_samples = 0
        self._open_stream = open_stream
        self._stream: ASRStream | None = None
        self._newest = self._open()
        self._pieces: list[asyncio.Task[Final]] = []
        self._known = ""
        self._is_hurried = False

    @property
    def is_paused(self) -> bool:
        """Say whether the recogniser is done with all that was said so far."""
        return self._stream is None

    @property
    def is_recognised(self) -> bool:
        """Say whether the recogniser has nothing more to tell of what was said so far."""
        return self.is_paused and all(task.done() for task in self._pieces)

    @property
    def has_guesses(self) -> bool:
        """Say whether words may be known before a pause: a recogniser with guesses may have none for once."""
        return getattr(self._newest, "has_guesses", True)

    @property
    def text(self) -> str:
        """Return what was recognised so far, without waiting."""
        if (partial := self._partial()) is not None:
            return _joined([*map(_text_if_known, self._pieces), partial.text])
        if self._pieces and all(map(_is_known, self._pieces)):
            self._known = _joined(map(_text_if_known, self._pieces))
        return self._known

    def feed(self, pcm: bytes) -> None:
        """Recognise some more audio."""
        if self._stream is None:
            self._newest = self._open()
        self.piece_samples += len(pcm) // SAMPLE_BYTES
        try:
            self._newest.feed(pcm)
        except ConvaiLabError as error:
            self._fail(error)

    def pause(self, now: Callable[[], float]) -> None:
        """Ask for the final words of what was said so far; more may come."""
        if self._stream is None:
            return
        self._known = self.text
        self.asr_asked_at, self.asr_done_at = now(), None
        task = asyncio.get_running_loop().create_task(self._stream.finish())
        task.add_done_callback(lambda _: self._done(now()))
        self._pieces.append(task)
        self._stream, self.piece_samples = None, 0

    async def final(self) -> Final:
        """Return all that was said; ask for `pause` first.

        It is as sure as its least sure piece: a wrong one must not hide behind the others.

        Raises:
            ConvaiLabError: The recogniser failed, or had not said anything when it was hurried.
        """
        try:
            pieces = [await asyncio.shield(task) for task in self._pieces]
        except asyncio.CancelledError:
            if not self._is_hurried or _is_cancelled():
                raise
            return self._so_far()
        known = [likelihood(piece.confidence) for piece in pieces if piece.text.strip()]
        sure = min((one for one in known if one is not None), default=None)
        return Final(text=_joined(piece.text for piece in pieces), confidence=sure)

    def hurry(self) -> None:
        """Wait no longer for the recogniser: what is known by now is all that was said."""
        self._is_hurried = True
        for task in self._pieces:
            task.cancel()

    def abort(self) -> None:
        """Give up; the tasks that wait for finals end as cancelled."""
        if self._stream is not None:
            self._stream.abort()
        for task in self._pieces:
            task.cancel()

    def _open(self) -> ASRStream:
        """Begin a piece; one that cannot be recognised says so at its end."""
        try:
            self._stream = self._open_stream()
        except ConvaiLabError as error:
            self._stream = _Unrecognised(error)
        return self._stream

    def _partial(self) -> Partial | None:
        try:
            return None if self._stream is None else self._stream.partial()
        except ConvaiLabError as error:
            self._fail(error)
            return None

    def _so_far(self) -> Final:
        if not self._known:
            raise ConvaiLabError("the recogniser had not answered when the conversation ended")
        return Final(text=self._known)

    def _fail(self, error: ConvaiLabError) -> None:
        self._newest.abort()
        self._stream = self._newest = _Unrecognised(error)

    def _done(self, at: float) -> None:
        self.asr_done_at = at
        for task in self._pieces:
            if task.done() and not task.cancelled():
                task.exception()


class _Unrecognised:
    """A piece that the recogniser refused, or failed on: whoever asks for its words gets the error."""

    has_guesses = False

    def __init__(self, error: ConvaiLabError) -> None:
        self._error = error

    def feed(self, pcm: bytes) -> None:
        pass

    def partial(self) -> None:
        return None

    async def finish(self) -> Final:
        raise self._error

    def abort(self) -> None:
        pass


class Listener:
    """Hears one user, frame by frame of 20 ms.

    `utterance` is what is being said now; when it is over the listener lets go of it.
    """

    def __init__(self, engines: SpeechEngines, turn: TurnTaking, *, now: Callable[[], float]) -> None:
        self.utterance: Utterance | None = None
        self.turn, self.language, self.phrases = turn, "en", tuple[str, ...]()
        self.detector = SpeechDetector(engines.vad)
        self._asr, self._now = engines.asr, now
        self._endpointer = Endpointer(turn)
        self._preroll: deque[bytes] = deque(maxlen=PREROLL_MS // FRAME_MS)
        self._text, self._text_at = "", 0
        self._open, self._pause = samples_of(OPEN_MS), samples_of(PAUSE_MS)

    @property
    def position(self) -> int:
        """Return how many samples were heard."""
        return self.detector.position

    @property
    def is_busy(self) -> bool:
        """Say whether something is being said, or may be beginning."""
        return self.utterance is not None or self.detector.burst_samples > 0

    @property
    def text(self) -> str:
        """Return what was recognised of the utterance so far."""
        return self._text

    @property
    def is_unread(self) -> bool:
        """Say whether something is being said of which a recogniser without guesses will tell the words later."""
        utterance = self.utterance
        if utterance is None or self._text or self._has_guesses(utterance) or utterance.is_recognised:
            return False
        return self.position - utterance.start < LONGEST_PIECE_SECS * SESSION_RATE_HZ

    def hear(self, frame: bytes, *, over_agent: bool = False) -> Happening | None:
        """Hear one frame; return what it brought."""
        self.detector.hear(frame)
        if self.utterance is None:
            self._preroll.append(frame)
            return self._begin(over_agent) if self.detector.burst_samples >= self._open else None
        return self._go_on(self.utterance, frame)

    def hear_silence(self, frames: int) -> Happening | None:
        """Hear silence because no audio arrived; stops early, at the first thing that happens."""
        while frames and self.is_busy:
            frames -= 1
            self.detector.hear_silence(FRAME_SAMPLES)
            if self.utterance and (happening := self._go_on(self.utterance, _SILENT_FRAME)):
                self._skip(frames)
                return happening
        self._skip(frames)
        return None

    def drop(self) -> None:
        """Forget the utterance under way."""
        if self.utterance is not None:
            self.utterance.abort()
        self.utterance = None
        self._clear()

    def _skip(self, frames: int) -> None:
        if frames:
            self.detector.hear_silence(frames * FRAME_SAMPLES)
            self._preroll.clear()

    def _begin(self, over_agent: bool) -> Happening:
        self._endpointer, self._text, self._text_at = Endpointer(self.turn, self.phrases), "", self.position
        self.utterance = Utterance(self._stream, start=self.detector.burst_start, over_agent=over_agent)
        self._follow(self.utterance)
        self._feed_preroll(self.utterance)
        return "started"

    def _stream(self) -> ASRStream:
        return self._asr.open(rate_hz=SESSION_RATE_HZ, language=self.language, phrases=self.phrases)

    def _go_on(self, utterance: Utterance, frame: bytes) -> Happening | None:
        self._read(utterance)
        if utterance.is_paused:
            return self._in_pause(utterance, frame)
        utterance.feed(frame)
        self._follow(utterance)
        quiet = self.position - utterance.end
        if quiet >= self._pause or self._is_long(utterance):
            utterance.pause(self._now)
            return "paused"
        return self._given_up(utterance)

    def _follow(self, utterance: Utterance) -> None:
        utterance.end = max(utterance.end, self.detector.last_speech)
        utterance.audible_end = max(utterance.audible_end, self.detector.last_audible)

    def _is_long(self, utterance: Utterance) -> bool:
        """Say whether to cut here a piece of an utterance that has no pause: between words if there is a chance."""
        secs = secs_of(utterance.piece_samples)
        return secs >= PIECE_SECS and (not self.detector.is_speech or secs >= LONGEST_PIECE_SECS)

    def _in_pause(self, utterance: Utterance, frame: bytes) -> Happening | None:
        self._preroll.append(frame)
        if self.detector.burst_samples >= self._open:
            self._follow(utterance)
            self._feed_preroll(utterance)
            self._text_at = self.position
            return "resumed"
        if self.detector.burst_samples:
            return None
        quiet_ms = secs_of(self.position - utterance.end) * 1000
        return self._end("ended") if self._is_over(utterance, quiet_ms) else None

    def _is_over(self, utterance: Utterance, quiet_ms: float) -> bool:
        """Say whether the turn is over: there was silence enough for the words, and they are there."""
        if not self._endpointer.is_over(quiet_ms):
            utterance.quiet_at = None
            return False
        if self._endpointer.reads and not utterance.is_recognised and quiet_ms < LATEST_WORDS_MS:
            utterance.quiet_at = self._now() if utterance.quiet_at is None else utterance.quiet_at
            return False
        if utterance.quiet_at is not None:
            utterance.asr_done_at = self._now()
        return True

    def _given_up(self, utterance: Utterance) -> Happening | None:
        """End an utterance in which sound goes on but words do not."""
        limit = STALE_SECS if self._text else NOISE_SECS
        if self.position - self._text_at < limit * SESSION_RATE_HZ or not self._has_guesses(utterance):
            return None
        if self._text:
            utterance.pause(self._now)
            return self._end("ended")
        utterance.abort()
        return self._end("noise")

    def _has_guesses(self, utterance: Utterance) -> bool:
        return self._asr.capabilities.partials and utterance.has_guesses

    def _read(self, utterance: Utterance) -> None:
        text = utterance.text
        if text != self._text:
            self._text, self._text_at = text, self.position
            self._endpointer.read(text)

    def _feed_preroll(self, utterance: Utterance) -> None:
        utterance.feed(b"".join(self._preroll))
        self._preroll.clear()

    def _end(self, happening: Happening) -> Happening:
        self.utterance = None
        self._clear()
        return happening

    def _clear(self) -> None:
        self._preroll.clear()
        self.detector.forget()


def likelihood(confidence: object) -> float | None:
    """Return a recogniser's confidence if it is one, from 0 to 1; a plug-in may return anything."""
    if isinstance(confidence, bool) or not isinstance(confidence, int | float) or not 0 <= confidence <= 1:
        return None
    return float(confidence)


def _is_cancelled() -> bool:
    """Say whether it is the task that waits which was cancelled."""
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0


def _is_known(task: asyncio.Task[Final]) -> bool:
    return task.done() and not task.cancelled() and task.exception() is None


def _text_if_known(task: asyncio.Task[Final]) -> str:
    return task.result().text if _is_known(task) else ""


def _joined(texts: Iterable[str]) -> str:
    return " ".join(text.strip() for text in texts if text.strip())
