"""Calibrating: how far is the success that was judged the success that people see?"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from convai_lab.errors import InvalidValueError
from convai_lab.evaluation.calibration import Agreement, agreement, corrected_rate
from convai_lab.evaluation.statistics import clustered_standard_error
from convai_lab.experiments.leaderboard import success_of
from convai_lab.experiments.outcomes import valid_of

if TYPE_CHECKING:
    import pandas as pd

    from convai_lab.experiments.comparison import Comparison

Key = tuple[str, str, int]
"""A trial: the variant, the scenario and the number of the trial."""
KEY_COLUMNS = ("variant", "scenario", "trial")
LABEL_COLUMN = "human"
MISSING = ("None", "nan", "<NA>")
"""What tables have where nobody said anything."""
COLUMNS = ("variant", "judged", "corrected", "low", "high", "method", "reason")


def agreement_with(comparison: Comparison, labels: Any) -> Agreement:
    """Return how far the trials' success agrees with what people say of the same conversations."""
    found = labels_of(comparison, labels)
    return agreement([comparison.trial(*key).success for key in found], list(found.values()))


def corrected_df(comparison: Comparison, labels: Any) -> pd.DataFrame:
    """Return one row for each variant: its success as judged, and corrected for the errors of the judgement."""
    import pandas as pd

    agreed = agreement_with(comparison, labels)
    rows = [_corrected(comparison, name, agreed) for name in comparison.variant_names]
    table = pd.DataFrame(rows, columns=list(COLUMNS))
    table.attrs["agreement"] = str(agreed)
    return table


def labels_of(comparison: Comparison, labels: Any) -> dict[Key, bool | None]:
    """Return what people said, by trial.

    Raises:
        InvalidValueError: It is neither a mapping nor a table of them, or a label is neither true, false nor missing.
        NotFoundError: There is no such trial.
    """
    given = labels.items() if isinstance(labels, Mapping) else _rows(labels)
    found = {_key(key): _label(key, value) for key, value in given}
    for key in found:
        comparison.trial(*key)  # says what there is
    return found


def _rows(table: Any) -> list[tuple[Any, Any]]:
    wanted = [*KEY_COLUMNS, LABEL_COLUMN]
    if missing := [name for name in wanted if name not in getattr(table, "columns", ())]:
        raise InvalidValueError(
            "must be a dict {(variant, scenario, trial): True} or a DataFrame with the columns "
            f"{', '.join(wanted)}; {missing[0]} is missing",
            field="labels",
        )
    return [(tuple(key), value) for *key, value in table[wanted].itertuples(index=False, name=None)]


def _key(key: Any) -> Key:
    try:
        variant, scenario, trial = key
        return str(variant), str(scenario), int(trial)
    except (TypeError, ValueError):
        raise InvalidValueError(f"must be (variant, scenario, trial), got {str(key)[:80]!r}", field="labels") from None


def _label(key: Any, value: Any) -> bool | None:
    text = str(value)
    if text in MISSING:
        return None
    if text not in ("True", "False", "0", "1", "0.0", "1.0"):
        raise InvalidValueError(f"must be True, False or missing, got {text[:40]!r} for {key}", field="labels")
    return text in ("True", "1", "1.0")


def _corrected(comparison: Comparison, name: str, agreed: Agreement) -> tuple[Any, ...]:
    valid = valid_of(comparison, name)
    judged = success_of(comparison, name)
    error = clustered_standard_error([float(bool(t.success)) for t in valid], [t.scenario_id for t in valid])
    if not valid:
        return name, judged.estimate, judged.estimate, judged.estimate, judged.estimate, "", judged.reason
    rate = corrected_rate(judged.estimate, error, agreed, n_scenarios=judged.n_scenarios)
    return name, judged.estimate, rate.estimate, rate.low, rate.high, rate.method, rate.reason
