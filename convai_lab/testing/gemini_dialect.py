"""Gemini dialect: how would Gemini put a scripted reply on the wire?"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, ClassVar

from convai_lab.providers.base import Usage
from convai_lab.testing.fake_llm import Reply
from convai_lab.testing.vendor_dialects import Asked, Refusal, WireEvent, to_json


class GeminiDialect:
    """generateContent and streamGenerateContent; function calls come without ids, the first with a signature."""

    name = "google"
    variables: ClassVar[tuple[str, str]] = ("GOOGLE_API_KEY", "GOOGLE_GEMINI_BASE_URL")
    prefix = ""
    finish_reasons: ClassVar[dict[str, str]] = {
        "stop": "STOP",
        "tool_calls": "STOP",
        "length": "MAX_TOKENS",
        "content_filter": "SAFETY",
        "other": "OTHER",
    }

    def asked(self, path: str, body: Mapping[str, Any]) -> Asked | None:
        """Read a request to ``/v1beta/models/<model>:streamGenerateContent`` (or ``v1``, or ``:generateContent``)."""
        found = re.fullmatch(r".*/v1\w*/models/(.+):(streamGenerateContent|generateContent)", path)
        return Asked(found[1], found[2] == "streamGenerateContent", body) if found else None

    def events(self, reply: Reply, asked: Asked) -> Iterator[WireEvent]:
        """Yield one partial response after the other; the last has the finish reason and the usage."""
        for piece in reply.pieces:
            yield self._chunk(reply, asked, [{"text": piece}])
        if reply.error is not None:
            yield WireEvent("", to_json(self.refusal("503", model=asked.model, message=str(reply.error)).body))
            return
        if parts := self._call_parts(reply):
            yield self._chunk(reply, asked, parts)
        yield WireEvent("", to_json(self._last(reply, asked, [])))

    def whole(self, reply: Reply, asked: Asked) -> dict[str, Any]:
        """Return a whole response."""
        text = [{"text": "".join(reply.pieces)}] if reply.pieces else []
        return self._last(reply, asked, [*text, *self._call_parts(reply)])

    def refusal(self, kind: str, *, model: str, message: str = "") -> Refusal:
        """Return ``{"error": {code, message, status, details}}``; a bad key is a 400 here."""
        bad_key = [{"@type": "type.googleapis.com/google.rpc.ErrorInfo", "reason": "API_KEY_INVALID"}]
        missing = f"models/{model} is not found for API version v1beta, or is not supported for generateContent."
        code, said, status, details = {
            "key": (400, "API key not valid. Please pass a valid API key.", "INVALID_ARGUMENT", bad_key),
            "model": (404, missing, "NOT_FOUND", []),
        }.get(kind) or (int(kind), f"Scripted status {kind}.", _google_status(int(kind)), [])
        body = {"error": {"code": code, "message": message or said, "status": status, "details": details}}
        return Refusal(code, body)

    def models(self, names: Sequence[str]) -> dict[str, Any]:
        """Return ``{"models": [...]}``."""
        return {"models": [{"name": f"models/{n}", "displayName": n} for n in names]}

    def _call_parts(self, reply: Reply) -> list[dict[str, Any]]:
        parts: list[dict[str, Any]] = [
            {"functionCall": {"name": c.name, "args": dict(c.arguments)}} for c in reply.tool_calls
        ]
        if parts:
            signature = reply.tool_calls[0].extra.get("thoughtSignature", "c2lnbmF0dXJl")
            parts[0]["thoughtSignature"] = signature
        return parts

    def _chunk(self, reply: Reply, asked: Asked, parts: list[dict[str, Any]]) -> WireEvent:
        return WireEvent("", to_json(self._shell(reply, asked, {"content": {"role": "model", "parts": parts}})))

    def _last(self, reply: Reply, asked: Asked, parts: list[dict[str, Any]]) -> dict[str, Any]:
        candidate = {
            "content": {"role": "model", "parts": parts},
            "finishReason": self.finish_reasons[reply.ends_with],
        }
        usage = reply.usage or Usage()
        thought = usage.reasoning or 0
        return self._shell(reply, asked, candidate) | {
            "usageMetadata": {
                "promptTokenCount": usage.input or 0,
                "candidatesTokenCount": (usage.output or 0) - thought,
                "thoughtsTokenCount": thought,
                "cachedContentTokenCount": usage.cached_input or 0,
                "totalTokenCount": (usage.input or 0) + (usage.output or 0),
            }
        }

    def _shell(self, reply: Reply, asked: Asked, candidate: dict[str, Any]) -> dict[str, Any]:
        return {"candidates": [candidate | {"index": 0}], "modelVersion": reply.model_served or asked.model}


def _google_status(status: int) -> str:
    known = {400: "INVALID_ARGUMENT", 401: "UNAUTHENTICATED", 403: "PERMISSION_DENIED", 404: "NOT_FOUND"}
    known |= {429: "RESOURCE_EXHAUSTED", 503: "UNAVAILABLE", 504: "DEADLINE_EXCEEDED"}
    return known.get(status, "INTERNAL")
