"""A judge works over the vendors' own wire, and a vendor that breaks off is a fault of the judge."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable, Mapping
from typing import Any

import pytest

from convai_lab.evaluation.find_judge import find_judge
from convai_lab.evaluation.judge import Judge
from convai_lab.evaluation.preference import prefer
from convai_lab.providers.registry import aclose_clients
from convai_lab.testing.fake_llm import Reply
from convai_lab.testing.fake_vendors import BadKey, FakeVendor, Sent, fake_anthropic, fake_gemini, fake_openai

VENDORS: Mapping[str, Callable[..., FakeVendor]] = {
    "gpt-4o-mini": fake_openai,
    "claude-haiku-4-5": fake_anthropic,
    "gemini-2.5-flash": fake_gemini,
}


@pytest.fixture(params=sorted(VENDORS))
async def judged_by(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Any]:
    """Make a judge of a vendor's model from what its server answers."""
    opened: list[FakeVendor] = []

    def make(*replies: Any) -> tuple[Judge, FakeVendor]:
        server = VENDORS[request.param](list(replies), models=[request.param])
        opened.append(server.__enter__())
        for name, value in server.settings.items():
            monkeypatch.setenv(name, value)
        judge = find_judge(request.param)
        assert isinstance(judge, Judge)
        return judge, server

    yield make
    await aclose_clients()
    for server in opened:
        server.__exit__(None, None, None)


async def test_a_vendor_judges_and_its_price_is_known(
    judged_by: Any, shipped: Any, criteria: Any, verdicts: Any
) -> None:
    judge, server = judged_by("Sure! success", Reply([verdicts(found="success", polite="unknown")]))
    grade = await judge.grade(shipped, criteria)
    assert {name: result.value for name, result in grade.results.items()} == {"found": "success", "polite": "unknown"}
    assert grade.spent.requests == len(server.requests) == 2
    assert grade.cost_usd is not None
    assert grade.cost_usd > 0
    assert '"temperature": 0' in json.dumps(server.requests[0].body)


async def test_a_vendor_that_breaks_off_is_a_fault_and_no_verdict(
    judged_by: Any, shipped: Any, criteria: Any, verdicts: Any
) -> None:
    judge, _ = judged_by(Sent(Reply(verdicts(found="success", polite="success")), cut_after=3))
    grade = await judge.grade(shipped, criteria)
    assert grade.success == "unknown"
    assert [fault.party for fault in grade.faults] == ["judge"]
    assert grade.unjudged == ("found", "polite")


async def test_a_key_that_is_refused_is_a_fault_and_shown_nowhere(judged_by: Any, shipped: Any, criteria: Any) -> None:
    judge, server = judged_by(BadKey("no"))
    grade = await judge.grade(shipped, criteria)
    assert grade.faults[0].reason == "provider_error"
    assert server.key not in repr(grade) + repr(judge)


async def test_a_preference_is_asked_in_both_orders(judged_by: Any, shipped: Any) -> None:
    judge, server = judged_by(*[Reply(['{"reason": "same", "better": "tie"}'])] * 2)
    assert (await prefer(shipped, shipped, judge)).winner == "tie"
    assert len(server.requests) == 2
