"""Chat: how is a text conversation opened, held message by message, and brought home as a record?"""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from convai_lab.agents.agent import Agent
from convai_lab.agents.tools import ClientTool, WebhookTool
from convai_lab.conversations.conversation import Conversation
from convai_lab.conversations.transcript import transcript_text
from convai_lab.errors import ConvaiLabError, ConversationClosedError, InvalidValueError, PlatformError
from convai_lab.workspace.agents import AgentRef, Agents
from convai_lab.workspace.caller import Caller
from convai_lab.workspace.conversations import ConversationRef, Conversations, conversation_id_of
from convai_lab.workspace.live import REPLY_LIMIT_SECS, LiveConversation
from convai_lab.workspace.reply import GRACE_SECS
from convai_lab.workspace.socket import conversation_url, open_socket, same_host
from convai_lab.workspace.tools import BoundTools, ToolDesk
from convai_lab.workspace.transport import KEY_HEADER, Transport

L = TypeVar("L", bound=LiveConversation)

SIGNED_URL_ROUTE = "/v1/convai/conversation/get-signed-url"
SOURCE = "unknown"
"""The platform's word for a client that is none of the vendor's own."""
MAX_EARLIER_CHARS = 20_000
SYSTEM_PREFIX = "system__"
PARTIAL_LIMIT_SECS = 5.0
TOOL_MARGIN_SECS = 30.0


@dataclass
class Held:
    """What is known of a conversation while it goes on, for whoever has to keep it when it is cut short."""

    conversation_id: str | None = None
    conversation: Conversation | None = None

    def attach(self, error: BaseException) -> None:
        """Put the conversation, as far as it got, on an error that ends a chat."""
        for name, value in (("conversation_id", self.conversation_id), ("conversation", self.conversation)):
            with contextlib.suppress(AttributeError):
                setattr(error, name, value)


def partial_conversation(error: BaseException) -> Conversation | None:
    """Return the conversation as far as it got, from the error or interrupt that ended a chat."""
    found = getattr(error, "conversation", None)
    return found if isinstance(found, Conversation) else None


@dataclass(frozen=True)
class Opening:
    """How a conversation is to begin."""

    agent: AgentRef
    variables: Mapping[str, Any] | None = None
    continue_from: ConversationRef | None = None
    user_id: str | None = None


class Line:
    """Opens conversations on one platform."""

    def __init__(self, transport: Transport, agents: Agents, conversations: Conversations, bound: BoundTools) -> None:
        self._transport, self._agents, self._bound = transport, agents, bound
        self.conversations = conversations

    async def chat(self, opening: Opening, messages: str | Sequence[str], caller: Caller, held: Held) -> Conversation:
        """Say each message, wait for each reply, and return the record; `held` has what there is if it fails."""
        said = checked_messages(messages)
        live = None
        try:
            live = await self.open(opening, caller)
            held.conversation_id = live.conversation_id
            for at, message in enumerate(said):
                if live.ended and at:
                    raise ConversationClosedError(
                        f"the agent ended the conversation before message {at + 1} of {len(said)} was said",
                        code=live.closed.code if live.closed else None,
                    )
                await live.say(message)
            await live.close()
            return await self.record(live.conversation_id or "", opening)
        except BaseException as error:
            held.conversation_id = live.conversation_id if live else getattr(error, "conversation_id", None)
            if live is not None:
                await live.abandon()
            await self.keep(opening, held)
            raise

    async def open(self, opening: Opening, caller: Caller) -> LiveConversation:
        """Open a conversation in text and hear the first message out."""
        return await self.open_as(LiveConversation, opening, caller, text_only=True)

    async def open_as(self, kind: type[L], opening: Opening, caller: Caller, *, text_only: bool, **more: Any) -> L:
        """Open a conversation of one kind, text or voice; `more` is for that kind alone."""
        variables = checked_variables(opening.variables)
        earlier = await self._earlier(opening.continue_from)
        agent = await self._agents.refreshed(opening.agent)
        kind.check(agent)
        is_ours = await self._transport.is_ours()
        told = None if earlier is None or is_ours else earlier
        url, headers = await self._address(agent, earlier.id if earlier and is_ours else None)
        socket = await open_socket(url, headers=headers, who=self._transport.who)
        live = kind(
            socket,
            desk=ToolDesk(agent, self._bound),
            caller=caller,
            clock=self._transport.clock,
            grace_secs=0.0 if is_ours else GRACE_SECS,
            reply_limit_secs=_patience_with(agent),
            model=agent.llm or "",
            **more,
        )
        try:
            await live.open(
                initiation(_variables_of(earlier) | variables, opening.user_id, text_only=text_only),
                has_first_message=bool(agent.first_message) and not (earlier and is_ours),
                note=f"a new conversation that was told the transcript of {told.id}" if told else None,
            )
            if told:
                await live.context(_as_context(told))
        except BaseException as error:
            await live.abandon()
            Held(live.conversation_id).attach(error)
            raise
        return live

    async def record(self, conversation_id: str, opening: Opening) -> Conversation:
        """Return what the platform recorded of a conversation that is over."""
        found = await self.conversations.fetch_ended(conversation_id)
        if opening.continue_from is not None and not await self._transport.is_ours():
            return found.with_changes(parent_id=conversation_id_of(opening.continue_from))
        return found

    async def keep(self, opening: Opening, held: Held) -> None:
        """Keep what the platform has of a conversation that failed or was interrupted."""
        if held.conversation_id is None:
            return
        with contextlib.suppress(ConvaiLabError, TimeoutError):
            async with asyncio.timeout(PARTIAL_LIMIT_SECS):
                held.conversation = await self.record(held.conversation_id, opening)

    async def _address(self, agent: Agent, continued: str | None) -> tuple[str, dict[str, str]]:
        """Return the signed URL to connect to, and the headers that go with it."""
        answer = await self._transport.document("GET", SIGNED_URL_ROUTE, params={"agent_id": agent.id})
        place = await self._transport.locate()
        extra = {"source": SOURCE, "version": _version()}
        url = conversation_url(
            answer.get("signed_url"),
            base_url=place.url,
            extra=extra | ({"continue": continued} if continued else {}),
        )
        if not (await self._transport.is_ours() and same_host(url, place.url) and place.key):
            if continued:
                raise PlatformError("the platform's conversation address is not its own; it cannot go on from there")
            return url, {}
        return url, {KEY_HEADER: place.key.reveal()}

    async def _earlier(self, given: ConversationRef | None) -> Conversation | None:
        """Return the conversation to go on with: its variables are used again, and the cloud is told its words."""
        if given is None or isinstance(given, Conversation):
            return given
        return await self.conversations.fetch(conversation_id_of(given))


def _as_context(earlier: Conversation) -> str:
    """Return what a new conversation is told about an earlier one."""
    text = transcript_text(earlier)
    kept = text if len(text) <= MAX_EARLIER_CHARS else "…" + text[-MAX_EARLIER_CHARS:]
    return f"This goes on from an earlier conversation between the two of you. Its transcript:\n{kept}"


def _variables_of(earlier: Conversation | None) -> dict[str, Any]:
    """Return the variables of an earlier conversation that are not the platform's own."""
    values = {} if earlier is None else earlier.variables
    return {
        name: value
        for name, value in values.items()
        if isinstance(value, str | int | float | bool) and not name.startswith(SYSTEM_PREFIX)
    }


def initiation(variables: Mapping[str, Any], user_id: str | None, *, text_only: bool = True) -> dict[str, Any]:
    """Return the first frame of a conversation, in the shape of the vendor's own Python client."""
    frame: dict[str, Any] = {
        "type": "conversation_initiation_client_data",
        "custom_llm_extra_body": {},
        "conversation_config_override": {"text_only": True} if text_only else {},
        "dynamic_variables": dict(variables),
        "source_info": {"source": SOURCE, "version": _version()},
    }
    return frame | ({"user_id": user_id} if user_id else {})


def checked_messages(messages: object) -> list[str]:
    """Return the messages as a list of texts that are not empty."""
    listed = [messages] if isinstance(messages, str) else messages
    if not isinstance(listed, Sequence) or isinstance(listed, bytes | bytearray):
        raise InvalidValueError("give a text, or a list of texts", field="messages")
    for at, message in enumerate(listed):
        if not isinstance(message, str):
            raise InvalidValueError(f"expected a text, got {type(message).__name__}", field=f"messages[{at}]")
        if not message.strip():
            raise InvalidValueError("is empty: say something", field=f"messages[{at}]")
    return list(listed)


def checked_variables(variables: object) -> dict[str, Any]:
    """Return dynamic variables: names with texts, numbers or truth values."""
    if variables is None:
        return {}
    if not isinstance(variables, Mapping):
        raise InvalidValueError("give a mapping of names to values", field="variables")
    for name, value in variables.items():
        if not isinstance(name, str) or not name:
            raise InvalidValueError(f"{name!r} is no name of a variable", field="variables")
        if not isinstance(value, str | int | float | bool):
            kind = type(value).__name__
            raise InvalidValueError(f"expected a text, number or truth value, got {kind}", field=f"variables.{name}")
    try:
        json.dumps(dict(variables), allow_nan=False)
    except ValueError:
        raise InvalidValueError("a number is not finite", field="variables") from None
    return dict(variables)


def _patience_with(agent: Agent) -> float:
    """Return how long nothing may happen in a reply: longer when a tool of the agent may take longer."""
    slow = [tool.response_timeout_secs for tool in agent.tools if isinstance(tool, ClientTool | WebhookTool)]
    return max([REPLY_LIMIT_SECS, *(secs + TOOL_MARGIN_SECS for secs in slow)])


def _version() -> str:
    import convai_lab

    return convai_lab.__version__
