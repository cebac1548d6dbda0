"""What a run will cost is guessed from the requests that it will make."""

from __future__ import annotations

import pytest

from convai_lab.experiments.estimate import Span, Use, _model
from convai_lab.experiments.roles import model_ref
from convai_lab.experiments.spending import price
from convai_lab.providers.base import Usage


@pytest.mark.parametrize("model", ["gemini-2.5-pro", "claude-sonnet-4-5"])
def test_many_short_requests_are_not_priced_as_one_long_one(model: str) -> None:
    ref = model_ref(model)
    use = Use(Span(1, 1), Span(1000, 1000), Span(100, 100))
    one = price(ref.provider, ref.model, Usage(1000, 100))
    found = _model(ref, "agent", [use] * 1000)
    assert one is not None
    assert found.usd is not None
    assert (found.usd.low, found.usd.high) == pytest.approx((1000 * one, 1000 * one))
