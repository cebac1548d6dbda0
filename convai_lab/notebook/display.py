"""Display: how is something shown in a cell, once, and live while it grows?"""

from __future__ import annotations

import time
import weakref
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Protocol, TypeVar

from markupsafe import Markup

from convai_lab.conversations.conversation import Conversation
from convai_lab.conversations.transcript import transcript_html, transcript_text
from convai_lab.conversations.turn import ToolCall, ToolResult, Turn

T = TypeVar("T")

MIN_SECS_BETWEEN_UPDATES = 0.06
"""A browser cannot show more, and every update is a message that the notebook file would have to merge."""

TABLE_STYLE = "border-collapse:collapse;font-size:13px;margin:6px 0"
CELL_STYLE = (
    "text-align:left;padding:3px 12px 3px 0;border-bottom:1px solid var(--jp-border-color2,#ccc);vertical-align:top"
)

_silenced: weakref.WeakValueDictionary[int, object] = weakref.WeakValueDictionary()


class Picture:
    """Something ready to be shown: HTML for a notebook, text for everything else."""

    def __init__(self, html: str, text: str) -> None:
        self.html, self.text = html, text

    def _repr_mimebundle_(self, **_: Any) -> dict[str, str]:
        return {"text/html": str(self.html), "text/plain": self.text}

    def __repr__(self) -> str:
        return self.text


def silence_once(value: T) -> T:
    """Return `value`, which the cell has already shown, so that its being the cell's result shows it no second time."""
    _silenced[id(value)] = value
    return value


def show(picture: Picture) -> None:
    """Show a picture in the running cell."""
    from IPython.display import display

    display(picture)


def table(headers: Sequence[str], rows: Sequence[Sequence[Any]]) -> Markup:
    """Return an escaped HTML table."""
    head = Markup("").join(Markup('<th scope="col" style="{}">{}</th>').format(CELL_STYLE, text) for text in headers)
    body = Markup("").join(
        Markup("<tr>{}</tr>").format(
            Markup("").join(Markup('<td style="{}">{}</td>').format(CELL_STYLE, cell) for cell in row)
        )
        for row in rows
    )
    return Markup('<table style="{}"><thead><tr>{}</tr></thead><tbody>{}</tbody></table>').format(
        TABLE_STYLE, head, body
    )


def text_table(headers: Sequence[str], rows: Sequence[Sequence[Any]]) -> str:
    """Return a plain text table with aligned columns."""
    cells = [[str(cell) for cell in row] for row in (headers, *rows)]
    widths = [max(len(row[i]) for row in cells) for i in range(len(headers))]
    return "\n".join(
        "  ".join(text.ljust(width) for text, width in zip(row, widths, strict=True)).rstrip() for row in cells
    )


class ChatView(Protocol):
    """Shows a conversation while it grows."""

    def show(self, conversation: Conversation, *, final: bool = False) -> None:
        """Show its present state; `final` when nothing will follow."""


class LiveTranscript:
    """Shows the transcript in the cell under a display id of its own, and replaces it as it grows."""

    def __init__(self) -> None:
        self._handle: Any = None
        self._shown_at = float("-inf")

    def show(self, conversation: Conversation, *, final: bool = False) -> None:
        """Show the present state; skipped when the last one is too young, unless it is the final one."""
        now = time.monotonic()
        if not final and now - self._shown_at < MIN_SECS_BETWEEN_UPDATES:
            return
        self._shown_at = now
        picture = Picture(transcript_html(conversation), transcript_text(conversation))
        if self._handle is None:
            from IPython.display import display

            self._handle = display(picture, display_id=True)
        else:
            self._handle.update(picture)


class PrintedTranscript:
    """Prints what is new, for a terminal, where nothing can be replaced."""

    def __init__(self) -> None:
        self._printed: dict[int, int] = {}
        self._said_id = False

    def show(self, conversation: Conversation, *, final: bool = False) -> None:
        """Print what was added since the last call."""
        if not self._said_id and conversation.id:
            self._said_id = True
            print(f"conversation {conversation.id}")
        for index, turn in enumerate(conversation.turns):
            done = self._printed.get(index)
            if done is None:
                print(f"\n{turn.role}: ", end="")
            print(turn.text[done or 0 :], end="", flush=True)
            self._printed[index] = max(len(turn.text), done or 0)
        if final:
            print()


class GrowingConversation:
    """Builds the conversation that a chat view shows, from what a session reports."""

    def __init__(self, start: Conversation, view: ChatView) -> None:
        self.conversation, self._view = start, view

    def started(self, conversation_id: str) -> None:
        """The platform has given the conversation an id."""
        self._show(replace(self.conversation, id=conversation_id, status="in-progress"))

    def user_said(self, text: str) -> None:
        """A user message is on its way."""
        self._append(Turn(role="user", text=text))

    def agent_text(self, text: str) -> None:
        """The agent's reply goes on."""
        turn = self._agent_turn()
        self._replace_last(turn.with_changes(text=turn.text + text))

    def agent_turn(self, text: str) -> None:
        """The agent's reply is complete."""
        self._replace_last(self._agent_turn().with_changes(text=text))

    def agent_cut_short(self, heard: str) -> None:
        """The user interrupted the agent, and heard only so much."""
        turns = self.conversation.turns
        last = next((at for at in reversed(range(len(turns))) if turns[at].role == "agent"), None)
        if last is not None:
            cut = turns[last].with_changes(text_heard=heard, interrupted=True)
            self._show(replace(self.conversation, turns=(*turns[:last], cut, *turns[last + 1 :])))

    def tool_called(self, name: str, arguments: Mapping[str, Any]) -> None:
        """The agent asked for a tool."""
        turn = self._agent_turn()
        call = ToolCall(id=str(len(turn.tool_calls)), name=name, arguments=arguments)
        self._replace_last(turn.with_changes(tool_calls=(*turn.tool_calls, call)))

    def tool_answered(self, name: str, value: str, *, is_error: bool) -> None:
        """A tool answered."""
        turn = self._agent_turn()
        answered = {result.call_id for result in turn.tool_results}
        call_id = next((c.id for c in turn.tool_calls if c.name == name and c.id not in answered), "")
        result = ToolResult(call_id=call_id, name=name, value=value, is_error=is_error)
        self._replace_last(turn.with_changes(tool_results=(*turn.tool_results, result)))

    def finished(self, conversation: Conversation) -> None:
        """The platform's own record replaces what was built from the events."""
        self.conversation = conversation
        self._view.show(conversation, final=True)

    def _agent_turn(self) -> Turn:
        turns = self.conversation.turns
        if not turns or turns[-1].role != "agent":
            self._append(Turn(role="agent"))
        return self.conversation.turns[-1]

    def _append(self, turn: Turn) -> None:
        self._show(replace(self.conversation, turns=(*self.conversation.turns, turn)))

    def _replace_last(self, turn: Turn) -> None:
        self._show(replace(self.conversation, turns=(*self.conversation.turns[:-1], turn)))

    def _show(self, conversation: Conversation) -> None:
        self.conversation = conversation
        self._view.show(conversation)


def show_unless_silenced(value: Any) -> None:
    """Show a value as the result of a cell, unless the cell has shown it already."""
    if _silenced.pop(id(value), None) is value:
        return
    from IPython.display import publish_display_data

    plain = transcript_text(value) if isinstance(value, Conversation) else str(value)
    html = {"text/html": value._repr_html_()} if hasattr(value, "_repr_html_") else {}
    publish_display_data({**html, "text/plain": plain})
