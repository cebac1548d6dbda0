"""Exports: how do programs read a comparison: as JSON, or as the JUnit XML of build servers?"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from math import isfinite
from typing import TYPE_CHECKING, Any
from xml.etree import ElementTree as ET

from convai_lab.errors import ConvaiLabError

if TYPE_CHECKING:
    from convai_lab.experiments.comparison import Comparison
    from convai_lab.experiments.trial import TrialResult

NOT_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
"""Characters that XML 1.0 cannot hold, escaped or not."""
MOST_CHARS = 20_000


def comparison_json(comparison: Comparison) -> dict[str, Any]:
    """Return a comparison as plain JSON: verdict, tables, facts and trials, without what was said.

    What is not known is null, never a number.
    """
    verdict = comparison.verdict
    return {
        "verdict": {
            "sentence": str(verdict),
            "outcome": verdict.outcome,
            "winner": verdict.winner,
            "p_value": _plain(verdict.p_value),
            "by_challenger": {name: one.outcome for name, one in verdict.by_challenger.items()},
        },
        "baseline": comparison.baseline,
        "variants": list(comparison.variant_names),
        "scenarios": [scenario.id for scenario in comparison.scenarios],
        "leaderboard": _records(comparison.leaderboard()),
        "differences": _records(comparison.differences()),
        "flips": _records(comparison.flips()),
        "facts": _plain({name: value for name, value in asdict(comparison.facts).items() if name != "journal"}),
        "trials": [_plain(trial.to_dict()) for trial in comparison.trials],
    }


def comparison_junit(comparison: Comparison) -> str:
    """Return a comparison as JUnit XML: a suite for each variant, a case for each trial.

    A trial without success is a failure, with its transcript; one that somebody else broke is an error; one that
    nothing graded is skipped.
    """
    root = ET.Element("testsuites", name=_text(f"convai compare: {comparison.verdict}"))
    for variant in comparison.variant_names:
        trials = [trial for trial in comparison.trials if trial.variant == variant]
        suite = ET.SubElement(root, "testsuite", {"name": _text(variant), **_counts(trials)})
        properties = ET.SubElement(suite, "properties")
        for name, value in _properties(comparison, variant):
            ET.SubElement(properties, "property", name=name, value=_text(value))
        for trial in trials:
            _add_case(suite, comparison, trial)
    ET.indent(root)
    return '<?xml version="1.0" encoding="UTF-8"?>\n' + ET.tostring(root, encoding="unicode") + "\n"


def _counts(trials: Sequence[TrialResult]) -> dict[str, str]:
    broken = [trial for trial in trials if trial.failed_party is not None]
    return {
        "tests": str(len(trials)),
        "failures": str(sum(trial.success is False for trial in trials)),
        "errors": str(len(broken)),
        "skipped": str(sum(trial.success is None for trial in trials) - len(broken)),
    }


def _properties(comparison: Comparison, variant: str) -> list[tuple[str, str]]:
    facts = comparison.facts
    served = ", ".join(facts.models_served.get(variant, ())) or "not known"
    return [
        ("role", "baseline" if variant == comparison.baseline else "challenger"),
        ("model_served", "offline rules" if variant in facts.offline else served),
        ("seed", str(facts.seed)),
        ("mode", facts.mode),
        ("judge", facts.judge or "none"),
    ]


def _add_case(suite: ET.Element, comparison: Comparison, trial: TrialResult) -> None:
    name = trial.scenario_id if comparison.facts.trials == 1 else f"{trial.scenario_id} [trial {trial.trial}]"
    case = ET.SubElement(suite, "testcase", classname=_text(trial.variant), name=_text(name))
    if trial.reply_ms:
        case.set("time", f"{sum(trial.reply_ms) / 1000:.3f}")
    if trial.success:
        return
    tag = "error" if trial.failed_party else "failure" if trial.success is False else "skipped"
    told = ET.SubElement(case, tag, message=_text(trial.reason or "nothing graded it"))
    if trial.failed_party:
        told.set("type", trial.failed_party)
    if trial.success is False:
        told.text = _text(_said(comparison, trial))


def _said(comparison: Comparison, trial: TrialResult) -> str:
    try:
        return comparison.conversation(*trial.id).text
    except ConvaiLabError as gone:
        return str(gone)


def _text(value: str) -> str:
    """Return a text that XML can hold."""
    return NOT_XML.sub("\ufffd", value)[:MOST_CHARS]


def _records(frame: Any) -> list[dict[str, Any]]:
    return [{str(name): _plain(value) for name, value in row.items()} for row in frame.to_dict("records")]


def _plain(value: Any) -> Any:
    """Return a value as JSON has it; what is missing or not finite is None."""
    if hasattr(value, "tolist"):
        value = value.tolist()
    if value is None or isinstance(value, str | bool | int):
        return value
    if isinstance(value, float):
        return value if isfinite(value) else None
    if isinstance(value, Mapping):
        return {str(key): _plain(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple | set):
        return [_plain(inner) for inner in value]
    return None if type(value).__name__ in ("NAType", "NaTType") else str(value)
