"""Summaries: a conversation as a list shows it, which loads the whole when more is asked of it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, fields
from typing import Any

from convai_lab.conversations.conversation import Conversation
from convai_lab.conversations.turn import Turn
from convai_lab.errors import NotSupportedError
from convai_lab.workspace.listing import one_line, shown_time
from convai_lab.workspace.names import number

CONVERSATION_HEADERS = ("id", "agent", "started", "turns", "seconds", "status", "success", "summary")
WHOLE = frozenset(f.name for f in fields(Conversation))

Load = Callable[[str], Conversation]


@dataclass(frozen=True, kw_only=True)
class ConversationSummary:
    """One row of a list of conversations.

    What the row knows is there at once; `turns`, `variables`, `analysis` and the other fields of `Conversation`
    are loaded when they are first looked at, and so is everything when the summary is iterated.
    """

    id: str
    agent_id: str
    agent_name: str | None = None
    started_at: float | None = None
    duration_secs: float | None = None
    n_turns: int | None = None
    status: str = "done"
    success: str | None = None
    title: str | None = None
    summary: str | None = None
    end_reason: str | None = None
    _load: Load | None = field(default=None, repr=False, compare=False)
    _loaded: list[Conversation] = field(default_factory=list, repr=False, compare=False)

    def load(self) -> Conversation:
        """Return the whole conversation; it is fetched once."""
        if not self._loaded:
            if self._load is None:
                raise NotSupportedError("this summary is not tied to a workspace: use ws.conversations.get(id)")
            self._loaded.append(self._load(self.id))
        return self._loaded[0]

    def cells(self) -> tuple[str, ...]:
        """Return the texts of the row."""
        return (
            self.id,
            one_line(self.agent_name or self.agent_id, chars=30),
            shown_time(self.started_at),
            "" if self.n_turns is None else str(self.n_turns),
            "" if self.duration_secs is None else f"{self.duration_secs:.0f}",
            self.status,
            self.success or "",
            one_line(self.title or self.summary or ""),
        )

    def __getattr__(self, name: str) -> Any:
        if name in WHOLE or name == "with_changes":
            return getattr(self.load(), name)
        raise AttributeError(f"a conversation has no attribute {name!r}")

    def __bool__(self) -> bool:
        return True

    def __iter__(self) -> Iterator[Turn]:
        return iter(self.load())

    def __len__(self) -> int:
        return len(self.load())

    def __getitem__(self, index: int) -> Turn:
        return self.load()[index]


def summary_from(item: Any, load: Load | None) -> ConversationSummary | None:
    """Return a row of the platform's list as a summary; None for what is no row."""
    if not isinstance(item, dict) or not isinstance(item.get("conversation_id"), str):
        return None
    turns = number(item.get("message_count"))
    return ConversationSummary(
        id=item["conversation_id"],
        agent_id=str(item.get("agent_id") or ""),
        agent_name=_text(item, "agent_name"),
        started_at=number(item.get("start_time_unix_secs")) or None,  # the platform counts what is not known as 0
        duration_secs=number(item.get("call_duration_secs")),
        n_turns=None if turns is None else int(turns),
        status=_text(item, "status") or "done",
        success=_text(item, "call_successful"),
        title=_text(item, "call_summary_title"),
        summary=_text(item, "transcript_summary"),
        end_reason=_text(item, "termination_reason"),
        _load=load,
    )


def _text(item: dict[str, Any], name: str) -> str | None:
    value = item.get(name)
    return value if isinstance(value, str) and value else None
