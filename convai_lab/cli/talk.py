"""Talk: a voice conversation from audio files, in the terminal, or in a page of its own."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from convai_lab.cli.chat import as_json_text, variable
from convai_lab.cli.platform import json_option, open_platform, platform_option
from convai_lab.workspace import events

if TYPE_CHECKING:
    from convai_lab.conversations.conversation import Conversation
    from convai_lab.workspace.window import Window

RECORD_SECS = 20.0


@click.command()
@click.argument("agent")
@click.option("--audio", multiple=True, metavar="FILE", help="What the user says: a WAV file.")
@click.option("--window", is_flag=True, help="Talk in a page of its own, whose link is printed; Ctrl-C ends it.")
@click.option("--out", metavar="FILE", help="Write both sides to this WAV file: the user left, the agent right.")
@click.option("--var", "pairs", multiple=True, metavar="NAME=VALUE", help="A dynamic variable of the prompt.")
@platform_option
@json_option()
def talk(
    agent: str,
    audio: tuple[str, ...],
    window: bool,
    out: str | None,
    pairs: tuple[str, ...],
    platform: str,
    as_json: bool,
) -> None:
    """Talk with AGENT by voice: from files (each --audio is said once the one before is answered), or in a page."""
    if window == bool(audio):
        raise click.UsageError("Give either --audio FILE or --window.")
    if window and out:
        raise click.UsageError("--out goes with --audio: what is said in the page is recorded by the platform.")
    variables, workspace = dict(variable(text) for text in pairs), open_platform(platform)
    if window:
        conversation = _in_a_page(workspace.open_window(agent, variables=variables))
    else:
        conversation = workspace.talk(
            agent, list(audio), variables=variables, out=out, on_event=None if as_json else _tell
        )
    if as_json:
        click.echo(as_json_text(conversation.to_dict()))
        return
    click.echo(f"\n{conversation.text}")
    if out:
        click.echo(f"Both sides are in {out}")


def _in_a_page(window: Window) -> Conversation:
    """Say where the page is, and wait until it is over; Ctrl-C ends it."""
    click.echo(f"Open this link, which works once, in a browser of this machine: {window.url}", err=True)
    click.echo("Ctrl-C ends the session", err=True)
    try:
        return window.session.wait()
    except KeyboardInterrupt:
        window.session.end()
        return window.session.wait(RECORD_SECS)


def _tell(event: events.SessionEvent) -> None:
    """Say on standard error what is happening, because it takes as long as it takes to say it."""
    match event:
        case events.Started(conversation_id=conversation_id):
            line = f"conversation {conversation_id}"
        case events.UserTurn(text=text):
            line = f"user: {text}"
        case events.AgentTurn(text=text):
            line = f"agent: {text}"
        case events.AgentCutShort(heard=heard):
            line = f"(the user interrupted; heard: {heard})"
        case events.ToolCalled(name=name):
            line = f"(tool {name})"
        case _:
            return
    click.echo(line, err=True)
