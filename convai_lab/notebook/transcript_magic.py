"""Transcript magic: what was said, in pandas."""

from __future__ import annotations

from typing import Any

from convai_lab.notebook.arguments import Arguments, ArgumentsError
from convai_lab.notebook.bench import Bench


def run_transcripts(bench: Bench, arguments: Arguments, _body: str | None) -> Any:
    """Return turns, conversations or tool calls as a DataFrame, or one conversation itself."""
    if arguments.id:
        return bench.keep(bench.workspace.conversations.get(arguments.id))
    if arguments.last:
        return bench.keep(bench.conversation_with(arguments.agent))
    if arguments.conversations and arguments.tools:
        raise ArgumentsError("--conversations and --tools are two different tables: choose one")
    from convai_lab.analysis import dataframes

    documents = bench.workspace.conversations.documents(
        agent=arguments.agent,
        since=arguments.since,
        limit=arguments.limit,
        source="all" if arguments.all else "live",
    )
    if arguments.conversations:
        return dataframes.conversations_df(documents)
    if arguments.tools:
        return dataframes.tool_calls_df(documents)
    return dataframes.turns_df(documents)
