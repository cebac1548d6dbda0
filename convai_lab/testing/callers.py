"""Callers: how do I test, without sound and without waiting, how an agent behaves on a call?

`hold_call` lets a scripted caller talk to an agent in virtual time. Everything is the real session; only the engines
are stubs that speak in tones. The same agent, script and seed give the same call, byte for byte.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, is_dataclass
from typing import Any, TypeVar

from convai_lab.agents.agent import Agent
from convai_lab.clock import VirtualClock
from convai_lab.conversations.conversation import Conversation
from convai_lab.conversations.turn import ToolCall, ToolResult
from convai_lab.dialogue.conversation_loop import ConversationLoop
from convai_lab.dialogue.tool_runner import ToolRunner
from convai_lab.providers.base import LLM, SpeechEngines
from convai_lab.providers.stub_speech import StubTTS, stub_engines
from convai_lab.simulation.phone import Phone
from convai_lab.testing.caller_steps import Cough, HangUp, Noise, Play, Press, Say, Stay, Step, Type, barge_in
from convai_lab.testing.fake_llm import FakeLLM, Scripted
from convai_lab.voice import events
from convai_lab.voice.audio import FRAME_BYTES, noise
from convai_lab.voice.recording import Recording
from convai_lab.voice.session import VoiceSession
from convai_lab.voice.transport import MemoryTransport

T = TypeVar("T")

REACTION_SECS = 0.5
"""A caller speaks so long after the agent is done."""
KEY_SECS = 0.2
"""A caller presses a key of the telephone every so often."""
CALLER_VOICE = "caller"


@dataclass(frozen=True)
class Call:
    """A call that was held: its record, what happened when, and what was to be heard.

    `trace` is all of it in bytes: every event and every piece of audio with its instant, then the record.
    """

    conversation: Conversation
    trace: bytes
    happened: tuple[tuple[float, events.VoiceEvent], ...]
    transport: MemoryTransport
    secs: float
    failure: BaseException | None = None

    def events(self, kind: type[Any]) -> list[Any]:
        """Return the events of one kind, in order."""
        return [event for _, event in self.happened if isinstance(event, kind)]

    def when(self, kind: type[Any], number: int = 0) -> float:
        """Return the instant of the first event of a kind, or of a later one."""
        return [at for at, event in self.happened if isinstance(event, kind)][number]


def hold_call(
    agent: Agent,
    script: Sequence[Step],
    *,
    seed: int = 0,
    llm: LLM | Sequence[Scripted] | Callable[..., Any] | None = None,
    client_tool: Callable[[ToolCall], Any] | None = None,
    engines: Callable[[VirtualClock], SpeechEngines] | SpeechEngines | None = None,
    is_always_on: bool = False,
    recording: Recording | None = None,
    output_rate_hz: int = 16000,
    conversation: Conversation | None = None,
    recorder: Any = None,
) -> Call:
    """Hold a call in virtual time and return what came of it.

    Args:
        agent: Who is called.
        script: What the caller does, in order; then they wait for the agent and hang up.
        seed: The same seed gives the same call.
        llm: A model, or what a `FakeLLM` answers; None lets it repeat what it hears.
        client_tool: Answers the client tools: the call in, the value out.
        engines: Speech engines; None are the stubs.
        is_always_on: The caller's line sends silence too, instead of nothing, while nobody speaks.

    Example:
        >>> call = hold_call(Agent(first_message="Hello?"), ["Good morning."], llm=["Good morning to you."])
        >>> [turn.text for turn in call.conversation]
        ['Hello?', 'Good morning.', 'Good morning to you.']
    """
    clock = VirtualClock(seed=seed)
    model = _model(llm, clock)
    speech = engines(clock) if callable(engines) else engines or stub_engines(clock)
    loop = ConversationLoop(
        agent=agent,
        conversation=conversation or Conversation(id="conv_call", agent_id="agent_call", channel="voice", seed=seed),
        llm=model,
        tools=ToolRunner(agent, client_tool=_tool_runner(client_tool), clock=clock),
        clock=clock,
        recorder=recorder,
    )
    call = _Held(clock, is_always_on=is_always_on, seed=seed)
    session = VoiceSession(
        loop=loop,
        engines=speech,
        transport=call.transport,
        clock=clock,
        on_event=call.phone.on_event,
        recording=recording,
        output_rate_hz=output_rate_hz,
    )
    conversation = _run(clock, call.hold(session, script))
    return Call(
        conversation,
        call.trace(conversation),
        tuple(call.happened),
        call.transport,
        clock.now(),
        session.failure,
    )


def _run(clock: VirtualClock, main: Coroutine[Any, Any, T]) -> T:
    """Run to the end in virtual time, in a thread where a loop is running already, as in a notebook's cell."""
    if asyncio._get_running_loop() is None:
        return clock.run(main)
    with ThreadPoolExecutor(1) as beside:
        return beside.submit(clock.run, main).result()


class _Held:
    """One call under way."""

    def __init__(self, clock: VirtualClock, *, is_always_on: bool, seed: int) -> None:
        self.clock = clock
        self.phone = Phone(clock, seed=seed, is_always_on=is_always_on)
        self.transport, self.happened = self.phone.transport, self.phone.happened
        self._seed, self._voice = seed, StubTTS()

    async def hold(self, session: VoiceSession, script: Sequence[Step]) -> Conversation:
        self._session = session
        line = asyncio.ensure_future(self.phone.microphone.run())
        caller = asyncio.ensure_future(self._follow(script))
        try:
            return await session.run()
        finally:
            for task in (line, caller):
                task.cancel()
            await asyncio.gather(line, caller, return_exceptions=True)

    def trace(self, conversation: Conversation) -> bytes:
        """Return everything that happened, and the record, as lines of JSON."""
        told = [(at, [type(event).__name__, _plain(event)]) for at, event in self.happened]
        lines = sorted([*told, *self.transport.log], key=lambda entry: entry[0])
        record = ["record", [_plain(turn) for turn in conversation], conversation.end_reason, conversation.ended_by]
        return "\n".join(json.dumps(line, default=str) for line in [*lines, (self.clock.now(), record)]).encode()

    async def _follow(self, script: Sequence[Step]) -> None:
        for step in script:
            await self._do(Say(step) if isinstance(step, str) else step)
        await self.phone.agent_done()
        await self.clock.sleep(REACTION_SECS)
        self.transport.hang_up()

    async def _do(self, step: Any) -> None:
        match step:
            case Say(text=text):
                await self._speak(self._voice.render(text, voice=CALLER_VOICE)[0], step)
            case Cough(secs=secs, dbfs=dbfs):
                await self._speak(noise(secs, dbfs=dbfs, seed=self._seed), step)
            case Play(pcm=pcm, chunk_bytes=chunk) if chunk != FRAME_BYTES:
                await self._moment(step)
                await self._play(pcm, chunk)
            case Play(pcm=pcm):
                await self._speak(pcm, step)
            case Stay(secs=secs):
                await self.clock.sleep(secs)
            case Noise(dbfs=dbfs):
                self.phone.microphone.use_noise(dbfs)
            case Press(keys=keys):
                await self._press(keys)
            case Type(text=text):
                await self.phone.agent_done()
                self.phone.begin()
                self.phone.finished()
                self._session.hear_text(text)
            case HangUp(word=word):
                if word is not None:
                    await self.phone.words(word)
                self.transport.hang_up()

    async def _speak(self, pcm: bytes, step: Any) -> None:
        await self._moment(step)
        await self.phone.speak(pcm)

    async def _press(self, keys: str) -> None:
        await self.phone.agent_done()
        for key in keys:
            self._session.dtmf(key)
            await self.clock.sleep(KEY_SECS)
        self.phone.finished()

    async def _play(self, pcm: bytes, chunk_bytes: int) -> None:
        self.phone.begin()
        for at in range(0, len(pcm), chunk_bytes):
            chunk = pcm[at : at + chunk_bytes]
            self.transport.speak(chunk)
            await self.clock.sleep(len(chunk) / 32000)
        self.phone.finished()

    async def _moment(self, step: Any) -> None:
        """Wait until the step is due."""
        if step.at is not None:
            await self.clock.sleep(max(0.0, step.at - self.clock.now()))
        elif step.word is not None:
            await self.phone.words(step.word)
        else:
            await self.phone.agent_done()
            await self.clock.sleep(REACTION_SECS)


def _plain(value: Any) -> Any:
    return asdict(value) if is_dataclass(value) and not isinstance(value, type) else value


def _model(llm: Any, clock: VirtualClock) -> LLM:
    if llm is None:
        return FakeLLM(lambda request: f"You said: {request.messages[-1].content}", clock=clock)
    if hasattr(llm, "stream"):
        model: LLM = llm
        return model
    return FakeLLM(llm, clock=clock)


def _tool_runner(answer: Callable[[ToolCall], Any] | None) -> Callable[[ToolCall, float], Awaitable[ToolResult]] | None:
    if answer is None:
        return None

    async def run(call: ToolCall, _timeout_secs: float) -> ToolResult:
        value = answer(call)
        if asyncio.iscoroutine(value):
            value = await value
        return ToolResult(call_id=call.id, name=call.name, value=value if isinstance(value, str) else json.dumps(value))

    return run


__all__ = [
    "Call",
    "Cough",
    "HangUp",
    "Noise",
    "Play",
    "Press",
    "Say",
    "Stay",
    "Step",
    "Type",
    "barge_in",
    "hold_call",
]
