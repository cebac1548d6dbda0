"""History: which messages does the model get for the turns so far?

The model sees what was heard, not what was generated, and is told where the user interrupted. A tool call always
stands together with its result. The same turns give the same messages at every request, so that vendors can cache.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator, Sequence
from itertools import takewhile
from typing import NamedTuple

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


class Group(tuple[ChatMessage, ...]):
    """The messages of one turn; they are kept or left out together."""

    @functools.cached_property
    def tokens(self) -> int:
        """Estimate how many tokens they are."""
        return sum(map(estimated_tokens, self))


class _Step(NamedTuple):
    """A turn of the conversation, how many groups there were before it, and the notes that were waiting for one."""

    turn: Turn
    groups: int
    notes: list[ChatMessage]


class History:
    """The messages of a conversation that grows: what its older turns gave is kept, so that a reply waits for none."""

    def __init__(self) -> None:
        self._groups: list[Group] = []
        self._steps: list[_Step] = []
        self._notes: list[ChatMessage] = []

    def groups(self, turns: Sequence[Turn], *, context: Sequence[str] = ()) -> list[Group]:
        """Return the messages for the turns, one group a turn, ready for the agent to speak.

        `context` are contextual updates since the last turn. What the platform adds stands in system messages at its
        place, where neither a user nor a tool can forge it.
        """
        is_known = (step.turn is turn for step, turn in zip(self._steps, turns, strict=False))
        self._back_to(sum(takewhile(bool, is_known)))
        for turn in turns[len(self._steps) :]:
            self._add(turn)
        groups, notes = self._groups.copy(), [*self._notes, *_context_notes(context)]
        of_user = bool(groups) and groups[-1][-1].role == "user"
        closing = notes if of_user else _reason_to_speak(groups, notes) or _note(SILENT)
        return [*groups[:-1], Group([*groups[-1], *closing])] if groups else [Group(closing)]

    def _back_to(self, known: int) -> None:
        """Forget the turns that are not the same any more, and those after them."""
        if known < len(self._steps):
            step = self._steps[known]
            self._notes = step.notes
            del self._groups[step.groups :], self._steps[known:]

    def _add(self, turn: Turn) -> None:
        self._steps.append(_Step(turn, len(self._groups), self._notes))
        notes = [*self._notes, *_context_notes(own(turn.extra, CONTEXT, ()))]
        if FILLER not in turn.marks:
            if turn.role == "user":
                self._groups.append(Group([*notes, ChatMessage(role="user", content=turn.text)]))
                notes = []
            elif said := list(_agent_messages(turn)):
                self._groups.append(Group([*_reason_to_speak(self._groups, notes), *said]))
                notes = _notes_after(turn)
        self._notes = notes


def groups_of(turns: Sequence[Turn], *, context: Sequence[str] = ()) -> list[Group]:
    """Return the messages for the turns of a conversation that is asked about once; see `History.groups`."""
    return History().groups(turns, context=context)


def trimmed(system: str, groups: Sequence[Group], *, budget: int = DEFAULT_CONTEXT_TOKENS) -> list[ChatMessage]:
    """Return the system prompt and as many of the newest turns as fit; the newest is always there."""
    head = [ChatMessage(role="system", content=system)] if system else []
    left = budget - Group(head).tokens
    kept = 0
    for group in reversed(groups):
        left -= group.tokens
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
    calls = (f"{call.name}{dict(call.arguments)}" for call in message.tool_calls)
    return MESSAGE_TOKENS + _text_tokens(message.content) + sum(map(_text_tokens, calls))


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
