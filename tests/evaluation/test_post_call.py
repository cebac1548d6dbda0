"""After a conversation, all that its agent wants to know is asked in one request."""

from __future__ import annotations

import json
from typing import Any

from convai_lab.agents.agent import Agent, DataItem, EvaluationCriterion
from convai_lab.conversations.conversation import Analysis, Conversation
from convai_lab.conversations.wire_format import conversation_from_wire
from convai_lab.errors import ProviderConnectionError
from convai_lab.evaluation.judge import Judge
from convai_lab.evaluation.offline_judge import OfflineJudge
from convai_lab.evaluation.post_call import analyse, grade_conversation
from convai_lab.testing.fake_llm import FakeLLM, Reply

AGENT = Agent(
    name="Support",
    criteria=(EvaluationCriterion(id="found", goal="The agent found the order."),),
    data_collection={"order": DataItem(type="string", description="The order's number.")},
)
ANSWER = {
    "criteria": [{"id": "found", "reason": "it did", "result": "success"}],
    "data": [{"id": "order", "reason": "asked for it", "value": "1234"}],
    "summary": "The user asked for an order, which had shipped.",
}


async def test_verdicts_values_and_summary_come_from_one_request(shipped: Any) -> None:
    llm = FakeLLM([Reply([json.dumps(ANSWER)])])
    analysis = await analyse(shipped, AGENT, Judge(llm))
    assert analysis.success == "success"
    assert analysis.summary == "The user asked for an order, which had shipped."
    assert analysis.criteria["found"].rationale == "it did"
    assert analysis.data["order"].value == "1234"
    assert len(llm.requests) == 1


async def test_the_analysis_survives_the_platforms_json(shipped: Any) -> None:
    analysis = await analyse(shipped, AGENT, Judge(FakeLLM([Reply([json.dumps(ANSWER)])])))
    kept = conversation_from_wire(json.loads(json.dumps(shipped.with_changes(analysis=analysis).to_dict())))
    assert kept.analysis == analysis


async def test_a_missing_summary_is_asked_again_alone(shipped: Any) -> None:
    without = {name: value for name, value in ANSWER.items() if name != "summary"}
    llm = FakeLLM([Reply([json.dumps(without)]), Reply([json.dumps({"summary": "Done."})])])
    assert (await analyse(shipped, AGENT, Judge(llm))).summary == "Done."
    assert "Criteria" not in llm.requests[1].messages[-1].content


async def test_an_agent_without_criteria_is_not_judged(shipped: Any) -> None:
    llm = FakeLLM([Reply([json.dumps({"summary": "Hello."})])])
    analysis = await analyse(shipped, Agent(), Judge(llm))
    assert (analysis.success, analysis.summary, analysis.criteria) == (None, "Hello.", {})


async def test_a_judge_that_fails_leaves_everything_unknown(shipped: Any) -> None:
    grade = await grade_conversation(shipped, AGENT, Judge(FakeLLM([ProviderConnectionError("gone", provider="x")])))
    analysis = grade.analysis()
    assert (analysis.success, analysis.summary, analysis.data["order"].value) == ("unknown", None, None)
    assert grade.unjudged == ("found", "order")


async def test_an_empty_conversation_needs_no_judge() -> None:
    analysis = await analyse(Conversation(id="c", agent_id="a"), AGENT, Judge(FakeLLM([])))
    assert (analysis.success, analysis.summary) == ("unknown", "Nothing was said.")


async def test_the_offline_rules_give_an_analysis_that_says_what_it_is(shipped: Any) -> None:
    analysis = await analyse(shipped, AGENT, OfflineJudge())
    assert isinstance(analysis, Analysis)
    assert analysis.success == "unknown"
    assert analysis.summary == (
        "2 turns, 1 tool calls; the user first said 'Where is my order 1234?' (offline rules, not a language model)"
    )
