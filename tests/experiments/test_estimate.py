"""What a run will cost is guessed from the requests that it will make."""

from __future__ import annotations

import pytest

from convai_lab.experiments.estimate import Estimate, ModelEstimate, Span, Use, _model
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


@pytest.mark.parametrize(
    ("usd", "told"), [(Span(7.3e-06, 0.00021), "$0.0000073 to $0.00021"), (Span(120, 1240), "$1,240.00")]
)
def test_what_it_costs_is_never_written_as_a_power(usd: Span, told: str) -> None:
    model = ModelEstimate(model="openai/m", role="agent", variant="a", trials=1, use=Use(), usd=usd)
    estimate = Estimate(planned=1, cached=0, models=(model,), max_cost=0.00001)
    for shown in (str(estimate), estimate._repr_html_()):
        assert told in shown
        assert "it would stop at max_cost, $0.000010" in shown
