"""Chat: a text conversation in the terminal."""

from __future__ import annotations

import sys
from typing import Any

import click

from convai_lab.cli.platform import json_option, open_platform, platform_option
from convai_lab.errors import InvalidValueError


@click.command()
@click.argument("agent")
@click.argument("messages", nargs=-1)
@click.option("--var", "pairs", multiple=True, metavar="NAME=VALUE", help="A dynamic variable of the prompt.")
@platform_option
@json_option()
def chat(agent: str, messages: tuple[str, ...], pairs: tuple[str, ...], platform: str, as_json: bool) -> None:
    """Talk with AGENT in text: MESSAGES in order, or standard input, one message a line."""
    variables = dict(variable(text) for text in pairs)
    given = list(messages) or [line.strip() for line in sys.stdin if line.strip()]
    if not given:
        raise InvalidValueError('there is no message: convai chat AGENT "Hello"', field="MESSAGES")
    conversation = open_platform(platform).chat(agent, given, variables=variables)
    click.echo(as_json_text(conversation.to_dict()) if as_json else conversation.text)


def variable(text: str) -> tuple[str, str]:
    """Return the name and the value in ``NAME=VALUE``."""
    name, equals, value = text.partition("=")
    if not equals or not name:
        raise InvalidValueError(f"takes NAME=VALUE, not {text}", field="--var")
    return name, value


def as_json_text(document: Any) -> str:
    """Return a document as JSON to be read."""
    import json

    return json.dumps(document, indent=2, ensure_ascii=False)
