"""Memory: what has been said and done in this conversation, as far as the request shows it?"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

from convai_lab.conversations.turn import ToolCall
from convai_lab.providers.base import ChatMessage, ChatRequest
from convai_lab.providers.offline.acts import without_orders

MAX_EXCHANGES = 30
MAX_CALLS = 40
CONTEXT_MARK = "For your information: "
"""How a contextual update begins."""


class Exchange(NamedTuple):
    """One message of the caller, and what the agent had said before it."""

    before: str
    text: str


class PastCall(NamedTuple):
    """A tool call of the past, its answer if there is one, and after how many messages of the caller it was made."""

    call: ToolCall
    answer: ChatMessage | None
    after: int

    @property
    def ended_well(self) -> bool:
        """Say whether the tool answered, and without an error."""
        return self.answer is not None and not self.answer.is_error


@dataclass(frozen=True)
class Memory:
    """The conversation so far; `exchanges` are newest last, and only the newest ones are kept."""

    prompt: str
    exchanges: tuple[Exchange, ...]
    agent_texts: tuple[str, ...]
    calls: tuple[PastCall, ...]
    n_user: int
    last_role: str
    newest: str = ""
    """The newest message of the caller as it came, orders included."""

    @cached_property
    def last_agent(self) -> str:
        """What the agent said last before the newest message of the caller."""
        if self.last_role == "user" and self.exchanges:
            return self.exchanges[-1].before
        return self.agent_texts[-1] if self.agent_texts else ""

    @cached_property
    def fresh_results(self) -> tuple[PastCall, ...]:
        """The answered calls at the very end, which the caller has not heard about yet."""
        return tuple(c for c in self.calls if c.answer is not None and c.after == self.n_user)

    @cached_property
    def last_call(self) -> PastCall | None:
        """The newest call that was answered."""
        return next((c for c in reversed(self.calls) if c.answer is not None), None)

    def since(self, after: int) -> tuple[Exchange, ...]:
        """Return what the caller said after their first `after` messages."""
        newer = self.n_user - after
        return self.exchanges[-newer:] if newer > 0 else ()


def remember(request: ChatRequest) -> Memory:
    """Read the messages of a request."""
    prompt: list[str] = []
    exchanges: list[Exchange] = []
    agent_texts: list[str] = []
    calls: list[tuple[ToolCall, int]] = []
    answers: dict[str, ChatMessage] = {}
    before, n_user, last_role = "", 0, ""
    for message in request.messages:
        if message.role == "system":
            prompt.append(_with_context(message.content))
            continue
        last_role = message.role
        if message.role == "user":
            exchanges.append(Exchange(before, message.content))
            before, n_user = "", n_user + 1
        elif message.role == "assistant":
            if message.content.strip():
                agent_texts.append(message.content[-2000:])
                before = agent_texts[-1]
            calls.extend((call, n_user) for call in message.tool_calls)
        elif message.tool_call_id is not None:
            answers[message.tool_call_id] = message
    return Memory(
        prompt="\n\n".join(prompt),
        exchanges=tuple(Exchange(e.before, without_orders(e.text)) for e in exchanges[-MAX_EXCHANGES:]),
        agent_texts=tuple(agent_texts[-MAX_EXCHANGES:]),
        calls=_paired(calls[-MAX_CALLS:], answers),
        n_user=n_user,
        last_role=last_role,
        newest=exchanges[-1].text if exchanges else "",
    )


def _with_context(text: str) -> str:
    """Return a system message; a contextual update is something to know, like a line of the knowledge."""
    return f"# Knowledge\n{text.removeprefix(CONTEXT_MARK)}" if text.startswith(CONTEXT_MARK) else text


def _paired(calls: Sequence[tuple[ToolCall, int]], answers: dict[str, ChatMessage]) -> tuple[PastCall, ...]:
    return tuple(PastCall(call, answers.get(call.id), after) for call, after in calls)
