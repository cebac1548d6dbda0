"""Repricing: what would recorded tokens, characters and seconds cost elsewhere?

Tokens are kept as they were counted, though another model's tokenizer would count the same text otherwise, and would
say something else: an estimate. What has no known price is named and never counted as zero.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from convai_lab.errors import InvalidValueError
from convai_lab.providers.base import Usage
from convai_lab.providers.prices import FREE_PROVIDERS, Cost, cost_usd
from convai_lab.providers.registry import ModelName, parse_model

TOKENS_NOTE = (
    "An estimate: the tokens are those that were recorded, and another model counts the same text otherwise and "
    "answers something else; list prices, without your discounts."
)
FREE_SPEECH = frozenset(
    {"espeak", "pocketsphinx", "piper", "kokoro", "faster-whisper", "sherpa-onnx", "stub", "energy", "silero"}
)
"""Engines that run on this machine: sound costs nothing."""
CHARS_PRICED = 1000
SECS_PRICED = 3600


class SpeechPrices(NamedTuple):
    """What you pay for speech, in USD: for 1,000 characters spoken and for an hour heard; None is not known.

    No list of speech prices comes with the package: vendors price them by plan.
    """

    tts_per_1000_chars: float | None = None
    asr_per_hour: float | None = None


def priced_model(model: str) -> ModelName:
    """Return a model to price, taken apart.

    Raises:
        InvalidValueError: It is no name.
        ModelNotFoundError: No known vendor offers it.
    """
    if not isinstance(model, str):
        raise InvalidValueError(f"must be a model's name, got {type(model).__name__}", field="models")
    return parse_model(model)


def tokens_usd(model: ModelName, usage: Usage, *, at: float | None = None) -> Cost | None:
    """Return what tokens cost with a model; None when its price, or the tokens, are not known."""
    return cost_usd(model.provider, model.model, usage, at=at)


def is_free(model: ModelName) -> bool:
    """Say whether a model runs on this machine."""
    return model.provider in FREE_PROVIDERS


def spoken_usd(engine: str | None, chars: int, prices: SpeechPrices) -> float | None:
    """Return what so many characters of speech cost; None when that is not known."""
    if not chars or _is_free(engine):
        return 0.0
    return None if prices.tts_per_1000_chars is None else chars / CHARS_PRICED * prices.tts_per_1000_chars


def heard_usd(engine: str | None, secs: float, prices: SpeechPrices) -> float | None:
    """Return what so many seconds of speech cost to recognise; None when that is not known."""
    if not secs or _is_free(engine):
        return 0.0
    return None if prices.asr_per_hour is None else secs / SECS_PRICED * prices.asr_per_hour


def checked_prices(given: SpeechPrices | Mapping[str, float] | None) -> SpeechPrices:
    """Return speech prices as they are meant.

    Raises:
        InvalidValueError: A name is unknown, or a price is no number from 0.
    """
    if given is None:
        return SpeechPrices()
    values = given._asdict() if isinstance(given, SpeechPrices) else dict(given)
    for name, value in values.items():
        if name not in SpeechPrices._fields:
            raise InvalidValueError(f"there are {', '.join(SpeechPrices._fields)}", field=f"speech.{name}")
        if value is not None and (
            isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < 1e9
        ):
            raise InvalidValueError(f"must be USD from 0, got {value!r}", field=f"speech.{name}")
    return SpeechPrices(**values)


def _is_free(engine: str | None) -> bool:
    return engine is not None and engine.partition("/")[0].lower() in FREE_SPEECH
