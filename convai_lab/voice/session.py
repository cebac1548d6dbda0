"""Session: what happens between the first and the last sound of a voice conversation?

A short state machine over named parts: the `Listener` hears the user, `Answering` lets the agent think and speak,
`Floor` decides who gives way. Everything runs on one event loop; what is decided from sound counts sound.

When the recogniser or the voice fails, the turn is recorded with its error and the session goes on; after
`MAX_FAILURES` failures in a row it ends. When the model fails, the session ends.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable, Coroutine
from typing import Any

from convai_lab import settings
from convai_lab.clock import Clock
from convai_lab.conversations.conversation import Conversation
from convai_lab.dialogue.conversation_loop import OUT_OF_TIME, SILENCE, ConversationLoop
from convai_lab.errors import ConvaiLabError
from convai_lab.providers.base import SpeechEngines
from convai_lab.voice import events
from convai_lab.voice.answering import Answer, Answering
from convai_lab.voice.audio import FRAME_MS, SESSION_RATE_HZ
from convai_lab.voice.ear import Ear
from convai_lab.voice.interruption import Floor, Interruption
from convai_lab.voice.listening import FRAME_SAMPLES, Happening, Listener, Utterance
from convai_lab.voice.recording import Recording
from convai_lab.voice.silence import Keypad, Quiet
from convai_lab.voice.speaking import Mouth
from convai_lab.voice.transit import Transit
from convai_lab.voice.transport import Transport
from convai_lab.voice.vad import samples_of, secs_of

logger = logging.getLogger("convai_lab.voice")

MAX_FAILURES = 3
FRAMES_AT_ONCE = 10
"""After so many frames of a burst, others get their turn on the event loop."""
DTMF = "dtmf"
"""Marks a user's turn that was entered on a keypad."""
LAST_WORDS_SECS = 2.0
"""So long the recogniser may take for what was said when the session ended."""
LONGEST_FAREWELL_SECS = 30.0
"""So long the agent may take to say goodbye once the conversation has lasted as long as it may."""
STANDSTILL_SECS = 0.1
"""A sleep that takes so much too long: this process stood still, and the audio of that time waits to be heard."""
SCORE_SAMPLES = 5 * FRAME_SAMPLES
"""A `VadScore` is told every 100 ms."""
HUNG_UP = "hung_up"
CANCELLED = "cancelled"


class VoiceSession:
    """One spoken conversation; `run` holds it from the first message to the end.

    `failure` is the error that ended it, if one did.
    """

    def __init__(
        self,
        *,
        loop: ConversationLoop,
        engines: SpeechEngines,
        transport: Transport,
        clock: Clock,
        on_event: Callable[[events.VoiceEvent], None] | None = None,
        recording: Recording | None = None,
        output_rate_hz: int = 16000,
    ) -> None:
        self.failure: BaseException | None = None
        self._loop, self._transport, self._clock = loop, transport, clock
        self._on_event, self._recording, self._started = on_event, recording, clock.now()
        self._tasks: set[asyncio.Task[Any]] = set()
        self._over: asyncio.Future[tuple[str, str]] | None = None
        self._ended = asyncio.Event()
        self._state: events.SessionState | None = None
        self._partial, self._answered_at = "", self._started
        self._ear, self._quiet = Ear(self._started), Quiet()
        self._keypad = Keypad(clock, self._spawn, lambda keys: self._hear_message(keys, mark=DTMF))
        self._listener = Listener(engines, loop.agent.turn, now=clock.now)
        self._mouth = Mouth(tts=engines.tts, transport=transport, clock=clock, rate_hz=output_rate_hz)
        self._answering = Answering(
            loop=loop, mouth=self._mouth, clock=clock, emit=self._emit, asr_name=engines.asr.name, spawn=self._spawn
        )
        self._floor = Floor(
            listener=self._listener,
            answering=self._answering,
            mouth=self._mouth,
            spawn=self._spawn,
            answer_to=self._answer_to,
            when_cut=lambda: self._change("listening"),
        )
        self._answering.when_over = self._answered
        self._answering.when_audible = lambda: self._change("speaking")
        self._answering.is_for_agent = self._floor.is_for_agent
        if recording is not None:
            self._mouth.on_audio, self._mouth.on_cut = self._record_agent, self._unrecord_agent

    async def run(self) -> Conversation:
        """Hold the conversation and return its record; cancelled, it ends, is recorded, and raises."""
        self._over = asyncio.get_running_loop().create_future()
        self._started = self._mouth.started = self._clock.now()
        self._ear, self._answered_at = Ear(self._started), self._started
        reason, by = CANCELLED, "system"
        try:
            self._change("connecting")
            self._adopt_agent()
            self._answering.greet()
            for work in (self._listen(), self._feed_silence(), self._watch_time()):
                self._spawn(work)
            reason, by = await self._over
        finally:
            await self._close(reason, by)
        return self._loop.conversation

    async def end(self, reason: str, *, by: str) -> None:
        """End the session and wait until it is recorded."""
        if self._over is None:
            await self._loop.end(reason, by=by)
            return
        self._finish(reason, by)
        await self._ended.wait()

    def hear_text(self, text: str) -> None:
        """Take what the user typed: the agent stops speaking and answers it."""
        self._hear_message(text)

    def add_context(self, text: str) -> None:
        """Tell the agent something, without a turn."""
        self._loop.add_context(text)

    def user_activity(self) -> None:
        """Note that the user is doing something: the silence counts from now on."""
        self._quiet.user_spoke()

    def sound_takes(self, transit: Transit) -> None:
        """Take how long sound takes to us and to the user, as measured at the user's end."""
        if self._over is not None and not self._over.done():
            self._answering.sound_takes(transit)

    def dtmf(self, digit: str) -> None:
        """Take a key of the telephone's keypad; keys in a row are one message to the agent, which falls silent."""
        if self._is_open and self._keypad.press(digit):
            self._quiet.user_spoke()
            self._floor.take()

    # What comes in

    async def _listen(self) -> None:
        """Hear the user's audio as it arrives, until they are gone."""
        while (pcm := await self._transport.receive()) is not None:
            frames = self._ear.arrive(pcm, self._clock.now())
            for number, frame in enumerate(frames, 1):
                self._hear(frame)
                if (ahead := self._ear.ahead(self._clock.now())) > 0:
                    await self._clock.sleep(ahead)
                elif number % FRAMES_AT_ONCE == 0:
                    await asyncio.sleep(0)
        self._finish(HUNG_UP, "user")

    async def _feed_silence(self) -> None:
        """Hear silence where no audio arrives."""
        while True:
            began = self._clock.now()
            wait = self._ear.wait(began, is_busy=self._listener.is_busy, is_steady=self._transport.is_steady)
            wait = min(wait, max(FRAME_MS / 1000, self._quiet.secs_left))
            await self._clock.sleep(wait)
            if (late := self._clock.now() - began - wait) > STANDSTILL_SECS:
                self._ear.stood_still(began + wait + late, late)
            if frames := self._ear.silence_due(self._clock.now(), is_steady=self._transport.is_steady):
                happening = self._listener.hear_silence(frames)
                if happening is not None:
                    self._happened(happening)
                self._count_quiet(frames * FRAME_SAMPLES)

    async def _watch_time(self) -> None:
        """End the conversation when it has lasted as long as it may, with the agent's farewell."""
        await self._clock.sleep(self._loop.seconds_left)
        if not self._loop.ended:
            self._answering.take_leave(self._last_words)
        await self._clock.sleep(LONGEST_FAREWELL_SECS)
        self._finish(OUT_OF_TIME, "system")

    def _hear(self, frame: bytes) -> None:
        """Hear one frame of the user's audio."""
        listener, is_answering = self._listener, self._answering.current is not None
        frame_ends = self._ear.cover(self._clock.now(), is_silent=not listener.detector.burst_samples)
        happening = listener.hear(frame, over_agent=is_answering)
        if self._recording is not None:
            self._record_user(frame, frame_ends)
        if is_answering and listener.detector.burst_samples:
            self._floor.hear(frame)
        if happening is not None:
            self._happened(happening)
        self._count_quiet(FRAME_SAMPLES)
        self._tell(listener)

    def _happened(self, happening: Happening) -> None:
        """Do what the listener's news asks for."""
        self._floor.happened(happening)
        if self._loop.agent.turn.speculative and self._answering.current is None:
            if happening == "resumed":
                self._loop.foresee(None)
            elif happening == "paused" and (utterance := self._listener.utterance) is not None:
                self._spawn(self._foresee(utterance))

    async def _foresee(self, utterance: Utterance) -> None:
        """Let the model begin to answer in case the user has finished."""
        with contextlib.suppress(ConvaiLabError):  # told when the turn is over
            text = (await utterance.final()).text
            is_over = self._listener.utterance is None or utterance.is_paused
            if text and is_over and self._answering.current is None:
                self._loop.foresee(text)

    def _hear_message(self, text: str, *, mark: str | None = None) -> None:
        """Answer what came as text."""
        if self._is_open:
            self._quiet.user_spoke()
            self._floor.take()
            self._answering.message(text, mark=mark)
            self._change("thinking")

    # What comes of it

    @property
    def _is_open(self) -> bool:
        return self._over is not None and not self._over.done() and not self._loop.ended

    def _answer_to(self, utterance: Utterance) -> None:
        """Answer a turn of the user that is over."""
        start, end = self._instant(utterance.start), self._instant(utterance.audible_end)
        self._answering.utterance(utterance, start_at=start, end_at=end)
        self._mouth.release()
        self._change("thinking")

    def _answered(self, answer: Answer) -> None:
        """An answer came to its end by itself: it is the user's turn, or nobody's."""
        self._adopt_agent()
        self._answered_at = self._clock.now()
        self._quiet.agent_spoke()
        self._quiet.is_patient = answer.skipped
        if self._loop.ended:
            self._finish(self._loop.end_reason or "", "system" if self._loop.end_reason == OUT_OF_TIME else "agent")
        elif self._answering.failures >= MAX_FAILURES:
            self._fail(ConvaiLabError(f"speech failed {MAX_FAILURES} times in a row: {self._answering.last_failure}"))
        elif self._floor.waiting:
            self._answer_to(self._floor.waiting.pop(0))
        else:
            self._change("listening")

    def _count_quiet(self, samples: int) -> None:
        """Count the silence of both sides, and do what is due after so much of it."""
        if self._answering.current is not None:
            self._quiet.agent_spoke()
        elif self._listener.is_unread:
            return  # it counts once it is known to be only noise
        elif self._listener.utterance is not None and self._listener.text:
            self._quiet.user_spoke()
        elif (due := self._quiet.count(min(samples, self._since_answer()))) == "end":
            self._finish(SILENCE, "system")
        elif due == "reply" and self._is_open:
            self._answering.nudge()
            self._change("thinking")

    def _since_answer(self) -> int:
        """Return how many samples of the user's audio came after the agent was heard."""
        return max(0, samples_of((self._ear.covered - self._answered_at) * 1000))

    def _adopt_agent(self) -> None:
        """Take over how the agent that speaks now listens and waits."""
        agent, listener = self._loop.agent, self._listener
        is_initial = not self._loop.conversation.turns and not agent.first_message.strip()
        listener.turn = agent.turn
        listener.language = self._loop.conversation.language or agent.language
        listener.phrases = (*agent.asr_keywords, *agent.expected_phrases)
        self._quiet.adopt(agent.turn, is_initial=is_initial)
        self._floor.judge = Interruption(agent.turn.ignore_terms)

    def _instant(self, sample: int) -> float:
        """Return the instant of the clock at which the user's sample was spoken."""
        return self._ear.covered - secs_of(self._listener.position - sample)

    # What it tells and keeps

    def _tell(self, listener: Listener) -> None:
        if listener.text != self._partial and listener.utterance is not None:
            self._partial = listener.text
            self._emit(events.UserPartial(self._partial))
        if listener.position % SCORE_SAMPLES == 0:
            self._emit(events.VadScore(round(listener.detector.probability, 4)))

    def _change(self, state: events.SessionState) -> None:
        if state != self._state:
            self._state = state
            self._emit(events.StateChanged(state))

    def _emit(self, event: events.VoiceEvent) -> None:
        if isinstance(event, events.UserFinal):
            self._quiet.user_spoke()  # the words may come long after the voice
        if self._on_event is None:
            return
        try:
            self._on_event(event)
        except Exception as error:  # the edge: somebody else's callback
            logger.error("a listener of this session failed on %s", type(event).__name__, exc_info=error)

    def _record_user(self, frame: bytes, ends: float) -> None:
        assert self._recording is not None
        at = round((ends - self._started) * SESSION_RATE_HZ) - FRAME_SAMPLES
        self._recording.user(frame, max(0, at) * self._recording.rate_hz // SESSION_RATE_HZ)

    def _record_agent(self, pcm: bytes, at: int) -> None:
        assert self._recording is not None
        rate_hz = self._mouth.rate_hz
        self._recording.agent(pcm, at * self._recording.rate_hz // rate_hz, rate_hz=rate_hz)

    def _unrecord_agent(self, at: int) -> None:
        assert self._recording is not None
        self._recording.cut_agent(at * self._recording.rate_hz // self._mouth.rate_hz)

    # How it ends

    def _spawn(self, work: Coroutine[Any, Any, Any]) -> asyncio.Task[Any]:
        """Start a task; it is cancelled at the end of the session, and its failure ends the session."""
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._task_done)
        return task

    def _task_done(self, task: asyncio.Task[Any]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            self._fail(error)

    def _fail(self, error: BaseException) -> None:
        if self._over is not None and not self._over.done():
            self.failure = error
            if not isinstance(error, ConvaiLabError):
                logger.error("a voice session failed", exc_info=error)
            self._finish(settings.scrub(str(error) or type(error).__name__), "system")

    def _finish(self, reason: str, by: str) -> None:
        if self._over is not None and not self._over.done():
            self._over.set_result((reason, by))

    async def _close(self, reason: str, by: str) -> None:
        """Record the end: what was heard of the agent, the user's last words, and why it is over."""
        assert self._over is not None
        if not self._over.done():
            self._over.set_result((reason, by))
        self._answering.cut()
        await self._soon(self._answering.settled())
        await self._last_words()
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        self._listener.drop()
        await self._loop.end(reason, by=by, failed=self.failure is not None)
        if self._recording is not None:
            self._recording.stop(round((self._clock.now() - self._started) * self._recording.rate_hz))
            if missing := self._recording.missing:
                logger.warning("the sound of this session is not all there: %s", missing)
        self._change("ended")
        self._emit(events.SessionEnded(self._loop.end_reason or reason, by))
        self._ended.set()

    async def _last_words(self) -> None:
        """Keep what the user had said and nobody answered."""
        utterance = self._listener.utterance
        if utterance is not None:
            utterance.pause(self._clock.now)
            self._floor.waiting.append(utterance)
        for said in () if self._loop.ended else self._floor.waiting:
            start, end = self._instant(said.start), self._instant(said.audible_end)
            try:
                await self._soon(self._answering.commit(said, start, end, answer=None))
            except ConvaiLabError as error:
                logger.warning("the user's last words were not kept: %s", error)

    async def _soon(self, work: Coroutine[Any, Any, Any]) -> None:
        """Wait for what needs the words of a recogniser, which is hurried after a while."""
        hurry = self._spawn(self._hurry())
        try:
            await work
        finally:
            hurry.cancel()

    async def _hurry(self) -> None:
        await self._clock.sleep(LAST_WORDS_SECS)
        self._answering.hurry()
