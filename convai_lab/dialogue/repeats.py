"""Repeats: does the model call a failing tool again and again with the same arguments?"""

from __future__ import annotations

import json
from collections import Counter

from convai_lab.conversations.turn import ToolCall, ToolResult

MAX_SAME_FAILURES = 2
"""So often a call may fail before it is refused: a second try is reasonable, a third is not."""


class Repeats:
    """Counts the failures of each call, by tool and arguments, within one reply."""

    def __init__(self) -> None:
        self._failures: Counter[str] = Counter()

    def count(self, call: ToolCall, result: ToolResult) -> None:
        """Take in how a call came out."""
        if result.is_error:
            self._failures[_same(call)] += 1

    def is_refused(self, call: ToolCall) -> bool:
        """Say whether this call failed so often that it must not run again."""
        return self._failures[_same(call)] >= MAX_SAME_FAILURES

    def is_hopeless(self, call: ToolCall) -> bool:
        """Say whether the model insisted even after it was told that the call would not run again."""
        return self._failures[_same(call)] > MAX_SAME_FAILURES


def _same(call: ToolCall) -> str:
    raw = call.extra.get("raw_arguments", "")
    return json.dumps([call.name, dict(call.arguments), raw], sort_keys=True, default=str)
