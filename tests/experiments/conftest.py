"""How these tests compare: with a server that speaks a vendor's dialect, or by offline rules."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from convai_lab.agents.agent import Agent
from convai_lab.experiments.comparison import Comparison, compare
from convai_lab.testing.fake_vendors import FakeVendor, fake_openai
from convai_lab.testing.vendor_script import Received, ServerScripted

MODEL = "gpt-4o-mini"
SHIPPED = "Your order has shipped."

Answer = Callable[[Received], ServerScripted]


@pytest.fixture
def agent() -> Agent:
    """An agent with a real model."""
    return Agent(name="Support", prompt="You are Sam.", llm=MODEL)


@pytest.fixture
def vendor(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeVendor]:
    """A server that says that the order has shipped; `vendor.answer` may be replaced by another function."""
    holder: dict[str, Answer] = {"answer": lambda _: SHIPPED}
    with fake_openai(lambda received: holder["answer"](received)) as server:
        for name, value in server.settings.items():
            monkeypatch.setenv(name, value)
        server.answer = lambda function: holder.update(answer=function)  # type: ignore[attr-defined]
        yield server


def scenarios(count: int = 3, **fields: Any) -> list[dict[str, Any]]:
    """Return scenarios of one question that asks for one sentence."""
    made = {"opening": "Where is my order?", "checks": [{"said": "shipped"}], "max_turns": 2, **fields}
    return [{"id": f"s{number}", **made} for number in range(count)]


@pytest.fixture
def run() -> Callable[..., Comparison]:
    """Compare without a bar, with scripted callers."""

    def compared(variants: Any, cases: Any, **options: Any) -> Comparison:
        result = compare(variants, cases, **{"simulated_user": "scripted", "progress": False, **options})
        assert isinstance(result, Comparison)
        return result

    return compared


@pytest.fixture
def asked(vendor: FakeVendor) -> Callable[[], int]:
    """Count the requests for an answer, without those that ask whether the model is there."""

    def count() -> int:
        return sum("ready?" not in str(received.body) for received in vendor.requests if received.method == "POST")

    return count
