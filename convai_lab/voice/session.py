"""Session: what happens between the first and the last sound of a voice conversation?

A short state machine over named parts: the `Listener` hears the user, `Answering` lets the agent think and speak,
`Interruption` judges who gives way. Everything runs on one event loop; what is decided from sound counts sound.

When the recogniser or the voice fails, the turn is recorded with its error and the session goes on; after
`MAX_FAILURES` failures in a row it ends. When the model fails, the session ends.
"""

from __future__ import annotations

import asyncio
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
from convai_lab.voice.interruption import Interruption, Verdict
from convai_lab.voice.listening import FRAME_SAMPLES, Ear, Happening, Listener, Utterance
from convai_lab.voice.recording import Recording
from convai_lab.voice.speaking import Mouth
from convai_lab.voice.transport import Transport
from convai_lab.voice.vad import samples_of, secs_of

logger = logging.getLogger("convai_lab.voice")

MAX_FAILURES = 3
FRAMES_AT_ONCE = 10
"""After so many frames of a burst, others get their turn on the event loop."""
KEYPAD_SECS = 1.5
"""Digits from the keypad are one message when none follows for so long; ``#`` ends it at once."""
KEYS = "0123456789*#ABCDabcd"
DTMF = "dtmf"
"""Marks a user's turn that was entered on a keypad."""
FOREVER = 1 << 62
LAST_WORDS_SECS = 2.0
"""So long the recogniser may take for what was said when the session ended."""
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
        self._on_event, self._recording = on_event, recording
        started = clock.now()
        self._listener = Listener(engines, loop.agent.turn, now=clock.now)
        self._mouth = Mouth(tts=engines.tts, transport=transport, clock=clock, started=started, rate_hz=output_rate_hz)
        self._ear = Ear(started)
        self._answering = Answering(
            loop=loop, mouth=self._mouth, clock=clock, emit=self._emit, asr_name=engines.asr.name, spawn=self._spawn
        )
        self._judge = Interruption()
        self._answering.when_over = self._answered
        self._answering.when_audible = lambda: self._change("speaking")
        self._answering.is_for_agent = self._is_for_agent
        if recording is not None:
            self._mouth.on_audio = self._record_agent
            self._mouth.on_cut = lambda at: recording.cut_agent(at * recording.rate_hz // output_rate_hz)
        self._started = started
        self._tasks: set[asyncio.Task[Any]] = set()
        self._over: asyncio.Future[tuple[str, str]] | None = None
        self._ended = asyncio.Event()
        self._state: events.SessionState = "connecting"
        self._waiting: list[Utterance] = []
        self._utterance: Utterance | None = None
        self._keys = ""
        self._keys_timer: asyncio.Task[None] | None = None
        self._partial = ""
        self._quiet = self._user_quiet = 0
        self._quiet_limit = self._user_quiet_limit = FOREVER
        self._is_patient = False
        self._burst = -1

    async def run(self) -> Conversation:
        """Hold the conversation and return its record; cancelled, it ends, is recorded, and raises."""
        self._over = asyncio.get_running_loop().create_future()
        reason, by = CANCELLED, "system"
        self._emit(events.StateChanged("connecting"))
        try:
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
        if self._is_open:
            self._interrupt()
            self._answer(self._answering.message(text))

    def add_context(self, text: str) -> None:
        """Tell the agent something, without a turn."""
        self._loop.add_context(text)

    def user_activity(self) -> None:
        """Note that the user is doing something: the silence counts from now on."""
        self._quiet = self._user_quiet = 0

    def dtmf(self, digit: str) -> None:
        """Take a key of the telephone's keypad; keys in a row are one message to the agent."""
        if not self._is_open or len(digit) != 1 or digit not in KEYS:
            return
        self._interrupt()
        self._keys += digit
        if self._keys_timer is not None:
            self._keys_timer.cancel()
        self._keys_timer = self._spawn(self._wait_for_keys(0 if digit == "#" else KEYPAD_SECS))

    @property
    def _is_open(self) -> bool:
        return self._over is not None and not self._over.done() and not self._loop.ended

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
            wait = self._ear.wait(self._clock.now(), is_busy=self._listener.is_busy)
            await self._clock.sleep(min(wait, max(FRAME_MS / 1000, secs_of(self._quiet_limit - self._quiet))))
            if frames := self._ear.silence_due(self._clock.now()):
                happening = self._listener.hear_silence(frames)
                self._happened(happening)
                self._count_quiet(frames * FRAME_SAMPLES)

    async def _watch_time(self) -> None:
        """End the conversation when it has lasted as long as it may."""
        await self._clock.sleep(self._loop.seconds_left)
        self._finish(OUT_OF_TIME, "system")

    def _hear(self, frame: bytes) -> None:
        """Hear one frame of the user's audio."""
        self._ear.cover(self._clock.now())
        listener = self._listener
        happening = listener.hear(frame, over_agent=self._answering.current is not None)
        if self._recording is not None:
            self._record_user(frame)
        if listener.detector.burst_samples and self._answering.current is not None:
            self._consider(frame)
        self._happened(happening)
        self._count_quiet(FRAME_SAMPLES)
        self._tell(listener)

    def _happened(self, happening: Happening | None) -> None:
        """Do what the listener's news asks for."""
        if happening is None:
            return
        if happening == "started":
            self._utterance = self._listener.utterance
            return
        utterance = self._utterance
        assert utterance is not None
        if happening == "noise":
            self._resume()
        elif happening == "paused" and self._can_be_cut:
            self._spawn(self._weigh(utterance))
        elif happening == "ended":
            self._turn_over(utterance)

    # Who speaks

    def _consider(self, frame: bytes) -> None:
        """Judge what the user's voice means for the agent that is speaking or about to."""
        detector = self._listener.detector
        if not self._can_be_cut:
            return
        if detector.burst_start != self._burst:
            self._burst = detector.burst_start
            self._judge.begin()
        self._judge.hear(frame)
        speech_ms = secs_of(detector.burst_samples) * 1000
        match self._judge.verdict(speech_ms, self._listener.text, agent_text=self._agent_text):
            case Verdict.HOLD:
                self._mouth.hold()
            case Verdict.INTERRUPT:
                self._interrupt()

    async def _weigh(self, utterance: Utterance) -> None:
        """Decide at a pause of the user whether they meant the agent."""
        is_meant = await self._is_meant(utterance)
        if self._utterance is utterance and self._can_be_cut:
            if is_meant:
                self._interrupt()
            elif self._listener.utterance is not utterance or utterance.is_paused:
                self._resume()

    async def _is_meant(self, utterance: Utterance) -> bool:
        """Say whether there are words for the agent in what the user said so far."""
        try:
            text = (await utterance.final()).text
        except ConvaiLabError:
            return False
        return not self._judge.is_ignorable(text, agent_text=self._agent_text)

    def _turn_over(self, utterance: Utterance) -> None:
        """The user's turn is over: answer it now, or once the agent has said what must be heard."""
        if self._answering.current is None:
            self._reply_to(utterance)
        else:
            self._spawn(self._overlapped(utterance))

    async def _overlapped(self, utterance: Utterance) -> None:
        """Deal with a turn of the user that was over before the agent's."""
        if not await self._is_meant(utterance):
            self._resume()
        elif self._can_be_cut or self._answering.current is None:
            self._interrupt()
            self._reply_to(utterance)
        else:
            self._waiting.append(utterance)

    def _reply_to(self, utterance: Utterance) -> None:
        start, end = self._instant(utterance.start), self._instant(utterance.end)
        self._answer(self._answering.utterance(utterance, start_at=start, end_at=end))

    def _answer(self, _answer: Answer) -> None:
        """An answer has begun."""
        self._mouth.release()
        self._change("thinking")

    def _interrupt(self) -> None:
        """Let the user speak: the agent stops, and is told what was heard."""
        if self._answering.current is not None:
            self._answering.cut()
            self._change("listening")
        self._mouth.release()

    def _resume(self) -> None:
        """It was no interruption: the agent goes on where it was."""
        self._mouth.resume()

    def _answered(self, answer: Answer) -> None:
        """An answer came to its end by itself."""
        self._adopt_agent()
        self._is_patient = answer.skipped
        self._quiet = 0
        if self._loop.ended:
            by = "system" if self._loop.end_reason == OUT_OF_TIME else "agent"
            self._finish(self._loop.end_reason or "", by)
        elif self._answering.failures >= MAX_FAILURES:
            self._fail(ConvaiLabError(f"the speech engines failed {MAX_FAILURES} times in a row"))
        elif self._waiting:
            self._reply_to(self._waiting.pop(0))
        else:
            self._change("listening")

    def _count_quiet(self, samples: int) -> None:
        """Count the silence of both sides, and do what is due after so much of it."""
        if self._answering.current is not None:
            self._quiet = 0
        elif self._listener.utterance is not None and self._listener.text:
            self._quiet = self._user_quiet = 0
            self._is_patient = False
        else:
            self._quiet += samples
            self._user_quiet += samples
            if self._quiet >= self._quiet_limit or self._user_quiet >= self._user_quiet_limit:
                self._too_quiet()

    def _too_quiet(self) -> None:
        if self._user_quiet >= self._user_quiet_limit:
            self._finish(SILENCE, "system")
        elif not self._is_patient:
            self._answer(self._answering.nudge())
        self._quiet = 0

    async def _wait_for_keys(self, secs: float) -> None:
        """Send what was typed on the keypad once no more keys follow."""
        await self._clock.sleep(secs)
        keys, self._keys, self._keys_timer = self._keys, "", None
        self._interrupt()
        self._answer(self._answering.message(keys, mark=DTMF))

    # What it knows

    @property
    def _can_be_cut(self) -> bool:
        answer = self._answering.current
        return answer is not None and answer.is_interruptible and not self._loop.ended

    @property
    def _agent_text(self) -> str:
        answer = self._answering.current
        return answer.text if answer is not None else self._answering.last_text

    def _is_for_agent(self, text: str, utterance: Utterance) -> bool:
        """Say whether a turn of the user is one: there are words, and not only a listener's noises over the agent."""
        if not text.strip():
            return False
        return not (utterance.over_agent and self._judge.is_ignorable(text, agent_text=self._answering.last_text))

    def _instant(self, sample: int) -> float:
        """Return the instant of the clock at which the user's sample was spoken."""
        return self._ear.covered - secs_of(self._listener.position - sample)

    def _adopt_agent(self) -> None:
        """Take over the turn-taking of the agent that speaks now."""
        agent, listener = self._loop.agent, self._listener
        turn = listener.turn = agent.turn
        listener.language = self._loop.conversation.language or agent.language
        listener.phrases = (*agent.asr_keywords, *agent.expected_phrases)
        self._judge = Interruption(turn.ignore_terms)
        patience = turn.timeout_secs
        if turn.initial_wait_secs is not None and not self._loop.conversation.turns and not agent.first_message.strip():
            patience = turn.initial_wait_secs
        self._quiet_limit = samples_of(patience * 1000) if patience > 0 else FOREVER
        end_call = turn.silence_end_call_secs
        self._user_quiet_limit = FOREVER if end_call is None or end_call < 0 else samples_of(end_call * 1000)

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
        if self._on_event is None:
            return
        try:
            self._on_event(event)
        except Exception as error:  # the edge: somebody else's callback
            logger.error("a listener of this session failed on %s", type(event).__name__, exc_info=error)

    def _record_user(self, frame: bytes) -> None:
        assert self._recording is not None
        at = round((self._ear.covered - self._started) * SESSION_RATE_HZ) - FRAME_SAMPLES
        self._recording.user(frame, max(0, at) * self._recording.rate_hz // SESSION_RATE_HZ)

    def _record_agent(self, pcm: bytes, at: int) -> None:
        assert self._recording is not None
        rate_hz = self._mouth.rate_hz
        self._recording.agent(pcm, at * self._recording.rate_hz // rate_hz, rate_hz=rate_hz)

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
        await self._answering.settled()
        await self._last_words()
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        self._listener.drop()
        await self._loop.end(reason, by=by, failed=self.failure is not None)
        if self._recording is not None:
            self._recording.stop(round((self._clock.now() - self._started) * self._recording.rate_hz))
        self._change("ended")
        self._emit(events.SessionEnded(self._loop.end_reason or reason, by))
        self._ended.set()

    async def _last_words(self) -> None:
        """Keep what the user had said and nobody answered."""
        utterance = self._listener.utterance
        if utterance is not None:
            utterance.pause(self._clock.now)
            self._waiting.append(utterance)
        for said in () if self._loop.ended else self._waiting:
            try:
                async with self._clock.timeout(LAST_WORDS_SECS):
                    await self._answering.commit(said, self._instant(said.start), self._instant(said.end), answer=None)
            except (TimeoutError, ConvaiLabError) as error:
                logger.warning("the user's last words were not recognised: %s", error)
