"""Call checks: were the right tools called, with the right arguments, often enough and in order?"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from convai_lab.conversations.turn import ToolCall
from convai_lab.evaluation.argument_match import ArgumentsMatch, arguments_in, shown_json
from convai_lab.evaluation.check import Check, Found, Scene
from convai_lab.evaluation.check_fields import Fields, fields_in, meant, refuse, shown

COUNTS = ("exactly", "at_least", "at_most")
SHOWN_CALLS = 3


@dataclass(frozen=True)
class CallPattern:
    """Calls of one tool with at least these arguments."""

    tool: str
    arguments: ArgumentsMatch

    def matches(self, call: ToolCall) -> bool:
        """Say whether a call is one of them."""
        return call.name == self.tool and self.arguments.matches(call.arguments)

    def __str__(self) -> str:
        return f"{self.tool}({self.arguments})"


@dataclass(frozen=True)
class Called:
    """The tool was called so many times; at least once when nothing is said."""

    call: CallPattern
    at_least: int | None = 1
    at_most: int | None = None
    kind: ClassVar[str] = "called"

    @property
    def name(self) -> str:
        """Which call must have been made, and how often."""
        return f"called {self.call}{self._times()}"

    def run(self, scene: Scene) -> Found:
        """Count the calls that fit."""
        count = sum(map(self.call.matches, scene.calls))
        enough = count >= (self.at_least or 0)
        passed = enough and (self.at_most is None or count <= self.at_most)
        if count == 0 and not passed:
            return Found(False, f"{self.call} was not called{_instead(self.call.tool, scene.calls)}")
        return Found(passed, f"{self.call} was called {_times(count)}")

    def _times(self) -> str:
        if self.at_least == self.at_most:
            return f" exactly {_times(self.at_least or 0)}"
        least = f" at least {_times(self.at_least)}" if self.at_least is not None and self.at_least != 1 else ""
        most = f" at most {_times(self.at_most)}" if self.at_most is not None else ""
        return " and".join(part for part in (least, most) if part)


@dataclass(frozen=True)
class NeverCalled:
    """No such call was made."""

    call: CallPattern
    kind: ClassVar[str] = "never_called"

    @property
    def name(self) -> str:
        """Which call must not have been made."""
        return f"never called {self.call if self.call.arguments.wanted else self.call.tool}"

    def run(self, scene: Scene) -> Found:
        """Look for such a call."""
        made = next((call for call in scene.calls if self.call.matches(call)), None)
        return Found(True, "no such call was made") if made is None else Found(False, f"{call_text(made)} was called")


@dataclass(frozen=True)
class CalledInOrder:
    """Such calls were made in this order; other calls may lie between them."""

    calls: tuple[CallPattern, ...]
    kind: ClassVar[str] = "called_in_order"

    @property
    def name(self) -> str:
        """Which calls must have been made, in order."""
        return f"called in order: {', '.join(map(str, self.calls))}"

    def run(self, scene: Scene) -> Found:
        """Look for each call after the one before it."""
        left = iter(scene.calls)
        for index, wanted in enumerate(self.calls):
            if not any(wanted.matches(call) for call in left):
                after = f" after {self.calls[index - 1]}" if index else ""
                return Found(False, f"{wanted} was not called{after}{_made(scene.calls)}")
        return Found(True, "the calls were made in this order")


def called(raw: Any, where: str) -> Check:
    """Read a `called` check."""
    fields = _call_fields(raw, where, ("tool", "arguments", *COUNTS))
    exactly, at_least, at_most = (fields.count(name) for name in COUNTS)
    if exactly is not None and (at_least is not None or at_most is not None):
        fields.fail("give exactly, or at_least and at_most, not both")
    if exactly is None and at_least is None and at_most is None:
        return Called(_call_of(fields))
    least, most = (exactly, exactly) if exactly is not None else (at_least, at_most)
    if least is not None and most is not None and least > most:
        fields.fail(f"at_least ({least}) is more than at_most ({most})")
    return Called(_call_of(fields), least, most)


def never_called(raw: Any, where: str) -> Check:
    """Read a `never_called` check."""
    return NeverCalled(_call_of(_call_fields(raw, where, ("tool", "arguments"))))


def called_in_order(raw: Any, where: str) -> Check:
    """Read a `called_in_order` check: a list of calls."""
    if not isinstance(raw, list) or len(raw) < 2:
        refuse(where, f"must be a list of at least two calls, got {shown(raw)}")
    places = [(item, f"{where}[{index}]") for index, item in enumerate(raw)]
    return CalledInOrder(tuple(_call_of(_call_fields(item, at, ("tool", "arguments"))) for item, at in places))


def call_text(call: ToolCall) -> str:
    """Return a call as one would write it."""
    return f"{call.name}({', '.join(f'{name}={shown_json(value)}' for name, value in call.arguments.items())})"


def _call_fields(raw: Any, where: str, known: Sequence[str]) -> Fields:
    fields = fields_in({"tool": raw} if isinstance(raw, str) else raw, where)
    fields.only(known)
    return fields


def _call_of(fields: Fields) -> CallPattern:
    arguments = fields.mapping("arguments") if "arguments" in fields else Fields(fields.where, {})
    return CallPattern(fields.text("tool"), arguments_in(arguments))


def _times(count: int) -> str:
    return {1: "once", 2: "twice"}.get(count, f"{count} times")


def _instead(tool: str, calls: Sequence[ToolCall]) -> str:
    same = [call for call in calls if call.name == tool]
    if same:
        return f" with these arguments{_made(same)}"
    return _made(calls) + meant(tool, {call.name for call in calls})


def _made(calls: Sequence[ToolCall]) -> str:
    if not calls:
        return "; no tool was called"
    more = f" and {len(calls) - SHOWN_CALLS} more" if len(calls) > SHOWN_CALLS else ""
    return f"; the calls were {', '.join(map(call_text, calls[:SHOWN_CALLS]))}{more}"
