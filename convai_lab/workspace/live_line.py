"""Live line: how is a live voice session opened, on our own platform or through it on another one?"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import urlencode, urlsplit, urlunsplit

from convai_lab.agents.agent import Agent
from convai_lab.clock import Clock
from convai_lab.conversations.conversation import Conversation
from convai_lab.errors import PlatformError
from convai_lab.workspace.agents import Agents
from convai_lab.workspace.chat import SIGNED_URL_ROUTE, SOURCE, Opening, checked_variables, initiation
from convai_lab.workspace.conversations import Conversations
from convai_lab.workspace.live_call import LiveCall, LiveCaller
from convai_lab.workspace.live_events import LiveEvent
from convai_lab.workspace.local_process import local_process
from convai_lab.workspace.reply import GRACE_SECS
from convai_lab.workspace.socket import conversation_url, open_socket
from convai_lab.workspace.tools import BoundTools, ToolDesk
from convai_lab.workspace.transport import KEY_HEADER, Place, Transport

SESSION_PATH = "/v1/local/session"
CLOUD_PATH = "/v1/local/cloud_session"


class LiveLine:
    """Opens live sessions of one platform.

    `bridge` says where our own platform answers that carries the sound to and from another one: this process's own.
    """

    def __init__(
        self,
        transport: Transport,
        agents: Agents,
        conversations: Conversations,
        bound: BoundTools,
        *,
        bridge: Callable[[], Any] = local_process,
    ) -> None:
        self._transport, self._agents, self._conversations, self._bound = transport, agents, conversations, bound
        self._bridge = bridge

    @property
    def platform(self) -> str:
        """Return the name of the platform."""
        return self._transport.platform.name

    @property
    def who(self) -> str:
        """Return the platform's name for messages."""
        return self._transport.who

    @property
    def clock(self) -> Clock:
        """Return the clock of this workspace."""
        return self._transport.clock

    async def is_ours(self) -> bool:
        """Say whether the platform is ours."""
        return await self._transport.is_ours()

    async def prepared(self, opening: Opening) -> Agent:
        """Return the agent as it is stored now, if a voice session can be held with it.

        Raises:
            InvalidValueError: The agent takes no voice, or a variable has a wrong value.
        """
        checked_variables(opening.variables)
        agent = await self._agents.refreshed(opening.agent)
        LiveCall.check(agent)
        return agent

    async def open(self, agent: Agent, opening: Opening, watch: Callable[[LiveEvent], None]) -> LiveCall:
        """Open a session; the agent begins once the sound has a way."""
        is_ours = await self._transport.is_ours()
        place = await self.place()
        address = None if is_ours else await self._signed_url(agent)
        url = (
            _socket_url(place, SESSION_PATH, {"agent_id": agent.id or ""})
            if is_ours
            else _socket_url(place, CLOUD_PATH)
        )
        headers = {KEY_HEADER: place.key.reveal()} if place.key else {}
        socket = await open_socket(url, headers=headers, who="the local platform" if not is_ours else self.who)
        call = LiveCall(
            socket,
            desk=ToolDesk(agent, self._bound),
            caller=LiveCaller(watch),
            clock=self._transport.clock,
            grace_secs=0.0 if is_ours else GRACE_SECS,
            model=agent.llm or "",
            watch=watch,
        )
        try:
            if address is not None:
                await socket.send({"type": "live_cloud", "url": address, "who": self.who})
            first = initiation(checked_variables(opening.variables), opening.user_id, text_only=False)
            await call.open(first, has_first_message=False)
        except BaseException:
            await call.abandon()
            raise
        return call

    async def place(self) -> Place:
        """Return where our own platform answers: this one, or the one that carries the sound to and from it."""
        return await (self._transport if await self._transport.is_ours() else self._bridge()).locate()

    async def record(self, conversation_id: str) -> Conversation:
        """Return what the platform recorded of a session that is over."""
        return await self._conversations.fetch_ended(conversation_id)

    async def _signed_url(self, agent: Agent) -> str:
        """Return the address of the conversation on another platform; it holds a signature."""
        answer: Mapping[str, Any] = await self._transport.document(
            "GET", SIGNED_URL_ROUTE, params={"agent_id": agent.id}
        )
        place = await self._transport.locate()
        return conversation_url(answer.get("signed_url"), base_url=place.url, extra={"source": SOURCE})


def _socket_url(place: Place, path: str, query: Mapping[str, str] | None = None) -> str:
    parts = urlsplit(place.url)
    scheme = {"http": "ws", "https": "wss"}.get(parts.scheme)
    if scheme is None:
        raise PlatformError("the platform's address is none of http or https")
    whole = parts._replace(scheme=scheme, path=parts.path.rstrip("/") + path, query=urlencode(query or {}))
    return urlunsplit(whole)
