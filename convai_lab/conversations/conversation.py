"""Conversation: the record that a session leaves."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from convai_lab.conversations.changes import changed
from convai_lab.conversations.cost import cost_of_turn, total_cost
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


@dataclass(frozen=True, kw_only=True, repr=False)
class Conversation:
    """One conversation with an agent: who, when, how it ended, and its turns in order.

    Iterating gives turns; `len()` counts them. Instants (`started_at`) are seconds since 1970, UTC.
    A notebook shows it as a transcript; `text` is the same for a terminal or an issue.

    Example:
        >>> Conversation(id="conv_1", agent_id="agent_1", agent_name="support")
        Conversation('conv_1', agent='support', 0 turns, done)
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
    audio_problem: str | None = None
    parent_id: str | None = None
    cassette: str | None = None
    user_id: str | None = None
    analysis: Analysis = field(default_factory=Analysis)
    extra: Mapping[str, Any] = field(default_factory=dict, repr=False)

    def __iter__(self) -> Iterator[Turn]:
        return iter(self.turns)

    def __len__(self) -> int:
        return len(self.turns)

    def __bool__(self) -> bool:
        """Return True, also before the first turn: `if conversation` asks for None, not for turns."""
        return True

    def __getitem__(self, index: int) -> Turn:
        return self.turns[index]

    def __repr__(self) -> str:
        turns = "1 turn" if len(self.turns) == 1 else f"{len(self.turns)} turns"
        return f"Conversation({self.id!r}, agent={(self.agent_name or self.agent_id)!r}, {turns}, {self.status})"

    def _repr_html_(self) -> str:
        from convai_lab.conversations.transcript import transcript_html

        return transcript_html(self)

    @property
    def text(self) -> str:
        """The transcript as plain text."""
        from convai_lab.conversations.transcript import transcript_text

        return transcript_text(self)

    @property
    def cost_usd(self) -> float | None:
        """What all turns cost together in USD; None when that is not known of every turn that used a model."""
        return total_cost(cost_of_turn(turn) for turn in self.turns)

    def to_dict(self) -> dict[str, Any]:
        """Return the conversation as the platform's JSON, with everything that is known."""
        from convai_lab.conversations.wire_format import conversation_to_wire

        return conversation_to_wire(self)

    @property
    def audio(self) -> Any:
        """The recording, loaded when asked for: a notebook plays it; `save` it, or take one `turn(i)`."""
        import convai_lab

        return convai_lab.conversation_audio(self)

    def timeline(self, **options: Any) -> Any:
        """Plot who spoke when, on two lanes; see `convai_lab.plot_timeline`."""
        import convai_lab

        return convai_lab.plot_timeline(self, **options)

    def waterfall(self, **options: Any) -> Any:
        """Plot the latency of each turn, stage by stage; see `convai_lab.plot_waterfall`."""
        import convai_lab

        return convai_lab.plot_waterfall(self, **options)

    def with_changes(self, **changes: Any) -> Conversation:
        """Return a copy with some fields changed."""
        return changed(self, changes)
