"""Talk magic: a voice conversation in a cell."""

from __future__ import annotations

from convai_lab.conversations.conversation import Conversation
from convai_lab.errors import ConvaiLabError
from convai_lab.notebook.arguments import Arguments, ArgumentsError
from convai_lab.notebook.bench import Bench
from convai_lab.notebook.chat_magic import chat_view, follow_session, keep_partial, shorten
from convai_lab.notebook.display import GrowingConversation, Picture, show, silence_once
from convai_lab.workspace.chat import partial_conversation

NO_MICROPHONE = "the live microphone panel is not here yet: give what the user says as WAV, %talk {} --audio FILE"


def run_talk(bench: Bench, arguments: Arguments, _body: str | None) -> Conversation:
    """Say audio files to an agent, show the transcript as it grows, then a player, and return the conversation."""
    sounds = arguments.audio or []
    if not sounds:
        raise ArgumentsError(NO_MICROPHONE.format(arguments.name))
    stored = bench.workspace.agents.get(arguments.name)
    start = Conversation(id="", agent_id=stored.id or "", agent_name=stored.name, status="initiated", channel="voice")
    growing = GrowingConversation(start, chat_view(bench))
    try:
        conversation = bench.workspace.talk(
            stored, list(sounds), variables=arguments.var, out=arguments.out, on_event=follow_session(growing)
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
