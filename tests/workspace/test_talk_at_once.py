"""Sounds that are sent all at once: each is heard at its pace, and the next one waits for its answer."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import Mapping
from typing import Any

from convai_lab.agents.agent import Agent
from convai_lab.clock import VirtualClock
from convai_lab.voice.sound import Sound, silence
from convai_lab.workspace.events import AgentTurn, UserTurn
from convai_lab.workspace.talk import Script, SpokenConversation
from convai_lab.workspace.tools import BoundTools, ToolDesk

METADATA = {
    "type": "conversation_initiation_metadata",
    "conversation_initiation_metadata_event": {"conversation_id": "conv_1"},
}
LONG_SECS = 12.0


class HearingPlatform:
    """A socket to a platform that hears at the pace of speech, and answers whatever is longer than a second."""

    def __init__(self, clock: VirtualClock, *, sound_after_secs: float = 0.1) -> None:
        self.waiting_secs: list[float] = []
        self._sound_after_secs = sound_after_secs
        self._clock, self._heard_until, self._answers = clock, 0.0, 0
        self._arriving: asyncio.Queue[dict[str, Any]] = asyncio.Queue()

    async def send(self, frame: Mapping[str, Any]) -> None:
        if "user_audio_chunk" not in frame:
            return self._arriving.put_nowait(METADATA)
        secs, now = len(base64.b64decode(frame["user_audio_chunk"])) / 32000, self._clock.now()
        self.waiting_secs.append(max(0.0, self._heard_until - now))
        self._heard_until = max(now, self._heard_until) + secs
        if secs > 1:
            asyncio.get_running_loop().call_later(self._heard_until - now, self._answer)
        return None

    def _answer(self) -> None:
        self._answers += 1
        said = {"agent_response": f"Answer {self._answers}.", "event_id": self._answers}
        self._tell("user_transcript", user_transcription_event={"user_transcript": "a question"})
        self._tell("agent_response", agent_response_event=said)
        sound = {"audio_base_64": base64.b64encode(silence(0.5)).decode(), "event_id": self._answers}
        asyncio.get_running_loop().call_later(self._sound_after_secs, lambda: self._tell("audio", audio_event=sound))

    def _tell(self, kind: str, **event: Any) -> None:
        self._arriving.put_nowait({"type": kind, **event})

    async def receive(self) -> dict[str, Any]:
        return await self._arriving.get()

    async def close(self) -> None:
        """Nobody is told."""


class Listener:
    """A caller that writes down what it is told."""

    def __init__(self) -> None:
        self.events: list[Any] = []

    async def tell(self, event: Any) -> None:
        self.events.append(event)


def said(platform: HearingPlatform, clock: VirtualClock) -> list[Any]:
    """Say two long sounds at once, and return what the caller was told."""
    caller = Listener()

    async def talk() -> None:
        live = SpokenConversation(
            platform,
            desk=ToolDesk(Agent(id="agent_1"), BoundTools()),
            caller=caller,  # type: ignore[arg-type]
            clock=clock,
            script=Script([Sound(silence(LONG_SECS), 16000)] * 2, realtime=False),
        )
        await live.open({"type": "conversation_initiation_client_data"}, has_first_message=False)
        await live.hold()
        await live.close()

    clock.run(talk())
    return [event for event in caller.events if isinstance(event, UserTurn | AgentTurn)]


def test_each_long_sound_is_answered_before_the_next_one_is_sent() -> None:
    platform = HearingPlatform(clock := VirtualClock())
    question = UserTurn("a question")
    assert said(platform, clock) == [question, AgentTurn("Answer 1."), question, AgentTurn("Answer 2.")]
    assert max(platform.waiting_secs) < 0.1, "no silence waits to be heard before the next sound"
    assert 2 * LONG_SECS < clock.now() < 2 * LONG_SECS + 5


def test_an_answer_that_is_heard_at_once_is_not_waited_for_again() -> None:
    platform = HearingPlatform(clock := VirtualClock(), sound_after_secs=0)
    assert len(said(platform, clock)) == 4
    assert clock.now() < 2 * LONG_SECS + 5
