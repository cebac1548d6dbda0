"""Run notes: what must a reader of a finished run be told that its numbers do not say?"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any

from convai_lab.evaluation.results import counted
from convai_lab.experiments.code_mark import unmarked_in
from convai_lab.experiments.trial import TrialResult

MOST_OPEN = 3
"""So many checks that could not be known are named."""


def grading_notes(trials: Sequence[TrialResult]) -> list[str]:
    """Say which trials nothing could grade, and which checks nothing could decide."""
    ended = [trial for trial in trials if trial.failed_party is None]
    notes = []
    if ungraded := sum(trial.success is None for trial in ended):
        have = "has" if ungraded == 1 else "have"
        notes.append(
            f"{counted(ungraded, 'trial')} {have} nothing to be graded by: give their scenarios checks, or an "
            "expected_outcome for a judge"
        )
    open_checks = Counter(f"{c.name} ({c.why})" for trial in ended for c in trial.checks if c.passed is None)
    notes += [
        f"{name} could not be known in {counted(count, 'trial')}, which is no success"
        for name, count in open_checks.most_common(MOST_OPEN)
    ]
    return notes


def reuse_notes(own: Iterable[Any], cached: int) -> list[str]:
    """Say what nobody looked at when trials were taken from the journal: what a user's functions hold of libraries."""
    unmarked = sorted({one for value in own for one in unmarked_in(value)}) if cached else []
    if not unmarked:
        return []
    return [
        f"{counted(cached, 'trial')} came from the journal without a look into {', '.join(unmarked[:MOST_OPEN])}: "
        "if that has changed, name another journal"
    ]


def models_served(trials: Sequence[TrialResult], variant: str) -> tuple[str, ...]:
    """Return the models that answered for a variant."""
    names = (trial.model_served for trial in trials if trial.variant == variant and trial.model_served)
    return tuple(dict.fromkeys(name for served in names for name in served.split(", ")))
