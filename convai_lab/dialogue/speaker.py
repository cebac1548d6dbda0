"""Speaker: which agent speaks, with which model and tools, and what is it asked?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from convai_lab.agents.agent import Agent
from convai_lab.conversations.conversation import Conversation
from convai_lab.dialogue.history import DEFAULT_CONTEXT_TOKENS, Group, History, round_messages, trimmed
from convai_lab.dialogue.reply import Round
from convai_lab.dialogue.system_prompt import system_prompt
from convai_lab.dialogue.tool_runner import ToolRunner
from convai_lab.providers.base import LLM, ChatRequest


@dataclass(frozen=True)
class Speaker:
    """An agent with the model and the tools it speaks with."""

    agent: Agent
    llm: LLM
    tools: ToolRunner

    def replaced_by(self, agent: Agent, llm: LLM) -> Speaker:
        """Return another agent and model in the same conversation."""
        return Speaker(agent, llm, self.tools.for_agent(agent))

    def signature(self, conversation: Conversation) -> dict[str, Any]:
        """Return who speaks, as it stands in every turn of the agent."""
        return {
            "agent_id": self.agent.id or conversation.agent_id,
            "agent_version": self.agent.version,
            "prompt_hash": self.agent.prompt_hash,
            "voice": None if conversation.channel == "text" else self.agent.voice,
        }

    @property
    def model_asked_for(self) -> str:
        """The model as the agent names it."""
        return self.agent.llm or self.llm.model


@dataclass(frozen=True, kw_only=True)
class Requests:
    """How the requests of one conversation are built: how much fits, and what is sent along."""

    context_tokens: int = DEFAULT_CONTEXT_TOKENS
    extra_body: Mapping[str, Any] = field(default_factory=dict)
    _history: History = field(default_factory=History, init=False, repr=False, compare=False)

    def build(
        self,
        speaker: Speaker,
        conversation: Conversation,
        variables: Mapping[str, Any],
        *,
        context: Sequence[str],
        rounds: Sequence[Round],
    ) -> ChatRequest:
        """Build the next request: the system prompt, the newest turns that fit, and the reply so far."""
        agent = speaker.agent
        system = system_prompt(agent, conversation, variables)
        groups = self._history.groups(conversation.turns, context=context)
        since = [m for one in rounds for m in round_messages(one.text, one.calls, one.results)]
        groups[-1] = Group([*groups[-1], *since])
        return ChatRequest(
            messages=trimmed(system, groups, budget=self.context_tokens),
            tools=speaker.tools.toolbox.specs(variables),
            temperature=agent.temperature,
            max_tokens=agent.max_tokens,
            reasoning_effort=agent.reasoning_effort,
            thinking_budget=agent.thinking_budget,
            seed=conversation.seed,
            extra_body=self.extra_body,
        )
