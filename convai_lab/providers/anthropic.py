"""Anthropic: the messages API."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

from convai_lab.clock import Clock
from convai_lab.errors import ProviderStreamError
from convai_lab.providers.base import ChatMessage, ChatRequest, Done, FinishReason, LLMEvent, TextDelta, Usage
from convai_lab.providers.http_llm import AnswerReader, HttpLLM
from convai_lab.providers.messages import Side, alternate
from convai_lab.providers.tool_names import (
    TextPieces,
    ToolNames,
    described,
    new_call,
    object_schema,
    safe_id,
    sent_arguments,
)
from convai_lab.providers.usage import count, total

API_VERSION = "2023-06-01"
DEFAULT_MAX_TOKENS = 8192
"""The API wants a limit; models that think count their thoughts in it."""
OLD_MAX_TOKENS = 4096
"""What the Claude 3 models take at most."""
LEAST_THINKING_TOKENS = 1024

THINKING = "thinking_blocks"
"""Where a tool call keeps the thinking before it, which must go back with it unchanged."""

_ADAPTIVE = re.compile(r"claude-(?:opus-4-(?:[7-9]|\d\d)|(?:opus|sonnet|haiku|fable|mythos)-(?:[5-9]|\d\d))(?!\d)")
"""Models that refuse `temperature` and a thinking budget, and decide themselves how much to think."""

_EFFORTS = {"minimal": "low", "low": "low", "medium": "medium", "high": "high", "xhigh": "xhigh", "max": "max"}

_STOP: dict[str, FinishReason] = {
    "end_turn": "stop",
    "stop_sequence": "stop",
    "tool_use": "tool_calls",
    "max_tokens": "length",
    "model_context_window_exceeded": "length",
    "refusal": "content_filter",
}


class AnthropicLLM(HttpLLM):
    """Streams messages from Anthropic."""

    provider = "anthropic"
    default_base_url: ClassVar[str] = "https://api.anthropic.com"
    droppable: ClassVar[tuple[str, ...]] = ("temperature", "thinking", "output_config")

    def path(self) -> str:
        """Return the path of the messages API."""
        return "v1/messages"

    def headers(self) -> dict[str, str]:
        """Return the key and the version of the API."""
        key = self.secret()
        return {"anthropic-version": API_VERSION, **({"x-api-key": key} if key else {})}

    def body(self, request: ChatRequest) -> dict[str, Any]:
        """Return a messages request."""
        names = ToolNames.of(request)
        system, sides = alternate(request.messages)
        body: dict[str, Any] = {
            "model": self.model,
            "messages": [_message(side, names) for side in sides],
            "stream": True,
            **self._limits(request),
        }
        if system:
            body["system"] = system
        if request.tools:
            body["tools"] = [
                {"name": names.out(t.name), **described(t), "input_schema": object_schema(t)} for t in request.tools
            ]
        return body

    def reader(self, request: ChatRequest) -> AnswerReader:
        """Return a reader of message events."""
        return MessageReader(self.provider, self.model, clock=self._clock, names=ToolNames.of(request))

    def _limits(self, request: ChatRequest) -> dict[str, Any]:
        """Return the limit of tokens, the temperature and how much to think, as far as the model takes them."""
        adaptive = _ADAPTIVE.search(self.model) is not None
        limits: dict[str, Any] = {"max_tokens": request.max_tokens or _default_limit(self.model)}
        budget = request.thinking_budget or 0
        if budget > 0 and not adaptive:
            budget = max(budget, LEAST_THINKING_TOKENS)
            limits["thinking"] = {"type": "enabled", "budget_tokens": budget}
            limits["max_tokens"] = max(limits["max_tokens"], budget + (request.max_tokens or LEAST_THINKING_TOKENS))
        elif adaptive and (request.reasoning_effort == "none" or request.thinking_budget == 0):
            limits["thinking"] = {"type": "disabled"}
        elif adaptive and budget > 0:
            limits["thinking"] = {"type": "adaptive"}
        elif request.temperature is not None and not adaptive:
            limits["temperature"] = min(max(request.temperature, 0.0), 1.0)
        if effort := _EFFORTS.get(request.reasoning_effort or ""):
            limits["output_config"] = {"effort": effort}
        return limits


@dataclass
class _Block:
    """A content block that is still arriving."""

    kind: str = ""
    id: str = ""
    name: str = ""
    json: list[str] = field(default_factory=list)
    start: dict[str, Any] = field(default_factory=dict)


class MessageReader:
    """Understands the events of one message."""

    def __init__(self, provider: str, model: str, *, clock: Clock, names: ToolNames) -> None:
        self.is_complete, self.is_done = False, False
        self._provider, self._model, self._clock, self._names = provider, model, clock, names
        self._served, self._stop = "", ""
        self._usage: dict[str, int | None] = {}
        self._text = TextPieces()
        self._blocks: dict[Any, _Block] = {}
        self._thinking: list[dict[str, Any]] = []
        self._n_calls = 0

    def read(self, event: Mapping[str, Any]) -> Iterator[LLMEvent]:
        """Take one event (or a whole message, from a server that does not stream)."""
        match event.get("type"):
            case "message_start":
                self._head(_dict(event.get("message")))
            case "content_block_start":
                yield from self._begin(event.get("index"), _dict(event.get("content_block")))
            case "content_block_delta":
                yield from self._delta(event.get("index"), _dict(event.get("delta")))
            case "content_block_stop":
                yield from self._end(event.get("index"))
            case "message_delta":
                self._stopped(_dict(event.get("delta")), event)
            case "message_stop":
                self.is_complete = self.is_done = True
            case "message":
                self._head(event)
                for index, block in enumerate(event.get("content") or ()):
                    yield from self._begin(index, _dict(block))
                    yield from self._end(index)
                self._stopped(event, event)

    def finish(self) -> Iterator[LLMEvent]:
        """Yield what is left and `Done`."""
        if not self.is_complete:
            raise ProviderStreamError(
                "the answer was cut off: it has no end; try again", provider=self._provider, model=self._model
            )
        for index in list(self._blocks):
            yield from self._end(index)
        reason = _STOP.get(self._stop, "other")
        if self._n_calls and reason in ("stop", "other"):
            reason = "tool_calls"
        yield Done(reason, self._served or self._model, self._counts())

    def _head(self, message: Mapping[str, Any]) -> None:
        self._served = str(message.get("model") or "")
        self._count(message.get("usage"))

    def _begin(self, index: Any, start: dict[str, Any]) -> Iterator[LLMEvent]:
        kind = str(start.get("type") or "")
        block = self._blocks[index] = _Block(kind, _text(start.get("id")), _text(start.get("name")), start=dict(start))
        if kind == "tool_use" and start.get("input"):
            block.json.append(json.dumps(start["input"]))
        if kind == "text" and (text := self._text.take(start.get("text"))):
            yield TextDelta(text)

    def _delta(self, index: Any, delta: Mapping[str, Any]) -> Iterator[LLMEvent]:
        block = self._blocks.setdefault(index, _Block())
        match delta.get("type"):
            case "text_delta":
                if text := self._text.take(delta.get("text")):
                    yield TextDelta(text)
            case "input_json_delta":
                block.json.append(_text(delta.get("partial_json")))
            case "thinking_delta":
                block.start["thinking"] = _text(block.start.get("thinking")) + _text(delta.get("thinking"))
            case "signature_delta":
                block.start["signature"] = _text(block.start.get("signature")) + _text(delta.get("signature"))

    def _end(self, index: Any) -> Iterator[LLMEvent]:
        block = self._blocks.pop(index, None)
        if block is None:
            return
        if block.kind in ("thinking", "redacted_thinking"):
            self._thinking.append(block.start)
        if block.kind == "tool_use":
            extra = {THINKING: self._thinking} if self._thinking else {}
            self._thinking = []
            self._n_calls += 1
            yield new_call(
                self._clock, self._names, id=block.id, name=block.name, arguments="".join(block.json), extra=extra
            )

    def _stopped(self, delta: Mapping[str, Any], event: Mapping[str, Any]) -> None:
        self._count(event.get("usage"))
        if isinstance(delta.get("stop_reason"), str):
            self._stop, self.is_complete = delta["stop_reason"], True

    def _count(self, usage: Any) -> None:
        """Keep the newest counts: those of later events are cumulative."""
        counts = _dict(usage)
        for name, value in {**counts, **_dict(counts.get("output_tokens_details"))}.items():
            if (tokens := count(value)) is not None:
                self._usage[name] = tokens

    def _counts(self) -> Usage:
        read, written = self._usage.get("cache_read_input_tokens"), self._usage.get("cache_creation_input_tokens")
        fresh = self._usage.get("input_tokens")
        return Usage(
            input=None if fresh is None else total(fresh, read, written),
            output=self._usage.get("output_tokens"),
            cached_input=read,
            cache_write=written,
            reasoning=self._usage.get("thinking_tokens"),
        )


def _message(side: Side, names: ToolNames) -> dict[str, Any]:
    if side.is_model:
        return {"role": "assistant", "content": [b for m in side.messages for b in _model_blocks(m, names)]}
    results = [_result(m) for m in side.messages if m.role == "tool"]
    words = [{"type": "text", "text": m.content} for m in side.messages if m.role != "tool"]
    return {"role": "user", "content": results + words}


def _result(message: ChatMessage) -> dict[str, Any]:
    block = {"type": "tool_result", "tool_use_id": safe_id(message.tool_call_id or ""), "content": message.content}
    return block | ({"is_error": True} if message.is_error else {})


def _model_blocks(message: ChatMessage, names: ToolNames) -> Iterator[dict[str, Any]]:
    for call in message.tool_calls:
        thinking = call.extra.get(THINKING)
        yield from thinking if isinstance(thinking, list) else ()
    if message.content.strip():
        yield {"type": "text", "text": message.content}
    for call in message.tool_calls:
        yield {
            "type": "tool_use",
            "id": safe_id(call.id),
            "name": names.out(call.name),
            "input": sent_arguments(call),
        }


def _default_limit(model: str) -> int:
    return OLD_MAX_TOKENS if re.search(r"claude-(?:3|2|instant)", model) else DEFAULT_MAX_TOKENS


def _dict(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _text(value: Any) -> str:
    return value if isinstance(value, str) else ""
