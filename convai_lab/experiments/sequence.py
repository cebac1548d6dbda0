"""Sequence: may a comparison stop now, although it was looked at after every scenario?

Looking again and again finds a difference in the end, so the test is one that may be looked at (see
`evaluation.sequential`): scenarios count in an order that the seed draws, each with the mean difference of its pairs,
and only once all of its trials are done; neither how a file groups its scenarios nor how quickly a conversation ends
may decide what is seen. (In file order, 50 scenarios that gain before 50 that lose as much were
"decided" 98 times in 100.)
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import fmean

from convai_lab.experiments.plan import PlannedTrial
from convai_lab.experiments.trial import TrialResult

ALPHA = 0.05


class SequentialRule:
    """Says when every challenger differs from the baseline beyond doubt."""

    def __init__(self, planned: Sequence[PlannedTrial], baseline: str, *, alpha: float = ALPHA) -> None:
        from convai_lab.evaluation.sequential import RunningEvidence

        self._rows: dict[str, dict[int, dict[str, str]]] = {}
        for trial in planned:
            self._rows.setdefault(trial.scenario.id, {}).setdefault(trial.trial, {})[trial.variant.name] = trial.key
        names = list(dict.fromkeys(trial.variant.name for trial in planned))
        self._baseline, challengers = baseline, [name for name in names if name != baseline]
        self._scenarios = list(self._rows)
        self._complete = 0
        self._evidence = {name: RunningEvidence(alpha=alpha / len(challengers)) for name in challengers}

    def is_decided(self, done: Mapping[str, TrialResult]) -> bool:
        """Say whether what is done decides every comparison with the baseline."""
        while self._complete < len(self._scenarios) and self._take(self._scenarios[self._complete], done):
            self._complete += 1
        return self._evidence != {} and all(evidence.decided for evidence in self._evidence.values())

    def _take(self, scenario: str, done: Mapping[str, TrialResult]) -> bool:
        """Count a scenario whose trials are all done; false while one is missing."""
        trials = self._rows[scenario].values()
        if any(key not in done for keys in trials for key in keys.values()):
            return False
        for name, evidence in self._evidence.items():
            pairs = [(done[keys[name]].success, done[keys[self._baseline]].success) for keys in trials]
            known = [float(one) - float(base) for one, base in pairs if one is not None and base is not None]
            if known:
                evidence.add(fmean(known))
        return True
