"""Input lines: which lines would IPython misread before our magics ever see them?

Three traps, each turned into what the writer meant or into one sentence: a message that ends in a question mark is
taken for a request for help; a ``%%`` magic without a body is an error that test runners overlook; and a ``%%`` magic
after a comment or code is a syntax error.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from convai_lab.notebook.arguments import ArgumentsError

EXPLAIN = "from {module} import {error} as _error; raise _error({text!r})\n"
BODIES = {"agent": "the prompt", "compare": "scenarios as YAML, or one opening a line"}


class InputLines:
    """A cleanup transformer of IPython: takes and returns the lines of a cell."""

    def __init__(self, *, cell_magics: Sequence[str], free_text_magics: Sequence[str]) -> None:
        self._cell = re.compile(rf"%%({'|'.join(cell_magics)})(\s|$)")
        self._question = re.compile(
            rf"^(?P<before>\s*(?:[\w.]+\s*=\s*)?)%(?P<name>{'|'.join(free_text_magics)})[ \t]+(?P<rest>\S.*\?)\s*$"
        )

    def __call__(self, lines: list[str]) -> list[str]:
        """Return the lines that IPython should read instead."""
        at = next((i for i, line in enumerate(lines) if self._cell.match(line)), None)
        if at is None:
            return [self._as_call(line) for line in lines]
        if any(line.strip() and not line.lstrip().startswith("#") for line in lines[:at]):
            return lines if self._is_inside_other_magic(lines) else [_explain(_only_first(lines[at]))]
        if not any(line.strip() for line in lines[at + 1 :]) and not _asks_for_help(lines[at]):
            return [_explain(_no_body(lines[at]))]
        return lines[at:]

    def _is_inside_other_magic(self, lines: list[str]) -> bool:
        first = next(line for line in lines if line.strip())
        return first.startswith("%%")

    def _as_call(self, line: str) -> str:
        found = self._question.match(line)
        if found is None:
            return line
        return f"{found['before']}get_ipython().run_line_magic({found['name']!r}, {found['rest']!r})\n"


def _asks_for_help(line: str) -> bool:
    return line.rstrip().endswith("?") or "--help" in line.split()


def _no_body(line: str) -> str:
    name = line.split()[0].removeprefix("%%")
    body = BODIES.get(name, "one message a line")
    return f"%%{name} needs a body below it: {body} (the one-line form is %{name}; %{name} --help shows both)"


def _only_first(line: str) -> str:
    return f"{line.split()[0]} must be the first line of its cell: move the code above it to a cell of its own"


def _explain(text: str) -> str:
    return EXPLAIN.format(module=ArgumentsError.__module__, error=ArgumentsError.__name__, text=text)
