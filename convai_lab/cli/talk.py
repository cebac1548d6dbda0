"""Talk: a voice conversation from audio files, in the terminal."""

from __future__ import annotations

import click

from convai_lab.cli.chat import as_json_text, variable
from convai_lab.cli.platform import json_option, open_platform, platform_option
from convai_lab.workspace import events


@click.command()
@click.argument("agent")
@click.option("--audio", multiple=True, required=True, metavar="FILE", help="What the user says: a WAV file.")
@click.option("--out", metavar="FILE", help="Write both sides to this WAV file: the user left, the agent right.")
@click.option("--var", "pairs", multiple=True, metavar="NAME=VALUE", help="A dynamic variable of the prompt.")
@platform_option
@json_option()
def talk(
    agent: str, audio: tuple[str, ...], out: str | None, pairs: tuple[str, ...], platform: str, as_json: bool
) -> None:
    """Talk with AGENT by voice, from files: each --audio is said once the agent has answered the one before."""
    variables = dict(variable(text) for text in pairs)
    conversation = open_platform(platform).talk(
        agent, list(audio), variables=variables, out=out, on_event=None if as_json else _tell
    )
    if as_json:
        click.echo(as_json_text(conversation.to_dict()))
        return
    click.echo(f"\n{conversation.text}")
    if out:
        click.echo(f"Both sides are in {out}")


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
