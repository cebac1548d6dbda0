"""Keeping: how do the conversations of a comparison get to where transcripts are looked for?

They stay in the journal; the local platform gets a copy of the new ones, which `%transcripts` leaves out unless it is
asked for them (`--all`).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from convai_lab import background
from convai_lab.conversations.conversation import Conversation
from convai_lab.errors import ConvaiLabError
from convai_lab.experiments.comparison import Comparison
from convai_lab.experiments.variant import LOCAL

if TYPE_CHECKING:
    from convai_lab.workspace.workspace import Workspace


def keep_conversations(comparison: Comparison, workspace: Workspace, *, wait_secs: float | None = None) -> str:
    """Give the conversations that were held in this run to the local platform; return what a reader should know.

    On another platform nothing is kept: what was held there is there. Nothing is raised: the journal has them all.

    Args:
        wait_secs: After so long the rest is handed over in the background; None waits for the end.
    """
    if workspace.platform != LOCAL:
        return ""
    handing = background.submit(workspace.conversations.akeep(_fresh(comparison)))
    try:
        handing.result(wait_secs)
    except TimeoutError:
        return ""  # it goes on by itself
    except ConvaiLabError as error:
        return f"What was said is in the journal, but not among the transcripts: {error}"
    return ""


def _fresh(comparison: Comparison) -> Iterator[Conversation]:
    for trial in comparison.trials:
        if trial.is_cached:
            continue
        try:
            yield comparison.conversation(*trial.id)
        except ConvaiLabError:  # it is gone from the journal, or damaged: the others are worth keeping
            continue
