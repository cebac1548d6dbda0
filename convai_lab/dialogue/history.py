"""History: which messages does the model get for the turns so far?

The model sees what was heard, not what was generated, and is told where the user interrupted. A tool call always
stands together with its result. The same turns give the same messages at every request, so that vendors can cache.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from convai_lab.conversations.turn import ToolCall, ToolResult, Turn
from convai_lab.dialogue.record import own
from convai_lab.providers.base import ChatMessage

DEFAULT_CONTEXT_TOKENS = 100_000
CHARS_PER_TOKEN = 4
MESSAGE_TOKENS = 4

CONTEXT = "contextual_updates"
"""Where a turn keeps the contextual updates that arrived before it (among its own additions)."""

ROUNDS = "rounds"
"""Where a turn keeps how its text and tool calls alternated: pairs of characters and number of calls."""

FILLER = "filler"
"""Marks a turn that only bridged a silence ("hmm"); the model need not read it."""

SILENT = "The user has not said anything."
INTERRUPTED = "The user interrupted your last reply and heard only what is shown of it."
BROKEN_OFF = "A technical error cut your last reply off."
LEFT_OUT = "The earlier turns of this conversation are left out."
NO_RESULT = "This call was cut off before it answered. It may have taken effect."

Group = list[ChatMessage]
"""The messages of one turn; they are kept or left out together."""


def groups_of(turns: Sequence[Turn], *, context: Sequence[str] = ()) -> list[Group]:
    """Return the messages for the turns, one group a turn, ready for the agent to speak.

    `context` are contextual updates since the last turn. What the platform adds stands in system messages at its
    place, where neither a user nor a tool can forge it.
    """
    groups: list[Group] = []
    notes: list[ChatMessage] = []
    for turn in turns:
        notes += _context_notes(own(turn.extra, CONTEXT, ()))
        if FILLER in turn.marks:
            continue
        if turn.role == "user":
            groups.append([*notes, ChatMessage(role="user", content=turn.text)])
            notes = []
        elif said := list(_agent_messages(turn)):
            groups.append([*_reason_to_speak(groups, notes), *said])
            notes = _notes_after(turn)
    notes += _context_notes(context)
    closing = notes if groups and groups[-1][-1].role == "user" else _reason_to_speak(groups, notes) or _note(SILENT)
    if groups:
        groups[-1] = [*groups[-1], *closing]
    return groups or [closing]


def trimmed(system: str, groups: Sequence[Group], *, budget: int = DEFAULT_CONTEXT_TOKENS) -> list[ChatMessage]:
    """Return the system prompt and as many of the newest turns as fit; the newest is always there."""
    head = [ChatMessage(role="system", content=system)] if system else []
    left = budget - sum(estimated_tokens(message) for message in head)
    kept = 0
    for group in reversed(groups):
        left -= sum(estimated_tokens(message) for message in group)
        if left < 0 and kept:
            break
        kept += 1
    chosen = groups[len(groups) - kept :]
    gap = _note(LEFT_OUT) if kept < len(groups) else []
    return [*head, *gap, *(message for group in chosen for message in group)]


def round_messages(text: str, calls: Sequence[ToolCall], results: Sequence[ToolResult]) -> Iterator[ChatMessage]:
    """Yield what the agent said, the tools it called, and what they answered; every call has its answer."""
    if text.strip() or calls:
        yield ChatMessage(role="assistant", content=text, tool_calls=tuple(calls))
    answers = {result.call_id: result for result in results}
    for call in calls:
        result = answers.get(call.id)
        value, is_error = (result.value, result.is_error) if result else (NO_RESULT, True)
        yield ChatMessage(role="tool", content=value, tool_call_id=call.id, name=call.name, is_error=is_error)


def estimated_tokens(message: ChatMessage) -> int:
    """Estimate the tokens of a message: four characters of ASCII text are about one, others one each."""
    texts = [message.content, *(f"{call.name}{dict(call.arguments)}" for call in message.tool_calls)]
    return MESSAGE_TOKENS + sum(_text_tokens(text) for text in texts)


def _text_tokens(text: str) -> int:
    if text.isascii():
        return len(text) // CHARS_PER_TOKEN + 1
    plain = sum(char < "\x80" for char in text)
    return plain // CHARS_PER_TOKEN + len(text) - plain + 1


def _agent_messages(turn: Turn) -> Iterator[ChatMessage]:
    heard = turn.text if turn.text_heard is None else turn.text_heard
    calls = iter(turn.tool_calls)
    start = 0
    for chars, number in _rounds(turn) if turn.text.startswith(heard) else [(0, len(turn.tool_calls))]:
        of_round = [call for call, _ in zip(calls, range(number), strict=False)]
        yield from round_messages(heard[start : start + chars], of_round, turn.tool_results)
        start += chars
    yield from round_messages(heard[start:], list(calls), turn.tool_results)


def _rounds(turn: Turn) -> list[tuple[int, int]]:
    """Return how text and calls alternated; without a record of it the calls come before the text."""
    kept = own(turn.extra, ROUNDS, None)
    if isinstance(kept, (list, tuple)) and all(_is_round(entry) for entry in kept):
        return [(int(chars), int(number)) for chars, number in kept]
    return [(0, len(turn.tool_calls))] if turn.tool_calls else []


def _is_round(entry: object) -> bool:
    pair = isinstance(entry, (list, tuple)) and len(entry) == 2
    return pair and all(isinstance(part, int) and part >= 0 for part in entry)  # type: ignore[attr-defined]


def _reason_to_speak(groups: Sequence[Group], notes: list[ChatMessage]) -> list[ChatMessage]:
    """Return the notes before the agent speaks; after its own words it needs a reason to speak again."""
    after_itself = bool(groups) and groups[-1][-1].role != "user"
    return notes or (_note(SILENT) if after_itself else [])


def _notes_after(turn: Turn) -> list[ChatMessage]:
    if turn.interrupted:
        return _note(INTERRUPTED)
    return _note(BROKEN_OFF) if turn.error else []


def _context_notes(texts: Sequence[str]) -> list[ChatMessage]:
    return [note for text in texts for note in _note(f"For your information: {text}")]


def _note(text: str) -> list[ChatMessage]:
    return [ChatMessage(role="system", content=text)]
