"""Context: what do all routes of one running platform share?"""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from convai_lab.clock import Clock
from convai_lab.server.access import Door
from convai_lab.server.answers import Refusal
from convai_lab.server.limits import MAX_SOCKETS, Rates

if TYPE_CHECKING:
    from convai_lab.agents.agent import Agent, CustomLLM
    from convai_lab.agents.store import AgentStore
    from convai_lab.conversations.store import ConversationStore
    from convai_lab.providers.base import LLM, SpeechEngines


class FindLLM(Protocol):
    """Finds the language model of a name; `providers.registry.find_llm` fits."""

    def __call__(
        self,
        model: str,
        *,
        custom: CustomLLM | None = None,
        clock: Clock | None = None,
        own_ports: Collection[int] = (),
    ) -> LLM:
        """Return the model, or raise the error that says why there is none."""


class FindEngines(Protocol):
    """Finds the speech engines of an agent; `providers.speech.default_engines` fits. It may take its time."""

    def __call__(self, agent: Agent, *, clock: Clock) -> SpeechEngines:
        """Return the engines, or raise the error that says which is missing."""


def find_engines(agent: Agent, *, clock: Clock) -> SpeechEngines:
    """Return the speech engines of an agent; what they need is loaded when the first voice is."""
    from convai_lab.providers.speech import default_engines

    return default_engines(agent, clock=clock, asr=agent.asr, tts=agent.tts)


@dataclass(frozen=True, kw_only=True)
class SocketTimes:
    """How long a conversation socket waits, in seconds.

    `initiation` is for the client's first message, `promised` for that of a client which always sends one: a busy
    machine may take long over it. `ping` lies between two pings, `no_input` ends a text conversation in which nobody
    says anything any more.
    """

    initiation: float = 1.0
    promised: float = 10.0
    ping: float = 5.0
    no_input: float = 600.0
    llm: float = 20.0


class LiveConversations:
    """Which conversations are held by a socket of this process right now.

    A client that has just closed its socket may come back before the end of its conversation is recorded, so
    those who need a conversation for themselves wait a moment for it.
    """

    def __init__(self, *, release_secs: float = 1.0) -> None:
        self.release_secs = release_secs
        self._held: dict[str, threading.Event] = {}
        self._open_sockets = 0

    def __contains__(self, conversation_id: str) -> bool:
        return conversation_id in self._held

    def __len__(self) -> int:
        return len(self._held)

    @contextmanager
    def socket(self) -> Iterator[None]:
        """Count one open socket; refuse more than the limit."""
        if self._open_sockets >= MAX_SOCKETS:
            raise Refusal(429, "too_many_conversations", f"{MAX_SOCKETS} conversations are open: close one first")
        self._open_sockets += 1
        try:
            yield
        finally:
            self._open_sockets -= 1

    @contextmanager
    def hold(self, conversation_id: str) -> Iterator[None]:
        """Hold a conversation for one socket; refuse the second one."""
        if conversation_id in self._held:
            raise busy(conversation_id)
        released = self._held[conversation_id] = threading.Event()
        try:
            yield
        finally:
            del self._held[conversation_id]
            released.set()

    def check_free(self, conversation_id: str) -> None:
        """Refuse, after a moment, a conversation that a socket holds; for handlers, which run in threads."""
        released = self._held.get(conversation_id)
        if released is not None and not released.wait(self.release_secs):
            raise busy(conversation_id)

    async def freed(self, conversation_id: str, clock: Clock) -> None:
        """Wait a moment until no socket holds the conversation."""
        deadline = clock.now() + self.release_secs
        while conversation_id in self._held and clock.now() < deadline:
            await clock.sleep(self.release_secs / 50)


def busy(conversation_id: str) -> Refusal:
    """Return the refusal of a conversation that another session holds."""
    return Refusal(409, "conversation_busy", f"conversation {conversation_id[:80]} is open in another session")


@dataclass(kw_only=True)
class Platform:
    """One running local platform: its stores, its rules, and what is going on in it.

    `own_ports` tells which ports of this machine tools and models must never reach.
    """

    clock: Clock
    home: Path
    door: Door
    agents: AgentStore
    conversations: ConversationStore
    find_llm: FindLLM
    find_engines: FindEngines = find_engines
    owner: str = ""
    own_ports: Callable[[], Collection[int]] = tuple
    times: SocketTimes = field(default_factory=SocketTimes)
    live: LiveConversations = field(default_factory=LiveConversations)
    rates: Rates = field(init=False)
    started_at: float = field(init=False)

    def __post_init__(self) -> None:
        self.rates = Rates(self.clock)
        self.started_at = self.clock.wall()
