"""Turn: what did one side say without a break, and what do we know about it?"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from convai_lab.conversations.changes import changed

Role = Literal["user", "agent"]
ToolKind = Literal["client", "webhook", "system", "mcp"]


@dataclass(frozen=True, kw_only=True)
class ToolCall:
    """The model asked for a tool: which, and with what arguments."""

    id: str
    name: str
    arguments: Mapping[str, Any] = field(default_factory=dict)
    kind: ToolKind = "client"
    extra: Mapping[str, Any] = field(default_factory=dict, repr=False)
    """Fields of the platform's JSON that we do not know, kept so that nothing is lost."""


@dataclass(frozen=True, kw_only=True)
class ToolResult:
    """What a tool answered; `value` is the text the model saw."""

    call_id: str
    name: str
    value: str = ""
    is_error: bool = False
    kind: ToolKind = "client"
    latency_secs: float | None = None
    error_type: str | None = None
    extra: Mapping[str, Any] = field(default_factory=dict, repr=False)


@dataclass(frozen=True, kw_only=True)
class TurnMetrics:
    """Times (milliseconds), tokens and cost of one turn; None means not measured, never zero.

    `llm_ttft_ms` is the time to the first token of the turn's first request, `llm_total_ms` the time in the model
    over all requests of the turn, `tool_ms` the time in tools, `total_ms` from the end of the user's turn to the
    end of the reply's text. Tokens and cost are sums over all requests of the turn.

    In a spoken reply `voice_to_voice_ms` is the wait from the end of the user's voice to the agent's first sound. Its
    stages follow each other: `endpointing_ms`, `asr_ms`, `llm_ttft_ms`, `first_sentence_ms` (from the first token
    until a sentence could be spoken), `tts_ttfb_ms`, `playout_ms` (from the voice's first byte to its first audible
    sample), `transport_ms` (from the user's page to the platform and back, where a page measures it: only then is it
    part of the whole); `unexplained_ms` is the rest of it.
    """

    endpointing_ms: float | None = None
    asr_ms: float | None = None
    llm_ttft_ms: float | None = None
    llm_total_ms: float | None = None
    first_sentence_ms: float | None = None
    tts_ttfb_ms: float | None = None
    playout_ms: float | None = None
    transport_ms: float | None = None
    voice_to_voice_ms: float | None = None
    unexplained_ms: float | None = None
    tool_ms: float | None = None
    total_ms: float | None = None
    input_tokens: int | None = None
    output_tokens: int | None = None
    cached_tokens: int | None = None
    cost_usd: float | None = None
    cost_is_estimate: bool | None = None


@dataclass(frozen=True, kw_only=True)
class Turn:
    """One side's turn in a conversation.

    `text` is what was said or generated; `text_heard` what the listener can have heard of it (None: all of it, or
    a text conversation). `start_secs` and `end_secs` count from the start of the conversation.
    `marks` names what a reader must know: ``fallback``, ``live_edit``, ``first_message``, ``offline``,
    ``low_confidence`` (of what was heard).
    """

    role: Role
    text: str = ""
    text_heard: str | None = None
    started_at: float | None = None
    start_secs: float | None = None
    end_secs: float | None = None
    interrupted: bool = False
    interrupted_at_secs: float | None = None
    agent_id: str | None = None
    agent_version: int | None = None
    prompt_hash: str | None = None
    llm_requested: str | None = None
    llm_served: str | None = None
    asr_engine: str | None = None
    asr_confidence: float | None = None
    tts_engine: str | None = None
    voice: str | None = None
    tool_calls: tuple[ToolCall, ...] = ()
    tool_results: tuple[ToolResult, ...] = ()
    metrics: TurnMetrics = field(default_factory=TurnMetrics)
    finish_reason: str | None = None
    error: str | None = None
    marks: tuple[str, ...] = ()
    extra: Mapping[str, Any] = field(default_factory=dict, repr=False)

    def with_changes(self, **changes: Any) -> Turn:
        """Return a copy with some fields changed."""
        return changed(self, changes)
