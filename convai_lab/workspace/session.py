"""Session: a text conversation that you hold yourself, one message at a time."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from types import TracebackType
from typing import Any, TypeVar

from convai_lab import background
from convai_lab.conversations.conversation import Conversation
from convai_lab.workspace.caller import BlockingCaller
from convai_lab.workspace.chat import Held, Line, Opening, checked_messages
from convai_lab.workspace.events import (
    AgentCutShort,
    AgentText,
    AgentTurn,
    Ended,
    SessionEvent,
    Started,
    ToolAnswered,
    ToolCalled,
    UserTurn,
)
from convai_lab.workspace.listing import background_twin
from convai_lab.workspace.live import LiveConversation

__all__ = [
    "AgentCutShort",
    "AgentText",
    "AgentTurn",
    "Ended",
    "Session",
    "SessionEvent",
    "Started",
    "ToolAnswered",
    "ToolCalled",
    "UserTurn",
]

T = TypeVar("T")


class Session:
    """A live text conversation; a context manager that ends it.

    Example::

        with ws.start_session("support") as session:
            print(session.say("Where is my order?"))
        session.conversation
    """

    def __init__(self, line: Line, opening: Opening, caller: BlockingCaller) -> None:
        self._line, self._opening, self._caller = line, opening, caller
        self._live: LiveConversation | None = None
        self._record: Conversation | None = None

    @property
    def conversation_id(self) -> str:
        """Return the id under which the platform records this."""
        return (self._live.conversation_id if self._live else None) or ""

    @property
    def is_open(self) -> bool:
        """Say whether something can still be said."""
        return self._live is not None and not self._live.ended

    @property
    def conversation(self) -> Conversation:
        """Return the record, as it stands now."""
        return self._record or self._blocking(lambda: self._line.conversations.fetch(self.conversation_id))

    def say(self, text: str) -> str:
        """Say something and return the agent's whole reply."""
        return self._blocking(lambda: self._say(text))

    async def asay(self, text: str) -> str:
        """Do what `say` does, awaited; tools run in a worker thread."""
        return await background_twin(self._say(text))

    def context(self, text: str) -> None:
        """Tell the agent something without asking it to answer."""
        self._blocking(lambda: self._context(text))

    async def acontext(self, text: str) -> None:
        """Do what `context` does, awaited."""
        await background_twin(self._context(text))

    def end(self) -> Conversation:
        """End the conversation and return its record; harmless when it is over."""
        return self._blocking(self._end)

    async def aend(self) -> Conversation:
        """Do what `end` does, awaited."""
        return await background_twin(self._end())

    def start(self) -> Session:
        """Open the conversation; `Workspace.start_session` has done it already."""
        self._blocking(self._open)
        return self

    async def astart(self) -> Session:
        """Do what `start` does, awaited."""
        await background_twin(self._open())
        return self

    def __enter__(self) -> Session:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is None:
            self.end()
        else:
            self._blocking(self._abandon)

    async def __aenter__(self) -> Session:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await background_twin(self._end() if error is None else self._abandon())

    def __repr__(self) -> str:
        state = "open" if self.is_open else "over"
        return f"<Session {self.conversation_id or 'not started'} ({state})>"

    async def _open(self) -> None:
        if self._live is None:
            self._live = await self._line.open(self._opening, self._caller)

    async def _say(self, text: str) -> str:
        [text] = checked_messages(text)
        live = self._opened()
        try:
            return await live.say(text)
        except Exception as error:
            Held(live.conversation_id).attach(error)
            raise

    async def _context(self, text: str) -> None:
        [text] = checked_messages(text)
        await self._opened().context(text)

    async def _end(self) -> Conversation:
        if self._record is None:
            live = self._opened()
            await live.close()
            self._record = await self._line.record(self.conversation_id, self._opening)
        return self._record

    async def _abandon(self) -> None:
        if self._live is not None:
            await self._live.close()

    def _opened(self) -> LiveConversation:
        if self._live is None:
            raise RuntimeError("the session has not been started")
        return self._live

    def _blocking(self, work: Callable[[], Coroutine[Any, Any, T]]) -> T:
        calls = self._caller.waiting()
        try:
            return background.run(work(), calls=calls)
        finally:
            self._caller.gone()
