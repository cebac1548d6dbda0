"""Comparing: from what was asked for to a comparison.

The steps: read the scenarios and the variants, plan the trials, look up which are done, estimate the rest, ask every
model once, hold the trials, and gather what came of them.
"""

from __future__ import annotations

import asyncio
import contextlib
import platform
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from convai_lab.conversations.cost import dollars
from convai_lab.errors import InvalidValueError
from convai_lab.experiments.budgets import watched_budgets
from convai_lab.experiments.caller_variables import require_variables, with_variables
from convai_lab.experiments.code_mark import same_after_running
from convai_lab.experiments.comparison import Comparison, RunFacts, Stopped
from convai_lab.experiments.estimate import Estimate, make_estimate
from convai_lab.experiments.executors import check_executor, make_hold
from convai_lab.experiments.expectations import with_expectations
from convai_lab.experiments.garbage import calm_collector
from convai_lab.experiments.holding import Holder
from convai_lab.experiments.journal import Journal, journal_path
from convai_lab.experiments.lineup import Lineup, find_llms, make_lineup, pooling
from convai_lab.experiments.looking_up import look_up
from convai_lab.experiments.plan import FORMAT, PlannedTrial, plan_trials
from convai_lab.experiments.pool import Pool
from convai_lab.experiments.preflight import ask_each, require_unmixed
from convai_lab.experiments.progress import NoProgress, Progress, warn
from convai_lab.experiments.remote import WorkspaceHolder, check_remote
from convai_lab.experiments.run_notes import grading_notes, models_served, reuse_notes
from convai_lab.experiments.runner import Ledger, Runner, workers_of
from convai_lab.experiments.sequence import SequentialRule
from convai_lab.experiments.spending import Spending
from convai_lab.experiments.taping import is_replay, notes_of, open_cassette
from convai_lab.experiments.trial import TrialResult
from convai_lab.experiments.trials_table import ordered
from convai_lab.experiments.variant import make_variants
from convai_lab.simulation.scenario import ScenarioSet, load_scenarios

if TYPE_CHECKING:
    from convai_lab.evaluation.checks import Check
    from convai_lab.providers.cassette import Cassette
    from convai_lab.workspace.workspace import Workspace

TOOL_THREADS = 16
MOST_AT_ONCE = 1000

IsOver = Callable[[Mapping[str, TrialResult]], bool]
"""Says whether what is done, by key, is enough."""


@dataclass(frozen=True, kw_only=True)
class Request:
    """What was asked for; see `compare` for the fields."""

    variants: Any
    scenarios: Any
    trials: int = 1
    baseline: str | None = None
    judge: Any = None
    simulated_user: Any = None
    concurrency: int | None = None
    max_cost: float | None = 1.0
    seed: int = 0
    executor: Any = "local"
    journal: str | Path | None = None
    cassette: Any = None
    mode: Literal["text", "voice"] = "text"
    workspace: Workspace | None = None
    stop: Literal["decided"] | None = None
    allow_offline: bool = False
    variables: Mapping[str, Any] | None = None

    def __post_init__(self) -> None:
        if self.mode not in ("text", "voice"):
            raise InvalidValueError(f"must be text or voice, got {self.mode!r}", field="mode")
        if self.stop not in (None, "decided"):
            raise InvalidValueError(f"must be 'decided' or None, got {self.stop!r}", field="stop")
        n = self.concurrency
        if n is not None and (isinstance(n, bool) or not isinstance(n, int) or not 1 <= n <= MOST_AT_ONCE):
            raise InvalidValueError(
                f"must be a whole number from 1 to {MOST_AT_ONCE:,}, got {n!r}", field="concurrency"
            )
        if self.workspace is not None and not hasattr(self.workspace, "astart_session"):
            raise InvalidValueError(
                f"must be a Workspace, such as lab.connect(...) returns, got {self.workspace!r}", field="workspace"
            )
        Spending(self.max_cost)
        check_executor(self.executor)


@dataclass(repr=False)
class Undertaking:
    """One comparison on its way; `comparison()` gives what there is of it at any moment."""

    request: Request
    scenarios: ScenarioSet
    lineup: Lineup
    baseline: str
    planned: list[PlannedTrial]
    journal: Journal
    ledger: Ledger
    cassette: Cassette | None = None
    checks: dict[str, tuple[Check, ...]] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    warnings: tuple[str, ...] = ()
    """Those of the notes that must be known before the first trial."""

    def estimate(self) -> Estimate:
        """Return what the trials that are not done would ask and cost."""
        waiting = [trial for trial in self.planned if trial.key not in self.ledger.done]
        estimate = make_estimate(
            waiting,
            cached=len(self.planned) - len(waiting),
            llms=self.lineup.refs,
            user=self.lineup.user.llm,
            judges=self.lineup.judge.llms,
            max_cost=self.request.max_cost,
        )
        return replace(estimate, notes=tuple(self.notes))

    async def run(self, progress: Progress) -> None:
        """Hold the trials that are not done."""
        total, done = len(self.planned), len(self.ledger.done)
        if done == total:
            return
        is_over = self._rule()
        if is_over is not None and is_over(self.ledger.done):
            self.ledger.stopped = "decided"
            return
        for warning in self.warnings:
            warn(progress, warning)
        pool = Pool(self.request.concurrency)
        self.notes += notes_of(self.cassette)
        if is_replay(self.cassette):
            llms = dict(self.lineup.refs)
        else:
            self._expect()
            waiting = {trial.variant.name for trial in self.planned if trial.key not in self.ledger.done}
            llms = await asyncio.to_thread(find_llms, [v for v in self.lineup.variants if v.name in waiting])
            if not self.ledger.is_affordable:
                self.ledger.stopped = "max_cost"
                return
            self.notes += await ask_each(self.lineup.asked(llms), pool, self.ledger.spending)
        progress.start(total, done=done, max_cost=self.request.max_cost if self.ledger.expected_left else None)
        try:
            with watched_budgets(pool, [] if is_replay(self.cassette) else llms.values()):
                await self._hold_all(llms, pool, progress, is_over)
        except BaseException:
            progress.close("Interrupted")
            raise
        progress.close("Stopped early" if self.ledger.stopped else "")

    async def _hold_all(self, llms: Mapping[str, Any], pool: Pool, progress: Progress, is_over: IsOver | None) -> None:
        request, pooled = self.request, pooling(pool, self.ledger.spending, self.cassette)
        offline = workers_of("offline", request.concurrency)
        with _threads(TOOL_THREADS, "convai-tool") as tools, _threads(offline, "convai-world") as worlds:
            holder = Holder(
                llms=llms,
                user=self.lineup.user.make(request.seed, pooled, self.ledger.spending),
                user_is_real=self.lineup.user.is_real and not (is_replay(self.cassette) and self.lineup.user.is_model),
                cassette=self.cassette,
                judge=self.lineup.judge.make(pooled, self.ledger.spending),
                mode=request.mode,
                pool=pool,
                spending=self.ledger.spending,
                tool_threads=tools,
                world_threads=worlds,
                remote=_remote(request.workspace),
                checks=self.checks,
            )
            async with make_hold(request.executor, holder, self.lineup, seed=request.seed) as hold:
                runner = Runner(hold, self.journal, self.ledger, progress, self._lane, request.concurrency, is_over)
                await runner.run()

    def comparison(self, *, interrupted: bool = False) -> Comparison:
        """Return what is done."""
        names = [variant.name for variant in self.lineup.variants]
        trials = ordered(list(self.ledger.done.values()), [s.id for s in self.scenarios], names)
        return Comparison(
            trials=trials,
            variants=self.lineup.variants,
            scenarios=self.scenarios.scenarios,
            baseline=self.baseline,
            facts=self._facts(trials, "interrupted" if interrupted else self.ledger.stopped),
            find_conversation=self.journal.conversation,
        )

    def _facts(self, trials: Sequence[TrialResult], stopped: Stopped | None) -> RunFacts:
        request, spending = self.request, self.ledger.spending
        cached = [trial for trial in trials if trial.is_cached]
        return RunFacts(
            seed=request.seed,
            trials=request.trials,
            mode=request.mode,
            simulated_user=self.lineup.user.name,
            judge=self.lineup.judge.name,
            planned=len(self.planned),
            fresh=len(trials) - len(cached),
            cached=len(cached),
            faults=dict(Counter(trial.failed_party for trial in trials if trial.failed_party)),
            models_served={v.name: models_served(trials, v.name) for v in self.lineup.variants},
            offline=self.lineup.offline,
            cost_usd=spending.usd,
            cached_cost_usd=sum(trial.total_cost_usd or 0.0 for trial in cached),
            unpriced=tuple(sorted(spending.unpriced)),
            price_date=_price_date() if spending.usd or is_replay(self.cassette) else None,
            versions=_versions(),
            stopped=stopped,
            stop=request.stop,
            notes=(*self.notes, *self._stop_notes(len(trials), stopped), *grading_notes(trials)),
            source=self.scenarios.source,
            journal=str(self.journal.path),
            cassette="" if self.cassette is None else str(self.cassette.path),
        )

    def _stop_notes(self, done: int, stopped: Stopped | None) -> list[str]:
        if stopped is None:
            return []
        how = {
            "max_cost": f"stopped at max_cost, {dollars(self.request.max_cost or 0.0)}; to go on, call again with a "
            "higher one (dry_run=True says what it may cost)",
            "interrupted": "interrupted; the same call goes on from here",
            "decided": "stopped early, because the comparison was decided",
        }[stopped]
        return [f"{done:,} of {len(self.planned):,} trials are done: {how}"]

    def _expect(self) -> None:
        """Reckon what the trials will cost, where there is a limit to keep to."""
        if self.request.max_cost is None:
            return
        counts = Counter(trial.variant.name for trial in self.planned if trial.key not in self.ledger.done)
        estimate, helpers = self.estimate(), 0.0
        per_trial: dict[str, float] = {}
        for model in estimate.models:
            usd = model.usd.middle / max(1, model.trials) if model.usd is not None else 0.0
            if model.variant is None:
                helpers += usd
            else:
                per_trial[model.variant] = usd
        self.ledger.expect({name: per_trial.get(name, 0.0) + helpers for name in counts})

    def _lane(self, trial: PlannedTrial) -> str:
        return self.lineup.lane(trial.variant) if self.request.executor in (None, "local") else "cluster"

    def _rule(self) -> IsOver | None:
        if self.request.stop is None:
            return None
        return SequentialRule(self.planned, self.baseline).is_decided


async def undertake(request: Request) -> Undertaking:
    """Read and check everything, and look up what is done; nothing is asked of any model yet.

    Raises:
        ConvaiLabError: Something asked for is wrong, or does not fit together.
    """
    scenarios = await asyncio.to_thread(load_scenarios, request.scenarios)
    scenarios = with_variables(scenarios, request.variables)
    variants = await make_variants(request.variants, agent=scenarios.agent, workspace=request.workspace)
    lineup = make_lineup(variants, request.simulated_user, request.judge)
    scenarios, added = with_expectations(scenarios, lineup)
    baseline = _baseline(request.baseline, [variant.name for variant in variants])
    require_unmixed(variants, lineup.refs, allow_offline=request.allow_offline)
    require_variables({variant.name: variant.agent for variant in variants}, scenarios.scenarios)
    user = lineup.user.make(request.seed, lambda llm: llm)
    checker = Holder(llms=lineup.refs, user=user, user_is_real=lineup.user.is_real, mode=request.mode)
    for scenario in scenarios:
        checker.checks_of(scenario)
    cassette = await asyncio.to_thread(open_cassette, request.cassette, variants, request.executor)
    planned = plan_trials(
        variants,
        scenarios.scenarios,
        trials=request.trials,
        seed=request.seed,
        conditions=lineup.conditions(request.mode) | ({} if cassette is None else {"cassette": cassette.mark}),
        scenario_first=request.stop is not None,
    )
    journal = await asyncio.to_thread(lambda: Journal(journal_path(request.journal)))
    done = await look_up(planned, journal, checker)
    warnings = check_remote(variants, scenarios.scenarios, mode=request.mode)
    return Undertaking(
        request=request,
        scenarios=scenarios,
        lineup=lineup,
        baseline=baseline,
        planned=planned,
        journal=journal,
        ledger=Ledger(planned, Spending(request.max_cost), done),
        cassette=cassette,
        checks=checker.checks,
        notes=[*added, *warnings, *reuse_notes(lineup.own, len(done))],
        warnings=tuple(warnings),
    )


async def compared(
    request: Request, progress: Progress | None = None, *, dry_run: bool = False
) -> Comparison | Estimate:
    """Do what was asked for.

    Raises:
        ConvaiLabError: Something asked for is wrong, or a model cannot work.
        CancelledError: It was interrupted; `partial_comparison` of the error gives what is done.
    """
    with calm_collector():
        undertaking = await undertake(request)
        try:
            if dry_run:
                return await asyncio.to_thread(undertaking.estimate)
            with same_after_running(undertaking.lineup.own):
                await undertaking.run(progress or NoProgress())
            return undertaking.comparison()
        except BaseException as error:
            await asyncio.shield(undertaking.journal.close())
            if undertaking.ledger.fresh or isinstance(error, asyncio.CancelledError):
                _attach(error, undertaking)
            raise
        finally:
            await undertaking.journal.close()


def partial_comparison(error: BaseException) -> Comparison | None:
    """Return what was done when a comparison was interrupted or failed, from the error that ended it."""
    found = getattr(error, "comparison", None)
    return found if isinstance(found, Comparison) else None


def _attach(error: BaseException, undertaking: Undertaking) -> None:
    comparison = undertaking.comparison(interrupted=True)
    error.comparison = comparison  # type: ignore[attr-defined]
    error.add_note(
        f"{len(comparison):,} of {len(undertaking.planned):,} trials are kept in {undertaking.journal.path}: "
        "the same call goes on from there"
    )


def _baseline(given: str | None, names: Sequence[str]) -> str:
    if given is None:
        return names[0]
    if given not in names:
        raise InvalidValueError(f"{given!r} is no variant; they are {', '.join(names)}", field="baseline")
    return given


@contextlib.contextmanager
def _threads(count: int, name: str) -> Iterator[ThreadPoolExecutor]:
    """Give so many threads; one that hangs in a tool is left behind, and nobody waits for it."""
    threads = ThreadPoolExecutor(count, name)
    try:
        yield threads
    finally:
        threads.shutdown(wait=False, cancel_futures=True)


def _remote(workspace: Workspace | None) -> WorkspaceHolder | None:
    return None if workspace is None else WorkspaceHolder(workspace)


def _versions() -> dict[str, str]:
    import convai_lab

    return {"convai_lab": convai_lab.__version__, "python": platform.python_version(), "trial_format": str(FORMAT)}


def _price_date() -> str:
    from convai_lab.providers.prices import price_date

    return price_date()
