"""Known variables: which values do the variables of one conversation have, and which of them may be recorded?"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from convai_lab import settings
from convai_lab.agents.agent import Agent
from convai_lab.clock import Clock
from convai_lab.dialogue.record import Record
from convai_lab.dialogue.system_prompt import names_system_variables, secret_variables, variables_of


class KnownVariables:
    """The variables of a conversation; the secret ones stay in memory and out of the record."""

    def __init__(self, record: Record, clock: Clock) -> None:
        self._record, self._clock = record, clock
        self._secrets: dict[str, Any] = {}

    def take(self, given: Mapping[str, Any]) -> None:
        """Take new values."""
        secret = secret_variables(given)
        for value in secret.values():
            settings.remember_secret(str(value))
        self._secrets |= secret
        known = {**self._record.conversation.variables, **given}
        self._record.change(variables={name: value for name, value in known.items() if name not in self._secrets})

    def values(self, agent: Agent) -> dict[str, Any]:
        """Return every variable as it is now that what this agent says and does can name."""
        if not names_system_variables(agent):
            return {**agent.variables, **self._record.conversation.variables, **self._secrets}
        return variables_of(agent, self._record.conversation, now=self._clock.wall()) | self._secrets
