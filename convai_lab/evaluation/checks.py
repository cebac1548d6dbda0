"""Checks: what must hold at the end of a conversation, found out without a model?

A check is a mapping with one key, as in a scenario file (see `datasets/README.md`)::

    said: text                       never_said: text          text | any_of | regex, whole_word, match_case
    called: {tool, arguments}        never_called: {...}       arguments: equal, or {any_of}, {regex},
    called_in_order: [{tool}, ...]                             {number, tolerance}, {present}, {absent}, {equals};
                                                               exactly, at_least, at_most times
    collected: {schema} | {item, equals | any_of | regex | ...}
    turns: {at_most, at_least, by}   cost_usd: {at_most}       latency: {stage, p95_ms | max_ms}
    ended_by: agent                  end_reason: text          state: {has | equals}

Texts are compared without regard to case, kinds of quotes and dashes, and white space, with what the user can have
heard. What cannot be known is None: not measured, not priced, not collected. It never counts as a success.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from convai_lab.conversations.conversation import Conversation
from convai_lab.evaluation import call_checks, measured_checks, outcome_checks, said_checks
from convai_lab.evaluation.check import Check, CheckResult, Scene
from convai_lab.evaluation.check_fields import meant, refuse, shown

__all__ = ["KINDS", "Check", "CheckResult", "all_passed", "parse_checks", "run_checks"]

KINDS: Mapping[str, Callable[[Any, str], Check]] = {
    "said": said_checks.said,
    "never_said": said_checks.never_said,
    "called": call_checks.called,
    "never_called": call_checks.never_called,
    "called_in_order": call_checks.called_in_order,
    "collected": outcome_checks.collected,
    "turns": measured_checks.turns,
    "latency": measured_checks.latency,
    "cost_usd": measured_checks.cost_usd,
    "ended_by": outcome_checks.ended_by,
    "end_reason": outcome_checks.end_reason,
    "state": outcome_checks.state,
}
"""Every kind of check, and what reads it."""


def parse_checks(raw: object, where: str) -> tuple[Check, ...]:
    """Read the checks of a scenario; `where` names it for errors, such as ``scenario refund``.

    Example:
        >>> [check.name for check in parse_checks([{"said": "shipped"}], "scenario order")]
        ["said 'shipped'"]
        >>> parse_checks([{"sayd": "shipped"}], "scenario order")
        Traceback (most recent call last):
        ...
        convai_lab.errors.InvalidValueError: scenario order, check 1: there is no check 'sayd' (did you mean said?); ...

    Raises:
        InvalidValueError: A check is wrong; names the scenario, the number of the check (from 1) and the field.
    """
    if raw is None:
        return ()
    if isinstance(raw, (str, bytes, Mapping)) or not isinstance(raw, Sequence):
        refuse(f"{where}, checks", f"must be a list of checks such as [{{said: text}}], got {shown(raw)}")
    return tuple(_check_in(item, f"{where}, check {number}") for number, item in enumerate(raw, start=1))


def run_checks(
    checks: Sequence[Check],
    conversation: Conversation,
    *,
    tool_state: Mapping[str, Any] | None = None,
    has_real_times: bool = True,
) -> tuple[CheckResult, ...]:
    """Return how every check came out, in order.

    Args:
        tool_state: The state that the mocked tools were left in, for `state` checks.
        has_real_times: False when time was invented (a virtual clock): `latency` checks are then unknown.
    """
    scene = Scene(conversation, tool_state, has_real_times=has_real_times)
    return tuple(_result(check, scene) for check in checks)


def all_passed(results: Sequence[CheckResult]) -> bool | None:
    """Say whether every check holds: False when one does not, None when one cannot be known, or there is none."""
    if any(result.passed is False for result in results):
        return False
    return True if results and all(result.passed for result in results) else None


def _result(check: Check, scene: Scene) -> CheckResult:
    passed, why = check.run(scene)
    return CheckResult(passed, check.name, why, check.kind)


def _check_in(raw: object, where: str) -> Check:
    if callable(getattr(raw, "run", None)) and not isinstance(raw, Mapping):
        return raw  # type: ignore[return-value]  # read before
    if not isinstance(raw, Mapping):
        refuse(where, f"must be a mapping with one key, such as {{said: text}}, got {shown(raw)}")
    if len(raw) != 1:
        keys = ", ".join(str(key) for key in raw) or "none"
        refuse(where, f"must be a mapping with one key, got {keys}: write one check for each, options inside it")
    ((kind, value),) = raw.items()
    if kind not in KINDS:
        refuse(where, f"there is no check {shown(kind)}{meant(kind, KINDS)}; there are {', '.join(KINDS)}")
    return KINDS[kind](value, f"{where}: {kind}")
