"""Conversational AI: the calls of the vendor's older Python package, on any platform.

Blocks written for ``client.conversational_ai`` run on ``ws.conversational_ai`` unchanged; older request shapes are
converted to today's before they are sent.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from convai_lab import background
from convai_lab.agents.wire_rules import normalise
from convai_lab.errors import InvalidValueError, PlatformError
from convai_lab.workspace.names import path_part
from convai_lab.workspace.transport import Transport

QUERY_OF_CREATE = frozenset({"enable_versioning", "use_tool_ids"})
IGNORED = frozenset({"request_options"})
"""Options of the vendor's HTTP client, which mean nothing here."""


class Answer(dict[str, Any]):
    """A JSON object of the platform whose fields are attributes too, in either spelling.

    Example:
        >>> answer = Answer({"agent_id": "agent_1", "callSid": "CA1"})
        >>> answer.agent_id, answer.call_sid
        ('agent_1', 'CA1')
    """

    def __getattr__(self, name: str) -> Any:
        for spelling in (name, _camel(name)):
            if spelling in self:
                return _answered(self[spelling])
        raise AttributeError(f"the platform's answer has no {name!r}; it has {', '.join(map(str, self)) or 'nothing'}")

    def model_dump(self) -> dict[str, Any]:
        """Return the plain JSON object."""
        return dict(self)

    def dict(self) -> Mapping[str, Any]:
        """Return the plain JSON object, under its older name."""
        return self.model_dump()


class SignedUrl(str):
    """A signed URL: a text, with itself as `signed_url` as the package's answers have it."""

    __slots__ = ()

    @property
    def signed_url(self) -> str:
        """Return the URL."""
        return str(self)


class ConversationalAI:
    """``agents``, ``conversations`` and ``twilio`` with the calls of the older package."""

    def __init__(self, transport: Transport) -> None:
        self.agents = AgentCalls(transport)
        self.conversations = ConversationCalls(transport)
        self.twilio = TwilioCalls(transport)


class _Calls:
    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    def _ask(self, method: str, path: str, *, params: Mapping[str, Any] | None = None, json: Any = None) -> Any:
        return _answered(background.run(self._transport.request(method, path, params=params, json=json)))


class AgentCalls(_Calls):
    """Create, read, change and delete agents."""

    def create(
        self,
        *,
        name: str | None = None,
        conversation_config: Any = None,
        prompt: Any = None,
        platform_settings: Any = None,
        **more: Any,
    ) -> Any:
        """Create an agent from the platform's JSON, or from the older ``prompt={...}``; has `agent_id`."""
        params = {key: more.pop(key) for key in sorted(QUERY_OF_CREATE & set(more))}
        body = _body(
            name=name,
            conversation_config=conversation_config,
            prompt=prompt,
            platform_settings=platform_settings,
            **more,
        )
        body = normalise(body)
        body.setdefault("conversation_config", {})
        return self._ask("POST", "/v1/convai/agents/create", params=params, json=body)

    def get(self, agent_id: str, **query: Any) -> Any:
        """Return an agent's document."""
        return self._ask("GET", _agent(agent_id), params=_body(**query))

    def list(self, **query: Any) -> Any:
        """Return one page: `agents`, `has_more`, `next_cursor`."""
        return self._ask("GET", "/v1/convai/agents", params=_body(**query))

    def update(self, agent_id: str, **changes: Any) -> Any:
        """Change an agent in part, and return its document."""
        return self._ask("PATCH", _agent(agent_id), json=normalise(_body(**changes)))

    def delete(self, agent_id: str, **ignored: Any) -> Any:  # noqa: ARG002
        """Remove an agent."""
        return self._ask("DELETE", _agent(agent_id))


class ConversationCalls(_Calls):
    """Signed URLs, and the records of conversations."""

    def get_signed_url(self, *, agent_id: str, **query: Any) -> SignedUrl:
        """Return a URL, valid for a short time, that opens a conversation without the API key."""
        answer = self._ask("GET", "/v1/convai/conversation/get-signed-url", params=_body(agent_id=agent_id, **query))
        url = answer.get("signed_url") if isinstance(answer, Mapping) else None
        if not isinstance(url, str):
            raise PlatformError("the platform answered without a signed URL", body=answer)
        return SignedUrl(url)

    def list(self, **query: Any) -> Any:
        """Return one page: `conversations`, `has_more`, `next_cursor`."""
        return self._ask("GET", "/v1/convai/conversations", params=_body(**query))

    def get(self, conversation_id: str, **ignored: Any) -> Any:  # noqa: ARG002
        """Return a conversation's document."""
        return self._ask("GET", _conversation(conversation_id))

    def delete(self, conversation_id: str, **ignored: Any) -> Any:  # noqa: ARG002
        """Remove a conversation."""
        return self._ask("DELETE", _conversation(conversation_id))


class TwilioCalls(_Calls):
    """Phone calls over Twilio."""

    def outbound_call(self, *, agent_id: str, agent_phone_number_id: str, to_number: str, **more: Any) -> Any:
        """Let an agent call a number; has `success`, `message`, `conversation_id` and `call_sid`."""
        body = _body(agent_id=agent_id, agent_phone_number_id=agent_phone_number_id, to_number=to_number, **more)
        return self._ask("POST", "/v1/convai/twilio/outbound-call", json=body)


def _agent(agent_id: str) -> str:
    return f"/v1/convai/agents/{path_part(agent_id, field='agent_id')}"


def _conversation(conversation_id: str) -> str:
    return f"/v1/convai/conversations/{path_part(conversation_id, field='conversation_id')}"


def _body(**values: Any) -> dict[str, Any]:
    """Return what was given as plain JSON, without what was left out."""
    given = {key: value for key, value in values.items() if value is not None and key not in IGNORED}
    return {key: _plain(value, key) for key, value in given.items()}


def _plain(value: Any, field: str) -> Any:
    """Return JSON for a value, also for the package's own models."""
    for dump in ("model_dump", "dict"):
        method = getattr(value, dump, None)
        if callable(method) and not isinstance(value, type | Mapping):
            dumped = method()
            value = {k: v for k, v in dumped.items() if v is not None} if isinstance(dumped, Mapping) else dumped
            break
    if isinstance(value, Mapping):
        return {str(key): _plain(inner, f"{field}.{key}") for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(inner, f"{field}[{at}]") for at, inner in enumerate(value)]
    if value is None or isinstance(value, str | int | float | bool):
        return value
    raise InvalidValueError(f"cannot be sent as JSON ({type(value).__name__})", field=field)


def _answered(value: Any) -> Any:
    if isinstance(value, dict) and not isinstance(value, Answer):
        return Answer(value)
    if isinstance(value, list):
        return [_answered(item) for item in value]
    return value


def _camel(name: str) -> str:
    first, *rest = name.split("_")
    return first + "".join(part.capitalize() for part in rest)
