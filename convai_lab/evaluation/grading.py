"""Grading: what does a judge say of conversations that are there, such as those of yesterday's callers?

Each call blocks and has a twin to be awaited.
"""

from __future__ import annotations

import asyncio

from convai_lab import background
from convai_lab.agents.agent import Agent
from convai_lab.conversations.conversation import Conversation
from convai_lab.errors import InvalidValueError
from convai_lab.evaluation import preference
from convai_lab.evaluation.find_judge import JudgeSpec, find_judge
from convai_lab.evaluation.judge import Grade, Judge
from convai_lab.evaluation.post_call import grade_conversation
from convai_lab.evaluation.preference import DEFAULT_QUESTION, Preference


def grade(conversation: Conversation, agent: Agent, judge: JudgeSpec = "offline") -> Grade:
    """Return the verdicts on an agent's criteria, the values it collects, and a summary of the conversation.

    Args:
        judge: A model's name, ``offline`` (rules, which decide little), a `Judge`, or a list of them for a panel.

    Raises:
        InvalidValueError: The agent asks for nothing, or something given is no conversation, agent or judge.
        MissingKeyError: The judge's vendor needs a key that is not set.
        ModelNotFoundError: No vendor offers such a model.

    Example::

        grade = lab.grade(ws.conversations.list()[0], agent, judge="gpt-4o-mini")
        grade.success, grade.results["found_the_order"].rationale
    """
    return background.run(_graded(conversation, agent, judge))


async def agrade(conversation: Conversation, agent: Agent, judge: JudgeSpec = "offline") -> Grade:
    """Do what `grade` does, awaited."""
    return await asyncio.wrap_future(background.submit(_graded(conversation, agent, judge)))


def prefer(a: Conversation, b: Conversation, judge: str | Judge, *, question: str = DEFAULT_QUESTION) -> Preference:
    """Ask a model which of two conversations is better, in both orders: who prefers a place prefers neither.

    Raises:
        InvalidValueError: `judge` is no model, or something given is no conversation.
        MissingKeyError: The judge's vendor needs a key that is not set.
        ModelNotFoundError: No vendor offers such a model.
    """
    return background.run(_preferred(a, b, judge, question))


async def aprefer(
    a: Conversation, b: Conversation, judge: str | Judge, *, question: str = DEFAULT_QUESTION
) -> Preference:
    """Do what `prefer` does, awaited."""
    return await asyncio.wrap_future(background.submit(_preferred(a, b, judge, question)))


async def _graded(conversation: Conversation, agent: Agent, judge: JudgeSpec) -> Grade:
    _require(conversation, Conversation, "conversation")
    _require(agent, Agent, "agent")
    if not (agent.criteria or agent.data_collection):
        raise InvalidValueError(
            f"{agent.name or 'it'} has no criteria and collects no data, so that there is nothing to judge: "
            "agent.with_changes(criteria=[...])",
            field="agent",
        )
    return await grade_conversation(conversation, agent, find_judge(judge))


async def _preferred(a: Conversation, b: Conversation, judge: str | Judge, question: str) -> Preference:
    _require(a, Conversation, "a")
    _require(b, Conversation, "b")
    found = find_judge(judge)
    if not isinstance(found, Judge):
        raise InvalidValueError("must be one model: rules and panels have no preference", field="judge")
    return await preference.prefer(a, b, found, question=question)


def _require(given: object, kind: type, field: str) -> None:
    if not isinstance(given, kind):
        raise InvalidValueError(f"must be a {kind.__name__}, got {type(given).__name__}", field=field)
