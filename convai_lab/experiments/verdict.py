"""Verdict: who is better, in one sentence, or are they tied?"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from math import isnan
from typing import TYPE_CHECKING

from convai_lab.conversations.transcript_words import clean
from convai_lab.evaluation.results import Result, bracketed, counted
from convai_lab.evaluation.statistics import success_rate
from convai_lab.evaluation.verdict import Outcome, Verdict
from convai_lab.experiments.differences import Contest, contests, correction_of
from convai_lab.experiments.outcomes import outcomes_of, tallies

if TYPE_CHECKING:
    from convai_lab.experiments.comparison import Comparison

MOST_NAMED = 3


@dataclass(frozen=True, kw_only=True)
class ComparisonVerdict(Result):
    """What may be said of a comparison; printing it gives the sentence.

    `outcome` is that of `about`, the challenger for which most can be said: ``better`` or ``worse`` than the
    baseline, ``tied``, or ``unknown``. `winner` is the variant that beats the baseline, the baseline where every
    challenger loses to it, and otherwise None. `by_challenger` has the verdict on each.
    """

    outcome: Outcome
    sentence: str
    baseline: str
    about: str | None = None
    winner: str | None = None
    p_value: float = float("nan")
    by_challenger: Mapping[str, Verdict] = field(default_factory=dict)

    def __str__(self) -> str:
        return self.sentence

    def __repr__(self) -> str:
        return self.sentence


def verdict_of(comparison: Comparison) -> ComparisonVerdict:
    """Return what may be said of a comparison: of several challengers, the one that is best supported comes first."""
    found = contests(comparison)
    if not any(trial.is_graded for trial in comparison.trials):
        return ComparisonVerdict(
            outcome="unknown",
            sentence=_ungraded(comparison),
            baseline=comparison.baseline,
            by_challenger={contest.challenger: contest.verdict for contest in found},
        )
    if not found:
        return ComparisonVerdict(outcome="unknown", sentence=_alone(comparison), baseline=comparison.baseline)
    chosen = _best_supported(found)
    outcome = chosen.verdict.outcome
    all_lose = all(contest.verdict.outcome == "worse" for contest in found)
    return ComparisonVerdict(
        outcome=outcome,
        sentence=clean(_sentence(comparison, chosen, found)),
        baseline=comparison.baseline,
        about=chosen.challenger,
        winner=chosen.challenger if outcome == "better" else comparison.baseline if all_lose else None,
        p_value=chosen.p_adjusted,
        by_challenger={contest.challenger: contest.verdict for contest in found},
        reason=chosen.verdict.reason,
    )


_ORDER: tuple[Outcome, ...] = ("better", "worse", "tied", "unknown")


def _best_supported(found: Sequence[Contest]) -> Contest:
    """Return the contest with the clearest answer: winners before losers, then the smallest p, then the largest."""

    def rank(contest: Contest) -> tuple[int, float, float]:
        p = 2.0 if isnan(contest.p_adjusted) else contest.p_adjusted
        size = contest.difference.estimate
        return _ORDER.index(contest.verdict.outcome), p, 0.0 if isnan(size) else -abs(size)

    return min(found, key=rank)


def _sentence(comparison: Comparison, chosen: Contest, found: Sequence[Contest]) -> str:
    outcome = chosen.verdict.outcome
    sentence = _not_decided(chosen) if outcome == "tied" and chosen.is_sequential else chosen.verdict.sentence
    several = len(found) > 1
    if outcome in ("better", "worse"):
        notes = [correction_of(comparison)] if several else []
        notes += ["valid at every look"] if chosen.is_sequential else []
        sentence += f" ({'; '.join(notes)})" if notes else ""
        return sentence + _others(chosen, found)
    if outcome == "tied" and several:
        names = _listed([contest.challenger for contest in found])
        rest = sentence.partition(": ")[2]
        return f"{'Not decided' if chosen.is_sequential else 'Tied'}: none of {names} differs from {chosen.baseline} " \
            f"beyond chance; {rest}"  # fmt: skip
    return sentence


def _others(chosen: Contest, found: Sequence[Contest]) -> str:
    """Say in a few words what came of the other challengers."""
    parts = []
    for outcome in _ORDER:
        names = [c.challenger for c in found if c is not chosen and c.verdict.outcome == outcome]
        if names:
            parts.append(_also(_listed(names), outcome, chosen, one=len(names) == 1))
    return f"; {', '.join(parts)}" if parts else ""


def _also(names: str, outcome: Outcome, chosen: Contest, *, one: bool) -> str:
    also = "also " if outcome == chosen.verdict.outcome else ""
    match outcome:
        case "better":
            return f"{names} {also}beat{'s' if one else ''} {chosen.baseline}"
        case "worse":
            return f"{names} {also}lose{'s' if one else ''} to {chosen.baseline}"
        case "tied":
            return f"{names} {'is' if one else 'are'} tied with {chosen.baseline}"
    return f"of {names} it is not known"


def _listed(names: Sequence[str]) -> str:
    if len(names) > MOST_NAMED:
        return f"{', '.join(names[:MOST_NAMED])} and {len(names) - MOST_NAMED} more"
    return " and ".join([", ".join(names[:-1]), names[-1]] if len(names) > 1 else names)


def _not_decided(contest: Contest) -> str:
    difference = contest.difference
    tried = counted(difference.n_scenarios, "complete scenario")
    interval = bracketed(difference.low, difference.high, is_rate=True)
    return f"Not decided: after {tried} the difference lies within {interval} points (valid at every look)"


def _ungraded(comparison: Comparison) -> str:
    """Say why nothing is known where no trial says whether the agent succeeded."""
    if not comparison.trials:
        return "Not known: no trial is done"
    lost = Counter(trial.failed_party for trial in comparison.trials if trial.failed_party)
    if lost.total() == len(comparison.trials):
        parties = ", ".join(f"{party} {count:,}" for party, count in lost.most_common())
        return f"Not known: every trial failed through somebody else ({parties}); .df has the reasons"
    return (
        "Not known: nothing says what a success is; give the scenarios checks, such as `checks: [{said: tomorrow}]`, "
        "or an `expected_outcome` and a judge"
    )


def _alone(comparison: Comparison) -> str:
    """Say what is known where there is nobody to compare with."""
    name = comparison.baseline
    rate = success_rate(tallies(outcomes_of(comparison, name)))
    if isnan(rate.estimate):
        return clean(f"Not known: {name} is alone, and {rate.reason}")
    shape = f"{counted(rate.n_scenarios, 'scenario')}, {counted(rate.n_trials, 'valid trial')}"
    return clean(f"{name} succeeds in {rate} ({shape}); name a second variant to compare it with")
