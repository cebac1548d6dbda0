"""How these tests compare: with a server that speaks a vendor's dialect, or by offline rules."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import pytest

from convai_lab.agents.agent import Agent
from convai_lab.conversations.conversation import Conversation
from convai_lab.conversations.turn import Turn
from convai_lab.evaluation.check import CheckResult
from convai_lab.experiments.comparison import Comparison, RunFacts, compare
from convai_lab.experiments.trial import TrialResult
from convai_lab.experiments.variant import Variant
from convai_lab.simulation.faults import Fault
from convai_lab.simulation.scenario import Scenario
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


Results = Mapping[str, Mapping[str, Sequence[bool | str | None]]]
"""By variant and scenario, what came of each trial: a success, a failure, the party that failed, or None: ungraded."""


def invented(results: Results, *, trial: Mapping[str, Any] | None = None, **facts: Any) -> Comparison:
    """Return a comparison with these results; `trial` holds further fields of every trial."""
    names = list(results)
    scenarios = list(dict.fromkeys(name for of_variant in results.values() for name in of_variant))
    made = [
        invented_trial(variant, scenario, number, came, **(trial or {}))
        for scenario in scenarios
        for number in range(max(len(results[name].get(scenario, ())) for name in names))
        for variant in names
        for came in results[variant].get(scenario, ())[number : number + 1]
    ]
    by_key = {one.key: one for one in made}
    usual = {
        "trials": max((len(came) for of_variant in results.values() for came in of_variant.values()), default=1),
        "planned": len(made),
        "fresh": len(made),
        "simulated_user": "offline",
        "models_served": {name: (f"{name}-served",) for name in names},
        "faults": dict(Counter(one.failed_party for one in made if one.failed_party)),
        "source": "invented.yaml",
    }
    return Comparison(
        trials=tuple(made),
        variants=tuple(Variant(name, Agent(name="Support", llm="gpt-4o-mini")) for name in names),
        scenarios=tuple(Scenario(id=name, opening="Hello") for name in scenarios),
        baseline=names[0],
        facts=RunFacts(**{**usual, **facts}),
        find_conversation=lambda key: invented_conversation(by_key[key]),
    )


def invented_trial(variant: str, scenario: str, number: int, came: bool | str | None, **fields: Any) -> TrialResult:
    """Return one trial; a party's name instead of success or failure means that this party failed."""
    party = came if isinstance(came, str) else None
    success = None if party else came
    key = hashlib.sha256(f"{variant}/{scenario}/{number}".encode()).hexdigest()[:32]
    usual: dict[str, Any] = {
        "checks": (CheckResult(bool(success), "said shipped", f"{variant} never said shipped", "said"),),
        "faults": (Fault(party, "rate_limit", "429"),) if party else (),  # type: ignore[arg-type]
        "conversation_id": f"conv_{key}",
        "turns": 2,
        "cost_usd": 0.002,
    }
    return TrialResult(
        variant=variant,
        scenario_id=scenario,
        trial=number,
        seed=int(key[:7], 16),
        key=key,
        success=success,  # type: ignore[arg-type]
        failed_party=party,  # type: ignore[arg-type]
        **{**usual, **fields},
    )


def invented_conversation(trial: TrialResult) -> Conversation:
    """Return what was said in an invented trial."""
    turns = (
        Turn(role="user", text="Where is my order?"),
        Turn(role="agent", text=f"{trial.variant} says {'shipped' if trial.success else 'nothing'}"),
    )
    return Conversation(id=trial.conversation_id, agent_id="agent_1", agent_name=trial.variant, turns=turns)
