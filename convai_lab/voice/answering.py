"""Answering: how does what the user said become what the agent is heard saying?

An `Answer` is one exchange: the user's final words, the agent's reply as it streams, its speech, and the account of
it in the record. One is under way at a time. The user may cut it; the record then says what was heard.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import Any

from convai_lab import settings
from convai_lab.clock import Clock
from convai_lab.conversations.turn import Turn
from convai_lab.dialogue import reply as replies
from convai_lab.dialogue.conversation_loop import ConversationLoop
from convai_lab.dialogue.history import FILLER
from convai_lab.dialogue.outside_text import MAX_USER_CHARS
from convai_lab.dialogue.reply import MAX_DURATION, TRANSFER
from convai_lab.errors import ConvaiLabError
from convai_lab.providers.base import Final
from convai_lab.voice import events
from convai_lab.voice.latency import ReplyLatency
from convai_lab.voice.listening import Utterance
from convai_lab.voice.speaking import Mouth, Speech
from convai_lab.voice.transit import Transit

LOW_CONFIDENCE = 0.5
"""Below this the words are likelier wrong than right: every recogniser's confidence is a likelihood of being right."""
LOW_CONFIDENCE_MARK = "low_confidence"
"""Marks a user's turn of which the recogniser was not sure."""

PAUSES_TO_SPEAK = 12
"""So often others may run once a first sentence is there: its voice begins, the transport sends it, and other sessions
come to their first sentence, before the rest of the text is read and recorded."""

LATEST_MEASURE_SECS = 5.0
"""Who measures how long sound takes tells it every second; what comes later than this is about something else."""

Spawn = Callable[[Coroutine[Any, Any, Any]], asyncio.Task[Any]]


@dataclass(eq=False)
class Answer:
    """One exchange; `task` makes it, `speeches` are the agent's turns in it, the newest last."""

    is_interruptible: bool = True
    latency: ReplyLatency = field(default_factory=ReplyLatency)
    speeches: list[Speech] = field(default_factory=list)
    speech: Speech | None = None
    is_committed: bool = False
    """The user's words are in the record."""
    is_cut: bool = False
    skipped: bool = False
    turns_before: int = 0
    has_paused: bool = False
    is_timed: bool = False
    """How long sound takes was measured as it began to be heard."""
    index: int | None = None
    """Where the agent's turn is in the record, once it is complete there."""
    task: asyncio.Task[None] | None = None

    @property
    def text(self) -> str:
        """Return what the agent has been saying in it."""
        return self.speeches[-1].text if self.speeches else ""


class Answering:
    """Makes one answer at a time; `when_over` hears of every one that was not cut."""

    def __init__(
        self, *, loop: ConversationLoop, mouth: Mouth, clock: Clock, emit: Callable[[events.VoiceEvent], None],
        asr_name: str, spawn: Spawn,
    ) -> None:  # fmt: skip
        self.current: Answer | None = None
        self.last_text = ""
        self.failures, self.last_failure = 0, ""
        self.when_over: Callable[[Answer], None] = lambda _answer: None
        self.when_audible: Callable[[], None] = lambda: None
        self.is_for_agent: Callable[[str, Utterance], bool] = lambda text, _utterance: bool(text.strip())
        self._loop, self._mouth, self._clock, self._emit = loop, mouth, clock, emit
        self._asr_name, self._spawn = asr_name, spawn
        self._settling: asyncio.Task[None] | None = None
        self._spoken: Answer | None = None
        self._awaited: list[Utterance] = []

    @property
    def is_last(self) -> bool:
        """Say whether the conversation is over once this answer was heard."""
        return self._loop.ended

    def greet(self) -> Answer:
        """Say the first message, if there is one."""
        return self._begin(self._greeting, Answer(is_interruptible=self._loop.agent.turn.first_message_interruptible))

    def utterance(self, utterance: Utterance, *, start_at: float, end_at: float) -> Answer:
        """Answer what the user said; the instants are those of the speech in the audio."""
        answer = Answer()
        answer.latency.mark("speech_ended", end_at)
        answer.latency.mark("endpoint", self._clock.now() if utterance.quiet_at is None else utterance.quiet_at)
        return self._begin(lambda a: self._to_utterance(a, utterance, start_at, end_at), answer)

    def message(self, text: str, *, mark: str | None = None) -> Answer:
        """Answer what the user typed."""
        return self._begin(lambda answer: self._to_text(answer, text, mark))

    def nudge(self) -> Answer:
        """Let the agent speak again because nobody does."""
        return self._begin(self._reply)

    def take_leave(self, last_words: Callable[[], Awaitable[None]]) -> None:
        """End the conversation: stop the answer under way, keep the user's last words, and say the agent's farewell."""
        self.cut()
        self._begin(lambda answer: self._farewell(answer, last_words), Answer(is_interruptible=False))

    def cut(self) -> None:
        """Stop the answer under way: the user does not want to hear the rest."""
        answer = self.current
        if answer is None or answer.is_cut or answer.task is None:
            return
        answer.is_cut, self.current = True, None
        self._mouth.stop()
        if answer.text:
            self._emit(events.Interrupted(answer.speeches[-1].audio_id))
        if answer.is_committed:
            answer.task.cancel()
        self._settling = self._spawn(self._settle(answer, self._settling))

    def sound_takes(self, transit: Transit) -> None:
        """Take how long sound takes: it belongs to the answer that began to be heard last.

        A figure of the moment at which it began is better than another. A turn that is complete in the record is
        corrected.
        """
        answer = self._spoken
        if answer is None or answer.is_timed or not (transit.is_at_start or answer.latency.transport_ms is None):
            return
        starts = [self._mouth.instant(speech.starts_at) for speech in answer.speeches if speech.starts_at is not None]
        if starts and 0 <= self._clock.now() - starts[0] <= LATEST_MEASURE_SECS:
            answer.latency.transport_ms, answer.is_timed = transit.ms(starts[0]), transit.is_at_start
            if answer.index is not None:
                metrics = self._loop.conversation.turns[answer.index].metrics
                self._loop.amend(answer.index, metrics=answer.latency.metrics(metrics))

    async def settled(self) -> None:
        """Wait until what was cut is in the record."""
        if self._settling is not None:
            await asyncio.shield(self._settling)

    def hurry(self) -> None:
        """Wait no longer for the words of what the user said: what is known of them goes into the record."""
        for utterance in self._awaited:
            utterance.hurry()

    async def commit(self, utterance: Utterance, start_at: float, end_at: float, *, answer: Answer | None) -> bool:
        """Record what the user said; false when it was nothing for the agent."""
        final = await self._final(utterance)
        if isinstance(final, Final) and not self.is_for_agent(final.text, utterance):
            return False
        details: dict[str, Any] = {
            "start_secs": self._loop.secs_at(start_at),
            "end_secs": self._loop.secs_at(end_at),
            "asr_engine": self._asr_name,
        }
        if isinstance(final, Final):
            sure = final.confidence
            self._emit(events.UserFinal(final.text, sure))
            unsure = sure is not None and sure < LOW_CONFIDENCE
            details |= {"asr_confidence": sure, "marks": (LOW_CONFIDENCE_MARK,) if unsure else ()}
            self._user_said(answer, final.text, details)
            return True
        self._user_said(answer, "", {**details, "error": final})
        return False

    async def _final(self, utterance: Utterance) -> Final | str:
        """Return the final words, or what went wrong with the recogniser."""
        self._awaited.append(utterance)
        try:
            return await utterance.final()
        except ConvaiLabError as error:
            return self._failed(error)
        finally:
            self._awaited.remove(utterance)

    def _user_said(self, answer: Answer | None, text: str, details: dict[str, Any]) -> None:
        self._loop.user_said(text[:MAX_USER_CHARS], **details)
        if answer is not None:
            answer.is_committed, answer.turns_before = True, len(self._loop.conversation.turns)

    def _failed(self, error: Exception) -> str:
        """Count a failure of a speech engine; the session may go on."""
        self.failures += 1
        self.last_failure = settings.scrub(str(error) or type(error).__name__)
        return self.last_failure

    def _begin(self, work: Callable[[Answer], Awaitable[None]], answer: Answer | None = None) -> Answer:
        answer = answer or Answer()
        self.current = answer
        answer.task = self._spawn(self._run(answer, work, self._settling))
        return answer

    async def _run(
        self, answer: Answer, work: Callable[[Answer], Awaitable[None]], settling: asyncio.Task[None] | None
    ) -> None:
        if settling is not None:
            await asyncio.shield(settling)
        answer.turns_before = len(self._loop.conversation.turns)
        await work(answer)
        if self.current is answer:
            self.current = None
            self.when_over(answer)

    async def _greeting(self, answer: Answer) -> None:
        answer.is_committed = True
        if (turn := await self._loop.open()) is not None:
            await self._say(answer, turn)

    async def _farewell(self, answer: Answer, last_words: Callable[[], Awaitable[None]]) -> None:
        answer.is_committed = True
        await last_words()
        answer.turns_before = len(self._loop.conversation.turns)
        if (turn := self._loop.time_is_up()) is not None:
            await self._say(answer, turn)

    async def _say(self, answer: Answer, turn: Turn) -> None:
        """Speak a turn that is there as a whole, and wait until it was heard."""
        speech = self._new_speech(answer)
        self._emit(events.AgentText(turn.text, speech.turn_id))
        speech.write(turn.text)
        self._end_turn(answer, turn)
        await self._heard(answer)

    async def _to_utterance(self, answer: Answer, utterance: Utterance, start_at: float, end_at: float) -> None:
        if await self.commit(utterance, start_at, end_at, answer=answer) and not answer.is_cut:
            for name, at in (("asr_asked", utterance.asr_asked_at), ("asr_final", utterance.asr_done_at)):
                if at is not None:
                    answer.latency.mark(name, at)  # type: ignore[arg-type]
            await self._reply(answer)

    async def _to_text(self, answer: Answer, text: str, mark: str | None) -> None:
        self._user_said(answer, text, {"soon": True, **({"marks": (mark,)} if mark else {})})
        if not answer.is_cut:
            await self._reply(answer)

    async def _reply(self, answer: Answer) -> None:
        """Let the agent think and speak, and account for what was heard."""
        answer.is_committed = True
        answer.latency.mark("llm_asked", self._clock.now())
        filler = self._spawn(self._fill_silence(answer))
        try:
            async with aclosing(self._loop.reply()) as stream:
                async for event in stream:
                    self._take(event, answer)
                    await self._let_speak(answer)
        finally:
            filler.cancel()
        await self._heard(answer)

    async def _let_speak(self, answer: Answer) -> None:
        """Let the first sentence be spoken before the rest of the text is read: it is all there at once, sometimes."""
        if answer.has_paused or answer.speech is None or answer.speech.first_sentence_at is None:
            return
        answer.has_paused = True
        for _ in range(PAUSES_TO_SPEAK):
            await asyncio.sleep(0)

    def _take(self, event: replies.ReplyEvent, answer: Answer) -> None:
        """Do what one event of the reply asks for."""
        if not isinstance(event, replies.ReplyDone):
            answer.latency.mark("llm_first_token", self._clock.now())
        match event:
            case replies.ReplyText(text=text):
                speech = answer.speech or self._new_speech(answer)
                self._emit(events.AgentText(text, speech.turn_id))
                speech.write(text)
            case replies.ToolStarted(call=call):
                if answer.speech is not None:
                    answer.speech.end_passage()
                self._emit(events.ToolStarted(call))
            case replies.ToolFinished(result=result):
                self._emit(events.ToolFinished(result))
            case replies.ReplyDone(turn=turn):
                self._end_turn(answer, turn)

    def _new_speech(self, answer: Answer) -> Speech:
        agent = self._loop.agent
        self._mouth.voice, self._mouth.speed = agent.voice, agent.speed
        speech = answer.speech = self._mouth.begin()
        speech.on_audible = self.when_audible
        answer.speeches.append(speech)
        self._spoken = answer
        return speech

    def _end_turn(self, answer: Answer, turn: Turn) -> None:
        """The text of a turn is complete, and recorded; its speech goes on."""
        answer.skipped = turn.finish_reason == "skip_turn"
        speech, answer.speech = answer.speech, None
        if speech is not None:
            speech.finish()
            self._emit(events.AgentTurn(turn.text, speech.turn_id))
            if turn.finish_reason in (TRANSFER, MAX_DURATION):  # another turn may follow, and be the last one
                self._loop.amend(**self._known_of(answer, speech, turn))

    async def _heard(self, answer: Answer) -> None:
        """Wait until the agent was heard, then complete the record."""
        for speech in answer.speeches:
            await speech.heard()
        if answer.speeches:
            last = self._last_agent_turn(answer)
            self.last_text = answer.text
            if last is not None:
                self._loop.amend(**self._known_of(answer, answer.speeches[-1], last))
            self._count_failures(answer)

    def _count_failures(self, answer: Answer) -> None:
        errors = [speech.error for speech in answer.speeches if speech.error is not None]
        if errors:
            self._failed(errors[0])
        else:
            self.failures = 0

    def _known_of(self, answer: Answer, speech: Speech, turn: Turn) -> dict[str, Any]:
        """Return what the record should tell of a turn's speech."""
        self._measure(answer.latency, speech)
        answer.index = next((n for n, one in enumerate(self._loop.conversation.turns) if one is turn), None)
        changes: dict[str, Any] = {
            "tts_engine": self._mouth.tts.name,
            "voice": self._mouth.voice,
            "metrics": answer.latency.metrics(turn.metrics),
        }
        if speech.starts_at is not None:
            start, end = self._mouth.instant(speech.starts_at), self._mouth.instant(speech.playout.ends_at)
            changes |= {"start_secs": self._loop.secs_at(start), "end_secs": self._loop.secs_at(end)}
        if speech.error is not None:
            shown = settings.scrub(str(speech.error) or type(speech.error).__name__)
            changes |= {"error": turn.error or f"voice: {shown}", "text_heard": speech.text_heard}
        return changes

    def _measure(self, latency: ReplyLatency, speech: Speech) -> None:
        audible = None if speech.starts_at is None else self._mouth.instant(speech.starts_at)
        for name, at in (
            ("first_sentence", speech.first_sentence_at),
            ("tts_asked", speech.tts_asked_at),
            ("tts_first_byte", speech.tts_first_at),
            ("audible", audible),
        ):
            if at is not None:
                latency.mark(name, at)  # type: ignore[arg-type]

    async def _settle(self, answer: Answer, before: asyncio.Task[None] | None) -> None:
        """Put into the record how much was heard of an answer that was cut."""
        if before is not None:
            await asyncio.shield(before)
        assert answer.task is not None
        await asyncio.gather(answer.task, return_exceptions=True)
        self.last_text = answer.text
        turn = self._last_agent_turn(answer)
        if turn is None:
            return
        heard = answer.speeches[-1].text_heard if answer.speeches else ""
        self._loop.interrupt(heard, **(self._known_of(answer, answer.speeches[-1], turn) if answer.speeches else {}))
        if answer.speeches:
            self._emit(events.AgentCorrected(turn.text, heard, answer.speeches[-1].audio_id))

    def _last_agent_turn(self, answer: Answer) -> Turn | None:
        """Return the newest turn of this answer in the record."""
        turns = self._loop.conversation.turns[answer.turns_before :]
        return next((turn for turn in reversed(turns) if turn.role == "agent" and FILLER not in turn.marks), None)

    async def _fill_silence(self, answer: Answer) -> None:
        """Say the agent's filler when its reply is slow."""
        turn = self._loop.agent.turn
        if turn.soft_timeout_secs is None:
            return
        await self._clock.sleep(turn.soft_timeout_secs)
        if answer.speech is not None or answer.is_cut or self._mouth.is_speaking or self._mouth.is_held:
            return
        filler = self._loop.say(turn.soft_timeout_message, mark=FILLER)
        self._mouth.voice, self._mouth.speed = self._loop.agent.voice, self._loop.agent.speed
        speech = self._mouth.begin()
        speech.on_audible = self.when_audible
        self._emit(events.AgentText(filler.text, speech.turn_id))
        self._emit(events.AgentTurn(filler.text, speech.turn_id))
        speech.write(filler.text)
        speech.finish()
        self._spawn(speech.heard())
