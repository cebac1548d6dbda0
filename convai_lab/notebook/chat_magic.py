"""Chat magic: a text conversation in a cell."""

from __future__ import annotations

from collections.abc import Callable

from convai_lab.conversations.conversation import Conversation
from convai_lab.errors import ConvaiLabError, NotFoundError
from convai_lab.notebook.arguments import Arguments, ArgumentsError
from convai_lab.notebook.bench import Bench
from convai_lab.notebook.display import (
    ChatView,
    GrowingConversation,
    LiveTranscript,
    PrintedTranscript,
    silence_once,
)
from convai_lab.workspace import events
from convai_lab.workspace.chat import partial_conversation


def run_chat(bench: Bench, arguments: Arguments, body: str | None) -> Conversation:
    """Send messages one after the other, show the transcript as it grows, and return the conversation."""
    messages = _messages(arguments, body)
    earlier = _earlier(bench, arguments)
    agent = arguments.name or (earlier.agent_id if earlier else None)
    if agent is None:
        raise ArgumentsError("%chat needs AGENT: the name of the agent, for example %chat support Hello")
    if not messages:
        return _without_message(bench, arguments, earlier)
    stored = bench.workspace.agents.get(agent)
    start = earlier or Conversation(id="", agent_id=stored.id or "", agent_name=stored.name, status="initiated")
    growing = GrowingConversation(start, chat_view(bench))
    if earlier:
        growing.started(earlier.id)
    try:
        conversation = bench.workspace.chat(
            stored,
            messages,
            variables=arguments.var,
            continue_from=earlier,
            on_event=follow_session(growing),
        )
    except (KeyboardInterrupt, ConvaiLabError) as error:
        keep_partial(bench, growing, partial_conversation(error), arguments.save)
        if isinstance(error, KeyboardInterrupt):
            shorten(error, arguments.save)
        raise
    growing.finished(conversation)
    return silence_once(bench.keep(conversation, arguments.save))


def run_undo(bench: Bench, arguments: Arguments, _body: str | None) -> Conversation:
    """Take back the last exchange of the newest conversation, and show what remains."""
    if arguments.conversation:
        conversation = bench.workspace.conversations.get(arguments.conversation)
    else:
        conversation = bench.conversation_with()
    return bench.keep(bench.workspace.undo(conversation))


def _messages(arguments: Arguments, body: str | None) -> list[str]:
    lines = [line.strip() for line in body.splitlines()] if body is not None else []
    messages = [line for line in (arguments.rest.strip(), *lines) if line]
    if body is not None and not messages:
        raise ArgumentsError("%%chat needs a body below it: one message a line")
    return messages


def _earlier(bench: Bench, arguments: Arguments) -> Conversation | None:
    if arguments.conversation:
        return bench.workspace.conversations.get(arguments.conversation)
    if arguments.values.get("continue"):
        try:
            return bench.conversation_with(arguments.name)
        except NotFoundError as error:
            raise ArgumentsError(f"{error} (the agent comes first: %chat AGENT --continue MESSAGE)") from None
    return None


def _without_message(bench: Bench, arguments: Arguments, earlier: Conversation | None) -> Conversation:
    """`%chat support --continue` without a message shows where the conversation stands."""
    if earlier is None:
        raise ArgumentsError(f'there is no message: %chat {arguments.name} "Hello", or %%chat with one message a line')
    return bench.keep(earlier, arguments.save)


def chat_view(bench: Bench) -> ChatView:
    """Return what shows a conversation while it grows: the cell, or the terminal."""
    return LiveTranscript() if getattr(bench.shell, "kernel", None) else PrintedTranscript()


def follow_session(growing: GrowingConversation) -> Callable[[events.SessionEvent], None]:
    """Pass on what the session reports; the reports arrive on this thread, in order."""

    def follow(event: events.SessionEvent) -> None:
        match event:
            case events.Started(conversation_id=conversation_id, note=note):
                growing.started(conversation_id)
                if note:
                    print(note)
            case events.UserTurn(text=text):
                growing.user_said(text)
            case events.AgentText(text=text):
                growing.agent_text(text)
            case events.AgentTurn(text=text):
                growing.agent_turn(text)
            case events.AgentCutShort(heard=heard):
                growing.agent_cut_short(heard)
            case events.ToolCalled(name=name, arguments=given):
                growing.tool_called(name, given)
            case events.ToolAnswered(name=name, value=value, is_error=is_error):
                growing.tool_answered(name, value, is_error=is_error)

    return follow


def keep_partial(
    bench: Bench, growing: GrowingConversation, recorded: Conversation | None, variable: str | None
) -> None:
    """After an interrupt or an error: keep what was said until then, as the platform recorded it where it could."""
    partial = recorded or growing.conversation
    if partial.id:
        growing.finished(partial)
        bench.keep(partial, variable)


def shorten(error: BaseException, variable: str | None) -> None:
    """Let an interrupt show one line instead of our stack; it stays a KeyboardInterrupt and stops the cells behind."""
    where = f"in {variable}" if variable else "and can be had with %transcripts --last"
    line = f"KeyboardInterrupt: stopped; what was said until then is kept {where}"
    error._render_traceback_ = lambda: [line]  # type: ignore[attr-defined]
