"""Main: the `convai` command and its parts.

Each part is imported when it is called, so that `convai --help` answers at once. An expected error is one sentence
on standard error and exit code 1; wrong usage is exit code 2.
"""

from __future__ import annotations

import importlib
import sys
from typing import Any

import click

import convai_lab
from convai_lab.errors import ConvaiLabError

PARTS = {
    "agents": ("agents", "agents", "List, show and delete the agents of a platform."),
    "chat": ("chat", "chat", "Talk with an agent in text."),
    "compare": ("compare", "compare", "Compare agents and models on scenarios; a gate for builds."),
    "demo": ("demo", "demo", "Try the main job without a browser or a key; leaves reports."),
    "doctor": ("doctor", "doctor", "Check this machine and say what to do."),
    "lab": ("lab", "lab", "Open JupyterLab on the quickstart notebook."),
    "serve": ("serve", "serve", "Run the local platform by hand."),
    "talk": ("talk", "talk", "Talk with an agent by voice, from audio files or in a page."),
    "transcripts": ("transcripts", "transcripts", "Print or export what was said."),
    "voices": ("voices", "voices", "List voices and speech engines, or add better ones."),
}
"""Each command: its module, the name in it, and one line about it."""


class Parts(click.Group):
    """A group whose commands are imported when they are called."""

    def list_commands(self, _ctx: click.Context) -> list[str]:
        """Return the names of the commands."""
        return sorted(PARTS)

    def get_command(self, _ctx: click.Context, name: str) -> click.Command | None:
        """Import one command."""
        if name not in PARTS:
            return None
        module, attribute, _ = PARTS[name]
        command: click.Command = getattr(importlib.import_module(f"convai_lab.cli.{module}"), attribute)
        return command

    def format_commands(self, _ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """List the commands without importing them."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, about) for name, (_, _, about) in sorted(PARTS.items())])

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find the command, with a suggestion when its name is misspelt."""
        try:
            return super().resolve_command(ctx, args)
        except click.UsageError as error:
            import difflib

            close = difflib.get_close_matches(args[0], PARTS, n=1) if args else []
            raise click.UsageError(
                f"{error.format_message()} Did you mean {close[0]}?" if close else str(error)
            ) from None


@click.command(cls=Parts, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(convai_lab.__version__, prog_name="convai")
def convai() -> None:
    """convai_lab: the lab bench for voice agents."""


def main(arguments: list[str] | None = None) -> None:
    """Run the command line; expected errors are one sentence and exit code 1."""
    try:
        status: Any = convai.main(arguments, prog_name="convai", standalone_mode=False)
    except click.exceptions.Abort:
        sys.exit(130)
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except ConvaiLabError as error:
        click.echo(f"convai: {error}", err=True)
        sys.exit(1)
    except BrokenPipeError:
        sys.stderr.close()
        sys.exit(1)
    sys.exit(status if isinstance(status, int) else 0)
