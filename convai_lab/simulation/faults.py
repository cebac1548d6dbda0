"""Faults: what went wrong in a simulated conversation, and whose fault was it?"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Literal, NamedTuple

from convai_lab import settings
from convai_lab.conversations.turn import Turn
from convai_lab.dialogue.outside_text import MAX_ERROR_CHARS, cut
from convai_lab.errors import ProviderError

Party = Literal["agent", "provider", "simulator", "tool", "judge"]

ANSWERED = ("refused",)
"""A tool that knows no such order has answered, and what the agent makes of it is the agent's."""
AGENT_ERRED = ("unknown_tool", "bad_arguments", "loop_limit", "repeated_failure", "missing_variable")


class Fault(NamedTuple):
    """One thing that went wrong: whose fault it was, the kind of it as a word, and what was said about it."""

    party: Party
    reason: str
    detail: str = ""


def fault_of(error: BaseException, party: Party) -> Fault:
    """Return an error as a fault of that party; secrets are taken out of its words."""
    detail = cut(settings.scrub(str(error) or type(error).__name__), MAX_ERROR_CHARS)
    return Fault(party, _reason(error), detail)


def tool_faults(turn: Turn, *, intended: frozenset[str]) -> Iterator[Fault]:
    """Yield the faults that stand in an agent's turn; `intended` are the ids of calls that a mock let fail."""
    for result in turn.tool_results:
        if not result.is_error or result.call_id in intended or result.error_type in ANSWERED:
            continue
        party: Party = "agent" if result.error_type in AGENT_ERRED else "tool"
        yield Fault(party, result.error_type or "tool_error", f"{result.name}: {cut(result.value, MAX_ERROR_CHARS)}")
    if turn.error is not None and turn.finish_reason in ("tool_loop_limit", "repeated_tool_failure"):
        yield Fault("agent", turn.finish_reason, turn.error)


def _reason(error: BaseException) -> str:
    """Return ``rate_limit`` for a `ProviderRateLimitError`, and so on."""
    name = type(error).__name__.removesuffix("Error")
    name = name.removeprefix("Provider") if isinstance(error, ProviderError) and name != "Provider" else name
    return re.sub(r"(?<=[a-z])(?=[A-Z])", "_", name).lower() or "error"
