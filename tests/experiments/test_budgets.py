"""What a vendor says is left is kept to."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from convai_lab.agents.agent import Agent
from convai_lab.clock import VIRTUAL_EPOCH, VirtualClock
from convai_lab.experiments.budgets import hear
from convai_lab.experiments.comparison import Comparison
from convai_lab.experiments.pool import Gate
from convai_lab.http import PostingClient
from convai_lab.testing.fake_vendors import FakeVendor

from .conftest import scenarios


@pytest.mark.parametrize(
    ("headers", "left", "until"),
    [
        ({"x-ratelimit-remaining-tokens": "120", "x-ratelimit-reset-tokens": "1m30s"}, 120, 90),
        ({"x-ratelimit-remaining-tokens": "0", "x-ratelimit-reset-tokens": "250ms"}, 0, 0.25),
        ({"x-ratelimit-remaining-tokens": "7", "x-ratelimit-reset-tokens": "12"}, 7, 12),
        (
            {
                "anthropic-ratelimit-tokens-remaining": "5",
                "anthropic-ratelimit-tokens-reset": "2026-01-01T00:00:10Z",
            },
            5,
            10,
        ),
        ({"x-ratelimit-remaining-tokens": "1", "x-ratelimit-reset-tokens": "9999h"}, 1, 120),
    ],
)
def test_headers_say_what_is_left_and_for_how_long(headers: dict[str, str], left: float, until: float) -> None:
    gate = Gate(clock=VirtualClock())
    hear(gate, headers, wall=VIRTUAL_EPOCH)
    assert gate.tokens.left == left
    assert gate.tokens.until == pytest.approx(until)


@pytest.mark.parametrize("value", ["", "soon", "-3", "1e9999", "\x00", "²", "9" * 400])
def test_headers_that_make_no_sense_change_nothing_for_long(value: str) -> None:
    gate = Gate(clock=VirtualClock())
    hear(gate, {"x-ratelimit-remaining-tokens": value, "x-ratelimit-reset-tokens": "1s"}, wall=0.0)
    hear(gate, {"x-ratelimit-remaining-requests": "3", "x-ratelimit-reset-requests": value}, wall=0.0)
    assert gate.tokens.until <= 1
    assert gate.requests.until <= 120


def test_a_run_listens_to_its_vendor_and_stops_listening(
    vendor: FakeVendor, agent: Agent, run: Callable[..., Comparison]
) -> None:
    from convai_lab.providers.registry import VENDORS, shared_client, vendor_base_url

    assert len(run(agent, scenarios(2))) == 2
    client = shared_client(vendor_base_url(VENDORS["openai"]))
    assert isinstance(client, PostingClient)
    assert client.listeners == []
