"""Extension: what does `%load_ext convai_lab` add to the shell?"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from convai_lab.errors import ConvaiLabError
from convai_lab.notebook.arguments import Arguments, Magic
from convai_lab.notebook.bench import Bench
from convai_lab.notebook.completion import complete
from convai_lab.notebook.input_lines import InputLines

if TYPE_CHECKING:
    from IPython.core.interactiveshell import InteractiveShell

SHOWN_ONCE = (
    ("convai_lab.agents.agent", "Agent"),
    ("convai_lab.conversations.conversation", "Conversation"),
    ("convai_lab.workspace.live_session", "LiveSession"),
    ("convai_lab.experiments.comparison", "Comparison"),
    ("convai_lab.experiments.estimate", "Estimate"),
)
"""What magics show themselves and also return: the display hook must not show it a second time."""

Run = Callable[[Bench, Arguments, str | None], Any]
"""What a magic does: with the bench, the arguments, and the body of the cell (None for a line magic)."""


@dataclass(frozen=True)
class Entry:
    """One magic: how it is called, which function runs it (``module:function``), and as what."""

    magic: Magic
    module: str
    function: str
    kinds: tuple[str, ...] = ("line",)

    def run(self, bench: Bench, arguments: Arguments, body: str | None) -> Any:
        """Import the module on first use, and run the magic."""
        run: Run = getattr(importlib.import_module(f"convai_lab.notebook.{self.module}"), self.function)
        return run(bench, arguments, body)


def load_ipython_extension(shell: InteractiveShell) -> None:
    """Register the magics, their completion, and the reading of their lines (called by `%load_ext`)."""
    from convai_lab.notebook.magics import ENTRIES

    bench = Bench(shell)
    for entry in ENTRIES:
        for kind in entry.kinds:
            shell.register_magic_function(_function(entry, bench, kind), kind, entry.magic.name)
        shell.set_hook("complete_command", _completer(entry.magic, bench), str_key=f"%{entry.magic.name}")
        if "cell" in entry.kinds:
            shell.set_hook("complete_command", _completer(entry.magic, bench), str_key=f"%%{entry.magic.name}")
    lines = InputLines(
        cell_magics=[entry.magic.name for entry in ENTRIES if "cell" in entry.kinds],
        free_text_magics=[entry.magic.name for entry in ENTRIES if entry.magic.rest],
    )
    _forget_old(shell)
    shell.input_transformers_cleanup.insert(0, lines)
    _install_silencer_when_used(shell)


def unload_ipython_extension(shell: InteractiveShell) -> None:
    """Take the magics out of the shell again (called by `%unload_ext`)."""
    from convai_lab.notebook.magics import ENTRIES

    for entry in ENTRIES:
        for kind in entry.kinds:
            shell.magics_manager.magics[kind].pop(entry.magic.name, None)
    _forget_old(shell)


def _function(entry: Entry, bench: Bench, kind: str) -> Any:
    """Make the function that IPython calls; it reads the line, and leaves expected errors to show themselves."""

    def line_magic(line: str, local_ns: dict[str, Any] | None = None) -> Any:
        return _run(entry, bench, line, None, local_ns)

    def cell_magic(line: str, cell: str, local_ns: dict[str, Any] | None = None) -> Any:
        return _run(entry, bench, line, cell, local_ns)

    function: Any = cell_magic if kind == "cell" else line_magic
    function.__name__ = entry.magic.name
    function.__doc__ = entry.magic.help()
    function._ipython_magic_no_var_expand = True
    function.needs_local_scope = True
    return function


def _run(entry: Entry, bench: Bench, line: str, body: str | None, local_ns: dict[str, Any] | None) -> Any:
    namespace = {**bench.shell.user_ns, **(local_ns or {})}
    arguments = entry.magic.parse(line, namespace)
    if arguments.wants_help:
        print(entry.magic.help())
        return None
    return entry.run(bench, arguments, body)


def _completer(magic: Magic, bench: Bench) -> Callable[[Any, Any], list[str]]:
    def completer(_shell: Any, event: Any) -> list[str]:
        try:
            return complete(magic, event.line, agent_names=bench.agent_names)
        except ConvaiLabError:  # a half-written line cannot be read yet; there is nothing to offer
            return []

    return completer


def _forget_old(shell: InteractiveShell) -> None:
    kept = [t for t in shell.input_transformers_cleanup if not isinstance(t, InputLines)]
    shell.input_transformers_cleanup[:] = kept


def _install_silencer_when_used(shell: InteractiveShell) -> None:
    """Register the display rule by name, so that loading the extension imports nothing of it."""
    formatter = shell.display_formatter.ipython_display_formatter  # type: ignore[union-attr]
    for module, name in SHOWN_ONCE:
        formatter.for_type_by_name(module, name, _show_unless_silenced)


def _show_unless_silenced(value: Any) -> None:
    from convai_lab.notebook.display import show_unless_silenced

    show_unless_silenced(value)
