"""Glance: what does a reader see first of a comparison, in words that text and HTML share?"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from math import isnan
from typing import TYPE_CHECKING, NamedTuple

from convai_lab.conversations.cost import dollars
from convai_lab.conversations.transcript_words import NOT_MEASURED, OFFLINE_BADGE, clean
from convai_lab.evaluation.results import NOT_KNOWN, as_number, bracketed, counted, p_text
from convai_lab.experiments.differences import Contest, contests, correction_of
from convai_lab.experiments.flips import Flip, both, flips_of
from convai_lab.experiments.leaderboard import (
    ESTIMATOR,
    PARTIES,
    common_k,
    costs_of,
    latency_of,
    success_of,
)
from convai_lab.experiments.outcomes import outcomes_of, tallies, trials_of, valid_of

if TYPE_CHECKING:
    from convai_lab.experiments.comparison import Comparison
    from convai_lab.experiments.trial import TrialResult

TOP_FLIPS = 5
REASON_CHARS = 300
LATENCIES = {"text": ("ttft_ms", "First token"), "voice": ("voice_to_voice_ms", "Voice to voice")}
"""Which latency a run shows by its mode: text runs have no voice latency."""


class Row(NamedTuple):
    """One variant as it is shown; every value says in words what is not known."""

    name: str
    model: str
    marks: tuple[str, ...]
    success: str
    difference: str
    outcome: str
    every: str
    once: str
    latency: str
    replies: str
    cost: str
    cost_per_success: str
    valid: str
    failed: str


class Fact(NamedTuple):
    """One line of the footer."""

    label: str
    text: str


class ShownFlip(NamedTuple):
    """A flip with what is said of it: ``3 of 5 → 5 of 5`` and why the one that failed did."""

    flip: Flip
    scenario: str
    title: str
    reason: str


@dataclass(frozen=True)
class Glance:
    """Everything that is seen at first, as texts."""

    badge: str
    sentence: str
    latency_label: str
    k: int | None
    rows: tuple[Row, ...]
    flips: tuple[ShownFlip, ...]
    n_flips: int
    footer: tuple[Fact, ...]
    notes: tuple[str, ...]


def glance_at(comparison: Comparison, *, top: int = TOP_FLIPS) -> Glance:
    """Return what is seen at first of a comparison."""
    k = common_k(comparison)
    flips = flips_of(comparison)
    return Glance(
        badge=_badge(comparison),
        sentence=str(comparison.verdict),
        latency_label=LATENCIES.get(comparison.facts.mode, LATENCIES["text"])[1],
        k=k,
        rows=tuple(_row(comparison, name, k) for name in comparison.variant_names),
        flips=tuple(shown_flip(comparison, flip) for flip in flips[:top]),
        n_flips=len(flips),
        footer=tuple(_footer(comparison, k)),
        notes=tuple(_notes(comparison, k)),
    )


def shown_flip(comparison: Comparison, flip: Flip) -> ShownFlip:
    """Return a flip in words."""
    pairs = f"{flip.baseline_successes} of {flip.pairs} → {flip.successes} of {flip.pairs}"
    title = clean(f"{flip.direction}: {flip.variant} against {flip.baseline}, {pairs}")
    reason = next((trial.reason for trial in both(comparison, flip) if trial.success is False), None) or ""
    reason = clean(" ".join(reason.split()))
    cut = reason if len(reason) <= REASON_CHARS else f"{reason[:REASON_CHARS]} …"
    return ShownFlip(flip, clean(flip.scenario), title, cut)


def _badge(comparison: Comparison) -> str:
    offline = comparison.facts.offline
    if not offline:
        return ""
    who = "all variants" if set(offline) >= set(comparison.variant_names) else ", ".join(map(clean, offline))
    return f"{OFFLINE_BADGE}: {who}"


def _row(comparison: Comparison, name: str, k: int | None) -> Row:
    done, valid = trials_of(comparison, name), valid_of(comparison, name)
    rate = success_of(comparison, name)
    contest = next((contest for contest in contests(comparison) if contest.challenger == name), None)
    p50, p95, n = latency_of(valid, LATENCIES.get(comparison.facts.mode, LATENCIES["text"])[0])
    costs = costs_of(valid)
    every, once = _reliability(comparison, name, k)
    failures = Counter[str | None](trial.failed_party for trial in done)
    model = next(variant.model for variant in comparison.variants if variant.name == name)
    is_offline = name in comparison.facts.offline
    return Row(
        name=clean(name),
        model="" if is_offline or model == name else clean(model),
        marks=("baseline",) * (name == comparison.baseline) + (OFFLINE_BADGE,) * is_offline,
        success=NOT_KNOWN if isnan(rate.estimate) else str(rate),
        difference="baseline" if contest is None else difference_text(contest),
        outcome="" if contest is None else outcome_text(contest),
        every=every,
        once=once,
        latency=f"{p50:,.0f} / {p95:,.0f} ms" if n else NOT_MEASURED,
        replies="1 reply" if n == 1 else f"{n:,} replies" if n else "",
        cost=_cost(costs.per_conversation),
        cost_per_success=_cost(costs.per_success),
        valid=f"{len(valid):,} of {len(comparison.scenarios) * comparison.facts.trials:,}",
        failed=", ".join(f"{party} {failures[party]:,}" for party in PARTIES if failures[party]) or "none",
    )


def difference_text(contest: Contest) -> str:
    """Return a difference in points with its interval."""
    difference = contest.difference
    if isnan(difference.estimate):
        return NOT_KNOWN
    size = as_number(difference.estimate, is_rate=True, signed=True)
    return f"{size} {bracketed(difference.low, difference.high, is_rate=True)}"


def outcome_text(contest: Contest) -> str:
    """Return what came of a contest, with its p value corrected for several comparisons."""
    word = "not decided" if contest.is_sequential and contest.verdict.outcome == "tied" else contest.verdict.outcome
    return "" if contest.verdict.outcome == "unknown" else f"{word}, {p_text(contest.p_adjusted)}"


def _reliability(comparison: Comparison, name: str, k: int | None) -> tuple[str, str]:
    if k is None:
        return "", ""
    from convai_lab.evaluation.reliability import pass_at_k, pass_hat_k

    made = tallies(outcomes_of(comparison, name))
    estimates = (measure(made, k).estimate for measure in (pass_hat_k, pass_at_k))
    every, once = (NOT_KNOWN if isnan(value) else f"{as_number(value, is_rate=True)}%" for value in estimates)
    return every, once


def _cost(amount: float | None) -> str:
    if amount is None:
        return "unknown"
    return "no success" if isnan(amount) else dollars(amount)


def _footer(comparison: Comparison, k: int | None) -> list[Fact]:
    facts = comparison.facts
    user = "offline rules" if facts.simulated_user == "offline" else clean(facts.simulated_user or NOT_KNOWN)
    shape = f"{counted(len(comparison.scenarios), 'scenario')} × {counted(facts.trials, 'trial')}"
    source = f" from {clean(facts.source)}" if facts.source else ""
    return [
        Fact("Model served", "; ".join(_served(comparison, name) for name in comparison.variant_names)),
        Fact("Judge", f"{clean(facts.judge) if facts.judge else 'none, checks alone'}; simulated user: {user}"),
        Fact("Run", f"{facts.mode}; {shape}{source}; seed {facts.seed}"),
        Fact("Trials", _trials(comparison)),
        Fact("Cost", _spent(comparison)),
        Fact("Method", _method(comparison, k)),
        Fact("Versions", ", ".join(f"{clean(name)} {clean(value)}" for name, value in facts.versions.items())),
    ]


def _served(comparison: Comparison, name: str) -> str:
    if name in comparison.facts.offline:
        return f"{clean(name)}: offline rules"
    served = ", ".join(map(clean, comparison.facts.models_served.get(name, ()))) or NOT_KNOWN
    return f"{clean(name)}: {served}"


def _trials(comparison: Comparison) -> str:
    facts = comparison.facts
    return f"{len(comparison.trials):,} of {facts.planned:,} done; {facts.fresh:,} fresh, {facts.cached:,} cached"


def _spent(comparison: Comparison) -> str:
    facts = comparison.facts
    if facts.unpriced:
        least = f" (at least {dollars(facts.cost_usd)})" if facts.cost_usd else ""
        spent = f"unknown{least}: no price for {', '.join(map(clean, facts.unpriced))}"
    elif not facts.cost_usd and facts.price_date is None:
        spent = "nothing was spent by this run"
    else:
        spent = f"{dollars(facts.cost_usd)} by this run, with simulated users, judges and retries"
    parts = [spent]
    if facts.price_date:
        parts.append(f"list prices of {facts.price_date}")
    if facts.cached_cost_usd:
        parts.append(f"cached trials had cost {dollars(facts.cached_cost_usd)}")
    return "; ".join(parts)


def _method(comparison: Comparison, k: int | None) -> str:
    rates = {success_of(comparison, name).method for name in comparison.variant_names} - {"none"}
    parts = [f"95% intervals, clustered by scenario ({'; '.join(sorted(rates))})" if rates else "no interval"]
    found = [contest.difference for contest in contests(comparison) if not isnan(contest.difference.estimate)]
    if found:
        tests = " and ".join(sorted({difference.test for difference in found}))
        correction = correction_of(comparison)
        parts.append(f"differences in points, paired by scenario and seed; p by {tests}")
        parts += [f"corrected by {correction}"] if correction else []
    if k is not None:
        parts.append(f"pass^{k} (every one of {k}) and pass@{k} (at least one): {ESTIMATOR} estimator")
    return "; ".join(parts)


def _notes(comparison: Comparison, k: int | None) -> list[str]:
    facts, notes = comparison.facts, [clean(note) for note in comparison.facts.notes]
    if k is not None and k < facts.trials:
        notes.append(f"pass^{k} stands in for pass^{facts.trials}: some scenario has only {k} valid trials")
    missing = max((contest.difference.n_missing for contest in contests(comparison)), default=0)
    if missing:
        notes.append(f"{counted(missing, 'pair')} left out of a difference, as one side has no valid trial")
    if facts.stop == "decided":
        notes.append("only the differences hold at every look; the interval of a single variant's success does not")
    if facts.mode == "voice":
        rules = ", and offline rules answer at once" if facts.offline else ""
        notes.append(f"voice latency is in simulated time: the speech engines are stand-ins that take none{rules}")
    if failed := _failed(comparison.trials):
        count = "counts" if failed == 1 else "count"
        notes.append(
            f"{counted(failed, 'trial')} failed through somebody else and {count} for nobody; the same call tries again"
        )
    return notes


def _failed(trials: tuple[TrialResult, ...]) -> int:
    return sum(trial.failed_party is not None for trial in trials)
