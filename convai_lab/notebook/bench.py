"""Bench: what does this notebook work on right now?

One per IPython shell: the platform, the newest conversation, and the variables that hold it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from convai_lab.errors import ConvaiLabError

if TYPE_CHECKING:
    from IPython.core.interactiveshell import InteractiveShell

    from convai_lab.conversations.conversation import Conversation
    from convai_lab.settings import Secret
    from convai_lab.workspace.workspace import Workspace


class NoConversationError(ConvaiLabError):
    """There is no conversation yet that could be continued or undone."""


class Bench:
    """The state behind the magics of one shell."""

    def __init__(self, shell: InteractiveShell) -> None:
        self.shell = shell
        self.current: Conversation | None = None
        self.agent_names: tuple[str, ...] = ()
        self._workspace: Workspace | None = None

    @property
    def workspace(self) -> Workspace:
        """Return the platform in use; the local one until `%lab --platform` says otherwise."""
        if self._workspace is None:
            self.use_platform("local")
        assert self._workspace is not None
        return self._workspace

    @property
    def platform(self) -> str:
        """Return the name of the platform in use, without starting it."""
        return self._workspace.platform if self._workspace is not None else "local"

    def use_platform(self, target: str, *, api_key: Secret | None = None) -> None:
        """Work on another platform from now on: ``local``, ``elevenlabs`` or a URL with its key."""
        from convai_lab.workspace.connect import connect

        self._workspace = connect(target, api_key=api_key)
        self.current, self.agent_names = None, ()

    def keep(self, conversation: Conversation, variable: str | None = None) -> Conversation:
        """Make `conversation` the current one, also in the notebook's variables that held it before."""
        for name, value in list(self.shell.user_ns.items()):
            if not name.startswith("_") and _is_same_conversation(value, conversation):
                self.shell.user_ns[name] = conversation
        if variable:
            self.shell.user_ns[variable] = conversation
        self.current = conversation
        return conversation

    def conversation_with(self, agent: str | None = None) -> Conversation:
        """Return the newest conversation (with `agent`, when named), from this notebook or from the store.

        Raises:
            NoConversationError: There is none.
        """
        agent_id = self.workspace.agents.get(agent).id if agent else None
        if self.current is not None and agent_id in (None, self.current.agent_id):
            return self.current
        newest = self.workspace.conversations.list(agent=agent_id, limit=1)
        if not len(newest):
            whom = f" with {agent}" if agent else ""
            raise NoConversationError(
                f'there is no conversation{whom} yet: start one with %chat {agent or "AGENT"} "Hi"'
            )
        return self.workspace.conversations.get(newest[0].id)


def _is_same_conversation(value: Any, conversation: Conversation) -> bool:
    return type(value) is type(conversation) and value.id == conversation.id
