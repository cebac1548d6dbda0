"""Conversation: the record that a session leaves."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from convai_lab.conversations.turn import Turn

Status = Literal["initiated", "in-progress", "processing", "done", "failed"]
Source = Literal["live", "simulated", "replay", "import"]
Channel = Literal["text", "voice", "phone"]
Outcome = Literal["success", "failure", "unknown"]


@dataclass(frozen=True, kw_only=True)
class CriterionResult:
    """How one evaluation criterion or data item came out, and why."""

    value: Any
    rationale: str | None = None
    extra: Mapping[str, Any] = field(default_factory=dict, repr=False)


@dataclass(frozen=True, kw_only=True)
class Analysis:
    """What was found out after the conversation; `success` is None until somebody judged it."""

    success: Outcome | None = None
    summary: str | None = None
    criteria: Mapping[str, CriterionResult] = field(default_factory=dict)
    data: Mapping[str, CriterionResult] = field(default_factory=dict)
    extra: Mapping[str, Any] = field(default_factory=dict, repr=False)


@dataclass(frozen=True, kw_only=True)
class Conversation:
    """One conversation with an agent: who, when, how it ended, and its turns in order.

    Iterating gives turns; `len()` counts them. Instants (`started_at`) are seconds since 1970, UTC.
    """

    id: str
    agent_id: str
    agent_name: str | None = None
    first_version: int | None = None
    last_version: int | None = None
    platform: str = "local"
    channel: Channel = "text"
    source: Source = "live"
    status: Status = "done"
    scenario: str | None = None
    variant: str | None = None
    seed: int | None = None
    started_at: float | None = None
    duration_secs: float | None = None
    end_reason: str | None = None
    ended_by: str | None = None
    turns: tuple[Turn, ...] = ()
    variables: Mapping[str, Any] = field(default_factory=dict)
    tags: tuple[str, ...] = ()
    language: str | None = None
    has_audio: bool = False
    parent_id: str | None = None
    cassette: str | None = None
    user_id: str | None = None
    analysis: Analysis = field(default_factory=Analysis)
    extra: Mapping[str, Any] = field(default_factory=dict, repr=False)

    def __iter__(self) -> Iterator[Turn]:
        return iter(self.turns)

    def __len__(self) -> int:
        return len(self.turns)

    def __getitem__(self, index: int) -> Turn:
        return self.turns[index]

    def with_changes(self, **changes: Any) -> Conversation:
        """Return a copy with some fields changed."""
        return replace(self, **changes)
