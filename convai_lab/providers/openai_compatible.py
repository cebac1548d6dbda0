"""OpenAI-compatible: chat completions, as OpenAI speaks them and Ollama, LM Studio, llama.cpp, vLLM and many more."""

from __future__ import annotations

import functools
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar
from urllib.parse import urlsplit

from convai_lab.clock import Clock
from convai_lab.errors import ProviderStreamError
from convai_lab.providers.base import ChatMessage, ChatRequest, Done, FinishReason, LLMEvent, TextDelta, Usage
from convai_lab.providers.http_llm import AnswerReader, HttpLLM
from convai_lab.providers.local_servers import list_models
from convai_lab.providers.tool_names import (
    TextPieces,
    ToolNames,
    described,
    new_call,
    object_schema,
    safe_id,
    sent_arguments,
)
from convai_lab.providers.usage import count

LISTING_SECS = 2.0
"""How long a server may take to list its models, when we only want to suggest one."""

_REASONING = re.compile(r"o\d|gpt-[5-9](?!.*chat)", re.IGNORECASE)
"""Models that think before they answer: they refuse `temperature` and `max_tokens`."""

_FINISH: dict[str, FinishReason] = {
    "stop": "stop",
    "length": "length",
    "tool_calls": "tool_calls",
    "function_call": "tool_calls",
    "content_filter": "content_filter",
}


class OpenAICompatibleLLM(HttpLLM):
    """Streams chat completions from OpenAI, or from any server that speaks the same."""

    provider = "openai"
    default_base_url: ClassVar[str] = "https://api.openai.com/v1"
    droppable: ClassVar[tuple[str, ...]] = (
        "max_completion_tokens",
        "max_tokens",
        "temperature",
        "seed",
        "stream_options",
        "reasoning_effort",
    )

    def path(self) -> str:
        """Return the path of chat completions."""
        return "chat/completions"

    def headers(self) -> dict[str, str]:
        """Return the bearer token; a local server needs none."""
        key = self.secret()
        return {"authorization": f"Bearer {key}"} if key else {}

    def body(self, request: ChatRequest) -> dict[str, Any]:
        """Return a chat completion request."""
        names = ToolNames.of(request)
        body: dict[str, Any] = {
            "model": self.model,
            "messages": [_message(message, names) for message in request.messages],
            "stream": True,
            "stream_options": {"include_usage": True},
        }
        if not self.model:
            del body["model"]
        if request.tools:
            body["tools"] = [
                {
                    "type": "function",
                    "function": {
                        "name": names.out(tool.name),
                        **described(tool),
                        "parameters": object_schema(tool),
                    },
                }
                for tool in request.tools
            ]
        return body | self._sampling(request)

    def reader(self, request: ChatRequest) -> AnswerReader:
        """Return a reader of chat completion chunks."""
        return ChunkReader(self.provider, self.model, clock=self._clock, names=ToolNames.of(request))

    async def offered_models(self) -> Sequence[str]:
        """Return the names to suggest; a server that is not in our table is asked what it offers."""
        if known := await super().offered_models():
            return known
        url = self._url().replace("/chat/completions", "/models")
        headers = {**self._extra_headers, **self.headers()}
        return await list_models(self._http, url, clock=self._clock, timeout_secs=LISTING_SECS, headers=headers) or ()

    def _sampling(self, request: ChatRequest) -> dict[str, Any]:
        reasons = _REASONING.match(self.model.rpartition("/")[2]) is not None
        settings = {
            self._limit_name(reasons): request.max_tokens,
            "temperature": None if reasons else request.temperature,
            "seed": request.seed,
            "reasoning_effort": request.reasoning_effort,
        }
        return {name: value for name, value in settings.items() if value is not None}

    def _limit_name(self, reasons: bool) -> str:
        """Return what the limit of tokens is called: the newer name where we know that it is understood."""
        newer, older = "max_completion_tokens", "max_tokens"
        first, second = (newer, older) if reasons or _is_openai(self._url()) else (older, newer)
        return second if first in self._refused else first


@dataclass
class _Call:
    """A tool call that is still arriving."""

    id: str = ""
    name: str = ""
    arguments: str = ""


class ChunkReader:
    """Understands the chunks of one chat completion."""

    def __init__(self, provider: str, model: str, *, clock: Clock, names: ToolNames) -> None:
        self.is_complete, self.is_done = False, False
        self._provider, self._model, self._clock, self._names = provider, model, clock, names
        self._served, self._reason, self._usage = "", "", Usage()
        self._text = TextPieces()
        self._calls: list[_Call] = []
        self._at: dict[int, _Call] = {}
        self._anything = False

    def read(self, event: Mapping[str, Any]) -> list[LLMEvent]:
        """Take one chunk (or a whole completion, from a server that does not stream)."""
        if isinstance(served := event.get("model"), str) and served:
            self._served = served
        if isinstance(usage := event.get("usage"), dict):
            self._usage = read_usage(usage)
        said: list[LLMEvent] = []
        choices = event.get("choices")
        for choice in choices if isinstance(choices, list) else ():
            if isinstance(choice, dict) and choice.get("index") in (None, 0):
                self._choice(choice, said)
        return said

    def finish(self) -> Iterator[LLMEvent]:
        """Yield the tool calls and `Done`."""
        if not (self._anything or self._reason):
            raise ProviderStreamError("ended before it had said anything", provider=self._provider, model=self._model)
        if not self.is_complete:
            raise ProviderStreamError(
                "the answer was cut off: it has no end; try again", provider=self._provider, model=self._model
            )
        for call in self._calls:
            yield new_call(self._clock, self._names, id=call.id, name=call.name, arguments=call.arguments)
        reason = _FINISH.get(self._reason, "other")
        if self._calls and reason in ("stop", "other"):
            reason = "tool_calls"
        yield Done(reason, self._served or self._model, self._usage)

    def _choice(self, choice: Mapping[str, Any], said: list[LLMEvent]) -> None:
        """Take one choice, and add what it says to `said`."""
        delta = choice.get("delta") or choice.get("message")
        if isinstance(delta, dict):
            self._anything = True
            if (content := delta.get("content")) and (
                text := self._text.take(content if isinstance(content, str) else _text(content))
            ):
                said.append(TextDelta(text))
            if (refusal := delta.get("refusal")) and (text := self._text.take(refusal)):
                said.append(TextDelta(text))
            if parts := delta.get("tool_calls"):
                for part in _dicts(parts):
                    self._tool_call(part)
        if isinstance(reason := choice.get("finish_reason"), str) and reason:
            self._reason, self.is_complete = reason, True

    def _tool_call(self, part: Mapping[str, Any]) -> None:
        function = part.get("function") if isinstance(part.get("function"), dict) else {}
        assert isinstance(function, dict)
        id, name = _string(part.get("id")), _string(function.get("name"))
        call = self._call_at(part.get("index"), id=id, name=name)
        call.id, call.name = call.id or id, call.name or name
        arguments = function.get("arguments")
        call.arguments += json.dumps(arguments) if isinstance(arguments, dict) else _string(arguments)

    def _call_at(self, index: Any, *, id: str, name: str) -> _Call:
        """Return the call a delta belongs to: by index; some servers give none, or 0 to every call."""
        at = index if isinstance(index, int) else (-1 if not id else len(self._calls))
        if at == -1 and not name and self._calls:
            return self._calls[-1]
        call = self._at.get(at)
        if call is None or at == -1 or (id and call.id and id != call.id and name):
            call = self._at[at] = _Call()
            self._calls.append(call)
        return call


def read_usage(usage: Mapping[str, Any]) -> Usage:
    """Return the tokens of a `usage` object."""
    given, made = usage.get("prompt_tokens_details"), usage.get("completion_tokens_details")
    return Usage(
        input=count(usage.get("prompt_tokens")),
        output=count(usage.get("completion_tokens")),
        cached_input=count(given.get("cached_tokens")) if isinstance(given, dict) else None,
        cache_write=count(given.get("cache_write_tokens")) if isinstance(given, dict) else None,
        reasoning=count(made.get("reasoning_tokens")) if isinstance(made, dict) else None,
    )


@functools.lru_cache(maxsize=64)
def _is_openai(url: str) -> bool:
    return (urlsplit(url).hostname or "").endswith("openai.com")


def _message(message: ChatMessage, names: ToolNames) -> dict[str, Any]:
    if message.role == "tool":
        return {"role": "tool", "tool_call_id": safe_id(message.tool_call_id or ""), "content": message.content}
    if not message.tool_calls:
        return {"role": message.role, "content": message.content}
    calls = [
        {
            "id": safe_id(call.id),
            "type": "function",
            "function": {
                "name": names.out(call.name),
                "arguments": json.dumps(sent_arguments(call), ensure_ascii=False),
            },
        }
        for call in message.tool_calls
    ]
    return {"role": message.role, "content": message.content or None, "tool_calls": calls}


def _text(content: Any) -> Any:
    """Return the text of a content, which some servers send as a list of parts."""
    if not isinstance(content, list):
        return content
    return "".join(_string(part.get("text")) for part in _dicts(content) if part.get("type") in (None, "text"))


def _dicts(value: Any) -> list[dict[str, Any]]:
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []


def _string(value: Any) -> str:
    return value if isinstance(value, str) else ""
