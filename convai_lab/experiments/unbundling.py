"""Unbundling: how does what stands in a saved file become a comparison again?

Whoever can write a file can write its hashes too, so that every value is checked before it is believed.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import fields
from functools import partial
from itertools import chain
from typing import Any, TypeVar

from convai_lab.agents.wire_format import agent_from_wire
from convai_lab.conversations.conversation import Conversation
from convai_lab.conversations.wire_format import conversation_from_wire
from convai_lab.errors import InvalidValueError
from convai_lab.experiments.archive import Archive
from convai_lab.experiments.comparison import Comparison, RunFacts
from convai_lab.experiments.trial import TrialResult
from convai_lab.experiments.variant import LOCAL, MOST_VARIANTS, Variant
from convai_lab.simulation.scenario import Scenario, load_scenarios

KEY = re.compile(r"[0-9a-zA-Z_-]{1,128}")
LARGEST = 1e15
_Made = TypeVar("_Made")
_WRONG = (KeyError, TypeError, ValueError, AttributeError, IndexError, RecursionError)

_TEXTS = ("variant", "scenario_id", "key", "conversation_id")
_COUNTS = ("trial", "seed", "turns")
_AMOUNTS = ("cost_usd", "simulator_cost_usd", "judge_cost_usd", "input_tokens", "output_tokens")
_TIMES = ("ttft_ms", "reply_ms", "voice_to_voice_ms")
_PARTIES = (None, "provider", "simulator", "judge", "tool")


def read_comparison(archive: Archive) -> Comparison:
    """Return the comparison of a checked file; conversations stay in it until they are asked for.

    Raises:
        InvalidValueError: A part says something that cannot be; one sentence names it.
    """
    about = archive.json("comparison.json")
    variants = _made(archive, "variants.json", lambda: _variants(archive.json("variants.json")))
    scenarios = _made(archive, "scenarios.jsonl", lambda: _scenarios(_rows(archive, "scenarios.jsonl")))
    trials = _trials(archive, {v.name for v in variants}, {s.id for s in scenarios})
    facts = _made(archive, "comparison.json", lambda: _facts(about["facts"], archive))
    baseline = _made(archive, "comparison.json", lambda: about["baseline"])
    if baseline not in {variant.name for variant in variants}:
        archive.refuse("comparison.json names a baseline that is no variant")
    return Comparison(
        trials=trials,
        variants=variants,
        scenarios=scenarios,
        baseline=baseline,
        facts=facts,
        find_conversation=_Conversations(archive),
    )


class _Conversations:
    """Finds conversations in a saved file, when they are asked for."""

    def __init__(self, archive: Archive) -> None:
        self._archive = archive

    def __call__(self, key: str) -> Conversation | None:
        name = f"conversations/{key}.json"
        if name not in self._archive:
            return None
        doc = self._archive.json(name)
        return _made(self._archive, name, lambda: conversation_from_wire(doc))


def _made(archive: Archive, where: str, make: Callable[[], _Made]) -> _Made:
    try:
        return make()
    except _WRONG as error:
        archive.refuse(f"{where} cannot be read ({str(error)[:160]})")


def _rows(archive: Archive, name: str) -> Iterator[Any]:
    for number, line in enumerate(archive.read(name).splitlines(), 1):
        yield archive.parsed(line, f"{name}, line {number}")


def _variants(listed: list[Mapping[str, Any]]) -> tuple[Variant, ...]:
    if not isinstance(listed, list) or not 1 <= len(listed) <= MOST_VARIANTS:
        raise ValueError("there are no variants, or too many")
    made = tuple(
        Variant(one["name"], agent_from_wire(one["agent"]), platform=str(one.get("platform", LOCAL))) for one in listed
    )
    if len({variant.name for variant in made}) < len(made):
        raise ValueError("two variants have one name")
    return made


def _scenarios(rows: Iterator[Any]) -> tuple[Scenario, ...]:
    """Return scenarios; each row is checked before the next one is read."""
    first = next(rows, None)
    return () if first is None else load_scenarios(chain((first,), rows)).scenarios


def _trials(archive: Archive, variants: set[str], scenarios: set[str]) -> tuple[TrialResult, ...]:
    found: dict[Any, TrialResult] = {}
    for number, row in enumerate(_rows(archive, "trials.jsonl"), 1):
        where = f"trials.jsonl, line {number}"
        trial = _made(archive, where, partial(_trial, row))
        if trial.variant not in variants or trial.scenario_id not in scenarios or trial.id in found:
            archive.refuse(f"{where} is a trial of nobody, or one that comes twice")
        found[trial.id] = trial
    return tuple(found.values())


def _trial(row: Any) -> TrialResult:
    for name in _TEXTS:
        _require(isinstance(row[name], str), name)
    _require(KEY.fullmatch(row["key"]) is not None, "key")
    for name in _COUNTS:
        _require(_is_whole(row[name]) and row[name] >= 0, name)
    for name in _AMOUNTS:
        _require(row.get(name) is None or _is_amount(row[name]), name)
    for name in _TIMES:
        _require(isinstance(row.get(name, []), list) and all(_is_amount(value) for value in row.get(name, [])), name)
    _require(row.get("success") in (None, True, False) and not _is_whole(row.get("success")), "success")
    _require(row.get("failed_party") in _PARTIES, "failed_party")
    _require(isinstance(row.get("model_served"), str | None) and isinstance(row.get("ended_by"), str | None), "names")
    _require(not (row.get("failed_party") and row.get("success") is not None), "success")
    trial = TrialResult.from_dict(row)
    for check in trial.checks:
        _require(check.passed in (None, True, False) and isinstance(check.name, str), "checks")
        _require(isinstance(check.why, str) and isinstance(check.kind, str), "checks")
    for result in trial.criteria.values():
        _require(isinstance(result.rationale, str | None), "criteria")
    for fault in trial.faults:
        _require(all(isinstance(value, str) for value in fault), "faults")
    return trial.with_changes(is_cached=row.get("is_cached") is True)


def _facts(told: Mapping[str, Any], archive: Archive) -> RunFacts:
    """Return facts of the known names whose values are of the same kind as they would be by themselves."""
    usual = RunFacts()
    given = {}
    for field in fields(RunFacts):
        if field.name in told:
            value, default = _tuples(told[field.name]), getattr(usual, field.name)
            _require(_is_alike(value, default), field.name)
            given[field.name] = value
    saved = "redacted" if archive.manifest.get("redacted") is True else "not redacted"
    note = f"reopened from {archive.path.name} ({saved}, {str(archive.manifest['hash'])[:12]})"
    _require(given.get("mode", "text") in ("text", "voice"), "mode")
    _require(_is_whole(given.get("trials", 1)) and 1 <= given.get("trials", 1) <= 1_000_000, "trials")
    return RunFacts(**{**given, "notes": (*given.get("notes", ()), note)})


def _is_alike(value: Any, default: Any) -> bool:
    if default is None:
        return isinstance(value, str | None)
    if isinstance(default, float):
        return _is_amount(value)
    if isinstance(default, int):
        return _is_whole(value)
    if isinstance(default, tuple):
        return isinstance(value, tuple) and all(isinstance(one, str) for one in value)
    if isinstance(default, Mapping):
        return isinstance(value, Mapping)
    return isinstance(value, type(default))


def _tuples(value: Any) -> Any:
    if isinstance(value, list):
        return tuple(map(_tuples, value))
    return {name: _tuples(inner) for name, inner in value.items()} if isinstance(value, dict) else value


def _is_whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and abs(value) < 2**63


def _is_amount(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value < LARGEST


def _require(holds: bool, field: str) -> None:
    if not holds:
        raise InvalidValueError("is no such value", field=field)
