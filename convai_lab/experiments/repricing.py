"""Repricing: what would these conversations have cost with other models?"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import TYPE_CHECKING, Any

from convai_lab.conversations.conversation import Conversation
from convai_lab.conversations.turn import Turn
from convai_lab.errors import InvalidValueError
from convai_lab.providers.base import Usage
from convai_lab.providers.prices import price_date
from convai_lab.providers.registry import ModelName
from convai_lab.providers.repricing import (
    TOKENS_NOTE,
    SpeechPrices,
    checked_prices,
    heard_usd,
    is_free,
    priced_model,
    spoken_usd,
    tokens_usd,
)

if TYPE_CHECKING:
    import pandas as pd

    from convai_lab.experiments.comparison import Comparison
    from convai_lab.experiments.trial import TrialResult

COLUMNS = (
    "conversation_id", "agent", "model", "input_tokens", "output_tokens", "llm_usd", "tts_chars", "tts_usd", "asr_secs",
    "asr_usd", "total_usd", "recorded_usd", "unknown", "price_date", "is_estimate",
)  # fmt: skip
VARIANT_COLUMNS = (
    "variant", "model", "trials", "priced", "successes", "cost_per_conversation_usd", "cost_per_success_usd",
    "recorded_per_conversation_usd", "unknown", "price_date", "is_estimate",
)  # fmt: skip
NAN = math.nan


@dataclass(frozen=True)
class Bill:
    """What one conversation would cost with one model: its parts in USD, None where unknown, and what is unknown."""

    llm_usd: float | None
    tts_usd: float | None
    asr_usd: float | None
    tts_chars: int
    asr_secs: float
    unknown: tuple[str, ...]

    @property
    def total_usd(self) -> float | None:
        """All of it; None when a part is not known."""
        parts = (self.llm_usd, self.tts_usd, self.asr_usd)
        known = [part for part in parts if part is not None]
        return sum(known) if len(known) == len(parts) else None


def reprice(
    conversations: Conversation | Iterable[Conversation],
    models: str | Sequence[str],
    *,
    at: float | str | date | None = None,
    speech: SpeechPrices | Mapping[str, float] | None = None,
) -> pd.DataFrame:
    """Return what recorded conversations would have cost with other models, one row for each of both.

    Columns: ``conversation_id``, ``agent``, ``model``, ``input_tokens``, ``output_tokens``, ``llm_usd``, ``tts_chars``
    and ``tts_usd``, ``asr_secs`` and ``asr_usd`` (of spoken turns), ``total_usd``, ``recorded_usd`` (as it was),
    ``unknown`` (what has no known price or tokens), ``price_date``, ``is_estimate``. What is not known is missing, and
    so is a total with such a part. ``df.attrs["note"]`` says how far it can be trusted.

    Args:
        models: One or several models, such as ``"gpt-4o-mini,claude-haiku-4-5"``.
        at: The day of the prices: an ISO date, a `date` or seconds since 1970; today, when None.
        speech: What you pay for speech: ``{"tts_per_1000_chars": 0.1, "asr_per_hour": 0.4}``. Engines on this machine
            cost nothing; others are unknown without it.

    Raises:
        ModelNotFoundError: No known vendor offers such a model.
        InvalidValueError: Something given is wrong.
    """
    import pandas as pd

    named, when, prices = _named(models), _instant(at), checked_prices(speech)
    given = [conversations] if isinstance(conversations, Conversation) else list(conversations)
    rows = [
        _row(_checked(conversation), name, model, when, prices)
        for conversation in given
        for name, model in named.items()
    ]
    frame = pd.DataFrame(rows, columns=list(COLUMNS)).astype({"input_tokens": "Int64", "output_tokens": "Int64"})
    frame.attrs["note"] = TOKENS_NOTE
    return frame


def repriced(
    comparison: Comparison,
    models: Mapping[str, str] | str | Sequence[str],
    *,
    at: float | str | date | None = None,
    speech: SpeechPrices | Mapping[str, float] | None = None,
) -> pd.DataFrame:
    """Return what the variants of a comparison would cost with other models; see `Comparison.reprice`."""
    import pandas as pd

    when, prices = _instant(at), checked_prices(speech)
    rows = []
    for variant, name, model in _pairs(comparison, models):
        trials = [t for t in comparison.trials if t.variant == variant and t.failed_party is None]
        bills = [_trial_bill(comparison, trial, model, when, prices) for trial in trials]
        rows.append(_variant_row(variant, name, model, trials, bills))
    frame = pd.DataFrame(rows, columns=list(VARIANT_COLUMNS))
    frame.attrs["note"] = TOKENS_NOTE
    return frame


def bill(conversation: Conversation, model: ModelName, *, at: float | None, prices: SpeechPrices) -> Bill:
    """Return what a conversation would cost with a model."""
    asked = [turn for turn in conversation.turns if turn.role == "agent" and (turn.llm_requested or turn.llm_served)]
    llm = _sum(_turn_usd(turn, model, at) for turn in asked)
    spoken = [turn for turn in conversation.turns if turn.role == "agent" and turn.tts_engine]
    heard = [turn for turn in conversation.turns if turn.role == "user" and turn.asr_engine]
    tts = _sum(spoken_usd(turn.tts_engine, len(turn.text), prices) for turn in spoken)
    asr = _sum(heard_usd(turn.asr_engine, _secs(turn), prices) for turn in heard)
    unknown = [] if llm is not None else [_unknown_llm(asked, model)]
    unknown += [f"the price of the voice {_names(t.tts_engine for t in spoken)}"] if tts is None else []
    unknown += [f"the price of the recogniser {_names(t.asr_engine for t in heard)}"] if asr is None else []
    return Bill(llm, tts, asr, sum(len(t.text) for t in spoken), sum(map(_secs, heard)), tuple(unknown))


def _turn_usd(turn: Turn, model: ModelName, at: float | None) -> float | None:
    cost = tokens_usd(model, _usage(turn), at=at)
    return None if cost is None else cost.usd


def _usage(turn: Turn) -> Usage:
    metrics = turn.metrics
    return Usage(input=metrics.input_tokens, output=metrics.output_tokens, cached_input=metrics.cached_tokens)


def _unknown_llm(turns: Sequence[Turn], model: ModelName) -> str:
    counted = [t for t in turns if t.metrics.input_tokens is not None and t.metrics.output_tokens is not None]
    if len(counted) < len(turns):
        return f"the tokens of {len(turns) - len(counted)} of {len(turns)} replies"
    return f"the price of {model.provider}/{model.model}"


def _row(
    conversation: Conversation, name: str, model: ModelName, at: float | None, prices: SpeechPrices
) -> dict[str, Any]:
    made = bill(conversation, model, at=at, prices=prices)
    asked = [turn for turn in conversation.turns if turn.role == "agent" and (turn.llm_requested or turn.llm_served)]
    return {
        "conversation_id": conversation.id,
        "agent": conversation.agent_name,
        "model": name,
        "input_tokens": _tokens(turn.metrics.input_tokens for turn in asked),
        "output_tokens": _tokens(turn.metrics.output_tokens for turn in asked),
        "llm_usd": _number(made.llm_usd),
        "tts_chars": made.tts_chars,
        "tts_usd": _number(made.tts_usd),
        "asr_secs": round(made.asr_secs, 3),
        "asr_usd": _number(made.asr_usd),
        "total_usd": _number(made.total_usd),
        "recorded_usd": _number(conversation.cost_usd),
        "unknown": "; ".join(made.unknown),
        "price_date": None if is_free(model) else price_date(),
        "is_estimate": True,
    }


def _pairs(
    comparison: Comparison, models: Mapping[str, str] | str | Sequence[str]
) -> Iterator[tuple[str, str, ModelName]]:
    """Yield each variant with the model it is to be priced as: its own where a mapping names it, else each."""
    if not isinstance(models, Mapping):
        for name, model in _named(models).items():
            yield from ((variant, name, model) for variant in comparison.variant_names)
        return
    for variant, name in models.items():
        if variant not in comparison.variant_names:
            known = ", ".join(comparison.variant_names)
            raise InvalidValueError(f"{variant!r} is no variant; they are {known}", field="models")
        yield variant, name, priced_model(name)


def _trial_bill(
    comparison: Comparison, trial: TrialResult, model: ModelName, at: float | None, prices: SpeechPrices
) -> Bill:
    """Return what a trial would cost: by its turns, or by its totals where its conversation is gone."""
    conversation = trial.conversation or comparison.find_conversation(trial.key)
    if conversation is not None:
        return bill(conversation, model, at=at, prices=prices)
    cost = tokens_usd(model, Usage(input=trial.input_tokens, output=trial.output_tokens), at=at)
    is_counted = trial.input_tokens is not None and trial.output_tokens is not None
    what = f"the price of {model.provider}/{model.model}" if is_counted else "the tokens of some trials"
    return Bill(None if cost is None else cost.usd, 0.0, 0.0, 0, 0.0, () if cost else (what,))


def _variant_row(
    variant: str, name: str, model: ModelName, trials: Sequence[TrialResult], bills: Sequence[Bill]
) -> dict[str, Any]:
    known = [made.total_usd for made in bills if made.total_usd is not None]
    successes = sum(trial.success is True for trial in trials)
    is_known = bool(bills) and len(known) == len(bills)
    total = sum(known) if is_known else NAN
    recorded = [trial.cost_usd for trial in trials]
    unknown = dict.fromkeys(what for made in bills for what in made.unknown)
    return {
        "variant": variant,
        "model": name,
        "trials": len(trials),
        "priced": len(known),
        "successes": successes,
        "cost_per_conversation_usd": total / len(bills) if is_known else NAN,
        "cost_per_success_usd": total / successes if is_known and successes else NAN,
        "recorded_per_conversation_usd": _mean(recorded),
        "unknown": "; ".join(unknown),
        "price_date": None if is_free(model) else price_date(),
        "is_estimate": True,
    }


def _named(models: str | Sequence[str]) -> dict[str, ModelName]:
    names = [name.strip() for name in models.split(",")] if isinstance(models, str) else list(models)
    if not names:
        raise InvalidValueError("name at least one model", field="models")
    return {name: priced_model(name) for name in names}


def _instant(at: float | str | date | None) -> float | None:
    if at is None:
        return None
    try:
        if isinstance(at, int | float):
            return datetime.fromtimestamp(at, UTC).timestamp()
        day = datetime.fromisoformat(at) if isinstance(at, str) else at
        when = day if isinstance(day, datetime) else datetime(day.year, day.month, day.day, tzinfo=UTC)
        return (when if when.tzinfo else when.replace(tzinfo=UTC)).timestamp()
    except (ValueError, TypeError, AttributeError, OverflowError, OSError):
        raise InvalidValueError(f"must be a day such as 2026-01-31, got {at!r}", field="at") from None


def _checked(conversation: Any) -> Conversation:
    if not isinstance(conversation, Conversation):
        raise InvalidValueError(f"must be conversations, got {type(conversation).__name__}", field="conversations")
    return conversation


def _secs(turn: Turn) -> float:
    return max(0.0, (turn.end_secs or 0.0) - (turn.start_secs or 0.0))


def _sum(values: Iterable[float | None]) -> float | None:
    total = 0.0
    for value in values:
        if value is None:
            return None
        total += value
    return total


def _mean(values: Sequence[float | None]) -> float:
    total = _sum(values)
    return total / len(values) if values and total is not None else NAN


def _tokens(values: Iterable[int | None]) -> int | None:
    counted = list(values)
    return None if None in counted else sum(value or 0 for value in counted)


def _number(value: float | None) -> float:
    return NAN if value is None else value


def _names(engines: Iterable[str | None]) -> str:
    return ", ".join(dict.fromkeys(engine or "" for engine in engines))
