"""A real IPython shell with the extension loaded, on a real local platform of its own."""

from __future__ import annotations

import builtins
import os
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest
from IPython.core.interactiveshell import InteractiveShell
from IPython.utils.capture import RichOutput, capture_output

from convai_lab import settings


class Notebook:
    """Runs cells as Jupyter would, and keeps what each of them showed."""

    def __init__(self, home: str) -> None:
        self.home = home
        vars(builtins).pop("_", None)  # doctest and gettext put one there, and IPython then keeps its hands off `_`
        InteractiveShell.clear_instance()
        self.shell = InteractiveShell.instance()
        self.shell.run_cell("%load_ext convai_lab")
        self.shown: list[RichOutput] = []
        self.stdout = ""
        self.error: BaseException | None = None

    def run(self, cell: str) -> Any:
        """Run one cell and return its result; an error is kept, not raised."""
        with capture_output() as captured:
            done = self.shell.run_cell(cell, store_history=True)
        self.shown, self.stdout = captured.outputs, captured.stdout
        self.error = done.error_in_exec or done.error_before_exec
        return done.result

    def must(self, cell: str) -> Any:
        """Run one cell that must not fail."""
        result = self.run(cell)
        assert self.error is None, f"{type(self.error).__name__}: {self.error}\n{self.stdout}"
        return result

    def fails(self, cell: str) -> str:
        """Run one cell that must fail with one line, and return that line."""
        self.run(cell)
        assert self.error is not None, "the cell did not fail"
        lines = self.error._render_traceback_()  # type: ignore[attr-defined]
        assert len(lines) == 1
        return str(lines[0])

    def in_a_new_kernel(self, cell: str) -> str:
        """Run one cell in another Python on the same data folder, and return all that it printed."""
        code = f"%load_ext convai_lab\n{cell}"
        command = [sys.executable, "-m", "IPython", "--no-banner", "--no-confirm-exit", "--colors=NoColor", "-c", code]
        done = subprocess.run(
            command, env={**os.environ, settings.HOME_VARIABLE: self.home}, capture_output=True, text=True, check=False
        )
        return done.stdout + done.stderr

    @property
    def html(self) -> str:
        """Return all HTML that the last cell showed."""
        return "\n".join(str(output.data.get("text/html", "")) for output in self.shown)


@pytest.fixture(scope="module")
def notebook(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Notebook]:
    before = os.environ.get(settings.HOME_VARIABLE)
    home = str(tmp_path_factory.mktemp("lab"))
    os.environ[settings.HOME_VARIABLE] = home
    try:
        made = Notebook(home)
        made.run("import convai_lab as lab; ws = lab.connect(); ws.status()")
        made.run("%lab --platform local")
        yield made
    finally:
        InteractiveShell.clear_instance()
        if before is None:
            os.environ.pop(settings.HOME_VARIABLE, None)
        else:
            os.environ[settings.HOME_VARIABLE] = before
