"""Looking up: which trials are done already, and which have only to be checked anew?

Where only the checks of a scenario were edited, what was said is still what would be said: the conversation is taken
from the journal and checked again, and nobody is asked anything.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence

from convai_lab.evaluation.checks import run_checks
from convai_lab.experiments.holding import Holder, conversation_id
from convai_lab.experiments.journal import Journal
from convai_lab.experiments.plan import PlannedTrial
from convai_lab.experiments.trial import TrialResult, decide

AT_ONCE = 500
"""So many conversations are read before they are written again: all of them together would fill the memory."""


async def look_up(planned: Sequence[PlannedTrial], journal: Journal, holder: Holder) -> dict[str, TrialResult]:
    """Return what is done, by key, under the names that it has in this comparison."""
    by_key = {trial.key: trial for trial in planned}
    done = await asyncio.to_thread(journal.find, by_key)
    found = {key: _named(result, by_key[key]) for key, result in done.items()}
    missing = [trial for trial in planned if trial.key not in found]
    talks = await asyncio.to_thread(journal.find_talks, (trial.talk for trial in missing))
    known = [trial for trial in missing if trial.talk in talks]
    for start in range(0, len(known), AT_ONCE):
        some = known[start : start + AT_ONCE]
        checked = await asyncio.to_thread(_all_checked, some, talks, journal, holder)
        kept = await asyncio.gather(*(journal.add(result) for result in checked))
        found.update((result.key, result.with_changes(is_cached=True)) for result in kept)
    return found


def _all_checked(
    trials: Sequence[PlannedTrial], talks: Mapping[str, TrialResult], journal: Journal, holder: Holder
) -> list[TrialResult]:
    found = (_checked(trial, talks[trial.talk], journal, holder) for trial in trials)
    return [result for result in found if result is not None]


def _checked(trial: PlannedTrial, held: TrialResult, journal: Journal, holder: Holder) -> TrialResult | None:
    """Return a trial whose conversation was held before with the checks that it has now; None when it is gone."""
    conversation = journal.conversation(held.key)
    if conversation is None:
        return None
    checks = run_checks(
        holder.checks_of(trial.scenario),
        conversation,
        tool_state=held.state,
        has_real_times=holder.has_real_times(trial),
    )
    success, party = decide(checks, held.criteria, held.faults)
    return _named(held, trial).with_changes(
        key=trial.key,
        checks=checks,
        success=success,
        failed_party=party,
        conversation_id=conversation_id(trial),
        conversation=conversation.with_changes(id=conversation_id(trial), variant=trial.variant.name),
    )


def _named(result: TrialResult, trial: PlannedTrial) -> TrialResult:
    return result.with_changes(variant=trial.variant.name, scenario_id=trial.scenario.id, trial=trial.trial)
