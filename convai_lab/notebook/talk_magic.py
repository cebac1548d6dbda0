"""Talk magic: a voice conversation in a cell."""

from __future__ import annotations

from typing import Any

from markupsafe import Markup

from convai_lab.agents.agent import Agent
from convai_lab.conversations.conversation import Conversation
from convai_lab.errors import ConvaiLabError
from convai_lab.notebook.arguments import Arguments, ArgumentsError
from convai_lab.notebook.bench import Bench
from convai_lab.notebook.chat_magic import chat_view, follow_session, keep_partial, shorten
from convai_lab.notebook.display import GrowingConversation, Picture, show, silence_once
from convai_lab.workspace.chat import partial_conversation

NO_NOTEBOOK = (
    "the voice panel needs a notebook (convai lab opens one): here, give what the user says as WAV, "
    "%talk {0} --audio FILE, or talk in a page of its own, %talk {0} --window"
)
FROM_FILES_ONLY = "--out is for --audio: what is said in the panel is recorded by the platform (conv.audio)"


def run_talk(bench: Bench, arguments: Arguments, _body: str | None) -> Any:
    """Talk with an agent: in a panel (returns the session), from files (the conversation), or in a page (its link)."""
    agent = bench.workspace.agents.get(arguments.name)
    if arguments.audio:
        return _talk_from_files(bench, arguments, agent)
    if arguments.out:
        raise ArgumentsError(FROM_FILES_ONLY)
    if arguments.window:
        return WindowLink(bench.workspace.window_url(agent, variables=arguments.var), agent.name).shown()
    if getattr(bench.shell, "kernel", None) is None:
        raise ArgumentsError(NO_NOTEBOOK.format(arguments.name))
    from convai_lab.notebook.panel_cells import open_panel

    return silence_once(open_panel(bench, agent, variables=arguments.var, save=arguments.save))


class WindowLink:
    """A link to a page of the platform in which one talks with an agent; it works once."""

    def __init__(self, url: str, agent_name: str) -> None:
        self.url, self._agent_name, self._is_shown = url, agent_name, False

    def shown(self) -> WindowLink:
        """Show it now, so that it is seen also when it is not the last line of a cell; it shows itself only once."""
        self._ipython_display_()
        self._is_shown = True
        return self

    def _ipython_display_(self) -> None:
        if not self._is_shown:
            link = Markup('<a href="{}" target="_blank" rel="noopener">Talk with {}</a> (the link works once)')
            show(Picture(link.format(self.url, self._agent_name), self.url))
        self._is_shown = False

    def __repr__(self) -> str:
        return self.url


def _talk_from_files(bench: Bench, arguments: Arguments, agent: Agent) -> Conversation:
    """Say audio files to an agent, show the transcript as it grows, then a player, and return the conversation."""
    start = Conversation(id="", agent_id=agent.id or "", agent_name=agent.name, status="initiated", channel="voice")
    growing = GrowingConversation(start, chat_view(bench))
    try:
        conversation = bench.workspace.talk(
            agent, list(arguments.audio), variables=arguments.var, out=arguments.out, on_event=follow_session(growing)
        )
    except (KeyboardInterrupt, ConvaiLabError) as error:
        keep_partial(bench, growing, partial_conversation(error), arguments.save)
        if isinstance(error, KeyboardInterrupt):
            shorten(error, arguments.save)
        raise
    growing.finished(conversation)
    _show_player(conversation)
    return silence_once(bench.keep(conversation, arguments.save))


def _show_player(conversation: Conversation) -> None:
    """Show the recording, where there is one."""
    if conversation.has_audio:
        audio = conversation.audio
        show(Picture(audio._repr_html_(), repr(audio)))
