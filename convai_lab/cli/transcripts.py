"""Transcripts: what was said, in the terminal or in a file."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import click

from convai_lab.cli.platform import open_platform, platform_option
from convai_lab.errors import InvalidValueError

SUFFIXES = (".csv", ".parquet", ".jsonl")


@click.command()
@click.option("--agent", default=None, help="Only conversations with this agent.")
@click.option("--since", default=None, help="Only newer ones: 30m, 12h, 7d, or a date.")
@click.option("--limit", type=click.IntRange(min=1), default=20, show_default=True, help="At most so many.")
@click.option("--id", "conversation_id", default=None, help="One conversation, whole.")
@click.option("--out", type=click.Path(path_type=Path), default=None, help="Write turns to .csv, .parquet or .jsonl.")
@platform_option
def transcripts(
    agent: str | None, since: str | None, limit: int, conversation_id: str | None, out: Path | None, platform: str
) -> None:
    """Print the newest conversations, or write their turns to a file."""
    if out is not None and out.suffix not in SUFFIXES:
        raise InvalidValueError(f"must end in {', '.join(SUFFIXES)}, not {out.suffix or 'nothing'}", field="--out")
    conversations = open_platform(platform).conversations
    if conversation_id:
        click.echo(conversations.get(conversation_id).text)
        return
    found = list(conversations.documents(agent=agent, since=since, limit=limit))
    if out is not None:
        _write(found, out)
        click.echo(f"Wrote the turns of {len(found)} conversations to {out}")
        return
    if not found:
        click.echo('There are no conversations yet: try "convai demo".')
    click.echo("\n\n".join(conversation.text for conversation in found))


def _write(conversations: Sequence[object], out: Path) -> None:
    from convai_lab.analysis.dataframes import turns_df

    table = turns_df(conversations)
    try:
        if out.suffix == ".jsonl":
            table.to_json(out, orient="records", lines=True, date_format="iso")
        elif out.suffix == ".csv":
            table.to_csv(out, index=False)
        else:
            table.to_parquet(out, index=False)
    except OSError as error:
        raise InvalidValueError(f"cannot write {out}: {error.strerror or error}", field="--out") from None
