"""Comparison: which variant is better, and is it luck?

`compare` holds every scenario with every variant, as often as asked, and returns a `Comparison`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, fields
from difflib import get_close_matches
from functools import cached_property
from inspect import signature
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from convai_lab import background
from convai_lab.conversations.conversation import Conversation
from convai_lab.errors import NotFoundError
from convai_lab.experiments.interrupts import stopped_run
from convai_lab.experiments.progress import OnLoop, OnWaitingThread, Progress, as_progress
from convai_lab.experiments.trial import TrialResult
from convai_lab.experiments.variant import Variant

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import date

    import pandas as pd
    from matplotlib.axes import Axes

    from convai_lab.evaluation.calibration import Agreement
    from convai_lab.experiments.comparing import Request
    from convai_lab.experiments.estimate import Estimate
    from convai_lab.simulation.scenario import Scenario
    from convai_lab.workspace.workspace import Workspace

Stopped = Literal["max_cost", "interrupted", "decided"]


@dataclass(frozen=True, kw_only=True)
class RunFacts:
    """How a comparison was run: what a reader needs to believe it, and to repeat it.

    `planned` trials were asked for; `fresh` were held now, `cached` were found in the journal. `faults` counts
    trials that failed through somebody else, by party. `cost_usd` is what this run cost as far as it is known, with
    simulated users, judges and what was asked in vain; `unpriced` names the models whose price is not known.
    """

    seed: int = 0
    trials: int = 1
    mode: str = "text"
    simulated_user: str = ""
    judge: str | None = None
    planned: int = 0
    fresh: int = 0
    cached: int = 0
    faults: Mapping[str, int] = field(default_factory=dict)
    models_served: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    offline: tuple[str, ...] = ()
    """Variants that spoke without a language model."""
    cost_usd: float = 0.0
    cached_cost_usd: float = 0.0
    unpriced: tuple[str, ...] = ()
    price_date: str | None = None
    versions: Mapping[str, str] = field(default_factory=dict)
    stopped: Stopped | None = None
    stop: Literal["decided"] | None = None
    """``decided``: it was looked at after every scenario, so that an ordinary p value would flatter it."""
    notes: tuple[str, ...] = ()
    """Sentences for whoever reads the results: what was left out, and how to go on."""
    source: str = ""
    """Where the scenarios came from."""
    journal: str = ""
    cassette: str = ""
    """The file of what vendors answered, when it was recorded or replayed."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Comparison:
    """What `compare` found: every trial, and what can honestly be said about them.

    Iterating gives the trials, ordered by scenario, trial and variant. Conversations stay on disk until asked for.

    Example::

        result = compare([agent, agent.with_changes(llm="gpt-4o-mini")], "scenarios.yaml", trials=5)
        result.verdict
        result.conversation("gpt-4o-mini", "order_on_its_way", 0)
    """

    trials: tuple[TrialResult, ...]
    variants: tuple[Variant, ...]
    scenarios: tuple[Scenario, ...]
    baseline: str
    facts: RunFacts = field(default_factory=RunFacts)
    find_conversation: Callable[[str], Conversation | None] = field(default=lambda _: None, repr=False)
    """Reads the conversation of a trial's key from where it is kept."""

    def __iter__(self) -> Iterator[TrialResult]:
        return iter(self.trials)

    def __len__(self) -> int:
        return len(self.trials)

    def __repr__(self) -> str:
        names = ", ".join(v.name for v in self.variants)
        return (
            f"Comparison({names}: {len(self.trials)} of {self.facts.planned} trials, {len(self.scenarios)} scenarios)"
        )

    def __str__(self) -> str:
        from convai_lab.experiments import summary

        return summary.comparison_text(self)

    def _repr_pretty_(self, printer: Any, cycle: bool) -> None:
        printer.text(repr(self) if cycle else str(self))

    def _repr_html_(self) -> str:
        from convai_lab.experiments import html

        return html.comparison_html(self)

    @property
    def variant_names(self) -> tuple[str, ...]:
        """The names of the variants, in the order in which they were given."""
        return tuple(variant.name for variant in self.variants)

    @property
    def challengers(self) -> tuple[str, ...]:
        """The variants that are compared with the baseline."""
        return tuple(name for name in self.variant_names if name != self.baseline)

    @cached_property
    def df(self) -> pd.DataFrame:
        """One row for each trial.

        Columns: ``variant``, ``scenario``, ``trial``, ``seed``, ``success`` (missing when it cannot be said),
        ``failed_party``, ``reason``, ``checks_passed``, ``checks``, ``criteria_met``, ``criteria``, ``turns``,
        ``ended_by``, ``ttft_ms``, ``reply_ms``, ``voice_to_voice_ms`` (medians over the trial's replies),
        ``input_tokens``, ``output_tokens``, ``cost_usd``, ``simulator_cost_usd``, ``judge_cost_usd``,
        ``model_served``, ``conversation_id``.
        """
        from convai_lab.experiments.trials_table import trials_df

        return trials_df(self.trials)

    def trial(self, variant: str, scenario: str, trial: int = 0) -> TrialResult:
        """Return one trial.

        Raises:
            NotFoundError: There is none; the message says what there is.
        """
        found = self._by_id.get((variant, scenario, trial))
        if found is None:
            from convai_lab.experiments.trials_table import why_no_trial

            raise NotFoundError(why_no_trial(self, variant, scenario, trial))
        return found

    def conversation(self, variant: str, scenario: str, trial: int = 0) -> Conversation:
        """Return the conversation of one trial, read from where it is kept.

        Raises:
            NotFoundError: There is no such trial, or its conversation is gone.
        """
        found = self.trial(variant, scenario, trial)
        conversation = found.conversation or self.find_conversation(found.key)
        if conversation is None:
            where = f" ({self.facts.journal})" if self.facts.journal else ""
            raise NotFoundError(f"the conversation of this trial is not in the journal any more{where}")
        return conversation

    def leaderboard(self) -> pd.DataFrame:
        """Return one row for each variant: success with its interval, reliability, latency, cost, failures."""
        from convai_lab.experiments import leaderboard

        return leaderboard.leaderboard_df(self)

    def differences(self) -> pd.DataFrame:
        """Return one row for each challenger: its difference to the baseline, paired, clustered and corrected."""
        from convai_lab.experiments import differences

        return differences.differences_df(self)

    def power(self) -> pd.DataFrame:
        """Return what this many trials could have seen, and how many more scenarios it would take."""
        from convai_lab.experiments import differences

        return differences.power_df(self)

    def flips(self) -> pd.DataFrame:
        """Return the scenarios in which a challenger succeeded and the baseline did not, and the other way round."""
        from convai_lab.experiments import flips

        return flips.flips_df(self)

    @property
    def verdict(self) -> Any:
        """Say in one sentence who is better, or that they are tied and what could have been seen."""
        from convai_lab.experiments import verdict

        return verdict.verdict_of(self)

    def agreement(self, labels: Any) -> Agreement:
        """Return how far the success of trials, as judged, agrees with what people say of the same conversations.

        Args:
            labels: ``{(variant, scenario, trial): True}``, or a DataFrame with these columns and ``human``; a few
                dozen will do, of any variants.

        Raises:
            InvalidValueError: It is something else.
            NotFoundError: There is no such trial.
        """
        from convai_lab.experiments import calibrating

        return calibrating.agreement_with(self, labels)

    def corrected(self, labels: Any) -> pd.DataFrame:
        """Return each variant's success as judged, and corrected (Rogan and Gladen) by people's `labels`, 95 %."""
        from convai_lab.experiments import calibrating

        return calibrating.corrected_df(self, labels)

    def plot_forest(self, **options: Any) -> Axes:
        """Plot every challenger's difference to the baseline with its interval."""
        from convai_lab.experiments import plots

        return plots.plot_forest(self, **options)

    def plot_flips(self, **options: Any) -> Axes:
        """Plot the success of each scenario under both variants, as pairs."""
        from convai_lab.experiments import plots

        return plots.plot_flips(self, **options)

    def plot_quality(self, against: Literal["latency", "cost"] = "latency", **options: Any) -> Axes:
        """Plot success against latency or cost."""
        from convai_lab.experiments import plots

        return plots.plot_quality(self, against=against, **options)

    def reprice(
        self,
        models: Mapping[str, str] | str | Sequence[str],
        *,
        at: float | str | date | None = None,
        speech: Any = None,
    ) -> pd.DataFrame:
        """Return what the variants would cost with other models: ``reprice({"variant": "gpt-4o-mini"})``.

        Columns: ``variant``, ``model``, ``trials`` (those that did not fail through somebody else), ``priced`` of
        them, ``successes``, ``cost_per_conversation_usd`` and ``cost_per_success_usd`` (of the agent alone; missing
        where a part is not known), ``recorded_per_conversation_usd`` (as it was), ``unknown``, ``price_date``,
        ``is_estimate``. Tokens are kept, which another model would count otherwise: ``df.attrs["note"]``.

        Args:
            models: A model for each variant that is to be priced, or one or several for all.
            at: The day of the prices, such as ``"2026-01-31"``; today, when None.
            speech: What you pay for speech, see `convai_lab.reprice`.

        Raises:
            ModelNotFoundError: No known vendor offers such a model.
            InvalidValueError: There is no such variant, or something else given is wrong.
        """
        from convai_lab.experiments import repricing

        return repricing.repriced(self, models, at=at, speech=speech)

    def save(self, path: str | Path, **options: Any) -> Path:
        """Write everything into one file that can be reopened without keys; see `convai_lab.load`."""
        from convai_lab.experiments import bundle

        return bundle.save(self, path, **options)

    @cached_property
    def _by_id(self) -> dict[tuple[str, str, int], TrialResult]:
        return {trial.id: trial for trial in self.trials}


def compare(
    variants: Any,
    scenarios: Any,
    *,
    trials: int = 1,
    baseline: str | None = None,
    judge: Any = None,
    simulated_user: Any = None,
    concurrency: int | None = None,
    max_cost: float | None = 1.0,
    seed: int = 0,
    executor: Any = "local",
    progress: Any = True,
    journal: str | Path | None = None,
    cassette: Any = None,
    mode: Literal["text", "voice"] = "text",
    workspace: Workspace | None = None,
    stop: Literal["decided"] | None = None,
    allow_offline: bool = False,
    variables: Mapping[str, Any] | None = None,
    dry_run: bool = False,
) -> Comparison | Estimate:
    """Hold every scenario with every variant, grade the conversations, and return what can be said about them.

    Every finished trial is kept in the journal at once: the same call goes on where an earlier one ended, whatever
    ended it, and repeats nothing. Trials that failed through a vendor, the simulated user, the judge or a tool count
    for nobody, and are tried again by the next call. Where only checks were edited, they are tried on the conversations
    that are there, and nobody is asked.

    Args:
        variants: Agents, names of agents or models (``"gpt-4o-mini,claude-haiku-4-5"``), dicts of changes, `Variant`s,
            or a dict of names to them. Models and changes are variants of the agent that the scenarios bring.
        scenarios: A path, a list of dicts or texts, or a DataFrame; see `load_scenarios`.
        trials: How often each scenario is held with each variant.
        baseline: The variant that the others are compared with; the first.
        judge: A model (or several, a panel) that decides the agent's criteria and the scenario's expected outcome.
        simulated_user: ``offline`` (rules, the default), ``scripted``, a model, or a `SimulatedUser`.
        concurrency: Conversations and requests at once for each vendor; by itself it finds out what a vendor takes.
        max_cost: The most that may be spent on models, in USD; None for no limit.
        seed: What callers and chance depend on. Another seed means other trials.
        executor: ``local``, or a `dask.distributed` client.
        progress: True shows a bar, False nothing; or an object with `start`, `advance` and `close`.
        journal: The name or path of a journal of its own.
        cassette: ``path[:mode]``, or a `Cassette`: ``record`` keeps what every model answers, ``replay`` (the default)
            holds the same comparison again without them, without keys and with the recorded times and costs.
        mode: ``voice`` holds the conversations by voice, in virtual time, over the line of each scenario's `acoustics`.
        workspace: The platform on which agents live, when it is not the local one.
        stop: ``decided`` ends the run once the comparison is, by a test that may be looked at all the time.
        allow_offline: Let rules (``offline``) compete with language models.
        variables: Values for the agents' `{{variables}}`, where a scenario gives none of its own.
        dry_run: Return an `Estimate` instead, and ask nothing.

    Raises:
        ConvaiLabError: Something asked for is wrong, or a model cannot work; it says what to do.
        KeyboardInterrupt: It was interrupted; what is done is kept, see `partial_comparison`.
    """
    request = _request(locals())
    calls = background.MainThreadCalls()
    tell = OnWaitingThread(calls)
    bar = as_progress(progress, tell)
    ended: list[BaseException] = []
    try:
        return background.run(_compared(request, bar, dry_run=dry_run, ended=ended, tell=tell), calls=calls)
    except KeyboardInterrupt as interrupt:
        if ended:  # the run was cancelled over there; whoever interrupted it here gets what is done
            interrupt.__dict__.update(ended[0].__dict__)
        raise stopped_run(interrupt) from None


async def acompare(
    variants: Any, scenarios: Any, *, progress: Any = True, dry_run: bool = False, **options: Any
) -> Comparison | Estimate:
    """Do what `compare` does, awaited; `options` are those of `compare`.

    Raises:
        TypeError: There is no such option.
    """
    from convai_lab.workspace.listing import background_twin

    if unknown := sorted(options.keys() - signature(compare).parameters.keys()):
        close = get_close_matches(unknown[0], signature(compare).parameters, n=1)
        hint = f": did you mean {close[0]}?" if close else ""
        raise TypeError(f"acompare() has no option {unknown[0]!r}{hint}")
    bar = as_progress(progress, OnLoop(asyncio.get_running_loop()))
    request = _request({"variants": variants, "scenarios": scenarios, **options})
    try:
        return await background_twin(_compared(request, bar, dry_run=dry_run))
    except asyncio.CancelledError as interrupt:
        raise stopped_run(interrupt) from None


def _request(options: Mapping[str, Any]) -> Request:
    from convai_lab.experiments.comparing import Request

    known = {f.name for f in fields(Request)}
    return Request(**{name: value for name, value in options.items() if name in known})


async def _compared(
    request: Request,
    progress: Progress,
    *,
    dry_run: bool,
    ended: list[BaseException] | None = None,
    tell: OnWaitingThread | None = None,
) -> Comparison | Estimate:
    from convai_lab.experiments.comparing import compared

    try:
        return await compared(request, progress, dry_run=dry_run)
    except BaseException as error:
        if ended is not None:
            ended.append(error)
        raise
    finally:
        if tell is not None:
            await tell.settle()
