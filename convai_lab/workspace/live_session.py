"""Live session: a voice conversation that goes on while this process does other things.

`Workspace.start_session(agent, voice=True)` returns one at once. The sound is not in this process: it travels between
a page and the platform process, or, where that cannot be, as pieces that the `media` line passes on.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable, Mapping
from types import TracebackType
from typing import Any

from convai_lab import background
from convai_lab.agents.agent import Agent
from convai_lab.conversations.conversation import Conversation
from convai_lab.workspace.chat import Opening, checked_messages
from convai_lab.workspace.live_core import LiveCore
from convai_lab.workspace.live_events import EngineNames, LiveEvent, LiveState
from convai_lab.workspace.live_line import LiveLine
from convai_lab.workspace.media_line import MediaLine

OnLiveEvent = Callable[[LiveEvent], object]


class LiveSession:
    """A live voice conversation. Every call may be made from any thread; none but `wait` and `use_agent` waits.

    Callbacks run on the background loop's thread, in order, and must not block. The session ends when `end` is
    called, when the other side ends it, when nobody refers to it any more (a subscription counts), or with the
    process.

    Example::

        session = ws.start_session("support", voice=True)
        session.say("Where is my order?")
        session.end()
        session.wait()
    """

    def __init__(self, line: LiveLine, agent: Agent, opening: Opening, on_event: OnLiveEvent | None = None) -> None:
        core = self._core = LiveCore(line, agent, opening)
        self.media = MediaLine(core)
        if on_event is not None:
            core.subscribe(on_event)
        # Whoever lets go of a session has ended it. At exit the background loop ends what is left.
        weakref.finalize(self, core.end).atexit = False
        core.start()

    @property
    def agent(self) -> Agent:
        """Return the agent that speaks, with its version; after `use_agent`, the new one."""
        return self._core.agent

    @property
    def conversation_id(self) -> str:
        """Return the id under which the platform records this; "" until it is known."""
        return self._core.conversation.id

    @property
    def state(self) -> LiveState:
        """Return what the session is doing."""
        return self._core.state

    @property
    def end_reason(self) -> str | None:
        """Return why the session ended, in words; None while it goes on."""
        return self._core.end_reason

    @property
    def platform(self) -> str:
        """Return ``local``, ``elevenlabs``, or the URL of the platform."""
        return self._core.platform

    @property
    def engines(self) -> EngineNames:
        """Return what serves the session."""
        return self._core.engines

    @property
    def conversation(self) -> Conversation:
        """Return the record as it stands; after the end, the stored one with all metrics."""
        return self._core.conversation

    @property
    def is_muted(self) -> bool:
        """Say whether the agent hears silence."""
        return self._core.is_muted

    def say(self, text: str) -> None:
        """Say something in writing; the agent stops speaking and answers. What it says comes as events.

        Raises:
            ConversationClosedError: The session is over.
        """
        [text] = checked_messages(text)
        self._core.check_open()
        self._core.post({"type": "user_message", "text": text})

    def context(self, text: str) -> None:
        """Tell the agent something without asking it to answer.

        Raises:
            ConversationClosedError: The session is over.
        """
        [text] = checked_messages(text)
        self._core.check_open()
        self._core.post({"type": "contextual_update", "text": text})

    def post(self, frame: Mapping[str, Any]) -> None:
        """Send a private frame, for this package's own parts; nothing happens when the session is over."""
        self._core.post(frame)

    def mute(self, on: bool = True) -> None:
        """Let the agent hear silence; `mute(False)` lets it hear the user again."""
        self._core.mute(bool(on))

    def end(self) -> None:
        """Begin to end the session; harmless when it is over. `wait` returns the record."""
        self._core.end()

    def wait(self, timeout_secs: float | None = None) -> Conversation:
        """Wait until the session is over and recorded, and return the record; an interrupt leaves it running.

        Raises:
            TimeoutError: It is not over yet.
        """
        return self._core.wait(timeout_secs)

    async def ended(self) -> Conversation:
        """Do what `wait` does, awaited on any loop."""
        return await self._core.ended()

    def use_agent(self, agent: Agent) -> None:
        """Let the session go on with this agent from its next turn, which is marked ``live_edit``.

        Waits for the platform's answer.

        Raises:
            NotSupportedError: The platform is not ours: there a session keeps the agent that it began with.
            ConvaiLabError: The agent cannot speak here: a variable, a key or its model is missing.
        """
        background.run(self._core.use_agent(agent))

    def subscribe(self, callback: OnLiveEvent) -> Callable[[], None]:
        """Hear every event from now on; returns the function that ends it."""
        return self._core.subscribe(callback)

    def __enter__(self) -> LiveSession:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.end()
        if error is None:
            self.wait()

    def __repr__(self) -> str:
        return f"<LiveSession {self.conversation_id or 'not started'} ({self.state})>"
