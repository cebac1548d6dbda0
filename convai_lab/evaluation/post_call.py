"""Post call: what is found out about a conversation once it is over?"""

from __future__ import annotations

from convai_lab.agents.agent import Agent
from convai_lab.conversations.conversation import Analysis, Conversation
from convai_lab.evaluation.judge import AnyJudge, Grade
from convai_lab.evaluation.judge_prompt import Questions


async def analyse(conversation: Conversation, agent: Agent, judge: AnyJudge) -> Analysis:
    """Return the verdicts, the collected values and the summary that an agent asks for.

    `success` is None when the agent has no criteria. What the judge used and where it failed is known to
    `grade_conversation`, which does the same.
    """
    return (await grade_conversation(conversation, agent, judge)).analysis()


async def grade_conversation(conversation: Conversation, agent: Agent, judge: AnyJudge) -> Grade:
    """Return all that `analyse` finds out, with what it used and where the judge failed."""
    return await judge.answer(conversation, Questions.of(agent))
