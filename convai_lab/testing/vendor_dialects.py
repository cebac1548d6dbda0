"""Vendor dialects: how would OpenAI, Anthropic and Gemini put a scripted reply on the wire?

Written from the vendors' public documentation, for the fake servers of `fake_vendors`.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, ClassVar, NamedTuple, Protocol

from convai_lab.conversations.turn import ToolCall
from convai_lab.providers.base import Usage
from convai_lab.testing.fake_llm import Reply

CREATED = 1_767_225_600
DONE_MARK = "[DONE]"


class WireEvent(NamedTuple):
    """One server-sent event: its name ("" for none) and its data."""

    name: str
    data: str


class Refusal(NamedTuple):
    """An error answer: the HTTP status and the body, in the vendor's own shape."""

    status: int
    body: dict[str, Any]


class Asked(NamedTuple):
    """What a request asked for: which model, streamed or not, and its JSON body."""

    model: str
    streamed: bool
    body: Mapping[str, Any]


class Dialect(Protocol):
    """How one vendor says things."""

    name: str
    variables: ClassVar[tuple[str, str]]
    """The environment variables that hold the key and the base URL."""
    prefix: str
    """What the base URL ends with."""

    def asked(self, path: str, body: Mapping[str, Any]) -> Asked | None:
        """Return what a POST to `path` asks for, or None when the vendor has no such route."""

    def events(self, reply: Reply, asked: Asked) -> Iterator[WireEvent]:
        """Yield the reply as server-sent events."""

    def whole(self, reply: Reply, asked: Asked) -> dict[str, Any]:
        """Return the reply as one JSON document, for a request that is not streamed."""

    def refusal(self, kind: str, *, model: str, message: str = "") -> Refusal:
        """Return the vendor's answer to a bad key (``key``), an unknown ``model``, or a status such as ``503``."""

    def models(self, names: Sequence[str]) -> dict[str, Any]:
        """Return the list of models as the vendor's listing route shows it."""


def to_json(value: Any) -> str:
    """Return `value` as JSON in UTF-8, as the vendors send it."""
    return json.dumps(value, ensure_ascii=False)


def raw_arguments(call: ToolCall) -> str:
    """Return the arguments as text; ``extra["raw_arguments"]`` stands in for arguments that are not JSON."""
    return str(call.extra.get("raw_arguments") or to_json(dict(call.arguments)))


class OpenAIDialect:
    """Chat completions."""

    name = "openai"
    variables: ClassVar[tuple[str, str]] = ("OPENAI_API_KEY", "OPENAI_BASE_URL")
    prefix = "/v1"

    def asked(self, path: str, body: Mapping[str, Any]) -> Asked | None:
        """Read a request to ``/chat/completions``."""
        if not path.endswith("/chat/completions"):
            return None
        return Asked(str(body.get("model", "")), body.get("stream") is True, body)

    def events(self, reply: Reply, asked: Asked) -> Iterator[WireEvent]:
        """Yield chunks; the arguments of parallel tool calls arrive interleaved."""
        yield self._chunk(reply, asked, {"role": "assistant", "content": ""})
        for piece in reply.pieces:
            yield self._chunk(reply, asked, {"content": piece})
        if reply.error is not None:
            yield WireEvent("", to_json(self.refusal("500", model=asked.model, message=str(reply.error)).body))
            return
        for delta in self._call_deltas(reply.tool_calls):
            yield self._chunk(reply, asked, {"tool_calls": [delta]})
        yield self._chunk(reply, asked, {}, finish_reason=reply.ends_with)
        if reply.usage is not None and (asked.body.get("stream_options") or {}).get("include_usage"):
            data = self._shell(reply, asked, "chat.completion.chunk", [])
            yield WireEvent("", to_json(data | {"usage": self._usage(reply.usage)}))
        yield WireEvent("", DONE_MARK)

    def whole(self, reply: Reply, asked: Asked) -> dict[str, Any]:
        """Return a chat completion."""
        message: dict[str, Any] = {"role": "assistant", "content": "".join(reply.pieces) or None}
        if reply.tool_calls:
            message["tool_calls"] = [
                {"id": c.id, "type": "function", "function": {"name": c.name, "arguments": raw_arguments(c)}}
                for c in reply.tool_calls
            ]
        choice = {"index": 0, "message": message, "finish_reason": reply.ends_with}
        return self._shell(reply, asked, "chat.completion", [choice]) | {"usage": self._usage(reply.usage or Usage())}

    def refusal(self, kind: str, *, model: str, message: str = "") -> Refusal:
        """Return ``{"error": {message, type, param, code}}``."""
        status, said, type_, param, code = {
            "key": (401, "Incorrect API key provided.", "invalid_request_error", None, "invalid_api_key"),
            "model": (
                404,
                f"The model `{model}` does not exist or you do not have access to it.",
                "invalid_request_error",
                None,
                "model_not_found",
            ),
        }.get(kind) or (int(kind), f"Scripted status {kind}.", _type_of(int(kind)), None, None)
        return Refusal(status, {"error": {"message": message or said, "type": type_, "param": param, "code": code}})

    def models(self, names: Sequence[str]) -> dict[str, Any]:
        """Return ``{"object": "list", "data": [...]}``."""
        return {"object": "list", "data": [{"id": n, "object": "model", "created": CREATED} for n in names]}

    def _call_deltas(self, calls: Sequence[ToolCall]) -> Iterator[dict[str, Any]]:
        for i, c in enumerate(calls):
            yield {"index": i, "id": c.id, "type": "function", "function": {"name": c.name, "arguments": ""}}
        halves = [_halves(raw_arguments(c)) for c in calls]
        for half in (0, 1):
            for i, pair in enumerate(halves):
                yield {"index": i, "function": {"arguments": pair[half]}}

    def _chunk(
        self, reply: Reply, asked: Asked, delta: dict[str, Any], *, finish_reason: str | None = None
    ) -> WireEvent:
        choice = {"index": 0, "delta": delta, "finish_reason": finish_reason}
        return WireEvent("", to_json(self._shell(reply, asked, "chat.completion.chunk", [choice])))

    def _shell(self, reply: Reply, asked: Asked, kind: str, choices: list[Any]) -> dict[str, Any]:
        return {
            "id": "chatcmpl-fake",
            "object": kind,
            "created": CREATED,
            "model": reply.model_served or asked.model,
            "choices": choices,
        }

    def _usage(self, usage: Usage) -> dict[str, Any]:
        given, made = usage.input or 0, usage.output or 0
        return {
            "prompt_tokens": given,
            "completion_tokens": made,
            "total_tokens": given + made,
            "prompt_tokens_details": {"cached_tokens": usage.cached_input or 0},
            "completion_tokens_details": {"reasoning_tokens": usage.reasoning or 0},
        }


class AnthropicDialect:
    """Messages."""

    name = "anthropic"
    variables: ClassVar[tuple[str, str]] = ("ANTHROPIC_API_KEY", "ANTHROPIC_BASE_URL")
    prefix = ""
    stop_reasons: ClassVar[dict[str, str]] = {
        "stop": "end_turn",
        "tool_calls": "tool_use",
        "length": "max_tokens",
        "content_filter": "refusal",
        "other": "pause_turn",
    }

    def asked(self, path: str, body: Mapping[str, Any]) -> Asked | None:
        """Read a request to ``/v1/messages``."""
        if not path.endswith("/v1/messages"):
            return None
        return Asked(str(body.get("model", "")), body.get("stream") is True, body)

    def events(self, reply: Reply, asked: Asked) -> Iterator[WireEvent]:
        """Yield message_start, the content blocks with a ping between, message_delta and message_stop."""
        start = self.whole(Reply(usage=reply.usage, model_served=reply.model_served), asked)
        yield self._event("message_start", message=start | {"stop_reason": None})
        yield self._event("ping")
        index = 0
        if reply.pieces:
            deltas = [{"type": "text_delta", "text": piece} for piece in reply.pieces]
            yield from self._block(0, {"type": "text", "text": ""}, deltas, closed=reply.error is None)
            index = 1
        if reply.error is not None:
            error = self.refusal("529", model=asked.model, message=str(reply.error)).body["error"]
            yield self._event("error", error=error)
            return
        for i, c in enumerate(reply.tool_calls, start=index):
            head = {"type": "tool_use", "id": c.id, "name": c.name, "input": {}}
            parts = [{"type": "input_json_delta", "partial_json": half} for half in ("", *_halves(raw_arguments(c)))]
            yield from self._block(i, head, parts)
        delta = {"stop_reason": self.stop_reasons[reply.ends_with], "stop_sequence": None}
        counts = {name: n for name, n in start["usage"].items() if name.startswith("output_tokens")}
        yield self._event("message_delta", delta=delta, usage=counts)
        yield self._event("message_stop")

    def whole(self, reply: Reply, asked: Asked) -> dict[str, Any]:
        """Return a message."""
        usage = reply.usage or Usage()
        cached, written = usage.cached_input or 0, usage.cache_write or 0
        text = [{"type": "text", "text": "".join(reply.pieces)}] if reply.pieces else []
        calls = [{"type": "tool_use", "id": c.id, "name": c.name, "input": dict(c.arguments)} for c in reply.tool_calls]
        return {
            "id": "msg_fake",
            "type": "message",
            "role": "assistant",
            "model": reply.model_served or asked.model,
            "content": [*text, *calls],
            "stop_reason": self.stop_reasons[reply.ends_with],
            "stop_sequence": None,
            "usage": {
                "input_tokens": max(0, (usage.input or 0) - cached - written),
                "cache_creation_input_tokens": written,
                "cache_read_input_tokens": cached,
                "output_tokens": usage.output or 0,
                "output_tokens_details": {"thinking_tokens": usage.reasoning or 0},
            },
        }

    def refusal(self, kind: str, *, model: str, message: str = "") -> Refusal:
        """Return ``{"type": "error", "error": {type, message}}``."""
        status, type_, said = {
            "key": (401, "authentication_error", "invalid x-api-key"),
            "model": (404, "not_found_error", f"model: {model}"),
            "529": (529, "overloaded_error", "Overloaded"),
        }.get(kind) or (int(kind), _type_of(int(kind)), f"Scripted status {kind}.")
        return Refusal(status, {"type": "error", "error": {"type": type_, "message": message or said}})

    def models(self, names: Sequence[str]) -> dict[str, Any]:
        """Return ``{"data": [...], "has_more": false}``."""
        return {"data": [{"type": "model", "id": n, "display_name": n} for n in names], "has_more": False}

    def _block(
        self, index: int, head: dict[str, Any], deltas: Sequence[dict[str, Any]], *, closed: bool = True
    ) -> Iterator[WireEvent]:
        yield self._event("content_block_start", index=index, content_block=head)
        for delta in deltas:
            yield self._event("content_block_delta", index=index, delta=delta)
        if closed:
            yield self._event("content_block_stop", index=index)

    def _event(self, kind: str, **fields: Any) -> WireEvent:
        return WireEvent(kind, to_json({"type": kind, **fields}))


def _halves(text: str) -> tuple[str, str]:
    middle = len(text) // 2
    return text[:middle], text[middle:]


def _type_of(status: int) -> str:
    known = {400: "invalid_request_error", 401: "authentication_error", 403: "permission_error", 404: "not_found_error"}
    known |= {413: "request_too_large", 429: "rate_limit_error", 529: "overloaded_error"}
    return known.get(status, "api_error")
