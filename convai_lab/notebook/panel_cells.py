"""Panel cells: which voice panel belongs to which cell, so that running a cell again starts anew?"""

from __future__ import annotations

import weakref
from typing import TYPE_CHECKING, Any

from convai_lab.agents.agent import Agent
from convai_lab.errors import MissingPackageError

if TYPE_CHECKING:
    from convai_lab.notebook.bench import Bench
    from convai_lab.notebook.session_panel import SessionPanel
    from convai_lab.workspace.live_session import LiveSession

_panels: weakref.WeakKeyDictionary[Bench, dict[str, SessionPanel]] = weakref.WeakKeyDictionary()


def open_panel(
    bench: Bench, agent: Agent, *, variables: dict[str, Any] | None = None, save: str | None = None
) -> LiveSession:
    """Start a session with `agent`, show its panel in the running cell, and return the session at once.

    Raises:
        MissingPackageError: The panel's own packages are not installed.
    """
    try:
        from convai_lab.notebook.session_panel import SessionPanel
    except ImportError as missing:
        package = missing.name or "anywidget"
        raise MissingPackageError(package, extra="lab", needed_for="The voice panel") from None
    session = bench.workspace.start_session(agent, voice=True, variables=variables)
    panel = SessionPanel(session, keep=lambda conversation: bench.keep(conversation, save))
    panels = _panels.setdefault(bench, {})
    cell = running_cell(bench.shell) or f"agent {agent.id}"
    if (before := panels.pop(cell, None)) is not None:
        before.replace()
    panels[cell] = panel
    if save:
        bench.shell.user_ns[save] = session.conversation
    panel.show()
    return session


def running_sessions(bench: Bench, agent: Agent) -> list[LiveSession]:
    """Return the sessions of this notebook that go on with `agent`."""
    panels = list(_panels.get(bench, {}).values())
    return [panel.session for panel in panels if panel.session.agent.id == agent.id and panel.session.state != "ended"]


def running_cell(shell: Any) -> str | None:
    """Return the id of the cell that runs; None where the front end does not tell."""
    kernel = getattr(shell, "kernel", None)
    parent = kernel.get_parent("shell") if kernel is not None and hasattr(kernel, "get_parent") else {}
    found = (parent or {}).get("metadata", {}).get("cellId")
    return found if isinstance(found, str) and found else None
