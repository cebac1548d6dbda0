"""Offline LLM: an agent without a language model, a key or a network.

It answers by rules and retrieval from the request alone, and the same request always gives the same events.
It is no language model and says so: show `OfflineLLM.badge` wherever it speaks.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import AsyncIterator
from typing import Any, ClassVar

from convai_lab.conversations.turn import ToolCall
from convai_lab.providers.base import ChatRequest, Done, FinishReason, LLMEvent, TextDelta, Usage
from convai_lab.providers.offline.answering import answer
from convai_lab.providers.offline.scene import Reply
from convai_lab.providers.offline.tool_choice import SYSTEM_TOOLS

MODEL = "offline"
_PIECE = re.compile(r"\S+\s*|\s+")


class OfflineLLM:
    """Answers by rules and retrieval: deterministic, free, and useful for trying everything without a key.

    It takes what every adapter takes and needs none of it.

    Example:
        >>> OfflineLLM().badge
        'offline rules, not a language model'
    """

    badge: ClassVar[str] = "offline rules, not a language model"
    provider: str = "offline"
    is_offline: bool = True

    def __init__(self, model: str = MODEL, *, api_key: Any = None, http: Any = None, clock: Any = None) -> None:  # noqa: ARG002
        self.model = model or MODEL

    def __repr__(self) -> str:
        return f"<OfflineLLM: {self.badge}>"

    async def stream(self, request: ChatRequest) -> AsyncIterator[LLMEvent]:
        """Yield the answer word by word, then the tool calls, then one `Done`; tokens are not counted."""
        reply = answer(request)
        pieces = _PIECE.findall(reply.text)
        limit = request.max_tokens if request.max_tokens and request.max_tokens > 0 else len(pieces)
        for piece in pieces[:limit]:
            yield TextDelta(piece)
        for call in tool_calls(reply, request):
            yield call
        reason: FinishReason = "tool_calls" if reply.calls else "length" if limit < len(pieces) else "stop"
        yield Done(reason, MODEL, Usage())


def tool_calls(reply: Reply, request: ChatRequest) -> list[ToolCall]:
    """Return the calls of a reply, with ids that depend on the conversation alone."""
    if not reply.calls:
        return []
    digest = hashlib.blake2b(digest_size=10)
    for message in request.messages:
        parts = (message.role, message.content, message.tool_call_id or "", *(c.id for c in message.tool_calls))
        digest.update("\x1f".join(parts).encode("utf-8", "surrogatepass") + b"\x1e")
    stem = digest.hexdigest()
    return [
        ToolCall(
            id=f"call_{stem}{index:02d}",
            name=call.name,
            arguments=dict(call.arguments),
            kind="system" if call.name in SYSTEM_TOOLS else "client",
        )
        for index, call in enumerate(reply.calls)
    ]
