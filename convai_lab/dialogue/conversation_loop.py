"""Conversation loop: who speaks next in a conversation, and when is it over?

The websocket, the simulation and the phone drive it; it keeps the record. Every turn is recorded before the
driver hears of it.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import aclosing
from typing import Any

from convai_lab import settings
from convai_lab.agents.agent import Agent
from convai_lab.agents.prompt import fill
from convai_lab.clock import Clock
from convai_lab.conversations.conversation import Conversation
from convai_lab.conversations.turn import Turn
from convai_lab.dialogue.foresight import Foresight
from convai_lab.dialogue.history import CONTEXT, DEFAULT_CONTEXT_TOKENS
from convai_lab.dialogue.known_variables import KnownVariables
from convai_lab.dialogue.outside_text import MAX_ERROR_CHARS, cut, well_formed
from convai_lab.dialogue.record import Record, Recorder, own, with_own
from convai_lab.dialogue.reply import (
    DEFAULT_REQUEST_SECS,
    MAX_DURATION,
    Limits,
    OutOfTime,
    Reply,
    ReplyDone,
    ReplyEvent,
    ReplyText,
    Round,
    Surroundings,
)
from convai_lab.dialogue.speaker import Requests, Speaker
from convai_lab.dialogue.system_prompt import farewell_of, system_prompt, variables_of
from convai_lab.dialogue.system_tools import AgentTransfer, EndCall, SwitchLanguage
from convai_lab.dialogue.tool_runner import ToolOutcome, ToolRunner
from convai_lab.dialogue.user_turn import user_text, user_turn
from convai_lab.errors import ConvaiLabError, ConversationClosedError, MissingVariableError
from convai_lab.providers.base import LLM, ChatRequest

MAX_TRANSFERS = 5
"""So many agents may take over one after the other before a user's turn is answered."""

OUT_OF_TIME = "max_duration_exceeded"
SILENCE = "silence"
FAREWELL = "farewell"
"""Marks the turn in which the agent takes leave because the conversation has lasted as long as it may."""


class ConversationLoop:
    """One conversation between a user and an agent, as turns.

    Pass a `Conversation` that already has turns to go on with it. `ended` and `end_reason` say whether it is over.
    """

    def __init__(
        self,
        *,
        agent: Agent,
        conversation: Conversation,
        llm: LLM,
        tools: ToolRunner,
        clock: Clock,
        recorder: Recorder | None = None,
        llm_timeout_secs: float = 20,
        context_tokens: int = DEFAULT_CONTEXT_TOKENS,
        extra_body: Mapping[str, Any] | None = None,
    ) -> None:
        self.ended = False
        self.end_reason: str | None = None
        self._speaker, self._clock = Speaker(agent, llm, tools), clock
        self._llm_timeout_secs = llm_timeout_secs
        self._requests = Requests(context_tokens=context_tokens, extra_body=dict(extra_body or {}))
        self._record = Record(conversation, clock, recorder)
        self._known = KnownVariables(self._record, clock)
        self._context: list[str] = list(own(conversation.extra, CONTEXT, ()))
        self._next: Speaker | None = None
        self._next_marks: tuple[str, ...] = ()
        self._marks: tuple[str, ...] = ()
        self._running: Reply | None = None
        self._user_done_at: float | None = None
        self._foresight: Foresight | None = None

    @property
    def conversation(self) -> Conversation:
        """The record so far."""
        return self._record.conversation

    @property
    def agent(self) -> Agent:
        """The agent that speaks now."""
        return self._speaker.agent

    @property
    def seconds_left(self) -> float:
        """Seconds until the conversation reaches the agent's longest duration; a pause before resuming is free."""
        return max(0.0, self._speaker.agent.max_duration_secs - self._record.secs_open())

    def secs_at(self, instant: float) -> float:
        """Return an instant of the clock as seconds since the conversation started."""
        return max(0.0, self._record.secs_at(instant))

    async def open(self) -> Turn | None:
        """Begin: record and return the first message as the agent's turn; None when there is none to say.

        Raises:
            MissingVariableError: The prompt or the first message names a variable that has no value.
        """
        self._must_be_free("open")
        self._known.take(self.conversation.variables)
        variables = self._variables()
        system_prompt(self._speaker.agent, self.conversation, variables)
        farewell_of(self._speaker.agent, variables)
        text = fill(self._speaker.agent.first_message, variables, where="the first message")
        self._record.change(
            status="in-progress",
            end_reason=None,
            ended_by=None,
            first_version=self.conversation.first_version or self._speaker.agent.version,
            language=self.conversation.language or self._speaker.agent.language,
            extra=with_own(self.conversation.extra, CONTEXT, []),
        )
        if self.conversation.turns or not text.strip():
            return None
        return self.say(text, mark="first_message")

    def say(self, text: str, *, mark: str) -> Turn:
        """Record what the agent says without asking its model: a first message, an apology, a filler (`FILLER`)."""
        now = self._record.secs()
        turn = Turn(role="agent", text=well_formed(text), start_secs=now, end_secs=now, marks=(mark,))
        return self._add(
            turn.with_changes(started_at=self._record.wall_at(now), **self._speaker.signature(self.conversation))
        )

    def user_said(self, text: str, *, soon: bool = False, **details: Any) -> Turn:
        """Record the user's turn; `details` are other fields of the turn, such as ``asr_engine`` or ``start_secs``.

        With `soon` it is written while the model is asked, and in any case before the reply is told.

        Raises:
            InvalidValueError: The text is no text or far too long, or a detail is no field of a turn.
            ConvaiLabError: A reply is under way, or the conversation has ended.
        """
        self._must_be_free("user_said")
        now = self._record.secs()
        times = {"started_at": self._record.wall_at(details.get("start_secs", now)), "start_secs": now, "end_secs": now}
        turn = user_turn(text, times, details)
        self._user_done_at = self._record.instant_at(now if turn.end_secs is None else turn.end_secs)
        return self._add(turn, soon=soon)

    def foresee(self, text: str | None) -> None:
        """Ask the model already now what it would answer if the user had said this; None forgets the guess.

        The next reply begins with that answer if the guess was right.
        """
        if self._foresight is not None:
            self._foresight.drop()
            self._foresight = None
        if text is None or self.ended or self._running is not None or self._next is not None:
            return
        guess = user_turn(text, {}, {}).with_changes(extra=with_own({}, CONTEXT, self._context))
        guessed = self.conversation.with_changes(turns=(*self.conversation.turns, guess))
        request = self._requests.build(self._speaker, guessed, self._variables(), context=(), rounds=())
        self._foresight = Foresight(self._speaker.llm, request)

    def add_context(self, text: str) -> None:
        """Tell the agent something, without a turn: it reads it before its next reply."""
        self._context.append(user_text(text))

    def use_agent(self, agent: Agent, llm: LLM, *, mark: str = "live_edit") -> None:
        """Let this agent and model speak from the next reply on; that turn is marked with `mark`.

        Raises:
            MissingVariableError: Its prompt names a variable that has no value; nothing changes then.
        """
        system_prompt(agent, self.conversation, variables_of(agent, self.conversation, now=self._clock.wall()))
        self._next = self._speaker.replaced_by(agent, llm)
        self._next_marks = tuple(dict.fromkeys((*self._next_marks, mark)))

    async def reply(self) -> AsyncGenerator[ReplyEvent, None]:
        """Stream the agent's reply; its turn is recorded before `ReplyDone`.

        A transfer to another agent gives a second turn, and so a second `ReplyDone`; so does the agent's farewell at
        the longest duration. When the reply is cancelled or closed, what there is of it is recorded as interrupted;
        before its first word that is nothing. Close it (`contextlib.aclosing`) if you leave early.

        Raises:
            ProviderError: The model failed; the turn is recorded with its `error`, and `reply()` may be tried again.
            ConvaiLabError: A reply is under way already, or the conversation has ended.
        """
        for _ in range(MAX_TRANSFERS + 1):
            reply = self._begin_reply()
            async with aclosing(self._told(reply)) as events:
                async for event in events:
                    yield event
            if self.ended or not isinstance(reply.effect, AgentTransfer):
                return
            if (turn := await self._hand_over(reply.effect)) is not None:
                yield ReplyText(turn.text)
                yield ReplyDone(turn)
                return

    def interrupt(self, heard_text: str, **measured: Any) -> Turn | None:
        """Note that the user interrupted the last agent turn and heard only this much of it, and what was measured.

        Returns:
            The changed turn, or None when the agent has not said anything yet.
        """
        heard, at = user_text(heard_text), self._record.secs()
        return self.amend(**{"text_heard": heard, **measured, "interrupted": True, "interrupted_at_secs": at})

    def amend(self, index: int | None = None, /, **changes: Any) -> Turn | None:
        """Change an agent turn, the last one unless told, by what was measured after it. None when there is none."""
        if self._running is not None and index is None:
            raise ConvaiLabError("the reply is still under way: cancel it first, then say what was heard of it")
        turns = self.conversation.turns
        last = next((n for n in reversed(range(len(turns))) if turns[n].role == "agent" and index in (None, n)), None)
        return None if last is None else self._record.replace(last, turns[last].with_changes(**changes))

    def time_is_up(self) -> Turn | None:
        """End the conversation because it has lasted as long as it may; return the turn in which the agent takes leave.

        It is None for an agent without a message for that, and when the conversation has ended already.
        """
        if self.ended:
            return None
        self._must_be_free("time_is_up")
        self._close_record(OUT_OF_TIME, "system", "done")
        return self._farewell()

    async def end(self, reason: str, *, by: str, failed: bool = False) -> Conversation:
        """End the conversation and return its record; a reply under way is recorded as interrupted.

        The first reason stays. Called again, it only counts the time since, such as a goodbye being spoken.
        """
        self.foresee(None)
        if self._running is not None:
            self._finish(self._running, interrupted=True)
        self._close_record(reason, by, "failed" if failed else "done")
        await self._speaker.tools.close()
        return self.conversation

    def _farewell(self) -> Turn | None:
        """Record what the agent says at the longest duration; a variable that is missing now keeps it silent."""
        with contextlib.suppress(MissingVariableError):
            if text := farewell_of(self._speaker.agent, self._variables()):
                return self.say(text, mark=FAREWELL)
        return None

    def _must_be_free(self, what: str) -> None:
        if self.ended:
            raise ConversationClosedError(f"{what}: this conversation has ended ({self.end_reason})")
        if self._running is not None:
            raise ConvaiLabError(f"{what}: a reply is still under way: finish it, or close or cancel it first")

    def _begin_reply(self) -> Reply:
        self._must_be_free("reply")
        if self.seconds_left <= 0:
            self._close_record(OUT_OF_TIME, "system", "done")
            self._must_be_free("reply")
        self._let_next_speak()
        self._running = Reply(
            llm=self._foreseen() or self._speaker.llm,
            tools=self._speaker.tools,
            clock=self._clock,
            surroundings=Surroundings(request=self._request, variables=self._variables, learn=self._learn),
            limits=Limits(
                first_token_secs=self._llm_timeout_secs,
                request_secs=max(DEFAULT_REQUEST_SECS, self._llm_timeout_secs),
                ends_at=self._clock.now() + self.seconds_left,
            ),
        )
        if self._user_done_at is None:
            self._user_done_at = self._clock.now()
        return self._running

    def _foreseen(self) -> Foresight | None:
        """Return the model with the answer it has begun, once."""
        foresight, self._foresight = self._foresight, None
        return None if foresight is None else foresight.of(self._speaker.llm)

    async def _told(self, reply: Reply) -> AsyncGenerator[ReplyEvent, None]:
        """Tell one reply as it happens, and record its turn however it ends."""
        is_late = False
        try:
            async with aclosing(reply.events()) as events:
                async for event in events:
                    self._record.settle()
                    yield event
        except OutOfTime:
            is_late, turn = True, self._finish(reply, interrupted=True, finish_reason=MAX_DURATION)
            self._close_record(OUT_OF_TIME, "system", "done")
        except (asyncio.CancelledError, GeneratorExit):
            self._finish(reply, interrupted=True)
            raise
        except Exception as error:
            self._finish(reply, error=cut(settings.scrub(str(error) or type(error).__name__), MAX_ERROR_CHARS))
            raise
        else:
            turn = self._finish(reply)
        if turn is not None:
            yield ReplyDone(turn)
        if is_late and (farewell := self._farewell()) is not None:
            yield ReplyText(farewell.text)
            yield ReplyDone(farewell)

    def _finish(self, reply: Reply, **how: Any) -> Turn | None:
        """Record the turn of a reply, once: a reply that `end` has recorded already is left as it is.

        A reply that was cut before its first word and its first tool call is no turn: nobody said or did anything.
        """
        if self._running is not reply:
            return self.conversation.turns[-1]
        self._running = None
        turn = self._turn_of(reply, how)
        if turn.interrupted and not (turn.text or turn.tool_calls):
            self._next_marks = tuple(dict.fromkeys((*self._marks, *self._next_marks)))
            return None
        turn = self._add(turn)
        if isinstance(reply.effect, EndCall) and not how:
            self._close_record("end_call", "agent", "done")
        return turn

    def _turn_of(self, reply: Reply, how: Mapping[str, Any]) -> Turn:
        now, done_at = self._record.secs(), self._user_done_at
        start = now if reply.text_at is None else self._record.secs_at(reply.text_at)
        total_secs = None if how or done_at is None else self._clock.now() - done_at
        draft = reply.turn()
        self._user_done_at = None
        return draft.with_changes(
            started_at=self._record.wall_at(start),
            start_secs=start,
            end_secs=now,
            interrupted_at_secs=now if how.get("interrupted") else None,
            metrics=reply.meter.metrics(total_secs=total_secs),
            llm_requested=self._speaker.model_asked_for,
            marks=tuple(dict.fromkeys((*draft.marks, *self._marks))),
            **{**self._speaker.signature(self.conversation), **how},
        )

    def _add(self, turn: Turn, *, soon: bool = False) -> Turn:
        """Record a turn, with the contextual updates that came before it."""
        if self._context:
            turn = turn.with_changes(extra=with_own(turn.extra, CONTEXT, self._context))
        (self._record.add_soon if soon else self._record.add)(turn)
        self._context = []
        if turn.agent_version is not None:
            self._record.change(last_version=turn.agent_version)
        return turn

    def _request(self, rounds: Sequence[Round]) -> ChatRequest:
        return self._requests.build(
            self._speaker, self.conversation, self._variables(), context=self._context, rounds=rounds
        )

    def _variables(self) -> dict[str, Any]:
        return self._known.values(self._speaker.agent)

    def _learn(self, outcome: ToolOutcome) -> None:
        """Take in what a tool changed in the conversation."""
        if outcome.variables:
            self._known.take(outcome.variables)
        if isinstance(outcome.effect, SwitchLanguage):
            self._record.change(language=outcome.effect.language)

    def _let_next_speak(self) -> None:
        """Let an agent that was changed or takes over speak from now on; its first turn is marked."""
        if self._next is not None:
            self._speaker, self._next = self._next, None
        self._marks, self._next_marks = self._next_marks, ()

    async def _hand_over(self, transfer: AgentTransfer) -> Turn | None:
        """Let the next agent take over; returns its first message when it has one to say."""
        self.use_agent(*transfer.to, mark="transfer")
        await self._clock.sleep(transfer.delay_secs)
        text = transfer.to.agent.first_message if transfer.with_first_message else ""
        if not text.strip():
            return None
        self._let_next_speak()
        return self.say(fill(text, self._variables(), where="the first message"), mark="transfer")

    def _close_record(self, reason: str, by: str, status: str) -> None:
        changes: dict[str, Any] = {"duration_secs": self._record.secs()}
        if not self.ended:
            self.ended, self.end_reason = True, reason
            changes |= {"status": status, "end_reason": reason, "ended_by": by}
            changes["extra"] = with_own(self.conversation.extra, CONTEXT, self._context)
        self._record.change(**changes)
