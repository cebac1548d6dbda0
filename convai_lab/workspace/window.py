"""Window: a voice session that a person holds in a page of its own, while this process stays its owner."""

from __future__ import annotations

import concurrent.futures
import contextlib
from dataclasses import dataclass, field
from typing import Any

from convai_lab.errors import ConversationClosedError
from convai_lab.workspace.live_events import LiveEvent, StateChanged, ToolPrinted, WindowReady
from convai_lab.workspace.live_session import LiveSession

PAGE_PATH = "/window"
READY_SECS = 20.0


@dataclass(frozen=True)
class Window:
    """The link to a page, which works once, and the session that is held there."""

    url: str = field(repr=False)
    session: LiveSession


class WindowOpening:
    """Brings about the page of a session; `hear` is the session's `on_event` from its start, so that it misses nothing.

    The session refers to this, and this to the session: it goes on until it is over, whoever lets go of it.
    """

    def __init__(self) -> None:
        self._session: LiveSession | None = None
        self._ready: concurrent.futures.Future[str] = concurrent.futures.Future()
        self._waiting: concurrent.futures.Future[None] = concurrent.futures.Future()

    def hear(self, event: LiveEvent) -> None:
        """Take what happens in the session."""
        match event:
            case WindowReady(token=token):
                _settle(self._ready, token)
            case StateChanged(state="connecting"):  # agent, model and variables are fine
                _settle(self._waiting, None)
            case StateChanged(state="ended", reason=reason):
                for future in (self._ready, self._waiting):
                    _settle(future, ConversationClosedError(f"there is no page to talk in: {reason}"))
            case ToolPrinted(name=name, text=text) if self._session is not None:
                self._session.post({"type": "live_printed", "name": name, "text": text})

    def opened(self, session: LiveSession, platform_url: str) -> Window:
        """Let a page take part in the session, which has not begun, and return its link.

        Raises:
            ConversationClosedError: The session ended before there was a page, or the platform has none.
        """
        self._session, agent = session, session.agent
        who = {"agent": agent.name, "agent_id": agent.id, "version": agent.version, "platform": session.platform}
        session.post({"type": "live_window", **who})
        try:
            self._waiting.result(READY_SECS)
            token = self._ready.result(READY_SECS)
        except concurrent.futures.TimeoutError:
            session.end()
            raise ConversationClosedError("the platform made no page to talk in: restart it, it may be older") from None
        except BaseException:
            session.end()
            raise
        return Window(f"{platform_url.rstrip('/')}{PAGE_PATH}#{token}", session)


def _settle(future: concurrent.futures.Future[Any], outcome: object) -> None:
    with contextlib.suppress(concurrent.futures.InvalidStateError):  # it was told already
        if isinstance(outcome, Exception):
            future.set_exception(outcome)
        else:
            future.set_result(outcome)
