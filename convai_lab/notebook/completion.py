"""Completion: what can follow what is written so far?"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from convai_lab.notebook.arguments import Magic, Option


def complete(magic: Magic, line: str, *, agent_names: Sequence[str] = ()) -> list[str]:
    """Return the words that may stand at the end of `line`: agent names, options, or values of an option.

    Of a list such as ``a,b`` the last part is completed.

    Example:
        >>> from convai_lab.notebook.magics import AGENT
        >>> complete(AGENT, "%agent su", agent_names=["support", "booking"])
        ['support']
    """
    words = line.split()[1:]
    started = "" if not line or line[-1].isspace() else (words.pop() if words else "")
    options = {option.name: option for option in magic.options}
    before = options.get(words[-1]) if words else None
    if before is not None and not before.flag:
        started = started if before.files else started.rpartition(",")[2]
        candidates = [*_values(before), *_files(before, started)]
        candidates += [name for name in agent_names if " " not in name] if before.key == "agent" else []
    elif started.startswith("-"):
        candidates = [*options, "--help"]
    elif magic.positional and (magic.several or not _named(words, options)):
        candidates = [name for name in agent_names if " " not in name] or list(options)
    else:
        candidates = [*options, "--help"]
    return [text for text in candidates if text.startswith(started)]


def _values(option: Option) -> list[str]:
    return list(option.choices() if callable(option.choices) else option.choices)


def _files(option: Option, started: str) -> list[str]:
    """Return the folders, and the files that the option reads, that go on with what is written."""
    if not option.files:
        return []
    folder = os.path.dirname(started)
    try:
        found = sorted(Path(os.path.expanduser(folder) or ".").iterdir())
    except OSError:
        return []
    inside = [path for path in found if path.is_dir() or path.suffix.lower() in option.files]
    shown = [path for path in inside if " " not in path.name and not path.name.startswith(".")]
    return [os.path.join(folder, path.name) + ("/" if path.is_dir() else "") for path in shown]


def _named(words: Sequence[str], options: dict[str, Option]) -> bool:
    taking = False
    for word in words:
        if taking:
            taking = False
        elif word in options:
            taking = not options[word].flag
        elif not word.startswith("--"):
            return True
    return False
