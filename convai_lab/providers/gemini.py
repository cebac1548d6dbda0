"""Gemini: Google's streamGenerateContent."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any, ClassVar
from urllib.parse import quote

from convai_lab.clock import Clock
from convai_lab.conversations.turn import ToolCall
from convai_lab.errors import ProviderStreamError
from convai_lab.providers.base import ChatMessage, ChatRequest, Done, FinishReason, LLMEvent, TextDelta, Usage
from convai_lab.providers.gemini_schema import gemini_schema
from convai_lab.providers.http_llm import AnswerReader, HttpLLM
from convai_lab.providers.messages import Side, alternate
from convai_lab.providers.tool_names import TextPieces, ToolNames, described, new_call, sent_arguments
from convai_lab.providers.usage import count, total

SIGNATURE = "thoughtSignature"
"""Where a tool call keeps the vendor's signature of the thought before it, which must go back with it."""
VENDOR_ID = "functionCallId"
"""Where a tool call keeps the id that the vendor gave it, when it gave one."""
NO_SIGNATURE = "skip_thought_signature_validator"
"""What the vendor documents for calls that another model made; Gemini 3 refuses a call without any signature."""

_THIRD = re.compile(r"gemini-(?:[3-9]|\d\d)(?![\d])")
_LEVELS = {"none": "minimal", "xhigh": "high", "max": "high"}
_BUDGETS = {"none": 0, "minimal": 512, "low": 1024, "medium": 8192, "high": 24576, "xhigh": 24576, "max": 24576}
LEAST_PRO_BUDGET = 128
"""Gemini 2.5 Pro cannot be told not to think."""

_FINISH: dict[str, FinishReason] = {
    "STOP": "stop",
    "MAX_TOKENS": "length",
    "SAFETY": "content_filter",
    "RECITATION": "content_filter",
    "BLOCKLIST": "content_filter",
    "PROHIBITED_CONTENT": "content_filter",
    "SPII": "content_filter",
}


class GeminiLLM(HttpLLM):
    """Streams answers from Google's Gemini models."""

    provider = "google"
    default_base_url: ClassVar[str] = "https://generativelanguage.googleapis.com"

    def path(self) -> str:
        """Return the path of the model's streaming method."""
        return f"v1beta/models/{quote(self.model, safe='')}:streamGenerateContent?alt=sse"

    def headers(self) -> dict[str, str]:
        """Return the key; it never goes into the URL, where it would be logged."""
        key = self.secret()
        return {"x-goog-api-key": key} if key else {}

    def body(self, request: ChatRequest) -> dict[str, Any]:
        """Return a generateContent request."""
        names = ToolNames.of(request)
        system, sides = alternate(request.messages)
        calls = {call.id: call for message in request.messages for call in message.tool_calls}
        signed = _THIRD.match(self.model) is not None
        body: dict[str, Any] = {"contents": [_content(side, names, calls, signed=signed) for side in sides]}
        if system:
            body["systemInstruction"] = {"parts": [{"text": system}]}
        if request.tools:
            body["tools"] = [{"functionDeclarations": _declarations(request, names)}]
        if config := self._config(request):
            body["generationConfig"] = config
        return body

    def reader(self, request: ChatRequest) -> AnswerReader:
        """Return a reader of partial responses."""
        return ResponseReader(self.provider, self.model, clock=self._clock, names=ToolNames.of(request))

    def _config(self, request: ChatRequest) -> dict[str, Any]:
        settings = {
            "temperature": request.temperature,
            "maxOutputTokens": request.max_tokens,
            "seed": request.seed,
            "thinkingConfig": self._thinking(request),
        }
        return {name: value for name, value in settings.items() if value is not None}

    def _thinking(self, request: ChatRequest) -> dict[str, Any] | None:
        """Return how much to think: a level for Gemini 3 and later, a budget of tokens before."""
        effort = request.reasoning_effort
        if request.thinking_budget is not None:
            return {"thinkingBudget": request.thinking_budget}
        if effort is None:
            return None
        if _THIRD.match(self.model):
            return {"thinkingLevel": _LEVELS.get(effort, effort)}
        least = LEAST_PRO_BUDGET if "pro" in self.model else 0
        return {"thinkingBudget": max(least, _BUDGETS[effort])} if effort in _BUDGETS else None


class ResponseReader:
    """Understands the partial responses of one answer."""

    def __init__(self, provider: str, model: str, *, clock: Clock, names: ToolNames) -> None:
        self.is_complete, self.is_done = False, False
        self._provider, self._model, self._clock, self._names = provider, model, clock, names
        self._served, self._reason, self._usage = "", "", Usage()
        self._text = TextPieces()
        self._n_calls = 0

    def read(self, event: Mapping[str, Any]) -> Iterator[LLMEvent]:
        """Take one partial response."""
        if isinstance(event.get("modelVersion"), str) and event["modelVersion"]:
            self._served = event["modelVersion"]
        if isinstance(event.get("usageMetadata"), dict):
            self._usage = read_usage(event["usageMetadata"])
        feedback = event.get("promptFeedback")
        if isinstance(feedback, dict) and feedback.get("blockReason"):
            self._reason, self.is_complete = "SAFETY", True
        candidates = event.get("candidates")
        if isinstance(candidates, list) and candidates and isinstance(candidates[0], dict):
            yield from self._candidate(candidates[0])

    def finish(self) -> Iterator[LLMEvent]:
        """Yield `Done`."""
        if not self.is_complete:
            raise ProviderStreamError(
                "the answer was cut off: it has no end; try again", provider=self._provider, model=self._model
            )
        reason = _FINISH.get(self._reason, "other")
        if self._n_calls and reason in ("stop", "other"):
            reason = "tool_calls"
        yield Done(reason, self._served or self._model, self._usage)

    def _candidate(self, candidate: Mapping[str, Any]) -> Iterator[LLMEvent]:
        content = candidate.get("content")
        parts = content.get("parts") if isinstance(content, dict) else None
        for part in parts if isinstance(parts, list) else ():
            if isinstance(part, dict):
                yield from self._part(part)
        if isinstance(candidate.get("finishReason"), str):
            self._reason, self.is_complete = candidate["finishReason"], True

    def _part(self, part: Mapping[str, Any]) -> Iterator[LLMEvent]:
        function = part.get("functionCall")
        if isinstance(function, dict):
            self._n_calls += 1
            yield self._call(function, part.get(SIGNATURE))
        elif not part.get("thought") and (text := self._text.take(part.get("text"))):
            yield TextDelta(text)

    def _call(self, function: Mapping[str, Any], signature: Any) -> ToolCall:
        given = function.get("id") if isinstance(function.get("id"), str) else ""
        extra = {SIGNATURE: signature} if isinstance(signature, str) else {}
        if given:
            extra[VENDOR_ID] = str(given)
        return new_call(
            self._clock,
            self._names,
            id=str(given or ""),
            name=str(function.get("name") or ""),
            arguments=json.dumps(function.get("args") or {}),
            extra=extra,
        )


def read_usage(usage: Mapping[str, Any]) -> Usage:
    """Return the tokens of a `usageMetadata` object; thoughts are billed as output, and counted there."""
    thoughts = count(usage.get("thoughtsTokenCount"))
    return Usage(
        input=total(count(usage.get("promptTokenCount")), count(usage.get("toolUsePromptTokenCount"))),
        output=total(count(usage.get("candidatesTokenCount")), thoughts),
        cached_input=count(usage.get("cachedContentTokenCount")),
        reasoning=thoughts,
    )


def _declarations(request: ChatRequest, names: ToolNames) -> list[dict[str, Any]]:
    declared = []
    for tool in request.tools:
        one: dict[str, Any] = {"name": names.out(tool.name), **described(tool)}
        if parameters := gemini_schema(tool.parameters):
            one["parameters"] = parameters
        declared.append(one)
    return declared


def _content(side: Side, names: ToolNames, calls: Mapping[str, ToolCall], *, signed: bool) -> dict[str, Any]:
    if side.is_model:
        return {"role": "model", "parts": [p for m in side.messages for p in _model_parts(m, names, signed=signed)]}
    results = [_result(m, names, calls) for m in side.messages if m.role == "tool"]
    words = [{"text": m.content} for m in side.messages if m.role != "tool"]
    return {"role": "user", "parts": results + words}


def _model_parts(message: ChatMessage, names: ToolNames, *, signed: bool) -> Iterator[dict[str, Any]]:
    if message.content.strip():
        yield {"text": message.content}
    for n, call in enumerate(message.tool_calls):
        function: dict[str, Any] = {"name": names.out(call.name), "args": sent_arguments(call)}
        if VENDOR_ID in call.extra:
            function["id"] = call.extra[VENDOR_ID]
        part: dict[str, Any] = {"functionCall": function}
        if SIGNATURE in call.extra:
            part[SIGNATURE] = call.extra[SIGNATURE]
        elif signed and n == 0:
            part[SIGNATURE] = NO_SIGNATURE
        yield part


def _result(message: ChatMessage, names: ToolNames, calls: Mapping[str, ToolCall]) -> dict[str, Any]:
    call = calls.get(message.tool_call_id or "")
    name = call.name if call else message.name or "tool"
    function: dict[str, Any] = {"name": names.out(name), "response": _response(message)}
    if call and VENDOR_ID in call.extra:
        function["id"] = call.extra[VENDOR_ID]
    return {"functionResponse": function}


def _response(message: ChatMessage) -> dict[str, Any]:
    """Return a tool's answer as the object that Gemini wants."""
    if message.is_error:
        return {"error": message.content}
    try:
        value = json.loads(message.content)
    except (ValueError, RecursionError):
        value = None
    return value if isinstance(value, dict) else {"result": message.content}
