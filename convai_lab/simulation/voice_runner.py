"""Voice runner: how does the same scenario go as a call?

The real voice session runs in virtual time: the caller's words are spoken, travel over a line (`acoustics`), are
recognised, answered and spoken. By default the engines are stubs that speak in tones, exactly and at no cost.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable, Mapping
from concurrent.futures import Executor
from dataclasses import replace
from typing import Any

from convai_lab.agents.agent import Agent
from convai_lab.agents.tools import ClientTool
from convai_lab.clock import Clock
from convai_lab.conversations.conversation import Conversation
from convai_lab.dialogue.conversation_loop import OUT_OF_TIME, SILENCE, ConversationLoop
from convai_lab.providers.base import LLM, TTS, AudioChunk, SpeechEngines
from convai_lab.providers.stub_speech import StubTTS, stub_engines
from convai_lab.simulation.acoustics import Acoustics, find_acoustics
from convai_lab.simulation.caller_moves import CallerMoves
from convai_lab.simulation.faults import Fault, fault_of, tool_faults
from convai_lab.simulation.persona import Persona
from convai_lab.simulation.phone import Phone
from convai_lab.simulation.runner import Ending, SimulatedConversation, new_conversation
from convai_lab.simulation.scenario import Scenario
from convai_lab.simulation.simulated_tools import SimulatedToolRunner, ToolDesk
from convai_lab.simulation.simulated_user import Move, SimulatedUser
from convai_lab.voice.audio import SESSION_RATE_HZ, resample
from convai_lab.voice.recording import Recording
from convai_lab.voice.session import HUNG_UP, VoiceSession

CALLER_VOICE = "caller"
NOBODY = Persona(name="caller")
LONGEST_PHRASE = 120
SPOKEN_FAULT = "speech"

_CODE = re.compile(r"(?<!\d)(?!(?:19|20)\d\d(?!\d))\d{3,}")

Engines = SpeechEngines | Callable[[Clock], SpeechEngines]


async def run_voice_conversation(
    agent: Agent,
    scenario: Scenario,
    *,
    llm: LLM,
    user: SimulatedUser,
    seed: int = 0,
    clock: Clock,
    tools: Mapping[str, ClientTool] | None = None,
    tool_executor: Executor | None = None,
    conversation_id: str | None = None,
    engines: Engines | str | None = None,
    caller_tts: TTS | None = None,
    acoustics: Acoustics | Mapping[str, Any] | None = None,
    recording: Recording | None = None,
) -> SimulatedConversation:
    """Hold one conversation as a call and return its record; only cancellation is raised.

    With the stub engines the same agent, scenario and seed give the same call, byte for byte. The arguments that
    `run_conversation` has mean the same here.

    Args:
        engines: What the agent hears and speaks with; a function makes them for the clock, and a name is a voice
            platform, such as ``offline`` for the embedded ones, which then expect what the scenario says. Stubs, when
            None.
        caller_tts: The caller's voice; that of the engines, when None.
        acoustics: The caller's surroundings and line, instead of the scenario's; a persona's background noise is
            added where there is none.
        recording: Where the call is recorded.
    """
    if isinstance(engines, str):
        agent = expecting(agent, scenario)
    speech = _engines(engines, agent, clock)
    persona = scenario.persona or NOBODY
    desk = ToolDesk.of(agent, scenario, tools=tools, executor=tool_executor, clock=clock)
    started = new_conversation(
        agent, scenario, seed=seed, conversation_id=conversation_id or clock.new_id("conv_")
    ).with_changes(channel="voice")
    loop = ConversationLoop(
        agent=agent,
        conversation=started,
        llm=llm,
        tools=SimulatedToolRunner(agent, desk=desk, clock=clock),
        clock=clock,
    )
    phone = Phone(clock, seed=seed, acoustics=_surroundings(acoustics or scenario.acoustics, persona))
    session = VoiceSession(
        loop=loop,
        engines=speech,
        transport=phone.transport,
        clock=clock,
        on_event=phone.on_event,
        recording=recording,
    )
    moves = CallerMoves(loop, scenario, user, clock)
    voice = CallerVoice(caller_tts or speech.tts, persona, agent_voice=agent.voice)
    call = _Call(session, loop, phone, moves, desk, voice, persona, clock)
    return await call.hold()


def expecting(agent: Agent, scenario: Scenario) -> Agent:
    """Return the agent with the caller's words of a scenario among those that its recogniser expects."""
    told = (scenario.opening, *scenario.lines, *scenario.facts.values())
    phrases = [digit_by_digit(text) for text in told if text and len(text) <= LONGEST_PHRASE]
    return agent.with_changes(expected_phrases=tuple(dict.fromkeys((*agent.expected_phrases, *phrases))))


def digit_by_digit(text: str) -> str:
    """Return a text with its codes and numbers as callers say them; years stay whole.

    Example:
        >>> digit_by_digit("It is order A-7710 from 2026.")
        'It is order A-7 7 1 0 from 2026.'
    """
    return _CODE.sub(lambda match: " ".join(match[0]), text)


class CallerVoice:
    """Speaks for the caller: a text in, sound at the session's rate out."""

    def __init__(self, tts: TTS, persona: Persona, *, agent_voice: str) -> None:
        self._tts, self._speed = tts, persona.speed
        self._voice = persona.voice or _callers_voice(tts, agent_voice)

    async def say(self, text: str) -> bytes:
        """Return a text as it is spoken.

        Raises:
            ProviderError: The engine failed.
        """
        pieces = []
        text = text if isinstance(self._tts, StubTTS) else digit_by_digit(text)
        async for piece in self._tts.synthesize(text, voice=self._voice, speed=self._speed):
            if isinstance(piece, AudioChunk):
                pieces.append(piece.pcm)
        return resample(b"".join(pieces), self._tts.capabilities.rate_hz, SESSION_RATE_HZ)


class _Call:
    """One call under way."""

    def __init__(
        self,
        session: VoiceSession,
        loop: ConversationLoop,
        phone: Phone,
        moves: CallerMoves,
        desk: ToolDesk,
        voice: CallerVoice,
        persona: Persona,
        clock: Clock,
    ) -> None:
        self._session, self._loop, self._phone, self._moves = session, loop, phone, moves
        self._desk, self._voice, self._persona, self._clock = desk, voice, persona, clock
        self._stopped: Ending | None = None

    async def hold(self) -> SimulatedConversation:
        """Let both sides talk until one hangs up."""
        microphone = asyncio.ensure_future(self._phone.microphone.run())
        caller = asyncio.ensure_future(self._called())
        try:
            conversation = await self._session.run()
        except Exception as error:  # the edge: one trial
            self._moves.faults.append(fault_of(error, "agent"))
            conversation = await self._loop.end("agent_fault", by="system", failed=True)
            self._stopped = "agent_fault"
        finally:
            for task in (microphone, caller):
                task.cancel()
            await asyncio.gather(microphone, caller, return_exceptions=True)
        return self._result(conversation)

    async def _called(self) -> None:
        """Be the caller, and hang up at the end."""
        try:
            self._stopped = await self._talk()
        except Exception as error:  # the edge: one trial
            self._moves.faults.append(fault_of(error, "simulator"))
            self._stopped = "simulator_fault"
        if self._desk.transferred:
            await self._session.end("transfer_to_number", by="agent")
        else:
            self._phone.transport.hang_up()

    async def _talk(self) -> Ending:
        """Speak and listen in turn until the caller stops."""
        turns, first = 0, True
        while turns < self._moves.scenario.max_turns:
            interrupts = not first and await self._cuts_in()
            if not interrupts:
                await self._phone.agent_done()
            if self._desk.transferred or self._phone.is_over:
                return "agent"
            move = await self._moves.next()
            if move is None:
                return "simulator_fault"
            if interrupts and move.text is None:
                await self._phone.agent_done()
            if move.text is None:
                return move.stop or "script_over"
            await self._say(move, at_once=interrupts)
            turns, first = turns + 2, False
            if move.stop:
                await self._phone.agent_done()
                return move.stop
        await self._phone.agent_done()
        return "max_turns"

    async def _cuts_in(self) -> bool:
        """Wait until the caller would cut in; False when the agent is done before, or the caller never does."""
        words = self._persona.interrupts_after_words
        return words is not None and await self._phone.words(words, or_answered=True)

    async def _say(self, move: Move, *, at_once: bool) -> None:
        pcm = await self._voice.say(move.text or "")
        if not at_once:
            await self._clock.sleep(self._persona.reaction_secs)
        await self._phone.speak(pcm)

    def _result(self, conversation: Conversation) -> SimulatedConversation:
        """Return all that is known about the call."""
        faults = [*self._moves.faults, *self._faults_in(conversation)]
        ended_by = self._ending(conversation, faults)
        reason = conversation.end_reason
        if reason == HUNG_UP:
            conversation = conversation.with_changes(end_reason=ended_by)
        return SimulatedConversation(
            conversation=conversation,
            tool_state=self._desk.final(),
            ended_by=ended_by,
            faults=tuple(faults),
            simulator_cost_usd=self._moves.expenses.cost_usd,
            simulator_usage=self._moves.expenses.usage,
        )

    def _faults_in(self, conversation: Conversation) -> list[Fault]:
        intended = frozenset(self._desk.intended_errors)
        turns = conversation.turns[len(self._moves.scenario.history) :]
        faults = [fault for turn in turns for fault in tool_faults(turn, intended=intended)]
        known = {fault.detail for fault in faults}
        if self._session.failure is not None:
            faults.append(fault_of(self._session.failure, "provider"))
        elif spoiled := next((turn.error for turn in turns if turn.error and turn.error not in known), None):
            faults.append(Fault("provider", SPOKEN_FAULT, spoiled))
        return faults

    def _ending(self, conversation: Conversation, faults: list[Fault]) -> Ending:
        if self._session.failure is not None:
            return "provider_fault"
        if conversation.end_reason == OUT_OF_TIME:
            return "max_duration"
        if conversation.ended_by == "agent":
            return "agent"
        if conversation.end_reason == SILENCE:
            return "silence"
        return self._stopped or ("provider_fault" if faults else "script_over")


def _engines(given: Engines | str | None, agent: Agent, clock: Clock) -> SpeechEngines:
    if isinstance(given, str):
        from convai_lab.providers.speech import default_engines

        return default_engines(agent, clock=clock, voice_platform=given)
    return given(clock) if callable(given) else given or stub_engines(clock)


def _callers_voice(tts: TTS, agent_voice: str) -> str:
    """Return a voice that is not the agent's, if the engine has another; the second is often the clearest."""
    if isinstance(tts, StubTTS):
        return CALLER_VOICE
    voices = tts.capabilities.voices
    others = [voice for voice in (*voices[1:], *voices[:1]) if voice != agent_voice]
    return next(iter(others or voices), "")


def _surroundings(given: Acoustics | Mapping[str, Any] | None, persona: Persona) -> Acoustics:
    acoustics = find_acoustics(given)
    return replace(acoustics, noise_dbfs=persona.noise_dbfs) if acoustics.noise_dbfs is None else acoustics
