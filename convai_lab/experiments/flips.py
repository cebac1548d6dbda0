"""Flips: in which scenarios does it matter which variant answers?"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal, NamedTuple

from convai_lab.evaluation.paired import Pair, pair_outcomes
from convai_lab.experiments.outcomes import outcomes_of
from convai_lab.experiments.trial import TrialResult

if TYPE_CHECKING:
    import pandas as pd

    from convai_lab.experiments.comparison import Comparison

Direction = Literal["gained", "lost", "mixed"]


class Flip(NamedTuple):
    """A scenario in which a challenger and the baseline came out differently, in at least one pair of trials.

    `gained` pairs succeeded only with the challenger, `lost` ones only with the baseline. `trial` is the first pair
    that shows where it went.
    """

    variant: str
    baseline: str
    scenario: str
    pairs: int
    gained: int
    lost: int
    successes: int
    baseline_successes: int
    trial: int

    @property
    def difference(self) -> float:
        """Return the difference of the success rates, challenger minus baseline."""
        return (self.gained - self.lost) / self.pairs

    @property
    def direction(self) -> Direction:
        """Say whether the challenger gained or lost the scenario; ``mixed`` where it did both as often."""
        return "gained" if self.gained > self.lost else "lost" if self.lost > self.gained else "mixed"


def flips_of(comparison: Comparison) -> list[Flip]:
    """Return all flips, the largest first; of equal ones losses before gains, then as the scenarios stand."""
    found = [flip for name in comparison.challengers for flip in _against(comparison, name)]
    places = {scenario.id: place for place, scenario in enumerate(comparison.scenarios)}
    names = {name: place for place, name in enumerate(comparison.variant_names)}
    return sorted(
        found,
        key=lambda f: (-abs(f.difference), f.difference > 0, places.get(f.scenario, len(places)), names[f.variant]),
    )


def flips_df(comparison: Comparison) -> pd.DataFrame:
    """Return one row for each challenger and scenario that came out differently in at least one pair of trials.

    Columns: ``variant``, ``baseline``, ``scenario``, ``direction`` (gained, lost, or mixed: as often this as that
    way), ``difference`` of the success rates, ``pairs``, ``gained``, ``lost``, ``successes``, ``baseline_successes``;
    and of the first ``trial`` that shows it: ``reason`` (why the one that failed did), ``conversation_id`` and
    ``baseline_conversation_id``. Read one with ``comparison.conversation(variant, scenario, trial)``.
    """
    import pandas as pd

    rows = []
    for flip in flips_of(comparison):
        other, base = both(comparison, flip)
        rows.append(
            {
                "variant": flip.variant,
                "baseline": flip.baseline,
                "scenario": flip.scenario,
                "direction": flip.direction,
                "difference": flip.difference,
                "pairs": flip.pairs,
                "gained": flip.gained,
                "lost": flip.lost,
                "successes": flip.successes,
                "baseline_successes": flip.baseline_successes,
                "trial": flip.trial,
                "reason": other.reason or base.reason,
                "conversation_id": other.conversation_id,
                "baseline_conversation_id": base.conversation_id,
            }
        )
    return pd.DataFrame(rows, columns=_COLUMNS)


def both(comparison: Comparison, flip: Flip) -> tuple[TrialResult, TrialResult]:
    """Return the two trials that show a flip: the challenger's and the baseline's."""
    return (
        comparison.trial(flip.variant, flip.scenario, flip.trial),
        comparison.trial(flip.baseline, flip.scenario, flip.trial),
    )


def _against(comparison: Comparison, name: str) -> list[Flip]:
    pairs, _ = pair_outcomes(outcomes_of(comparison, comparison.baseline), outcomes_of(comparison, name))
    by_scenario: dict[str, list[Pair]] = {}
    for pair in pairs:
        by_scenario.setdefault(pair.scenario_id, []).append(pair)
    made = (_flip(name, comparison.baseline, scenario, found) for scenario, found in by_scenario.items())
    return [flip for flip in made if flip.gained or flip.lost]


def _flip(name: str, baseline: str, scenario: str, pairs: Sequence[Pair]) -> Flip:
    gained = [pair.seed for pair in pairs if pair.other > pair.baseline]
    lost = [pair.seed for pair in pairs if pair.other < pair.baseline]
    shown = lost if len(lost) >= len(gained) else gained
    return Flip(
        variant=name,
        baseline=baseline,
        scenario=scenario,
        pairs=len(pairs),
        gained=len(gained),
        lost=len(lost),
        successes=int(sum(pair.other for pair in pairs)),
        baseline_successes=int(sum(pair.baseline for pair in pairs)),
        trial=min(shown, default=-1),
    )


_COLUMNS = (
    *("variant", "baseline", "scenario", "direction", "difference", "pairs", "gained", "lost", "successes"),
    *("baseline_successes", "trial", "reason", "conversation_id", "baseline_conversation_id"),
)
